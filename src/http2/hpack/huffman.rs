//! The Huffman code of RFC 7541 appendix B.
//!
//! The code is canonical: sorted by length and then by symbol, codes count upwards. So the lengths say everything, and
//! the compiler makes all tables of them.

use super::error::HpackError;

const SYMBOLS: usize = 257;
/// The end of a string. No string may hold it.
const END: usize = 256;
const LONGEST: usize = 30;

/// The bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code of each symbol, at the right end.
static CODES: [u32; SYMBOLS] = codes();

/// Bits of one look, which decodes a symbol or two. Most text of heads has codes of 5 and 6 bits.
const LOOK: u32 = 12;
static LOOKS: [Look; 1 << LOOK] = looks();

/// The symbols that some bits begin with, in one word: two symbols; the bits of both, or of the first if there is no
/// second; and eight times how many symbols. It is 0 if the first code is longer than [`LOOK`].
#[derive(Clone, Copy)]
struct Look(u32);

impl Look {
    const fn one(symbol: u8, length: u8) -> Look {
        Look(symbol as u32 | (length as u32) << 16 | 8 << 24)
    }

    const fn and(self, second: Look) -> Look {
        let all = self.all() + second.all();
        Look(self.0 & 0xff | (second.0 & 0xff) << 8 | all << 16 | 16 << 24)
    }

    const fn first(self) -> u8 {
        self.0 as u8
    }

    const fn symbols(self) -> u16 {
        self.0 as u16
    }

    const fn all(self) -> u32 {
        self.0 >> 16 & 0xff
    }

    const fn count(self) -> usize {
        (self.0 >> 27) as usize
    }
}

/// The codes of one length: those from `first`, which belong to the symbols from `SORTED[from]`.
#[derive(Clone, Copy)]
struct Row {
    first: u32,
    /// The code after the last one, at the left end of 32 bits.
    limit: u64,
    from: usize,
}

static ROWS: [Row; LONGEST + 1] = rows();
static SORTED: [u16; SYMBOLS] = sorted();

const fn sorted() -> [u16; SYMBOLS] {
    let mut sorted = [0; SYMBOLS];
    let (mut length, mut at) = (0, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                sorted[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    sorted
}

const fn codes() -> [u32; SYMBOLS] {
    let (sorted, mut codes) = (sorted(), [0; SYMBOLS]);
    let (mut code, mut length, mut at) = (0u32, 0, 0);
    while at < SYMBOLS {
        let symbol = sorted[at] as usize;
        code <<= LENGTHS[symbol] - length;
        length = LENGTHS[symbol];
        codes[symbol] = code;
        code += 1;
        at += 1;
    }
    codes
}

const fn rows() -> [Row; LONGEST + 1] {
    let (sorted, codes) = (sorted(), codes());
    let mut rows = [Row { first: 0, limit: 0, from: 0 }; LONGEST + 1];
    let mut at = SYMBOLS;
    while at > 0 {
        at -= 1;
        let symbol = sorted[at] as usize;
        let row = &mut rows[LENGTHS[symbol] as usize];
        if row.limit == 0 {
            row.limit = (codes[symbol] as u64 + 1) << (32 - LENGTHS[symbol]);
        }
        row.first = codes[symbol];
        row.from = at;
    }
    rows
}

const fn looks() -> [Look; 1 << LOOK] {
    let mut singles = [Look(0); 1 << LOOK];
    let codes = codes();
    let mut symbol = 0;
    while symbol < END {
        let length = LENGTHS[symbol];
        if length as u32 <= LOOK {
            let spare = LOOK - length as u32;
            let mut rest = 0;
            while rest < 1 << spare {
                let bits = (codes[symbol] as usize) << spare | rest;
                singles[bits] = Look::one(symbol as u8, length);
                rest += 1;
            }
        }
        symbol += 1;
    }
    let mut looks = singles;
    let mut bits = 0;
    while bits < 1 << LOOK {
        let one = singles[bits];
        let next = singles[(bits << one.all()) & ((1 << LOOK) - 1)];
        if one.all() != 0 && next.all() != 0 && one.all() + next.all() <= LOOK {
            looks[bits] = one.and(next);
        }
        bits += 1;
    }
    looks
}

/// The symbol at the start of these bits, if it is not one of [`LOOKS`], and its length.
#[cold]
fn long(bits: u64) -> Option<(u8, u32)> {
    let bits = bits >> 32;
    let length = (LOOK as usize + 1..=LONGEST).find(|length| bits < ROWS[*length].limit)?;
    let row = ROWS[length];
    let code = (bits >> (32 - length)) as u32;
    let symbol = SORTED[row.from + (code - row.first) as usize];
    u8::try_from(symbol).ok().map(|symbol| (symbol, length as u32))
}

/// The bytes this code needs for a string.
pub(super) const fn encoded_length(text: &[u8]) -> usize {
    let (mut bits, mut at) = (0, 0);
    while at < text.len() {
        bits += LENGTHS[text[at] as usize] as usize;
        at += 1;
    }
    bits.div_ceil(8)
}

/// Appends the code of a string.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0u32);
    for byte in text {
        let length = u32::from(LENGTHS[usize::from(*byte)]);
        bits = bits << length | u64::from(CODES[usize::from(*byte)]);
        count += length;
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    if count > 0 {
        // Ones follow, which are the beginning of END.
        let last = ((bits << (32 - count)) | (u64::from(u32::MAX) >> count)) as u32;
        out.extend_from_slice(&last.to_be_bytes()[..count.div_ceil(8) as usize]);
    }
}

/// Writes the code of a short string to the start of an array, while compiling.
pub(super) const fn encode_into<const N: usize>(text: &[u8], mut out: [u8; N], mut to: usize) -> [u8; N] {
    let codes = codes();
    let (mut bits, mut count, mut at) = (0u64, 0u32, 0);
    while at < text.len() {
        let length = LENGTHS[text[at] as usize] as u32;
        bits = bits << length | codes[text[at] as usize] as u64;
        count += length;
        while count >= 8 {
            count -= 8;
            out[to] = (bits >> count) as u8;
            to += 1;
        }
        at += 1;
    }
    if count > 0 {
        out[to] = (bits << (8 - count)) as u8 | (0xff >> count);
    }
    out
}

/// Appends the string that this is the code of.
///
/// # Errors
/// When it holds END, or ends with anything else than fewer than 8 ones.
pub(super) fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    let start = out.len();
    let written = append(code, out);
    if written.is_none() {
        out.truncate(start);
    }
    written.ok_or(HpackError::Huffman)
}

fn append(code: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // The next bits, from the left end, and how many of them are no longer in `rest`.
    let (mut bits, mut count, mut rest) = (0u64, 0u32, code);
    loop {
        if let Some(word) = rest.first_chunk() {
            let taken = (63 - count) / 8;
            bits |= u64::from_be_bytes(*word) >> count;
            rest = &rest[taken as usize..];
            count += taken * 8;
        } else {
            while count <= 56
                && let Some((first, more)) = rest.split_first()
            {
                bits |= u64::from(*first) << (56 - count);
                count += 8;
                rest = more;
            }
            if rest.is_empty() && count < GROUP * LOOK {
                return append_last(bits, count, out);
            }
        }
        let (word, length, used) = group(&mut bits);
        if used == 0 {
            let (symbol, length) = long(bits).filter(|(_, length)| *length <= count)?;
            out.push(symbol);
            bits <<= length;
            count -= length;
        } else {
            append_word(word, length, out);
            count -= used;
        }
    }
}

/// Looks after which the bits are filled up again.
const GROUP: u32 = 4;

#[inline(always)]
fn look(bits: u64) -> Look {
    LOOKS[(bits >> (64 - LOOK)) as usize]
}

/// Takes up to eight symbols off the bits: the symbols, how many they are, and the bits they were. A look at a longer
/// code takes nothing, nor do those after it.
#[inline(always)]
fn group(bits: &mut u64) -> (u64, usize, u32) {
    // The bits so far, and in the upper byte eight times the symbols so far.
    let (mut word, mut both) = (0u64, 0u32);
    for _ in 0..GROUP {
        let look = look(*bits);
        word |= u64::from(look.symbols()).wrapping_shl(both >> 8);
        *bits = bits.wrapping_shl(look.0 >> 16);
        both += look.0 >> 16;
    }
    (word, (both >> 11) as usize, both & 0xff)
}

#[inline(always)]
fn append_word(word: u64, length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// Decodes the last bits, fewer than 64.
fn append_last(mut bits: u64, mut count: u32, out: &mut Vec<u8>) -> Option<()> {
    // Behind the bits there are only ones, so the padding is right if all are.
    bits |= u64::MAX >> count;
    loop {
        let look = look(bits);
        let length = if look.0 != 0 && look.all() <= count {
            append_word(u64::from(look.symbols()), look.count(), out);
            look.all()
        } else {
            if count < 8 && bits == u64::MAX {
                return Some(());
            }
            let first = (look.first(), u32::from(LENGTHS[usize::from(look.first())]));
            let found = if look.0 != 0 { Some(first) } else { long(bits) };
            let (symbol, length) = found.filter(|(_, length)| *length <= count)?;
            out.push(symbol);
            length
        };
        bits = bits << length | ((1 << length) - 1);
        count -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut code = Vec::new();
        encode(text, &mut code);
        assert_eq!(code.len(), encoded_length(text));
        code
    }

    fn decoded(code: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut text = b"kept".to_vec();
        let result = decode(code, &mut text);
        assert_eq!(&text[..4], b"kept");
        result.map(|()| text.split_off(4))
    }

    /// Codes by their definition, bit by bit.
    fn bits_of(symbols: &[usize]) -> Vec<bool> {
        let code = |symbol: &usize| {
            let length = LENGTHS[*symbol];
            (0..length).rev().map(move |bit| CODES[*symbol] >> bit & 1 == 1).collect::<Vec<bool>>()
        };
        symbols.iter().flat_map(code).collect()
    }

    fn bytes_of(bits: &[bool]) -> Vec<u8> {
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | u8::from(*bit) << (7 - at)))
            .collect()
    }

    #[test]
    fn codes_are_those_of_appendix_b() {
        let some = [
            (0, 0x1ff8),
            (b' ', 0x14),
            (b'0', 0x0),
            (b'A', 0x21),
            (b'a', 0x3),
            (b'z', 0x7b),
            (b'~', 0x1ffd),
            (127, 0xfff_fffc),
            (195, 0x7fff1),
            (220, 0xfff_fffd),
            (249, 0xfff_fffe),
            (255, 0x3ff_ffee),
        ];
        for (symbol, code) in some {
            assert_eq!(CODES[usize::from(symbol)], code, "{symbol}");
        }
        assert_eq!(CODES[END], 0x3fff_ffff);
    }

    #[test]
    fn every_symbol_and_every_pair_comes_back() {
        for first in 0..=255u8 {
            assert_eq!(decoded(&encoded(&[first])), Ok(vec![first]));
            for second in 0..=255u8 {
                assert_eq!(decoded(&encoded(&[first, second])), Ok(vec![first, second]));
                let four = [first, second, second, first, b'a'];
                assert_eq!(decoded(&encoded(&four)), Ok(four.to_vec()));
            }
        }
    }

    #[test]
    fn texts_of_all_lengths_come_back() {
        let mut random = crate::random::Random::seeded(11);
        for length in 0..300 {
            let text: Vec<u8> = (0..length).map(|_| random.bits() as u8 >> random.below(3)).collect();
            let code = encoded(&text);
            let symbols: Vec<usize> = text.iter().map(|byte| usize::from(*byte)).collect();
            let mut bits = bits_of(&symbols);
            bits.resize(bits.len().next_multiple_of(8), true);
            assert_eq!(code, bytes_of(&bits));
            assert_eq!(decoded(&code), Ok(text.clone()));
            let written = encode_into::<1200>(&text, [0; 1200], 0);
            assert_eq!(written[..code.len()], code);
        }
    }

    #[test]
    fn only_fewer_than_eight_ones_are_padding() {
        for symbol in 0..END {
            let bits = bits_of(&[symbol]);
            for padding in 0..=31 {
                for zero in 0..=padding {
                    // A zero at `padding` is none.
                    let mut all = bits.clone();
                    all.extend((0..padding).map(|at| at != zero));
                    if !all.len().is_multiple_of(8) {
                        continue;
                    }
                    let good = padding < 8 && zero == padding;
                    match decoded(&bytes_of(&all)) {
                        Ok(text) if good => assert_eq!(text, [symbol as u8]),
                        // Ones with a zero may be the code of another symbol, which then ends the string.
                        Ok(text) => {
                            assert!(zero < padding && text.len() > 1, "{symbol} {padding} {zero} {text:?}")
                        }
                        Err(_) => assert!(!good),
                    }
                }
            }
        }
    }

    #[test]
    fn the_end_of_a_string_is_in_no_string() {
        for before in [&b""[..], b"a", b"abc", b"\x00\x01", b"abcdefgh"] {
            for after in [&[][..], &[usize::from(b'a')], &[END], &[255, 255]] {
                let mut symbols: Vec<usize> = before.iter().map(|byte| usize::from(*byte)).collect();
                symbols.push(END);
                symbols.extend(after);
                let mut bits = bits_of(&symbols);
                bits.resize(bits.len().next_multiple_of(8), true);
                assert_eq!(decoded(&bytes_of(&bits)), Err(HpackError::Huffman));
            }
        }
        assert_eq!(decoded(b""), Ok(Vec::new()));
        assert_eq!(decoded(&[0xff]), Err(HpackError::Huffman));
        assert_eq!(decoded(&[0xff; 8]), Err(HpackError::Huffman));
    }
}
