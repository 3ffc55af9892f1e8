//! JSON as RFC 8259 has it, token by token. It knows nothing of messages.
//!
//! The text was checked to be UTF-8 before. Nothing is copied and nothing is allocated but for errors, and for short
//! strings with escapes where a name or a number is wanted.

use std::borrow::Cow;

use super::error::ReadError;
use super::number::Number;

/// How deep objects and arrays may lie in each other.
pub(super) const DEPTH_MAX: u32 = 100;

const MALFORMED: &str = "malformed number";

/// How much of the caller's text an error repeats.
const QUOTED_MAX: usize = 64;

/// Where we are in the text.
pub(super) struct Lexer<'j> {
    json: &'j str,
    at: usize,
    depth: u32,
}

/// A string of the text, without its quotes.
#[derive(Clone, Copy)]
pub(super) struct Text<'j> {
    raw: &'j str,
    /// Where `raw` begins.
    at: usize,
    has_escapes: bool,
}

impl<'j> Lexer<'j> {
    pub(super) fn new(json: &'j str) -> Self {
        let mut lexer = Self { json, at: 0, depth: 0 };
        lexer.skip_space();
        lexer
    }

    /// Where the next token begins.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to where it has been, at the same depth.
    pub(super) fn back_to(&mut self, at: usize, depth: u32) {
        self.at = at;
        self.depth = depth;
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// The first byte of the next token; 0 at the end, for no token begins with it.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.json.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Nothing but space may be left.
    pub(super) fn end(&self) -> Result<(), ReadError> {
        if self.at == self.json.len() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// Do exactly these bytes come next?
    #[inline]
    pub(super) fn is_next(&self, bytes: &[u8]) -> bool {
        self.json.as_bytes()[self.at..].starts_with(bytes)
    }

    /// Takes exactly these bytes, if they come next: a key with its colon.
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let found = self.is_next(bytes);
        if found {
            self.at += bytes.len();
            self.skip_space();
        }
        found
    }

    /// Takes `{` or `[`. Says whether anything is inside; if not, its end is taken too.
    #[inline]
    pub(super) fn open(&mut self, opening: u8) -> Result<bool, ReadError> {
        let (wanted, closing) = if opening == b'{' { ("an object", b'}') } else { ("an array", b']') };
        if self.peek() != opening {
            return Err(self.unexpected(wanted));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        if self.peek() != closing {
            return Ok(true);
        }
        self.close();
        Ok(false)
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
        self.skip_space();
    }

    /// After a member or an element: is there another? If not, takes the end, `}` or `]`.
    #[inline]
    pub(super) fn another(&mut self, closing: u8) -> Result<bool, ReadError> {
        match self.peek() {
            b',' => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            next if next == closing => {
                self.close();
                Ok(false)
            }
            _ => Err(self.unexpected(if closing == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), ReadError> {
        if self.peek() != b':' {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Takes `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &'static str, wanted: &str) -> Result<(), ReadError> {
        let after = self.json.as_bytes().get(self.at + word.len());
        if !self.is_next(word.as_bytes()) || after.is_some_and(u8::is_ascii_alphanumeric) {
            return Err(self.unexpected(wanted));
        }
        self.at += word.len();
        self.skip_space();
        Ok(())
    }

    pub(super) fn boolean(&mut self) -> Result<bool, ReadError> {
        let value = self.peek() == b't';
        self.word(if value { "true" } else { "false" }, "true or false")?;
        Ok(value)
    }

    #[inline]
    pub(super) fn number(&mut self, wanted: &str) -> Result<Number<'j>, ReadError> {
        let Some(number) = Number::at_start(&self.json[self.at..]) else {
            let is_begun = matches!(self.peek(), b'-' | b'0'..=b'9');
            return Err(if is_begun { self.fault(MALFORMED) } else { self.unexpected(wanted) });
        };
        self.at += number.text.len();
        // A letter, digit or sign right behind a number is malformed: `01` and `1x` are caught here.
        if self.peek().is_ascii_alphanumeric() || matches!(self.peek(), b'.' | b'+' | b'-') {
            return Err(self.fault(MALFORMED));
        }
        self.skip_space();
        Ok(number)
    }

    /// Takes a string. Its escapes are not looked at yet.
    #[inline]
    pub(super) fn string(&mut self, wanted: &str) -> Result<Text<'j>, ReadError> {
        if self.peek() != b'"' {
            return Err(self.unexpected(wanted));
        }
        let start = self.at + 1;
        let bytes = self.json.as_bytes();
        let mut at = start;
        let mut has_escapes = false;
        loop {
            at = end_of_plain(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    at += 2;
                }
                Some(_) => return Err(ReadError::new(at, "control character in a string")),
                None => return Err(ReadError::new(self.at, "string without an end")),
            }
        }
        let raw = &self.json[start..at];
        self.at = at + 1;
        self.skip_space();
        Ok(Text { raw, at: start, has_escapes })
    }

    /// Passes over one value, whatever it is, and finds the errors in it.
    pub(super) fn skip(&mut self) -> Result<(), ReadError> {
        match self.peek() {
            b'{' => {
                let mut more = self.open(b'{')?;
                while more {
                    self.string("a key")?.unescape(|_| ())?;
                    self.colon()?;
                    self.skip()?;
                    more = self.another(b'}')?;
                }
                Ok(())
            }
            b'[' => {
                let mut more = self.open(b'[')?;
                while more {
                    self.skip()?;
                    more = self.another(b']')?;
                }
                Ok(())
            }
            b'"' => self.string("a string")?.unescape(|_| ()),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.word("null", "null"),
            _ => self.number("a value").map(drop),
        }
    }

    /// An error about the next token.
    #[cold]
    pub(super) fn fault(&self, reason: impl Into<String>) -> ReadError {
        ReadError::new(self.at, reason)
    }

    /// An error about the next token, which is not what was wanted.
    #[cold]
    pub(super) fn unexpected(&self, wanted: &str) -> ReadError {
        let found = match self.json[self.at..].chars().next() {
            None => "the end".to_owned(),
            Some('"') => "a string".to_owned(),
            Some('{') => "an object".to_owned(),
            Some('[') => "an array".to_owned(),
            Some('-' | '0'..='9') => "a number".to_owned(),
            Some(_) if self.json[self.at..].starts_with("null") => "null".to_owned(),
            Some(other) => format!("{other:?}"),
        };
        self.fault(format!("expected {wanted}, found {found}"))
    }
}

/// The first of what may not be in a string as it is: a quote, a backslash, a control character. Or the end.
#[inline]
pub(in crate::transcode) fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is less than `n`; above the lowest such byte also of some others.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGHS;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let special = below(word, 0x20) | below(quote, 1) | below(backslash, 1);
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

impl<'j> Text<'j> {
    /// An error about it.
    #[cold]
    pub(super) fn fault(&self, reason: impl Into<String>) -> ReadError {
        ReadError::new(self.at, reason)
    }

    /// Its characters, if they stand in the text as they are.
    #[inline]
    pub(super) fn plain(&self) -> Option<&'j str> {
        (!self.has_escapes).then_some(self.raw)
    }

    /// At least as many bytes as it has without its escapes.
    pub(super) fn bytes_max(&self) -> usize {
        self.raw.len()
    }

    /// Its characters, for a name or number; they are rarely escaped.
    #[inline]
    pub(super) fn characters(&self) -> Result<Cow<'j, str>, ReadError> {
        if let Some(plain) = self.plain() {
            return Ok(Cow::Borrowed(plain));
        }
        let mut characters = String::with_capacity(self.raw.len());
        self.unescape(|piece| characters.push_str(piece))?;
        Ok(Cow::Owned(characters))
    }

    /// Gives its characters piece by piece.
    pub(super) fn unescape(&self, mut take: impl FnMut(&str)) -> Result<(), ReadError> {
        if !self.has_escapes {
            take(self.raw);
            return Ok(());
        }
        let mut rest = self.raw;
        while let Some(backslash) = rest.find('\\') {
            take(&rest[..backslash]);
            rest = &rest[backslash + 1..];
            let at = self.at + self.raw.len() - rest.len() - 1;
            let (character, length) = escape(rest).map_err(|reason| ReadError::new(at, reason))?;
            take(character.encode_utf8(&mut [0; 4]));
            rest = &rest[length..];
        }
        take(rest);
        Ok(())
    }
}

/// The character of the escape whose backslash stands before `rest`, and the escape's length.
fn escape(rest: &str) -> Result<(char, usize), &'static str> {
    let character = match rest.as_bytes().first() {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(&rest.as_bytes()[1..]),
        _ => return Err("unknown escape"),
    };
    Ok((character, 1))
}

/// `8C37`, or two halves of a pair: `D83D\uDE01`.
fn unicode_escape(digits: &[u8]) -> Result<(char, usize), &'static str> {
    let high = hexadecimal(digits).ok_or("`\\u` needs four hexadecimal digits")?;
    if let Some(character) = char::from_u32(high) {
        return Ok((character, 5));
    }
    let low = match digits.get(4..) {
        Some([b'\\', b'u', low @ ..]) if high < 0xDC00 => hexadecimal(low).unwrap_or(0),
        _ => 0,
    };
    if !(0xDC00..0xE000).contains(&low) {
        return Err("half of a surrogate pair");
    }
    let character = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    Ok((char::from_u32(character).ok_or("half of a surrogate pair")?, 11))
}

/// The value of the first four digits.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// As much of the caller's text as an error may repeat.
pub(in crate::transcode) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(QUOTED_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}
