//! The `content-type` header of gRPC, and the format of messages that it names.
//!
//! Source: `doc/PROTOCOL-HTTP2.md`: `Content-Type → "content-type" "application/grpc" [("+proto" / "+json" / {custom})]`.

use std::borrow::Cow;

/// Whether this content type is gRPC's: `application/grpc`, alone or with a `+format` or `;parameters`.
///
/// Media types are compared case-insensitively (RFC 9110 section 8.3.1). `application/grpc-web` is another protocol.
pub fn is_grpc(content_type: &[u8]) -> bool {
    // Nearly all callers write exactly this.
    if content_type == GRPC {
        return true;
    }
    let Some((base, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    base.eq_ignore_ascii_case(GRPC)
        && match rest.first() {
            None | Some(b'+' | b';') => true,
            // Spaces may stand before the parameters.
            Some(b' ' | b'\t') => matches!(rest.trim_ascii_start().first(), None | Some(b';')),
            Some(_) => false,
        }
}

/// Does this content type begin like those of gRPC and gRPC-Web? Only callers of these send such, known or not.
pub fn is_like_grpc(content_type: &[u8]) -> bool {
    content_type.get(..GRPC.len()).is_some_and(|base| base.eq_ignore_ascii_case(GRPC))
}

/// Is this JSON: `application/json`, `text/json`, any `+json`, or lines of JSON?
pub fn is_json(content_type: &[u8]) -> bool {
    const JSON: [&[u8]; 2] = [b"application/json", b"text/json"];
    let media = without_parameters(content_type);
    let suffix = media.len().checked_sub(b"+json".len()).map(|at| &media[at..]);
    JSON.iter().any(|known| media.eq_ignore_ascii_case(known))
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

/// Is this a stream of JSON values, one a line?
pub fn is_json_lines(content_type: &[u8]) -> bool {
    const LINES: [&[u8]; 3] = [b"application/x-ndjson", b"application/ndjson", b"application/jsonl"];
    LINES.iter().any(|known| without_parameters(content_type).eq_ignore_ascii_case(known))
}

/// The format of the messages that a content type of gRPC or gRPC-Web names: `json` in `application/grpc-web+json`.
pub fn format(content_type: &[u8]) -> Option<&[u8]> {
    let media = media(content_type);
    let plus = media.iter().position(|byte| *byte == b'+')?;
    let format = &media[plus + 1..];
    (is_like_grpc(media) && !format.is_empty()).then_some(format)
}

/// The content type of gRPC with messages in this format.
pub fn of_grpc(format: Option<&[u8]>) -> Cow<'static, [u8]> {
    match format {
        None => Cow::Borrowed(GRPC),
        Some(b"proto") => Cow::Borrowed(b"application/grpc+proto"),
        Some(other) => Cow::Owned([GRPC, b"+", other].concat()),
    }
}

fn without_parameters(content_type: &[u8]) -> &[u8] {
    content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The first media type, without its parameters.
pub(super) fn media(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t' | b','));
    &content_type[..end.unwrap_or(content_type.len())]
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_from_what_looks_like_it() {
        let table = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc+json", true),
            ("application/grpc+", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc ; charset=utf-8", true),
            ("application/grpc+proto;a=b", true),
            ("application/grpc ", true),
            ("Application/gRPC+Proto", true),
            ("", false),
            ("application/grp", false),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/grpc, application/json", false),
            ("application/grpc x", false),
            (" application/grpc", false),
            ("application/json", false),
            ("text/application/grpc", false),
        ];
        for (content_type, wanted) in table {
            assert_eq!(is_grpc(content_type.as_bytes()), wanted, "{content_type:?}");
        }
    }

    #[test]
    fn the_format_goes_from_one_protocol_to_the_other() {
        for (content_type, wanted, grpc) in [
            ("application/grpc", None, "application/grpc"),
            ("application/grpc+proto", Some("proto"), "application/grpc+proto"),
            ("application/grpc-web+json", Some("json"), "application/grpc+json"),
            ("application/grpc-web-text+thrift; a=b+c", Some("thrift"), "application/grpc+thrift"),
            ("Application/gRPC-Web+JSON", Some("JSON"), "application/grpc+JSON"),
            ("application/grpc-web+a+b, */*", Some("a+b"), "application/grpc+a+b"),
            ("application/grpc-web+", None, "application/grpc"),
            ("application/grpc;a=b+c", None, "application/grpc"),
            ("application/ld+json", None, "application/grpc"),
            ("", None, "application/grpc"),
        ] {
            let format = format(content_type.as_bytes());
            assert_eq!(format, wanted.map(str::as_bytes), "{content_type:?}");
            assert_eq!(&*of_grpc(format), grpc.as_bytes(), "{content_type:?}");
        }
    }

    #[test]
    fn json_is_told_from_what_is_like_grpc_and_from_all_else() {
        for (content_type, json, lines, like_grpc) in [
            ("application/json", true, false, false),
            ("Text/JSON; charset=utf-8", true, false, false),
            ("application/problem+json", true, false, false),
            ("+json", true, false, false),
            ("application/x-ndjson", false, true, false),
            ("application/jsonl;a=b", false, true, false),
            ("application/grpc-webx", false, false, true),
            ("Application/gRPCx", false, false, true),
            ("application/json, text/plain", false, false, false),
            ("json", false, false, false),
            ("image/jpeg", false, false, false),
            ("", false, false, false),
        ] {
            let bytes = content_type.as_bytes();
            let is = (is_json(bytes), is_json_lines(bytes), is_like_grpc(bytes));
            assert_eq!(is, (json, lines, like_grpc), "{content_type:?}");
        }
    }
}
