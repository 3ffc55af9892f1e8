//! Names with numbers as literals write them: their lengths and Huffman codes, so that neither side codes them.

use super::super::bytes::{STEP, append_start};
use super::super::name::{self, Name};
use super::huffman;

/// A name as it is written.
#[derive(Clone, Copy)]
struct Literal {
    length: u8,
    /// Its length as an integer of 7 bits, and its code.
    bytes: [u8; STEP],
}

static NAMES: [Literal; name::COUNT] = literals();

const fn literals() -> [Literal; name::COUNT] {
    let mut names = [Literal { length: 0, bytes: [0; STEP] }; name::COUNT];
    let mut number = 1;
    while number < name::COUNT {
        let text = name::TEXTS[number].as_bytes();
        let length = huffman::encoded_length(text);
        let mut bytes = [0; STEP];
        bytes[0] = 0x80 | length as u8;
        names[number] = Literal { length: 1 + length as u8, bytes: huffman::encode_into(text, bytes, 1) };
        number += 1;
    }
    names
}

/// Appends the literal of a name that has a number.
pub(super) fn append(name: Name, out: &mut Vec<u8>) {
    let literal = &NAMES[name.number()];
    append_start(out, &literal.bytes, usize::from(literal.length));
}

/// Slots of the look-up. A quarter of them is used, so that most searches end at the first.
const SLOTS: usize = 512;
const SHORTEST: usize = 2;

/// For each hash of a code the number of a name; those with one hash stand in a row that ends with 0.
static SLOT_OF: [u8; SLOTS] = slots();

const fn slots() -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut number = 1;
    while number < name::COUNT {
        let (_, bytes) = NAMES[number].bytes.split_at(1);
        let (code, _) = bytes.split_at(NAMES[number].length as usize - 1);
        let mut at = name::hash(code) % SLOTS;
        while slots[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        slots[at] = number as u8;
        number += 1;
    }
    slots
}

/// The name with this Huffman code, if it has a number.
pub(super) fn of_code(code: &[u8]) -> Option<Name> {
    if code.len() < SHORTEST {
        return None;
    }
    let mut at = name::hash(code) % SLOTS;
    loop {
        let number = SLOT_OF[at];
        if number == 0 {
            return None;
        }
        let literal = &NAMES[usize::from(number) % NAMES.len()];
        if literal.bytes.get(1..usize::from(literal.length)) == Some(code) {
            return Some(Name::of_number(number));
        }
        at = (at + 1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_find_their_names() {
        for text in &name::TEXTS[1..] {
            let mut code = Vec::new();
            huffman::encode(text.as_bytes(), &mut code);
            let name = Name::of(text.as_bytes());
            assert_eq!(of_code(&code), Some(name));
            let mut literal = Vec::new();
            append(name, &mut literal);
            assert_eq!((usize::from(literal[0]), &literal[1..]), (0x80 | code.len(), &code[..]));
            code[0] ^= 0x80;
            assert_eq!(of_code(&code), None);
        }
        for code in [&b""[..], b"x", &[0xff; 40]] {
            assert_eq!(of_code(code), None);
        }
    }

    #[test]
    fn searches_are_short() {
        let run = |start: usize| (start..).take_while(|at| SLOT_OF[at % SLOTS] != 0).count();
        assert!((0..SLOTS).map(run).max() <= Some(6));
    }
}
