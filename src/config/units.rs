//! Durations and sizes as people write them: `"250ms"`, `"64KiB"`.

use std::fmt;
use std::time::Duration;

/// The reason why a text is not a duration or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no number before the unit, or more than a number.
    NotANumber,
    /// A number and nothing else.
    NoUnit,
    /// The text after the number is none of the units.
    UnknownUnit,
    /// More than the type can hold.
    TooLarge,
}

/// `"10us"`, `"250ms"`, `"1.5s"`, `"1m"`, `"1h"`.
pub(super) fn duration(text: &str) -> Result<Duration, Refused> {
    let (number, unit) = split(text);
    let nanos_per_unit: u128 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "" if number.is_empty() => return Err(Refused::NotANumber),
        "" => return Err(Refused::NoUnit),
        _ if number.is_empty() => return Err(Refused::NotANumber),
        _ => return Err(Refused::UnknownUnit),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = digits(whole, 15)?;
    let places = u32::try_from(fraction.len()).map_err(|_| Refused::TooLarge)?;
    let fraction = digits(fraction, 9)?;
    // At most 10^15 hours and 10^9 parts of one: neither product comes near 2^128.
    let nanos = whole * nanos_per_unit + fraction * nanos_per_unit / 10_u128.pow(places);
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| Refused::TooLarge)
}

/// `"64KiB"`, `"1MiB"`, `"1GiB"`, `"16384B"`, `"16384"`.
pub(super) fn bytes(text: &str) -> Result<u64, Refused> {
    let (number, unit) = split(text);
    let bytes_per_unit: u128 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ if number.is_empty() => return Err(Refused::NotANumber),
        _ => return Err(Refused::UnknownUnit),
    };
    u64::try_from(digits(number, 20)? * bytes_per_unit).map_err(|_| Refused::TooLarge)
}

/// The number and the unit of a text; neither is checked.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// A number of at most `count` decimal digits and nothing else. `count` is at most 38, so that a u128 holds it.
fn digits(text: &str, count: usize) -> Result<u128, Refused> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::NotANumber);
    }
    if text.len() > count {
        return Err(Refused::TooLarge);
    }
    text.parse().map_err(|_| Refused::TooLarge)
}

/// Shows a duration as the configuration takes it, in the largest unit that leaves a whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
        match units.iter().find(|(size, _)| micros >= *size && micros.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", micros / size),
            None => write!(f, "0s"),
        }
    }
}

/// Shows a size as the configuration takes it, in the largest unit that leaves a whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(pub(super) u32);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}
