//! Header fields that may be changed on a call's way, by the operator or by an authorization service.

/// Whether a field of this name, in lower case, may be changed: it is a name, and concerns neither one connection, nor
/// the framing of a body, nor gRPC's protocol.
pub fn may_change(name: &str) -> bool {
    let of_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_protocol = matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "trailer"
            | "http2-settings"
            | "content-length"
            | "expect"
            | "host"
            | "content-type"
    );
    !name.is_empty() && name.bytes().all(of_name) && !is_protocol && !name.starts_with("grpc-")
}

/// Whether these bytes may be the value of a field (RFC 9110 section 5.5).
pub fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| !matches!(byte, 0..=8 | 10..=31 | 127)) && value.trim_ascii() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_that_may_be_changed() {
        for name in ["x-a", "authorization", "user-agent", "x_b", "!"] {
            assert!(may_change(name), "{name}");
        }
        for name in
            ["", "X-A", ":path", "host", "te", "connection", "grpc-timeout", "content-type", "a b", "ä"]
        {
            assert!(!may_change(name), "{name}");
        }
        for value in [&b""[..], b"a b", b"a\tb", b"\xc3\xa4"] {
            assert!(is_value(value), "{value:?}");
        }
        for value in [&b" a"[..], b"a\n", b"a\r\nb", b"\0", b"\x7f"] {
            assert!(!is_value(value), "{value:?}");
        }
    }
}
