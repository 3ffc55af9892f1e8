//! The `grpc-timeout` header, read and written; and `x-request-timeout`, for those who do not speak gRPC.
//!
//! Source: "Requests" in gRPC `doc/PROTOCOL-HTTP2.md`: `TimeoutValue → {positive integer as ASCII string of at most 8
//! digits}`, `TimeoutUnit → "H" / "M" / "S" / "m" / "u" / "n"`. [`policy::deadline`](crate::policy::deadline) keeps the deadline.

use std::ops::Deref;
use std::time::Duration;

/// Parses a `grpc-timeout`: 1 to 8 ASCII digits and a unit. Anything else is `None`.
///
/// Zero is not a positive integer, but callers whose time has just run out send it, so it is read as what it says.
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    // Eight digits of hours are 3.6e11 seconds, so no product overflows.
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Parses an `x-request-timeout`. It is a whole number of milliseconds, as in Envoy's `x-envoy-upstream-rq-timeout-ms`.
/// Or it has a unit, as in our configuration: `250ms`, `1.5s`, `2m`, `1h`, `500us`. At most 12 digits before the dot
/// and 9 after it. Anything else is `None`.
pub fn parse_request_timeout(value: &[u8]) -> Option<Duration> {
    let end = value.iter().position(u8::is_ascii_alphabetic).unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let nanos_per_unit: u64 = match unit {
        b"us" => 1_000,
        b"" | b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    };
    let dot = number.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match dot {
        Some(_) if unit.is_empty() => return None,
        Some(dot) => (&number[..dot], &number[dot + 1..]),
        None => (number, &b"0"[..]),
    };
    let digits = |text: &[u8], max: usize| {
        let valid = (1..=max).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        valid.then(|| text.iter().fold(0, |number, digit| number * 10 + u128::from(digit - b'0')))
    };
    let (whole, fraction, places) = (digits(whole, 12)?, digits(fraction, 9)?, fraction.len());
    // At most 10^12 hours: far from 2^128.
    let scale =
        [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000][places];
    let nanos = (whole * scale + fraction) * u128::from(nanos_per_unit) / scale;
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// Writes what is left of a deadline in the finest unit in which it has at most 8 digits.
///
/// Rounds down, so that no hop extends a deadline; more than 11,000 years become that. Only zero becomes "0n".
pub fn format(left: Duration) -> Formatted {
    let seconds = u128::from(left.as_secs());
    let (number, unit) = [
        (left.as_nanos(), b'n'),
        (left.as_micros(), b'u'),
        (left.as_millis(), b'm'),
        (seconds, b'S'),
        (seconds / 60, b'M'),
    ]
    .into_iter()
    .find(|&(number, _)| number <= u128::from(NUMBER_MAX))
    .unwrap_or((seconds / 3_600, b'H'));
    let mut rest = u32::try_from(number).unwrap_or(NUMBER_MAX).min(NUMBER_MAX);

    let mut bytes = [b'0'; DIGITS_MAX + 1];
    bytes[DIGITS_MAX] = unit;
    let mut start = DIGITS_MAX;
    loop {
        start -= 1;
        // `% 10` fits a byte.
        let digit = (rest % 10) as u8;
        bytes[start] = b'0' + digit;
        rest /= 10;
        if rest == 0 {
            return Formatted { bytes, start };
        }
    }
}

/// The text of a `grpc-timeout`, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Formatted {
    /// The text stands at the end.
    bytes: [u8; DIGITS_MAX + 1],
    start: usize,
}

impl Deref for Formatted {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl AsRef<[u8]> for Formatted {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

const DIGITS_MAX: usize = 8;
const NUMBER_MAX: u32 = 99_999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let table = [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0S", Some(Duration::ZERO)),
            ("00000001S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("", None),
            ("S", None),
            ("1", None),
            ("100000000S", None),
            ("000000001S", None),
            ("1h", None),
            ("1s", None),
            ("1U", None),
            ("1.5S", None),
            ("-1S", None),
            ("+1S", None),
            (" 1S", None),
            ("1S ", None),
            ("1 S", None),
            ("1ms", None),
            ("\u{661}S", None),
        ];
        for (value, wanted) in table {
            assert_eq!(parse(value.as_bytes()), wanted, "{value:?}");
        }
        for unit in 0..=u8::MAX {
            assert_eq!(parse(&[b'1', unit]).is_some(), b"HMSmun".contains(&unit), "{unit}");
        }
    }

    #[test]
    fn a_request_timeout_is_milliseconds_or_has_a_unit() {
        let table = [
            ("250", Some(Duration::from_millis(250))),
            ("0", Some(Duration::ZERO)),
            ("250ms", Some(Duration::from_millis(250))),
            ("1.5s", Some(Duration::from_millis(1_500))),
            ("0.000000001s", Some(Duration::from_nanos(1))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3_600))),
            ("500us", Some(Duration::from_micros(500))),
            ("0.5us", Some(Duration::from_nanos(500))),
            ("999999999999h", Some(Duration::from_nanos(u64::MAX))),
            ("", None),
            ("ms", None),
            ("1.5", None),
            ("1.s", None),
            (".5s", None),
            ("1..5s", None),
            ("1.5.1s", None),
            ("-1s", None),
            ("+1s", None),
            ("1e3s", None),
            ("1S", None),
            ("1 s", None),
            (" 1s", None),
            ("1s ", None),
            ("1sec", None),
            ("1000000000000s", None),
            ("1.0000000001s", None),
            ("\u{661}s", None),
        ];
        for (value, wanted) in table {
            assert_eq!(parse_request_timeout(value.as_bytes()), wanted, "{value:?}");
        }
    }

    #[test]
    fn what_is_left_is_written_in_the_finest_unit_that_fits() {
        let table = [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_micros(99_999_999), "99999999u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(6_000_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ];
        for (left, wanted) in table {
            assert_eq!(str::from_utf8(&format(left)).unwrap(), wanted, "{left:?}");
        }
    }

    #[test]
    fn writing_never_extends_a_deadline() {
        let mut random = Random::seeded(11);
        for _ in 0..100_000 {
            let nanos = random.below_u64(u64::MAX) >> random.below(64);
            let left = Duration::from_nanos(nanos);
            let text = format(left);
            let read = parse(&text).unwrap();
            assert!(read <= left, "{left:?}");
            assert_eq!(read.is_zero(), left.is_zero(), "{left:?}");
            // Less than one unit is lost, which is a 100,000th part or less.
            assert!(left - read <= left / 100_000, "{left:?} {read:?}");
        }
    }
}
