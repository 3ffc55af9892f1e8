//! `google.protobuf.Timestamp` and `Duration` as text.
//!
//! Source: the comments in `timestamp.proto` and `duration.proto`. The fraction has 0, 3, 6 or 9 digits, as few as say
//! it exactly.

use super::text;

/// `"2017-01-15T01:30:15.010Z"`; `false` if it is outside the years 1 to 9999 or the nanoseconds are no fraction.
#[must_use]
pub(super) fn timestamp(out: &mut Vec<u8>, seconds: i64, nanos: i32) -> bool {
    if !(TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&seconds) || !(0..NANOS).contains(&nanos) {
        return false;
    }
    let (year, month, day) = date(seconds.div_euclid(DAY_SECONDS));
    let second = seconds.rem_euclid(DAY_SECONDS);
    out.push(b'"');
    digits::<4>(out, year);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        digits::<2>(out, value);
    }
    fraction(out, nanos);
    out.extend_from_slice(b"Z\"");
    true
}

/// `"-1.500s"`; `false` if it is more than 10,000 years, or seconds and nanoseconds disagree about the sign.
#[must_use]
pub(super) fn duration(out: &mut Vec<u8>, seconds: i64, nanos: i32) -> bool {
    let signs_differ = seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0;
    if seconds.unsigned_abs() > DURATION_MAX || nanos.unsigned_abs() >= NANOS.unsigned_abs() || signs_differ {
        return false;
    }
    out.push(b'"');
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    text::integer(out, seconds.unsigned_abs());
    fraction(out, nanos.abs());
    out.extend_from_slice(b"s\"");
    true
}

fn fraction(out: &mut Vec<u8>, nanos: i32) {
    let nanos = i64::from(nanos);
    match nanos {
        0 => return,
        _ => out.push(b'.'),
    }
    if nanos % 1_000_000 == 0 {
        digits::<3>(out, nanos / 1_000_000);
    } else if nanos % 1_000 == 0 {
        digits::<6>(out, nanos / 1_000);
    } else {
        digits::<9>(out, nanos);
    }
}

/// The last `N` decimal digits of a number that is not negative.
fn digits<const N: usize>(out: &mut Vec<u8>, mut value: i64) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("a digit of what is not negative");
        value /= 10;
    }
    out.extend_from_slice(&text);
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years begin in March here, so that the leap day comes last; 400 of them have always the same days.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468; // from 0000-03-01
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // from March
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year_of_era + i64::from(is_next_year), month, day_of_month)
}

const DAY_SECONDS: i64 = 86_400;
const NANOS: i32 = 1_000_000_000;
/// 0001-01-01T00:00:00Z
const TIMESTAMP_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z
const TIMESTAMP_MAX: i64 = 253_402_300_799;
/// 10,000 years of 365.25 days.
const DURATION_MAX: u64 = 315_576_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_date() {
        let days_of = |year: i64, month| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut day = TIMESTAMP_MIN / DAY_SECONDS;
        for year in 1..=9999 {
            for month in 1..=12 {
                for day_of_month in 1..=days_of(year, month) {
                    assert_eq!(date(day), (year, month, day_of_month));
                    day += 1;
                }
            }
        }
        assert_eq!(day, (TIMESTAMP_MAX + 1) / DAY_SECONDS);
    }
}
