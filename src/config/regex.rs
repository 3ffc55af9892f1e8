//! Regular expressions of routes.
//!
//! A condition is compiled to a table when the file is read: a call costs one look-up for each byte, whatever the pattern
//! and the text are, and no memory. The table is bounded, so a pattern that needs more is refused. A rewrite has to know
//! where its groups are, which a table does not tell: it walks the pattern with memory that its caller keeps.

use std::fmt;
use std::sync::Arc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, pikevm};
use regex_automata::util::{captures::Captures, syntax};
use regex_automata::{Anchored, Input, MatchKind};

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 1000;
/// Bytes that the table of one pattern may have, and that making it may take.
const TABLE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a pattern of a rewrite may take.
const WALK_BYTES_MAX: usize = 32 * 1024;

/// A pattern that a whole text has to match (RE2's syntax, of bytes).
#[derive(Clone)]
pub struct Regex {
    text: String,
    table: Arc<dense::DFA<Vec<u32>>>,
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// In words, why it cannot be one.
    pub fn new(text: &str) -> Result<Regex, String> {
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(TABLE_BYTES_MAX))
            .determinize_size_limit(Some(TABLE_BYTES_MAX));
        check(text)?;
        let table = dense::Builder::new()
            .configure(config)
            .syntax(bytes())
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(TABLE_BYTES_MAX)))
            .build(text)
            .map_err(|_| too_large(TABLE_BYTES_MAX))?;
        Ok(Regex { text: text.to_owned(), table: Arc::new(table) })
    }

    /// Whether the whole text matches.
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes);
        // Of all matches from the beginning the longest is found. A text that the table cannot read matches nothing.
        let longest = self.table.try_search_fwd(&input).ok().flatten();
        longest.is_some_and(|end| end.offset() == text.len())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

/// A rewrite by a pattern: each part of a text that matches becomes the substitution (Envoy's words).
#[derive(Clone)]
pub struct Substitution {
    pattern: String,
    template: String,
    walk: Arc<pikevm::PikeVM>,
    parts: Vec<Part>,
}

/// A part of a substitution.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Group(usize),
}

/// Memory of one walk, which walks of one [`Substitution`] use one after the other.
#[derive(Clone, Debug)]
pub struct Walk {
    cache: pikevm::Cache,
    captures: Captures,
}

impl Substitution {
    /// Compiles a pattern and what takes the place of its matches: text in which `\1` is a group, `\0` all of the match,
    /// and `\\` a backslash.
    ///
    /// # Errors
    /// In words, why the pattern (`Ok`) or the substitution (`Err`) cannot be one.
    pub fn new(pattern: &str, template: &str) -> Result<Substitution, Result<String, String>> {
        check(pattern).map_err(Ok)?;
        let walk = pikevm::PikeVM::builder()
            .syntax(bytes())
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(WALK_BYTES_MAX)))
            .build(pattern)
            .map_err(|_| Ok(too_large(WALK_BYTES_MAX)))?;
        let groups = walk.get_nfa().group_info().all_group_len();
        let parts = parts(template, groups).map_err(Err)?;
        let (pattern, template) = (pattern.to_owned(), template.to_owned());
        Ok(Substitution { pattern, template, walk: Arc::new(walk), parts })
    }

    /// The memory for walks.
    pub fn memory(&self) -> Walk {
        Walk { cache: self.walk.create_cache(), captures: self.walk.create_captures() }
    }

    /// Writes the text behind `out`, with all its matches replaced.
    pub fn replace(&self, memory: &mut Walk, text: &[u8], out: &mut Vec<u8>) {
        let Walk { cache, captures } = memory;
        let (mut at, mut copied, mut before) = (0, 0, None);
        while at <= text.len() {
            self.walk.search(cache, &Input::new(text).range(at..), captures);
            let Some(found) = captures.get_match() else { break };
            out.extend_from_slice(&text[copied..found.start()]);
            // Nothing between two matches is no match of its own.
            if !found.is_empty() || before != Some(found.start()) {
                self.write(text, captures, out);
            }
            (at, copied, before) = (found.end(), found.end(), Some(found.end()));
            if found.is_empty() {
                out.extend_from_slice(text.get(at..=at).unwrap_or_default());
                at += 1;
                copied = at.min(text.len());
            }
        }
        out.extend_from_slice(&text[copied..]);
    }

    /// Writes what takes the place of a match.
    fn write(&self, text: &[u8], captures: &Captures, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Group(group) => {
                    let span = captures.get_group(*group);
                    out.extend_from_slice(span.map_or(&[][..], |span| &text[span.range()]));
                }
            }
        }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The substitution as it was written.
    pub fn template(&self) -> &str {
        &self.template
    }
}

impl fmt::Debug for Substitution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Substitution({:?} -> {:?})", self.pattern, self.template)
    }
}

impl PartialEq for Substitution {
    fn eq(&self, other: &Substitution) -> bool {
        (&self.pattern, &self.template) == (&other.pattern, &other.template)
    }
}

impl Eq for Substitution {}

/// Paths and fields are bytes, most of them ASCII: classes such as `\d` and `\w` are those of ASCII.
fn bytes() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).nest_limit(50)
}

/// Refuses what is no pattern, with its reason on one line.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes"));
    }
    syntax::parse_with(text, &bytes()).map(drop).map_err(|error| {
        // The library draws the place over several lines; the last says what is wrong.
        let text = error.to_string();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}

fn too_large(bytes_max: usize) -> String {
    format!("its table is larger than {} KiB: write fewer or shorter repetitions", bytes_max / 1024)
}

/// The parts of a substitution for a pattern with so many groups, the whole match included.
fn parts(template: &str, groups: usize) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('\\') => text.push('\\'),
            Some(digit) if digit.is_ascii_digit() => {
                let group = digit as usize - '0' as usize;
                if group >= groups {
                    return Err(format!("the pattern has {} groups, and none is \\{group}", groups - 1));
                }
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Group(group));
            }
            _ => return Err("after a backslash stands a digit, or another backslash".to_owned()),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_text_has_to_match() {
        for (pattern, text, wanted) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a", "x/a", false),
            ("a|ab", "ab", true),
            ("ab|a", "a", true),
            ("(?:a|ab)(?:c|bcd)", "abcd", true),
            ("a+?", "aaa", true),
            ("/v[0-9]+/.*", "/v12/x", true),
            ("/v\\d+/.*", "/v/x", false),
            ("a)|(b", "a", false),
            ("", "", false),
            ("a*", "", true),
            ("(?i)/Abc", "/aBC", true),
            ("a.c", "a\u{e9}c", false),
            ("a..c", "a\u{e9}c", true),
            ("^/a$", "/a", true),
            ("(?x) a b # c", "ab", true),
            ("\\bab\\b", "ab", true),
        ] {
            let is_match = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text.as_bytes()));
            assert_eq!(is_match, wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused_in_a_line() {
        for (pattern, wanted) in [
            ("", "a pattern has 1 to 1000 bytes"),
            ("(a", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("a{2,1}", "invalid repetition count range, the start must be <= the end"),
            ("\\p{L}", "Unicode not allowed here"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
            ("(a)\\1", "backreferences are not supported"),
            ("([a-z]{50}[0-9]{50}){50}x{50}{50}", "256 KiB"),
        ] {
            let error = Regex::new(pattern).expect_err(pattern);
            assert!(error.contains(wanted) && !error.contains('\n'), "{pattern}: {error}");
        }
        assert!(Regex::new(&"a".repeat(1001)).is_err());
    }

    #[test]
    fn all_matches_are_replaced() {
        for (pattern, template, text, wanted) in [
            ("^/api", "", "/api/v1/a", "/v1/a"),
            ("^/([^/]+)/v1/(.*)$", r"/\2/of/\1", "/shop/v1/a/b", "/a/b/of/shop"),
            ("a", "bb", "banana", "bbbnbbnbb"),
            ("x", "y", "/a", "/a"),
            ("a*", "-", "baac", "-b-c-"),
            ("(a)|(b)", r"[\1\2\0]", "ab", "[aa][bb]"),
            ("a", r"\\", "/a", r"/\"),
            ("$", "!", "/a", "/a!"),
        ] {
            let substitution = Substitution::new(pattern, template).expect(pattern);
            let mut memory = substitution.memory();
            for _ in 0..2 {
                let mut out = b"kept ".to_vec();
                substitution.replace(&mut memory, text.as_bytes(), &mut out);
                assert_eq!(String::from_utf8_lossy(&out), format!("kept {wanted}"), "{pattern} {template}");
            }
        }
        for (pattern, template) in [("(a)", r"\2"), ("a", r"\"), ("a", r"\x")] {
            assert!(matches!(Substitution::new(pattern, template), Err(Err(_))), "{template}");
        }
        assert!(matches!(Substitution::new("(", ""), Err(Ok(_))));
        assert!(matches!(Substitution::new(&"(?:a{50}){50}".repeat(9), ""), Err(Ok(_))));
    }
}
