//! Plain HTTP with JSON, for callers that do not speak gRPC.

use bytes::Bytes;

use crate::policy::failure::Failure;

/// The body of an answer that the gateway makes itself: a `google.rpc.Status` in JSON. `detail` takes the place of the
/// failure's own sentence.
pub(super) fn status_body(failure: Failure, detail: Option<&str>) -> Bytes {
    let message = detail.unwrap_or_else(|| failure.message());
    let body = serde_json::json!({ "code": failure.code().number(), "message": message, "details": [] });
    Bytes::from(body.to_string())
}
