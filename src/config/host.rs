//! Errors of a configuration that is right by itself, but asks of this host more than it has.

use std::path::Path;

use super::Errors;
use super::load::tree;
use super::reader::{Source, Table};

/// Reports refused keys as the parser would, each at its place. `refused` are keys, with the fault of each; `set` are
/// the settings that go before the file.
///
/// # Errors
/// Always, unless `refused` is empty.
pub fn refuse(path: &Path, set: &[String], refused: &[(&str, String)]) -> Result<(), Errors> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Errors::unreadable(path, None, format!("cannot be read: {error}"), None))?;
    let source = Source::new(&text, path, set);
    let mut texts = Vec::new();
    let tree = tree(&source, &|name| std::env::var(name).ok(), &mut texts);
    let root = Table::root(&source, &tree);
    for (key, reason) in refused {
        let value = match key.split_once('.') {
            Some((table, name)) => root.table(table).value(name),
            None => root.value(key),
        };
        match value {
            Some(value) => value.refuse(reason.as_str(), None),
            None => root.refuse(key, reason.as_str(), None),
        }
    }
    source.into_errors().map_or(Ok(()), Err)
}
