//! Short pieces of bytes, copied and compared without a call: most names and values of heads are short.

/// Bytes that one step copies. Memory that is copied from in this way has as many behind its end.
pub(super) const STEP: usize = 32;

/// Appends the first `length` bytes of `from`. Short ones are copied as one piece of [`STEP`] bytes, if `from` has
/// them, and then made shorter.
#[inline(always)]
pub(super) fn append_start(out: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<STEP>() {
        Some(step) if length <= STEP => {
            let end = out.len() + length;
            out.extend_from_slice(step);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&from[..length]),
    }
}

/// Whether both are equal.
#[inline(always)]
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        17.. => long_same(one, other),
        8.. => ends::<8>(one, other),
        4.. => ends::<4>(one, other),
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

#[inline(always)]
fn long_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() <= 32 { ends::<16>(one, other) } else { one == other }
}

/// Whether the first and the last bytes are equal: of at most twice as many, these are all.
#[inline(always)]
fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk::<N>() && one.last_chunk::<N>() == other.last_chunk::<N>()
}

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash and a number make one hash.
#[inline]
pub(super) fn mix_number(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(FACTOR);
    mixed ^ mixed >> 31
}

/// A hash and a text make one hash: of the length, and of the start, the middle and the end.
#[inline]
pub(super) fn mix(hash: u64, text: &[u8]) -> u64 {
    let length = text.len();
    let part = if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        let middle = text[length / 2 - 4..].first_chunk::<8>().unwrap_or(first);
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        let others = u64::from_le_bytes(*middle) ^ last.rotate_left(29);
        first.wrapping_mul(FACTOR) ^ others.wrapping_mul(!FACTOR)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    mix_number(hash, part ^ (length as u64) << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_if_each_is() {
        let text: Vec<u8> = (0..100).collect();
        for length in 0..text.len() {
            assert!(same(&text[..length], &text.clone()[..length]));
            assert!(!same(&text[..length], &text[..length + 1]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 0x40;
                assert!(!same(&text[..length], &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn nothing_but_the_start_is_appended() {
        let text: Vec<u8> = (0..100).collect();
        for length in 0..60 {
            for end in length..text.len() {
                let mut out = vec![7];
                append_start(&mut out, &text[..end], length);
                assert_eq!((out[0], &out[1..]), (7, &text[..length]));
            }
        }
    }
}
