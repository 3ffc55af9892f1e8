//! Reads Rust files as words, for `tests/tidy.rs`.
//!
//! Not a parser: it knows comments, strings, characters and lifetimes, so that what it gives are real words of
//! code with their line numbers.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project. `path` is relative to its root, with slashes.
pub struct File {
    pub path: String,
    pub text: String,
}

/// A word of code: an identifier, a number, `::`, or one other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// The content of a Rust file. A literal is one word, `""`.
#[derive(Default)]
pub struct Source {
    pub words: Vec<Word>,
    pub comments: Vec<Comment>,
}

/// A comment; `line` is its last one.
pub struct Comment {
    pub text: String,
    pub line: usize,
}

/// All files below `folder` (relative to the project's root) that `wanted` says yes to, in order of their paths.
pub fn files(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join(folder), &mut paths);
    paths.sort();
    let name = |path: &PathBuf| {
        let inside = path.strip_prefix(root).expect("the walk began at the root");
        inside.to_str().expect("names of the project are UTF-8").to_owned()
    };
    paths
        .iter()
        .map(|path| (name(path), path))
        .filter(|(name, _)| wanted(name))
        .map(|(name, path)| {
            let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
            File { path: name, text }
        })
        .collect()
}

/// Folders that builds and tools leave in the tree: they are not the project's.
const SKIPPED_FOLDERS: &[&str] =
    &["target", ".git", "node_modules", "__pycache__", ".venv", "corpus", "artifacts"];

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder of the project can be read").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if path.is_file() {
            found.push(path);
        } else if path.is_dir() && !SKIPPED_FOLDERS.contains(&name) {
            walk(&path, found);
        }
    }
}

/// Splits Rust text into words and comments.
pub fn read(text: &str) -> Source {
    let mut reader = Reader { rest: text, line: 1, source: Source::default() };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.source
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    source: Source,
}

impl Reader<'_> {
    fn step(&mut self) {
        let first = self.rest.chars().next().expect("the caller saw that there is more");
        if self.rest.starts_with("//") {
            self.comment(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.comment(block_comment(self.rest));
        } else if let Some(length) = raw_string(self.rest) {
            self.literal(length);
        } else if ["\"", "b\"", "c\""].iter().any(|open| self.rest.starts_with(open)) {
            let open = self.rest.find('"').expect("it starts with one") + 1;
            self.literal(open + quoted(&self.rest[open..], '"'));
        } else if let Some(length) = character(self.rest) {
            self.literal(length);
        } else if first.is_alphanumeric() || first == '_' {
            let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            self.word(length.unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("::") {
            self.word(2);
        } else if first.is_whitespace() {
            self.take(first.len_utf8());
        } else {
            self.word(first.len_utf8());
        }
    }

    fn take(&mut self, length: usize) -> &str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn word(&mut self, length: usize) {
        let line = self.line;
        let text = self.take(length).to_owned();
        self.source.words.push(Word { text, line });
    }

    fn literal(&mut self, length: usize) {
        let line = self.line;
        self.take(length);
        self.source.words.push(Word { text: "\"\"".to_owned(), line });
    }

    fn comment(&mut self, length: usize) {
        let text = self.take(length).to_owned();
        self.source.comments.push(Comment { text, line: self.line });
    }
}

/// Bytes of the block comment that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Bytes of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|p| text.strip_prefix(p).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = text[prefix.len()..].find('"')?;
    let open = prefix.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text[open..].find(&close).map_or(text.len(), |at| open + at + close.len()))
}

/// Bytes up to and with the closing quote, escapes passed over.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Bytes of the character literal that `text` begins with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("b'").or_else(|| text.strip_prefix('\''))?;
    let open = text.len() - inner.len();
    let mut characters = inner.chars();
    let first = characters.next()?;
    let is_literal = first == '\\' || characters.next() == Some('\'');
    is_literal.then(|| open + quoted(inner, '\''))
}
