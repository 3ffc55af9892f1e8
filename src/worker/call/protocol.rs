//! The protocol of a caller: gRPC, gRPC-Web, Connect, or plain HTTP with JSON.

use crate::http2::{Head, Name};
use crate::wire::connect::{self, Get, Kind};
use crate::wire::web::WebEncoding;
use crate::wire::{content, path};

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
    /// The form of the request's body, and that of the response.
    GrpcWeb(WebEncoding, WebEncoding),
    Connect(Kind),
    Json,
}

impl DownstreamProtocol {
    /// Its place in [`PROTOCOLS`](crate::metrics::PROTOCOLS).
    pub(in crate::worker) const fn number(self) -> u8 {
        match self {
            DownstreamProtocol::Grpc => 0,
            DownstreamProtocol::GrpcWeb(..) => 1,
            DownstreamProtocol::Json => 2,
            DownstreamProtocol::Connect(_) => 3,
        }
    }
}

/// Reads the protocol from a head. `transcodes` says whether plain HTTP is understood at all.
pub(in crate::worker) fn of(head: &Head, version: Version, transcodes: bool) -> DownstreamProtocol {
    let content_type = value(head, Name::CONTENT_TYPE);
    let is_http2 = version == Version::Http2;
    if content::is_grpc(content_type) {
        // Over HTTP/1.1 the caller can only be told so.
        return if is_http2 { DownstreamProtocol::Grpc } else { DownstreamProtocol::Json };
    }
    if let Some(form) = WebEncoding::of(content_type) {
        return DownstreamProtocol::GrpcWeb(form, response_form(head, form));
    }
    if let Some(kind) = Kind::of(content_type, false) {
        return DownstreamProtocol::Connect(kind);
    }
    // One that says so is answered so, whatever else it gets wrong.
    if head.get_named(connect::VERSION.0).is_some() {
        return DownstreamProtocol::Connect(Kind::Unary);
    }
    if transcodes && head.method() == Some(b"GET") && query(head).is_some_and(Get::is_meant) {
        return DownstreamProtocol::Connect(Kind::Unary);
    }
    // Refused in gRPC's own format (415): a type that means gRPC and is none of its own, and without transcoding all
    // that seems to call a method.
    let seems_grpc = content::is_like_grpc(content_type) || (!transcodes && calls_method(head, is_http2));
    if seems_grpc { DownstreamProtocol::Grpc } else { DownstreamProtocol::Json }
}

/// Whether a request that is not gRPC-Web would call a method if its type were another one. JSON would if the method were
/// mapped, which is another response. gRPC clients speak HTTP/2, so there a type may be missing.
fn calls_method(head: &Head, is_http2: bool) -> bool {
    let content_type = value(head, Name::CONTENT_TYPE);
    head.method() == Some(b"POST")
        && head.path().is_some_and(path::is_method)
        && (is_http2 || !content_type.is_empty())
        && !content::is_json(content_type)
        && !content::is_json_lines(content_type)
}

/// The form that is asked for, or that of the request.
fn response_form(head: &Head, request: WebEncoding) -> WebEncoding {
    WebEncoding::of(value(head, Name::ACCEPT)).unwrap_or(request)
}

fn query(head: &Head) -> Option<&str> {
    str::from_utf8(head.path()?).ok()?.split_once('?').map(|(_, query)| query)
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
        let web = DownstreamProtocol::GrpcWeb(WebEncoding::Binary, WebEncoding::Binary);
        let text = DownstreamProtocol::GrpcWeb(WebEncoding::Text, WebEncoding::Text);
        for (version, content_type, accept, transcodes, wanted) in [
            (http2, "application/grpc", "", true, DownstreamProtocol::Grpc),
            (http2, "application/grpc+proto", "", false, DownstreamProtocol::Grpc),
            (http2, "application/json", "", false, DownstreamProtocol::Json),
            (http2, "application/json", "", true, DownstreamProtocol::Json),
            (http2, "", "", true, DownstreamProtocol::Json),
            (http2, "application/grpc-web", "", true, web),
            (http2, "application/grpc-web-text", "", false, text),
            (
                http2,
                "application/grpc-web",
                "application/grpc-web-text",
                true,
                DownstreamProtocol::GrpcWeb(WebEncoding::Binary, WebEncoding::Text),
            ),
            (http1, "application/grpc-web+proto", "*/*", false, web),
            (http1, "application/grpc", "", true, DownstreamProtocol::Json),
            (http1, "application/grpc", "", false, DownstreamProtocol::Json),
            (http1, "application/json", "", false, DownstreamProtocol::Json),
            (http1, "application/x-ndjson", "", false, DownstreamProtocol::Json),
            (http1, "", "", false, DownstreamProtocol::Json),
            (http1, "image/jpeg", "", true, DownstreamProtocol::Json),
            (http1, "image/jpeg", "", false, DownstreamProtocol::Grpc),
            (http2, "image/jpeg", "", false, DownstreamProtocol::Grpc),
            (http1, "application/grpc-webx", "", true, DownstreamProtocol::Grpc),
            (http1, "application/grpcx", "", false, DownstreamProtocol::Grpc),
            (http2, "application/grpc-webx+json", "", true, DownstreamProtocol::Grpc),
            (http2, "application/proto", "", true, DownstreamProtocol::Connect(Kind::Unary)),
            (http1, "application/connect+json", "", false, DownstreamProtocol::Connect(Kind::Stream)),
            (http1, "", "", true, DownstreamProtocol::Json),
        ] {
            let mut head = Heads::new().head();
            head.set_method(b"POST");
            head.set_path(b"/a.B/C");
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

    #[test]
    fn an_upload_is_no_call_unless_it_is_a_post_to_a_method() {
        for (method, path, wanted) in [
            ("POST", "/a.B/C", DownstreamProtocol::Grpc),
            ("PUT", "/a.B/C", DownstreamProtocol::Json),
            ("POST", "/v1/photos/7", DownstreamProtocol::Json),
        ] {
            let mut head = Heads::new().head();
            head.set_method(method.as_bytes());
            head.set_path(path.as_bytes());
            head.push(Name::CONTENT_TYPE, b"image/jpeg");
            assert_eq!(of(&head, Version::Http11, false), wanted, "{method} {path}");
        }
    }
}
