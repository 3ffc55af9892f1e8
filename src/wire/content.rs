//! The `content-type` header of gRPC.
//!
//! Source: `doc/PROTOCOL-HTTP2.md`: `Content-Type → "content-type" "application/grpc" [("+proto" / "+json" / {custom})]`.

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
}
