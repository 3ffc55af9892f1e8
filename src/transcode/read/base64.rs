//! Base64 back to bytes: the usual alphabet and that of URLs, with or without padding.

/// The value of a byte that is no digit, and the bit that no digit has.
const NONE: u8 = 0xFF;
const NONE_BIT: u8 = 0x80;

const DIGITS: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        digits[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    digits[b'-' as usize] = 62;
    digits[b'_' as usize] = 63;
    digits
};

/// Replaces the base64 from `start` on by what it stands for.
pub(super) fn decode(bytes: &mut Vec<u8>, start: usize) -> Result<(), &'static str> {
    let text = &mut bytes[start..];
    let padding = text.iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
    let digits = text.len() - padding;
    // With padding it must be all of it, as many as fill up four. One digit alone is less than a byte.
    if digits % 4 == 1 || padding != 0 && !text.len().is_multiple_of(4) {
        return Err("base64 of a wrong length");
    }
    let (mut from, mut to) = (0, 0);
    while from < digits {
        // The last of them may be two or three digits, for one or two bytes.
        let here = (digits - from).min(4);
        let mut four = [0; 4];
        if here == 4 {
            four.copy_from_slice(&text[from..from + 4]);
            four = four.map(|digit| DIGITS[usize::from(digit)]);
        } else {
            for (value, digit) in four.iter_mut().zip(&text[from..from + here]) {
                *value = DIGITS[usize::from(*digit)];
            }
        }
        let [a, b, c, d] = four;
        if (a | b | c | d) & NONE_BIT != 0 {
            return Err("not base64");
        }
        let three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        // Overwritten digits have been read: there are fewer bytes than digits.
        if here == 4 {
            text[to..to + 3].copy_from_slice(&three);
        } else {
            text[to..to + here - 1].copy_from_slice(&three[..here - 1]);
        }
        from += here;
        to += here - 1;
    }
    bytes.truncate(start + to);
    Ok(())
}
