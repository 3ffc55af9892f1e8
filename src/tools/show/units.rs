//! Numbers as people read them: three digits and a unit.

use std::time::Duration;

use crate::tools::interval::Interval;

/// A time, such as "1.23 ms".
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s >= 1.0 => format!("{} s", digits(s)),
        s if s >= 1e-3 => format!("{} ms", digits(s * 1e3)),
        s if s >= 1e-6 => format!("{} us", digits(s * 1e6)),
        s => format!("{} ns", digits(s * 1e9)),
    }
}

/// A number of bytes, such as "1.23 MiB".
pub fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut rest = count;
    let mut unit = units[0];
    for next in &units[1..] {
        if rest < 1024.0 {
            break;
        }
        (rest, unit) = (rest / 1024.0, next);
    }
    format!("{} {unit}", digits(rest))
}

/// A number with its thousands apart.
pub fn count(number: f64) -> String {
    let whole = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 { format!("-{text}") } else { text }
}

/// Three digits.
pub fn digits(number: f64) -> String {
    match number.abs() {
        n if n >= 999.5 => count(number),
        n if n >= 99.95 => format!("{number:.0}"),
        n if n >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent == 0.0 || percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.2} %") }
}

/// A median with how far its interval reaches to either side.
pub fn interval(interval: &Interval) -> String {
    match interval.spread() {
        Some(spread) => format!("{} ±{:.0} %", digits(interval.median), 100.0 * spread),
        None => digits(interval.median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times =
            [(0, "0.00 ns"), (15, "15.0 ns"), (999, "999 ns"), (1_234, "1.23 us"), (45_678_000, "45.7 ms")];
        for (nanos, text) in times {
            assert_eq!(time(Duration::from_nanos(nanos)), text);
        }
        for (number, text) in [(0.0, "0.00 B"), (1023.0, "1,023 B"), (1536.0, "1.50 KiB"), (3e9, "2.79 GiB")]
        {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1e6, "1,000,000"), (-12_345.0, "-12,345")] {
            assert_eq!(count(number), text);
        }
        for (share, text) in [(0.0, "0 %"), (0.0123, "1.23 %"), (0.5, "50 %")] {
            assert_eq!(percent(share), text);
        }
        let six = Interval::of(&[9.0, 9.5, 10.0, 10.0, 10.5, 11.0]).unwrap();
        assert_eq!(interval(&six), "10.0 ±10 %");
    }
}
