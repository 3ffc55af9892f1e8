//! Responses of the admin address.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Bytes;

use super::body::AdminBody;
use super::value::Value;
use crate::policy::status::Code;

/// The dashboard: one page that asks nobody but this address.
pub(super) const DASHBOARD: &str = include_str!("dashboard.html");

/// The browser holds the page to what it says of itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The smallest body that is compressed.
const GZIP_BYTES_MIN: usize = 1024;

/// A response of one piece.
pub(super) struct AdminResponse(Response<Bytes>);

impl AdminResponse {
    pub(super) fn of(kind: &'static str, body: impl Into<Bytes>) -> AdminResponse {
        let mut response = Response::new(body.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // No page of another site has a piece of this one in it.
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        AdminResponse(response)
    }

    pub(super) fn text(text: impl Into<Bytes>) -> AdminResponse {
        AdminResponse::of("text/plain; charset=utf-8", text)
    }

    pub(super) fn json(value: &Value) -> AdminResponse {
        AdminResponse::of("application/json", value.json())
    }

    /// An error in the shape of `google.rpc.Status`.
    pub(super) fn error(status: StatusCode, message: &str) -> AdminResponse {
        let code = match status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::CONFLICT => Code::FailedPrecondition,
            _ => Code::InvalidArgument,
        };
        let body =
            Value::Record(vec![("code", u64::from(code.number()).into()), ("message", message.into())]);
        AdminResponse::json(&body).status(status)
    }

    pub(super) fn status(mut self, status: StatusCode) -> AdminResponse {
        *self.0.status_mut() = status;
        self
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> AdminResponse {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// The response with its body compressed, if that is worth it.
    pub(super) fn gzip(self) -> AdminResponse {
        if self.0.body().len() < GZIP_BYTES_MIN {
            return self;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let Ok(body) = encoder.write_all(self.0.body()).and_then(|()| encoder.finish()) else { return self };
        let response = AdminResponse(self.0.map(|_| body.into()));
        // After other fields that the response depends on.
        let mut response = response.with(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.0.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    pub(super) fn into_response(self) -> Response<AdminBody> {
        self.0.map(AdminBody::Whole)
    }
}

/// A page for browsers.
pub(super) fn page(html: &'static str) -> AdminResponse {
    let page = AdminResponse::of("text/html; charset=utf-8", html);
    page.with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}
