//! What a caller speaks: gRPC, gRPC-Web, or plain HTTP with JSON.

use super::head::Version;
use crate::http2::{Head, Name};
use crate::wire::content;
use crate::wire::web::Form;

/// What a caller speaks, and wants to be answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Grpc,
    /// In which form the body comes, and in which the answer goes.
    Web(Form, Form),
    Http,
}

/// Reads it from a head. `transcodes` says whether plain HTTP is understood at all.
pub(super) fn of(head: &Head, version: Version, transcodes: bool) -> Language {
    let content_type = value(head, Name::CONTENT_TYPE);
    if version == Version::Http2 && (content::is_grpc(content_type) || !transcodes) {
        // Whoever does not say so, and cannot be meant otherwise, is told in gRPC that it is not.
        return match Form::of(content_type) {
            Some(form) => Language::Web(form, answer_form(head, form)),
            None => Language::Grpc,
        };
    }
    match Form::of(content_type) {
        Some(form) => Language::Web(form, answer_form(head, form)),
        None => Language::Http,
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
        let web = Language::Web(Form::Binary, Form::Binary);
        let text = Language::Web(Form::Text, Form::Text);
        for (version, content_type, accept, transcodes, wanted) in [
            (http2, "application/grpc", "", true, Language::Grpc),
            (http2, "application/grpc+proto", "", false, Language::Grpc),
            (http2, "application/json", "", false, Language::Grpc),
            (http2, "application/json", "", true, Language::Http),
            (http2, "", "", true, Language::Http),
            (http2, "application/grpc-web", "", true, web),
            (http2, "application/grpc-web-text", "", false, text),
            (
                http2,
                "application/grpc-web",
                "application/grpc-web-text",
                true,
                Language::Web(Form::Binary, Form::Text),
            ),
            (http1, "application/grpc-web+proto", "*/*", false, web),
            (http1, "application/grpc", "", true, Language::Http),
            (http1, "application/json", "", false, Language::Http),
            (http1, "", "", true, Language::Http),
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
