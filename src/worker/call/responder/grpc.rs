//! Failures of the gateway, in gRPC's form.

use std::rc::Rc;

use crate::http2::{Head, Heads, Name};
use crate::policy::failure::Failure;
use crate::wire::content;
use crate::worker::call::headers;

/// A failure as a gRPC response without messages ("Trailers-Only" in gRPC over HTTP/2). It is in the format that was asked
/// for: some clients take no other.
pub(super) fn trailers_only(heads: &Rc<Heads>, failure: Failure, asked: &Head) -> Head {
    let mut head = head(heads, failure);
    head.push(Name::CONTENT_TYPE, &content::of_grpc(headers::format(asked)));
    add_status(failure, &mut head);
    head
}

/// The head of such a response, without what the protocol says in it.
pub(super) fn head(heads: &Rc<Heads>, failure: Failure) -> Head {
    let mut head = headers::response(heads, failure.http_of_grpc());
    if failure == Failure::NotPost {
        head.push(Name::ALLOW, b"POST");
    }
    head
}

/// A failure as the trailers of a response that has begun.
pub(super) fn trailers(heads: &Rc<Heads>, failure: Failure) -> Head {
    let mut trailers = heads.head();
    add_status(failure, &mut trailers);
    trailers
}

fn add_status(failure: Failure, trailers: &mut Head) {
    trailers.push(Name::GRPC_STATUS, failure.code().text().as_bytes());
    trailers.push(Name::GRPC_MESSAGE, failure.message().as_bytes());
}
