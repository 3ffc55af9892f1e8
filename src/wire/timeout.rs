//! The `grpc-timeout` header, read and written.
//!
//! Source: "Requests" in gRPC `doc/PROTOCOL-HTTP2.md`: `TimeoutValue → {positive integer as ASCII string of at most 8
//! digits}`, `TimeoutUnit → "H" / "M" / "S" / "m" / "u" / "n"`. Who keeps the deadline is `policy/deadline.rs`.

use std::ops::Deref;
use std::time::Duration;

/// What a `grpc-timeout` says: 1 to 8 ASCII digits and a unit. Anything else is `None`.
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
