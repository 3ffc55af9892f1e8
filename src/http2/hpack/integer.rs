//! Integers with a prefix (RFC 7541 section 5.1).

use super::error::HpackError;

/// Bytes after the prefix: 28 bits, more than any length or index that a block can have.
const FOLLOWING_MAX: u32 = 4;

/// The part of a block that is not read yet.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The integer in the last `prefix` bits of the next byte, and in those that follow.
    #[inline]
    pub(super) fn integer(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let mask = (1 << prefix) - 1;
        let first = usize::from(self.byte()?) & mask;
        if first < mask { Ok(first) } else { self.following(mask) }
    }

    #[cold]
    fn following(&mut self, mut value: usize) -> Result<usize, HpackError> {
        for at in 0..FOLLOWING_MAX {
            let byte = usize::from(self.byte()?);
            value += (byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HpackError::Integer)
    }

    /// A string, as it is in the block, and whether it is a Huffman code.
    pub(super) fn string(&mut self) -> Result<(&'a [u8], bool), HpackError> {
        let huffman = self.peek().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(HpackError::Truncated)?;
        self.0 = rest;
        Ok((string, huffman))
    }

    fn byte(&mut self) -> Result<u8, HpackError> {
        let (first, rest) = self.0.split_first().ok_or(HpackError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }
}

/// Appends an integer; `pattern` is the bits of the first byte before the prefix.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1 << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    put_rest(out, value - mask);
}

fn put_rest(out: &mut Vec<u8>, mut rest: usize) {
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_appendix_c_1() {
        for (pattern, prefix, value, bytes) in
            [(0, 5, 10, &[0x0a][..]), (0, 5, 1337, &[0x1f, 0x9a, 0x0a]), (0, 8, 42, &[0x2a])]
        {
            let mut out = Vec::new();
            put(&mut out, pattern, prefix, value);
            assert_eq!(out, bytes);
            assert_eq!(Input(bytes).integer(prefix), Ok(value));
        }
    }

    #[test]
    fn integers_come_back_with_every_prefix() {
        for prefix in 1..=8 {
            for value in (0..2000).chain([16_384, 1 << 20, (1 << 28) - 1]) {
                let mut out = Vec::new();
                put(&mut out, 0, prefix, value);
                let mut input = Input(&out);
                assert_eq!(input.integer(prefix), Ok(value));
                assert!(input.0.is_empty());
                assert_eq!(Input(&out[..out.len() - 1]).integer(prefix), Err(HpackError::Truncated));
            }
        }
    }

    #[test]
    fn integers_have_a_bound() {
        assert_eq!(Input(&[0x7f, 0xff, 0xff, 0xff, 0x7f]).integer(7), Ok((1 << 28) - 1 + 0x7f));
        assert_eq!(Input(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00]).integer(7), Err(HpackError::Integer));
        assert_eq!(Input(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]).integer(7), Err(HpackError::Integer));
        assert_eq!(Input(&[0x7f, 0x80, 0x80, 0x00]).integer(7), Ok(0x7f));
    }
}
