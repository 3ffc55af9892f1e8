//! `traceparent` of W3C's Trace Context (level 1): the trace of a request, the span that sent it, and whether that span
//! is recorded.

/// Bytes of a `traceparent` of version 00.
pub const LENGTH: usize = 55;

/// The fields of a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The sender's span; never zero.
    pub parent_id: u64,
    /// Whether that span is recorded.
    pub sampled: bool,
}

/// The only flag of level 1.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// Reads a field's value; `None` if it is none, in which case the trace begins anew (section 4.2). A version that
    /// is not known is read as far as version 00 goes.
    pub fn parse(value: &[u8]) -> Option<TraceParent> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version, trace_id, parent_id, flags] =
            [0..2, 3..35, 36..52, 53..55].map(|at| number(&known[at]));
        if [2, 35, 52].iter().any(|&at| known[at] != b'-') {
            return None;
        }
        match version? {
            0xff => return None,
            0 if !rest.is_empty() => return None,
            _ if !matches!(rest, [] | [b'-', ..]) => return None,
            _ => {}
        }
        let (trace_id, parent_id) = (trace_id?, u64::try_from(parent_id?).ok()?);
        let sampled = flags? as u8 & SAMPLED != 0;
        (trace_id != 0 && parent_id != 0).then_some(TraceParent { trace_id, parent_id, sampled })
    }

    /// As a field's value, of version 00.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut value = *b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-00";
        value[3..19].copy_from_slice(&hex((self.trace_id >> 64) as u64));
        value[19..35].copy_from_slice(&hex(self.trace_id as u64));
        value[36..52].copy_from_slice(&hex(self.parent_id));
        value[54] += if self.sampled { SAMPLED } else { 0 };
        value
    }
}

/// Lower-case hexadecimal digits; others are not allowed.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Lower-case hexadecimal digits, all sixteen at once.
fn hex(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::MAX / 0xff;
    // Halves move apart until each digit has a byte of its own.
    let mut digits = u128::from(number);
    digits = (digits | digits << 32) & (u128::MAX / 0xffff_ffff_ffff_ffff * 0xffff_ffff);
    digits = (digits | digits << 16) & (u128::MAX / 0xffff_ffff * 0xffff);
    digits = (digits | digits << 8) & (u128::MAX / 0xffff * 0xff);
    digits = (digits | digits << 4) & (ONES * 0xf);
    // Letters begin at ten, and ten and six have the fifth bit.
    let letters = (digits + ONES * 6) >> 4 & ONES;
    (digits + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    #[test]
    fn what_the_specification_allows_is_read_and_nothing_else() {
        let read = |sampled| Some(TraceParent { trace_id: TRACE, parent_id: 0x00f0_67aa_0ba9_02b7, sampled });
        for (text, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", read(true)),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", read(false)),
            // Flags that are not known say nothing.
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", read(true)),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", read(false)),
            // Versions to come are read as far as they are known; ff is none.
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", read(true)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", read(true)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what-comes", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", None),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            // Zeros.
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
            // Digits, lengths and separators.
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01", None),
            ("0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01", None),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None),
            ("00-", None),
            ("", None),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_noise_is_refused_in_peace() {
        let mut random = Random::seeded(7);
        for round in 0..1000 {
            let trace_id = u128::from(random.bits()) << 64 | u128::from(random.bits()) | 1;
            let written = TraceParent { trace_id, parent_id: random.bits() | 1, sampled: round % 2 == 0 };
            let mut value = written.to_bytes();
            assert_eq!(TraceParent::parse(&value), Some(written));
            let at = random.below(LENGTH as u32) as usize;
            value[at] = random.bits() as u8;
            if let Some(other) = TraceParent::parse(&value) {
                assert!(other.trace_id != 0 && other.parent_id != 0);
            }
        }
    }
}
