//! The path of a call.
//!
//! Source: `doc/PROTOCOL-HTTP2.md`: `Path → ":path" "/" Service-Name "/" {method name}`.

/// `/{service}/{method}`, both there and nothing else: no upstream is asked to make sense of `//` or `/..`.
pub fn is_method(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else { return false };
    let Some(at) = rest.iter().position(|byte| *byte == b'/') else { return false };
    let (service, method) = (&rest[..at], &rest[at + 1..]);
    !service.is_empty()
        && !method.is_empty()
        && !method.contains(&b'/')
        && service != b".."
        && method != b".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_service_and_method_is_a_path() {
        for (path, expected) in [
            ("/a.B/C", true),
            ("/B/C", true),
            ("/a.B/", false),
            ("//C", false),
            ("/", false),
            ("", false),
            ("*", false),
            ("a.B/C", false),
            ("/a.B", false),
            ("/a.B/C/", false),
            ("/a.B/C/D", false),
            ("/../C", false),
            ("/a.B/..", false),
        ] {
            assert_eq!(is_method(path.as_bytes()), expected, "{path:?}");
        }
    }
}
