//! A body of many JSON values, cut into them: one after the other, with or without space between (NDJSON), or an array.
//!
//! The splitter reads only enough to know where a value ends; the reader of the value finds its faults.

use thiserror::Error;

use super::read::end_of_plain;

/// Cuts a body that comes in pieces. A body that begins with `[` is an array of the values.
#[derive(Debug)]
pub struct Splitter {
    /// Bytes that came and were not given out: from `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// Up to here it has been looked at.
    at: usize,
    /// How many bytes of the body came before `bytes`.
    before: u64,
    expects: Expects,
    is_array: bool,
    value_bytes_max: usize,
}

/// The parts of a body that may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// `[`, or the first value.
    Anything,
    /// A value, or where there is no array the end.
    Value,
    /// The first value of an array, or its end.
    FirstOfArray,
    /// `,` or `]`
    Comma,
    /// More of a value.
    Inside(Inside),
    /// Nothing but space.
    End,
}

/// Where in a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Inside {
    /// How many brackets are open.
    depth: usize,
    in_string: bool,
    after_backslash: bool,
}

impl Inside {
    /// Neither in brackets nor in a string: in a number or a word.
    fn is_word(self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

/// Why a body cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("offset {offset}: {reason}")]
pub struct SplitError {
    /// The position in the body, in bytes.
    pub offset: u64,
    /// The fault at this position.
    pub reason: SplitReason,
}

/// The fault of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SplitReason {
    /// Something else should be here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A value has more bytes than are allowed.
    #[error("the value is too large")]
    TooLarge,
}

impl Splitter {
    /// No value may have more bytes than this.
    pub fn new(value_bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            at: 0,
            before: 0,
            expects: Expects::Anything,
            is_array: false,
            value_bytes_max,
        }
    }

    /// Takes the next piece of the body. Before it, [`Splitter::value`] should have given all there was.
    pub fn feed(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.before += self.start as u64;
        self.at -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole value, with where it begins in the body; none until more of it has come.
    pub fn value(&mut self) -> Result<Option<(u64, &[u8])>, SplitError> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let Expects::Inside(inside) = self.expects else {
                self.between(byte)?;
                continue;
            };
            let inside = self.advance(inside);
            if self.at - self.start > self.value_bytes_max {
                return Err(self.error(self.start, SplitReason::TooLarge));
            }
            match inside {
                Some(inside) => self.expects = Expects::Inside(inside),
                None => return Ok(Some(self.give())),
            }
        }
        Ok(None)
    }

    /// Whether a value has begun that has not ended.
    pub fn is_inside(&self) -> bool {
        matches!(self.expects, Expects::Inside(_))
    }

    /// Bytes that are held until more has come.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The last value, once all of the body has come, for a number or word may end there. Then nothing may be open.
    pub fn finish(&mut self) -> Result<Option<(u64, &[u8])>, SplitError> {
        let expected = match self.expects {
            Expects::Inside(inside) if inside.is_word() && !self.is_array => {
                return Ok(Some(self.give()));
            }
            Expects::Inside(_) => "the rest of the value",
            Expects::FirstOfArray | Expects::Comma => "`]`",
            Expects::Value if self.is_array => "a value",
            Expects::Anything | Expects::Value | Expects::End => return Ok(None),
        };
        Err(self.error(self.at, SplitReason::Expected(expected)))
    }

    /// Takes a byte that is in no value, or begins a value with it.
    fn between(&mut self, byte: u8) -> Result<(), SplitError> {
        let expected = match (self.expects, byte) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => "",
            (Expects::Anything, b'[') => {
                self.is_array = true;
                self.expects = Expects::FirstOfArray;
                ""
            }
            (Expects::FirstOfArray | Expects::Comma, b']') => {
                self.expects = Expects::End;
                ""
            }
            (Expects::Comma, b',') => {
                self.expects = Expects::Value;
                ""
            }
            (Expects::Anything | Expects::Value | Expects::FirstOfArray, byte) if begins_value(byte) => {
                self.start = self.at;
                self.expects = Expects::Inside(Inside::default());
                return Ok(());
            }
            (Expects::Comma, _) => "`,` or `]`",
            (Expects::End, _) => "the end",
            _ => "a value",
        };
        if !expected.is_empty() {
            return Err(self.error(self.at, SplitReason::Expected(expected)));
        }
        self.at += 1;
        self.start = self.at;
        Ok(())
    }

    /// Goes on to where the value ends, or else to the end of what there is. Says where in the value that is.
    fn advance(&mut self, mut inside: Inside) -> Option<Inside> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let is_first = self.at == self.start;
            if inside.is_word() && !is_first && ends_word(byte) {
                return None;
            }
            self.at += 1;
            match byte {
                _ if inside.after_backslash => inside.after_backslash = false,
                b'"' => {
                    inside.in_string = !inside.in_string;
                    if inside.is_word() {
                        return None;
                    }
                }
                b'\\' if inside.in_string => inside.after_backslash = true,
                _ if inside.in_string => self.at = end_of_plain(&self.bytes, self.at),
                b'{' | b'[' => inside.depth += 1,
                b'}' | b']' => {
                    inside.depth = inside.depth.saturating_sub(1);
                    if inside.depth == 0 {
                        return None;
                    }
                }
                _ => (),
            }
        }
        Some(inside)
    }

    /// The value that ends here.
    fn give(&mut self) -> (u64, &[u8]) {
        self.expects = if self.is_array { Expects::Comma } else { Expects::Value };
        let start = self.start;
        self.start = self.at;
        (self.before + start as u64, &self.bytes[start..self.at])
    }

    fn error(&self, at: usize, reason: SplitReason) -> SplitError {
        SplitError { offset: self.before + at as u64, reason }
    }
}

/// Whether a value may begin with this byte. The value's reader would find a wrong one, but later.
fn begins_value(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
}

/// May this stand behind a number or word?
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b']' | b'}' | b'{' | b'[' | b'"')
}

#[cfg(test)]
mod tests;
