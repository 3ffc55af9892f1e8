//! Errors in a configuration, and their places.

use std::fmt;
use std::path::{Path, PathBuf};

/// All errors of one file, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

/// An error in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Its position in the file; `None` if the file could not be read at all.
    pub place: Option<Place>,
    /// The key with the tables it is in, without positions: `clusters.pool.max_connections_per_endpoint`. Empty for a syntax error.
    pub key: String,
    /// The value as it is written there, cut to a line.
    pub found: Option<String>,
    /// The problem, in words that can follow `key = found: `.
    pub wanted: String,
    /// The remedy, where there is one.
    pub hint: Option<String>,
}

/// A position in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

impl Errors {
    /// Sorts by position and drops repeated errors. `None` if there are none.
    pub(super) fn new(mut errors: Vec<Error>) -> Option<Self> {
        errors.sort_by_key(|error| error.place);
        errors.dedup();
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The error of a file that could not be read.
    pub(super) fn unreadable(
        file: &Path,
        place: Option<Place>,
        wanted: String,
        hint: Option<String>,
    ) -> Self {
        Self(vec![Error { file: file.to_owned(), place, key: String::new(), found: None, wanted, hint }])
    }

    /// Changes each error.
    pub fn map(self, change: impl FnMut(Error) -> Error) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }

    /// Iterates over the errors in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    /// `ringway.toml:12:9: clusters.pool.max_connections_per_endpoint = 0: must be between 1 and 1024 (hint)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        match (self.key.as_str(), &self.found) {
            ("", _) => {}
            (key, Some(found)) => write!(f, " {key} = {found}:")?,
            (key, None) => write!(f, " {key}:")?,
        }
        write!(f, " {}", self.wanted)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Errors {}
impl std::error::Error for Error {}

impl Place {
    /// Where a byte of a text is. Bytes past the end count as the end.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = &text.as_bytes()[..byte.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        // A UTF-8 character has one byte that is not 0b10......
        let columns = before[line_start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Self { line: from_one(lines), column: from_one(columns) }
    }
}

fn from_one(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1)
}
