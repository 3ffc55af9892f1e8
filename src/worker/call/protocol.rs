//! The protocol of a caller: gRPC, gRPC-Web, or plain HTTP with JSON.

use crate::http2::{Head, Name};
use crate::wire::content;
use crate::wire::web::Form;

/// The version of HTTP that a request came by, as the access log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::worker) enum Version {
    Http10 = 10,
    Http11 = 11,
    Http2 = 20,
}

/// The protocol that a caller speaks, and is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum DownstreamProtocol {
    Grpc,
    /// The form of the request's body, and that of the answer.
    GrpcWeb(Form, Form),
    Json,
}

/// Reads the protocol from a head. `transcodes` says whether plain HTTP is understood at all.
pub(in crate::worker) fn of(head: &Head, version: Version, transcodes: bool) -> DownstreamProtocol {
    let content_type = value(head, Name::CONTENT_TYPE);
    if version == Version::Http2 && content::is_grpc(content_type) {
        return DownstreamProtocol::Grpc;
    }
    match Form::of(content_type) {
        Some(form) => DownstreamProtocol::GrpcWeb(form, answer_form(head, form)),
        // Without transcoding, an HTTP/2 request that is not gRPC is rejected in gRPC's own format (415).
        None if version == Version::Http2 && !transcodes => DownstreamProtocol::Grpc,
        None => DownstreamProtocol::Json,
    }
}

/// The form that is asked for, or that of the request.
fn answer_form(head: &Head, request: Form) -> Form {
    Form::of(value(head, Name::ACCEPT)).unwrap_or(request)
}

fn value(head: &Head, name: Name) -> &[u8] {
    head.get(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Heads;

    #[test]
    fn the_content_type_decides() {
        let (http2, http1) = (Version::Http2, Version::Http11);
        let web = DownstreamProtocol::GrpcWeb(Form::Binary, Form::Binary);
        let text = DownstreamProtocol::GrpcWeb(Form::Text, Form::Text);
        for (version, content_type, accept, transcodes, wanted) in [
            (http2, "application/grpc", "", true, DownstreamProtocol::Grpc),
            (http2, "application/grpc+proto", "", false, DownstreamProtocol::Grpc),
            (http2, "application/json", "", false, DownstreamProtocol::Grpc),
            (http2, "application/json", "", true, DownstreamProtocol::Json),
            (http2, "", "", true, DownstreamProtocol::Json),
            (http2, "application/grpc-web", "", true, web),
            (http2, "application/grpc-web-text", "", false, text),
            (
                http2,
                "application/grpc-web",
                "application/grpc-web-text",
                true,
                DownstreamProtocol::GrpcWeb(Form::Binary, Form::Text),
            ),
            (http1, "application/grpc-web+proto", "*/*", false, web),
            (http1, "application/grpc", "", true, DownstreamProtocol::Json),
            (http1, "application/json", "", false, DownstreamProtocol::Json),
            (http1, "", "", true, DownstreamProtocol::Json),
        ] {
            let mut head = Heads::new().head();
            for (name, value) in [(Name::CONTENT_TYPE, content_type), (Name::ACCEPT, accept)] {
                if !value.is_empty() {
                    head.push(name, value.as_bytes());
                }
            }
            assert_eq!(
                of(&head, version, transcodes),
                wanted,
                "{version:?} {content_type} {accept} {transcodes}"
            );
        }
    }
}
