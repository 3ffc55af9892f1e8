//! The text of a `.proto` file of an edition, so that a parser of proto3 reads it.
//!
//! Only words that such a parser does not know are changed, and each takes as much room as before, so that an error is
//! told at its own line and column: `edition = "2023"` becomes `syntax = "proto3"`; `option` of an import, `export`,
//! `local` and reserved names go; `default` gets a name that is nobody's.

use super::edition::Edition;

/// The option that `default` becomes.
pub(super) const DEFAULT: &str = "dEfault";

/// A word, a sign or a text, by where it lies.
#[derive(Clone, Copy)]
struct Token {
    begin: usize,
    end: usize,
}

/// The text for the parser, and the edition that it was in; none if it says `syntax`, or nothing.
///
/// # Errors
/// The edition is not known.
pub(in crate::transcode) fn to_proto3(text: &str) -> Result<Option<(String, Edition)>, String> {
    let tokens = Tokens { text: text.as_bytes(), at: 0 };
    let tokens: Vec<Token> = tokens.collect();
    let word = |at: usize| tokens.get(at).map_or("", |token| &text[token.begin..token.end]);
    if word(0) != "edition" || word(1) != "=" {
        return Ok(None);
    }
    let edition = Edition::of_name(word(2).trim_matches(['"', '\'']))?;
    let mut out = text.as_bytes().to_vec();
    for at in 3..tokens.len() {
        let blank = match word(at) {
            "option" => word(at - 1) == "import",
            "export" | "local" => {
                matches!(word(at + 1), "message" | "enum") && word(at + 3) == "{" && ends(word(at - 1))
            }
            _ => false,
        };
        if blank {
            out[tokens[at].begin..tokens[at].end].fill(b' ');
        }
        if word(at) == "default" && matches!(word(at - 1), "[" | ",") && word(at + 1) == "=" {
            out[tokens[at].begin..tokens[at].end].copy_from_slice(DEFAULT.as_bytes());
        }
        let is_reserved = word(at) == "reserved" && ends(word(at - 1));
        if is_reserved && word(at + 1).starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let end = (at..tokens.len()).take_while(|at| word(*at) != ";").last().unwrap_or(at);
            let is_list = (at + 1..=end).all(|at| is_word(word(at)) || word(at) == ",");
            if is_list {
                blank_out(&mut out[tokens[at].begin..tokens[end].end]);
            }
        }
    }
    let mut head = text.as_bytes()[..tokens[0].begin].to_vec();
    head.extend_from_slice(b"syntax ");
    head.extend_from_slice(&out[tokens[0].end..tokens[2].begin]);
    head.extend_from_slice(b"\"proto3\"");
    head.extend_from_slice(&out[tokens[2].end..]);
    // Only whole words of ASCII were overwritten, so the text is still UTF-8.
    String::from_utf8(head).map(|text| Some((text, edition))).map_err(|error| error.to_string())
}

/// Whether a statement may begin after it.
fn ends(word: &str) -> bool {
    matches!(word, ";" | "{" | "}")
}

fn is_word(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Spaces in place of all but the ends of lines and what is not ASCII.
fn blank_out(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| byte.is_ascii() && **byte != b'\n').for_each(|byte| *byte = b' ');
}

struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let rest = self.text.get(self.at..)?;
            let skipped = match rest {
                [] => return None,
                [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
                [b'/', b'*', inner @ ..] => {
                    inner.windows(2).position(|two| two == b"*/").map_or(rest.len(), |at| at + 4)
                }
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                _ => 0,
            };
            if skipped == 0 {
                let length = length(rest);
                let token = Token { begin: self.at, end: self.at + length };
                self.at += length;
                return Some(token);
            }
            self.at += skipped;
        }
    }
}

/// How long the token is that begins here.
fn length(rest: &[u8]) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match rest[0] {
        quote @ (b'"' | b'\'') => {
            let mut at = 1;
            while let Some(byte) = rest.get(at) {
                at += if *byte == b'\\' { 2 } else { 1 };
                if *byte == quote || *byte == b'\n' {
                    break;
                }
            }
            // An end in the middle of a character is none.
            let mut at = at.min(rest.len());
            while rest.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
                at += 1;
            }
            at
        }
        byte if is_name(&byte) => rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len()),
        byte if !byte.is_ascii() => rest.iter().position(u8::is_ascii).unwrap_or(rest.len()),
        _ => 1,
    }
}
