//! Errors of a configuration that is right by itself, but asks of this host more than it has.

use std::path::Path;

use toml::de::DeTable;

use super::Errors;
use super::reader::{Source, Table};

/// Reports refused keys as the parser would, each at its place. `refused` are keys, with the fault of each.
///
/// # Errors
/// Always, unless `refused` is empty or the file has none of the keys any more.
pub fn refuse(path: &Path, refused: &[(&str, String)]) -> Result<(), Errors> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Errors::unreadable(path, None, format!("cannot be read: {error}"), None))?;
    let source = Source::new(&text, path);
    let (tree, _) = DeTable::parse_recoverable(&text);
    let root = Table::root(&source, tree.get_ref());
    for (key, reason) in refused {
        let value = match key.split_once('.') {
            Some((table, name)) => root.table(table).value(name),
            None => root.value(key),
        };
        if let Some(value) = value {
            value.refuse(reason.as_str(), None);
        }
    }
    source.into_errors().map_or(Ok(()), Err)
}
