//! Metadata whose name ends in `-bin`: bytes, in base64.
//!
//! Source: "Requests" in `doc/PROTOCOL-HTTP2.md`: `Binary-Header → {Header-Name "-bin" } {base64 encoded value}`.
//! "Implementations MUST accept padded and un-padded values and should emit un-padded values", and must split a value
//! at its commas first, as repeated headers may have been joined.
//!
//! Judged strictly, for some services end the whole connection over a header they cannot decode, and other clients'
//! calls with it: padding is whole or absent, and the bits that the last digit has too many are zero.

/// Whether a header of this name, in lower case, carries bytes.
pub fn is_binary(name: &str) -> bool {
    name.ends_with("-bin")
}

/// Whether this is the value of a binary header: base64 (RFC 4648 section 4), or several separated by commas and
/// spaces.
pub fn is_valid(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').all(|one| digits_of(trim(one)).is_some())
}

/// The bytes that one base64 text, without commas, stands for.
pub fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let digits = digits_of(trim(value))?;
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for &digit in digits {
        bits = bits << 6 | u32::from(digit_value(digit)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            // Shifting leaves what the byte before had; it is cut off on purpose.
            #[expect(clippy::cast_possible_truncation)]
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// The base64 text of these bytes, without padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        // A byte more in the group is a digit more in the text.
        for place in 0..=group.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 0x3f) as usize]));
        }
    }
    text
}

/// The digits of a base64 text without its padding, if the whole is well formed.
fn digits_of(text: &[u8]) -> Option<&[u8]> {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let digits = &text[..text.len() - padding];
    let whole = padding == 0 || padding <= 2 && text.len().is_multiple_of(4);
    if !whole || !digits.iter().all(|&digit| digit_value(digit).is_some()) {
        return None;
    }
    let spare = match digits.len() % 4 {
        0 => 0,
        1 => return None,
        2 => 0b1111,
        _ => 0b11,
    };
    let last = digits.last().and_then(|&digit| digit_value(digit)).unwrap_or(0);
    (last & spare == 0).then_some(digits)
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

const fn digit_value(digit: u8) -> Option<u8> {
    let value = VALUES[digit as usize];
    if value == NO_DIGIT { None } else { Some(value) }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const NO_DIGIT: u8 = 0xff;

/// The value of each byte as a digit. A table, since every byte of every binary header is looked up.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        // There are 64.
        #[expect(clippy::cast_possible_truncation)]
        let worth = value as u8;
        values[DIGITS[value] as usize] = worth;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_name_says_whether_a_header_is_binary() {
        for (name, wanted) in [
            ("grpc-status-details-bin", true),
            ("x-bin", true),
            ("-bin", true),
            ("bin", false),
            ("x-bin-x", false),
            ("x-binary", false),
            ("", false),
        ] {
            assert_eq!(is_binary(name), wanted, "{name:?}");
        }
    }

    #[test]
    fn base64_may_be_padded_or_not() {
        // RFC 4648 section 10.
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, padded) in table {
            let unpadded = padded.trim_end_matches('=');
            assert_eq!(encode(text.as_bytes()), unpadded);
            for value in [padded, unpadded, &format!(" {padded}\t")] {
                assert!(is_valid(value.as_bytes()), "{value:?}");
                assert_eq!(decode(value.as_bytes()).unwrap(), text.as_bytes(), "{value:?}");
            }
        }
        assert_eq!(decode(b"+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        assert_eq!(encode(&[0xab; 3]), "q6ur");
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for value in [
            "A", "AAAAA", "=", "==", "A=", "A===", "AA=", "AAA==", "AAAA=", "AAAA====", "AA==AA==", "=AAA",
            "A=AA", "AB", "AAB", "AB==", "AAB=", "AA AA", "-_-_", "AA\nAA", "AA\0A", "AA.A", "\u{e9}AA",
        ] {
            assert!(!is_valid(value.as_bytes()), "{value:?}");
            assert_eq!(decode(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn values_may_be_joined_with_commas() {
        for (value, wanted) in [
            ("Zg==,Zm8=", true),
            ("Zg, Zm8 ,\tZm9v", true),
            ("Zg==,", true),
            (",", true),
            ("Zg==,Zm8=,A", false),
            ("Zg==;Zm8=", false),
        ] {
            assert_eq!(is_valid(value.as_bytes()), wanted, "{value:?}");
            assert_eq!(decode(value.as_bytes()), None, "a list is no single value: {value:?}");
        }
    }

    #[test]
    fn all_bytes_come_back_and_what_is_valid_can_be_decoded() {
        let mut random = Random::seeded(41);
        for _ in 0..20_000 {
            let mut byte = || u8::try_from(random.below(256)).unwrap();
            let bytes: Vec<u8> = (0..byte() % 20).map(|_| byte()).collect();
            let mut text = encode(&bytes);
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes);
            while !text.len().is_multiple_of(4) {
                text.push('=');
            }
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes);

            let mut spoilt = text.into_bytes();
            if let Some(place) = spoilt.len().checked_sub(1).map(|last| usize::from(byte()) % (last + 1)) {
                spoilt[place] = byte();
            }
            if !spoilt.contains(&b',') {
                assert_eq!(is_valid(&spoilt), decode(&spoilt).is_some(), "{spoilt:?}");
            }
        }
    }
}
