//! The `grpc-message` header: text, percent-encoded.
//!
//! Source: "Responses" in `doc/PROTOCOL-HTTP2.md`: bytes %x20-24 and %x26-7E stand for themselves, all others are
//! written as `%` and two hex digits. A malformed escape must not hide a status: it is kept as it is.

use std::borrow::Cow;

/// The value of a `grpc-message` header that says this. Most sentences need no encoding and are not copied.
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                encoded.push(char::from(HEX[usize::from(digit)]));
            }
        }
    }
    Cow::Owned(encoded)
}

/// Decodes a `grpc-message` header. A `%` without two hex digits after it is kept. Bytes that are then not UTF-8 become
/// replacement characters.
pub fn decode(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(first);
        if first == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            bytes.pop();
            bytes.push(high << 4 | low);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'%'
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn text_is_encoded_byte_by_byte() {
        let table = [
            ("", ""),
            ("deadline passed", "deadline passed"),
            (" !\"#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", " !\"#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"),
            ("100 %", "100 %25"),
            ("%41", "%2541"),
            ("a\r\nb\tc\0\u{7f}", "a%0D%0Ab%09c%00%7F"),
            ("\u{e9}\u{20ac}\u{1f600}", "%C3%A9%E2%82%AC%F0%9F%98%80"),
        ];
        for (text, value) in table {
            assert_eq!(encode(text), value);
            assert_eq!(decode(value.as_bytes()), text);
        }
        assert!(matches!(encode("deadline passed"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_malformed_is_kept() {
        let table: [(&[u8], &str); 10] = [
            (b"%", "%"),
            (b"%4", "%4"),
            (b"%4g", "%4g"),
            (b"%g4", "%g4"),
            (b"%%41", "%A"),
            (b"%41%", "A%"),
            (b"%c3%A9", "\u{e9}"),
            (b"%FFx", "\u{fffd}x"),
            (b"\xffx", "\u{fffd}x"),
            (b"a\tb", "a\tb"),
        ];
        for (value, text) in table {
            assert_eq!(decode(value), text, "{value:?}");
        }
    }

    #[test]
    fn any_text_comes_back_and_any_bytes_can_be_read() {
        let mut random = Random::seeded(31);
        for _ in 0..20_000 {
            let length = random.below(12);
            let text: String = (0..length)
                .filter_map(|_| char::from_u32(random.below(0x11_0000) >> random.below(20)))
                .collect();
            let value = encode(&text);
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
            assert_eq!(decode(value.as_bytes()), text);

            let bytes: Vec<u8> = (0..length).map(|_| b"%%0aF\xc3\xa9 "[random.below(8) as usize]).collect();
            decode(&bytes);
        }
    }
}
