//! Timestamps and durations as JSON writes them.

/// Seconds and nanoseconds, of the same sign or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) struct Time {
    pub(in crate::transcode) seconds: i64,
    pub(in crate::transcode) nanos: i32,
}

/// About 10 000 years.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// From the year 1 up to the year 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// `1972-01-01T10:00:20.021Z`, or with an offset for the `Z`. Seconds end at 59: there are no leap seconds.
pub(in crate::transcode) fn timestamp(text: &str) -> Result<Time, &'static str> {
    const MALFORMED: &str = "not a timestamp such as \"1972-01-01T10:00:20.021Z\"";
    let (date, rest) = text.as_bytes().split_first_chunk::<19>().ok_or(MALFORMED)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| date[at] != byte) {
        return Err(MALFORMED);
    }
    let number = |from, to| digits(&date[from..to]).ok_or(MALFORMED);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return Err("a date that is in no calendar");
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("a time that is on no clock");
    }

    let (nanos, rest) = fraction(rest).ok_or("nanoseconds have one to nine digits")?;
    let offset = match *rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[h1, h2]).ok_or(MALFORMED)?, digits(&[m1, m2]).ok_or(MALFORMED)?);
            if hours > 23 || minutes > 59 {
                return Err("an offset that is no time zone's");
            }
            (hours * 3_600 + minutes * 60) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return Err(MALFORMED),
    };
    let seconds = days_before(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    if TIMESTAMP_SECONDS.contains(&seconds) {
        Ok(Time { seconds, nanos })
    } else {
        Err("before year 1 or after 9999")
    }
}

/// `-1.5s`
pub(in crate::transcode) fn duration(text: &str) -> Result<Time, &'static str> {
    const MALFORMED: &str = "not a duration such as \"1.5s\"";
    let text = text.as_bytes().strip_suffix(b"s").ok_or(MALFORMED)?;
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let integral = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(integral);
    if whole.is_empty() {
        return Err(MALFORMED);
    }
    let seconds = digits(whole).filter(|&seconds| seconds <= DURATION_SECONDS_MAX);
    let seconds = seconds.ok_or("beyond 10 000 years")?;
    let (nanos, rest) = fraction(rest).ok_or("nanoseconds have one to nine digits")?;
    if !rest.is_empty() {
        return Err(MALFORMED);
    }
    Ok(if is_negative { Time { seconds: -seconds, nanos: -nanos } } else { Time { seconds, nanos } })
}

/// The value of digits, unless something else is among them. It stops growing when it is beyond any use.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some((value * 10 + digit).min(1 << 50))
    })
}

/// Nanoseconds of `.021`, if that is what comes next; and what comes then.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let missing = u32::try_from(9_usize.checked_sub(length)?).ok()?;
    let (fraction, rest) = rest.split_at(length);
    if fraction.is_empty() {
        return None;
    }
    let nanos = i32::try_from(digits(fraction)?).ok()? * 10_i32.pow(missing);
    Some((nanos, rest))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1970-01-01 to this one. Years are counted from March, so that a leap day is a year's last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    years * 365 + leap_days + (months * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_before(1, 1, 1);
        assert_eq!(expected * 86_400, *TIMESTAMP_SECONDS.start());
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    assert_eq!(days_before(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
        assert_eq!(expected * 86_400, TIMESTAMP_SECONDS.end() + 1);
        assert_eq!(days_before(1970, 1, 1), 0);
    }
}
