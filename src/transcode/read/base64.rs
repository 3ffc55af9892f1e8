//! Base64 back to bytes: the usual alphabet and that of URLs, with or without padding.

/// What is not a digit.
const NONE: u8 = 0xFF;

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
        let mut four = [0; 4];
        let here = (digits - from).min(4);
        for (value, digit) in four.iter_mut().zip(&text[from..from + here]) {
            *value = DIGITS[usize::from(*digit)];
        }
        if four.contains(&NONE) {
            return Err("not base64");
        }
        let [a, b, c, d] = four;
        let three = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        // Never beyond what was read: at most three bytes for four digits.
        text[to..to + here - 1].copy_from_slice(&three[..here - 1]);
        from += here;
        to += here - 1;
    }
    bytes.truncate(start + to);
    Ok(())
}
