//! Path templates, as `google/api/http.proto` spells them.
//!
//! ```text
//! Template = "/" [ Segments [ Verb ] ]
//! Segments = Segment { "/" Segment }
//! Segment  = "*" | "**" | LITERAL | Variable
//! Variable = "{" FieldPath [ "=" Segments ] "}"
//! FieldPath = IDENT { "." IDENT }
//! Verb     = ":" LITERAL
//! ```
//!
//! `{x}` is `{x=*}`. `**` stands once at most, and only literals may follow it. `/` alone is the root. A literal is
//! what RFC 3986 section 3.3 allows in a segment but for `:` and `*`, and is compared byte by byte.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The pattern of the path's segments, variables taken apart.
    pub segments: Vec<Segment>,
    /// The text behind the last segment's colon.
    pub verb: Option<String>,
    /// In the order of the text.
    pub variables: Vec<Variable>,
    text: String,
}

/// The pattern of one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Just this.
    Literal(String),
    /// `*`: any one.
    One,
    /// `**`: any number of them, none included.
    Rest,
}

/// A part of the path that becomes a field of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The field, from the request inwards.
    pub field: Vec<String>,
    /// Which of the template's segments it covers.
    pub segments: Range<usize>,
    /// Whether it may hold several segments, so that escaped slashes must stay apart from real ones.
    pub is_multi: bool,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {wanted}")]
pub struct BadTemplate {
    /// The character it is about, from 1; one more than there are for the end.
    pub column: usize,
    /// The expected part at this column.
    pub wanted: &'static str,
}

/// Segments and variables of one template; more is no path that anybody writes.
const SEGMENTS_MAX: usize = 64;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first place where it is none, and what was wanted there.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let template =
            Self { segments: Vec::new(), verb: None, variables: Vec::new(), text: text.to_owned() };
        let mut reader = Reader { rest: text, column: 1, template };
        reader.template()?;
        Ok(reader.template)
    }

    /// Where `**` stands, if it is there.
    pub fn rest_at(&self) -> Option<usize> {
        self.segments.iter().position(|segment| *segment == Segment::Rest)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Reader<'a> {
    rest: &'a str,
    column: usize,
    template: Template,
}

impl Reader<'_> {
    fn template(&mut self) -> Result<(), BadTemplate> {
        if !self.take('/') {
            return self.fail("a template begins with `/`");
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        self.segments(false)?;
        if self.take(':') {
            let verb = self.literal("a verb is needed after `:`: letters, digits and -._~!$&'()+,;=@")?;
            self.template.verb = Some(verb);
            if !self.rest.is_empty() {
                return self.fail("nothing may follow the verb");
            }
        }
        match self.rest.chars().next() {
            None => Ok(()),
            Some('}') => self.fail("`}` without its `{`"),
            Some(_) => self.fail("`/`, `:` or the end of the template was wanted"),
        }
    }

    fn segments(&mut self, in_variable: bool) -> Result<(), BadTemplate> {
        loop {
            self.segment(in_variable)?;
            if !self.take('/') {
                return Ok(());
            }
        }
    }

    fn segment(&mut self, in_variable: bool) -> Result<(), BadTemplate> {
        if self.template.segments.len() == SEGMENTS_MAX {
            return self.fail("at most 64 segments");
        }
        match self.rest.chars().next() {
            Some('*') => {
                let at = self.column;
                self.take('*');
                let segment = if self.take('*') { Segment::Rest } else { Segment::One };
                if self.template.rest_at().is_some() {
                    let wanted = "only literals may follow `**`";
                    return Err(BadTemplate { column: at, wanted });
                }
                self.template.segments.push(segment);
                Ok(())
            }
            Some('{') if in_variable => self.fail("a variable may not stand in another one"),
            Some('{') => self.variable(),
            Some('/') => self.fail("a segment may not be empty"),
            _ => {
                let wanted =
                    "a segment was wanted: `*`, `**`, `{field}`, or letters, digits, %XX and -._~!$&'()+,;=@";
                let at = self.column;
                let literal = self.literal(wanted)?;
                if matches!(literal.as_str(), "." | "..") {
                    let wanted =
                        "`.` and `..` are not segments: clients resolve them before they send a path";
                    return Err(BadTemplate { column: at, wanted });
                }
                self.template.segments.push(Segment::Literal(literal));
                Ok(())
            }
        }
    }

    fn variable(&mut self) -> Result<(), BadTemplate> {
        let at = self.column;
        self.take('{');
        let mut field = vec![self.identifier()?];
        while self.take('.') {
            field.push(self.identifier()?);
        }
        let overlaps = |earlier: &Variable| {
            let shared = earlier.field.len().min(field.len());
            earlier.field[..shared] == field[..shared]
        };
        if self.template.variables.iter().any(overlaps) {
            return Err(BadTemplate { column: at, wanted: "a field may be bound only once" });
        }
        let begin = self.template.segments.len();
        if self.take('=') {
            self.segments(true)?;
        } else if self.template.rest_at().is_some() {
            return Err(BadTemplate { column: at, wanted: "only literals may follow `**`" });
        } else {
            self.template.segments.push(Segment::One);
        }
        if !self.take('}') {
            return self.fail(match self.rest.chars().next() {
                Some(':') => "a verb stands after the variable, not in it",
                _ => "`}` was wanted: the end of the variable",
            });
        }
        let segments = begin..self.template.segments.len();
        let is_multi = segments.len() > 1 || self.template.segments[begin] == Segment::Rest;
        self.template.variables.push(Variable { field, segments, is_multi });
        Ok(())
    }

    fn identifier(&mut self) -> Result<String, BadTemplate> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        if end == 0 || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.fail("the name of a field was wanted: letters, digits and `_`");
        }
        Ok(self.skip(end))
    }

    fn literal(&mut self, wanted: &'static str) -> Result<String, BadTemplate> {
        let mut end = 0;
        while let Some(byte) = self.rest.as_bytes().get(end) {
            match byte {
                b'%' => {
                    let escape = self.rest.as_bytes().get(end + 1..end + 3);
                    if !escape.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                        self.skip(end);
                        return self.fail("`%` and two hexadecimal digits");
                    }
                    end += 3;
                }
                byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=@".contains(byte) => end += 1,
                byte if !byte.is_ascii() => {
                    self.skip(end);
                    return self.fail("write what is not ASCII percent-encoded, as it comes in a path");
                }
                _ => break,
            }
        }
        if end == 0 {
            return self.fail(wanted);
        }
        Ok(self.skip(end))
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.rest.starts_with(wanted);
        if is_there {
            self.skip(wanted.len_utf8());
        }
        is_there
    }

    /// Goes past some bytes, all of them ASCII, and returns them.
    fn skip(&mut self, bytes: usize) -> String {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.column += bytes;
        skipped.to_owned()
    }

    fn fail<T>(&self, wanted: &'static str) -> Result<T, BadTemplate> {
        Err(BadTemplate { column: self.column, wanted })
    }
}
