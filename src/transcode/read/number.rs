//! Numbers as JSON writes them, into the numbers of protobuf: exact, with their ranges checked.

/// A number in JSON's grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'t> {
    pub(super) text: &'t str,
    /// Neither a fraction nor an exponent.
    is_plain: bool,
}

/// A whole number that fits 64 bits, with or without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    is_negative: bool,
    magnitude: u64,
}

const NOT_WHOLE: &str = "not a whole number";
const OUT_OF_RANGE: &str = "out of range";

impl<'t> Number<'t> {
    /// The number at the start of `text`, as far as it goes.
    #[inline]
    pub(super) fn at_start(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = usize::from(bytes.first() == Some(&b'-'));
        at += match bytes.get(at)? {
            b'0' => 1,
            b'1'..=b'9' => digits(at),
            _ => return None,
        };
        let whole = at;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            if fraction == 0 {
                return None;
            }
            at += 1 + fraction;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits((at + 1 + sign).min(bytes.len()));
            if exponent == 0 {
                return None;
            }
            at += 1 + sign + exponent;
        }
        Some(Self { text: &text[..at], is_plain: at == whole })
    }

    /// The number that is all of `text`.
    pub(super) fn whole_text(text: &'t str) -> Option<Self> {
        Self::at_start(text).filter(|number| number.text.len() == text.len())
    }

    /// Its value, if it has no fraction: `7`, `7.0`, `0.7e1`.
    #[inline]
    pub(super) fn whole(self) -> Result<Whole, &'static str> {
        let is_negative = self.text.starts_with('-');
        let digits = &self.text.as_bytes()[usize::from(is_negative)..];
        // 19 digits always fit.
        if self.is_plain && digits.len() <= 19 {
            let magnitude = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
            return Ok(Whole { is_negative, magnitude });
        }
        Ok(Whole { is_negative, magnitude: exact(digits)? })
    }

    /// The nearest double.
    pub(super) fn double(self) -> Result<f64, &'static str> {
        let value: f64 = self.text.parse().map_err(|_| "malformed number")?;
        if value.is_finite() { Ok(value) } else { Err(OUT_OF_RANGE) }
    }

    /// The nearest float.
    pub(super) fn float(self) -> Result<f32, &'static str> {
        let value: f32 = self.text.parse().map_err(|_| "malformed number")?;
        if value.is_finite() { Ok(value) } else { Err(OUT_OF_RANGE) }
    }
}

/// The value of digits with a fraction and an exponent, whose number ends where the exponent says.
fn exact(text: &[u8]) -> Result<u64, &'static str> {
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(exponent_at);
    let integral = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    // So many digits are before the decimal point, once the exponent has moved it.
    let point = i64::try_from(integral).unwrap_or(i64::MAX).saturating_add(signed(exponent));

    let digits = mantissa.iter().filter(|&&byte| byte != b'.');
    let mut value: u64 = 0;
    let mut count = 0;
    for digit in digits {
        let digit = u64::from(digit - b'0');
        if count < point {
            value = value.checked_mul(10).and_then(|ten| ten.checked_add(digit)).ok_or(OUT_OF_RANGE)?;
        } else if digit != 0 {
            return Err(NOT_WHOLE);
        }
        count += 1;
    }
    while count < point && value != 0 {
        value = value.checked_mul(10).ok_or(OUT_OF_RANGE)?;
        count += 1;
    }
    Ok(value)
}

/// The value of `e-12`; of one beyond reason, something beyond reason.
fn signed(exponent: &[u8]) -> i64 {
    let digits = exponent.iter().filter(|byte| byte.is_ascii_digit());
    let value = digits.fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(1 << 40)
    });
    if exponent.contains(&b'-') { -value } else { value }
}

impl Whole {
    #[inline]
    pub(super) fn as_i64(self) -> Result<i64, &'static str> {
        let value = if self.is_negative {
            0_i64.checked_sub_unsigned(self.magnitude)
        } else {
            i64::try_from(self.magnitude).ok()
        };
        value.ok_or(OUT_OF_RANGE)
    }

    #[inline]
    pub(super) fn as_u64(self) -> Result<u64, &'static str> {
        if self.is_negative && self.magnitude != 0 { Err(OUT_OF_RANGE) } else { Ok(self.magnitude) }
    }

    #[inline]
    pub(super) fn as_i32(self) -> Result<i32, &'static str> {
        i32::try_from(self.as_i64()?).map_err(|_| OUT_OF_RANGE)
    }

    #[inline]
    pub(super) fn as_u32(self) -> Result<u32, &'static str> {
        u32::try_from(self.as_u64()?).map_err(|_| OUT_OF_RANGE)
    }
}
