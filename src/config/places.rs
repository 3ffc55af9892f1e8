//! Where values stand in the file, for what is said of them after the file has been read.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::knobs::{self, KNOBS};

/// The places of some keys, each as errors name one: `ringway.toml:2:11`.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The keys that only a start applies.
    at_start: Vec<(&'static str, String)>,
    /// The address of each listener.
    listeners: Vec<String>,
    /// The sink of the access log.
    access_log: String,
    /// The files that the configuration names: key, path as it is written, place.
    files: Vec<(&'static str, String, String)>,
}

/// A line that moves makes no two configurations differ.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// Finds the places in the tree of a file; `name` is the place of a byte in words.
    pub(super) fn of(tree: &DeTable<'_>, name: impl Fn(usize) -> String) -> Places {
        let place = |key: &str| name(position(tree, key, 0));
        let at_start = KNOBS.iter().filter(|knob| knob.is_at_start).map(|knob| (knob.key, place(knob.key)));
        let listeners = tree.get("listeners").map(Spanned::get_ref);
        let listeners = listeners.and_then(DeValue::as_array).into_iter().flat_map(|tables| tables.iter());
        let address = |table: &Spanned<DeValue<'_>>| {
            let at = table.span().start;
            let entries = table.get_ref().as_table();
            name(entries.map_or(at, |entries| position(entries, "address", at)))
        };
        let mut files = Vec::new();
        for (key, entry) in tree {
            add_files(key.get_ref(), entry, &name, &mut files);
        }
        Places {
            files,
            at_start: at_start.collect(),
            listeners: listeners.map(address).collect(),
            access_log: place("access_log.path"),
        }
    }

    /// The place of a key that only a start applies: that of its table, or of the file, where it is not set.
    pub(super) fn at_start(&self, key: &str) -> &str {
        self.at_start.iter().find(|(known, _)| *known == key).map_or("", |(_, place)| place)
    }

    /// The place of a listener's address.
    pub fn listener(&self, number: usize) -> &str {
        self.listeners.get(number).map_or("", String::as_str)
    }

    /// The key that names a file, and its place: `ringway.toml:9:11: transcoding.protos`. The path may begin at the
    /// folder of the configuration or at the current one.
    pub fn file(&self, path: &Path) -> Option<String> {
        let is_it = |written: &str| {
            let written = written.trim_start_matches("./");
            !written.is_empty() && path.ends_with(written)
        };
        let (key, _, place) = self.files.iter().find(|(_, written, _)| is_it(written))?;
        Some(format!("{place}: {key}"))
    }

    /// The place of the access log's sink.
    pub fn access_log(&self) -> &str {
        &self.access_log
    }
}

/// Adds the files that an entry of the tree names.
fn add_files(
    key: &str,
    entry: &Spanned<DeValue<'_>>,
    name: &impl Fn(usize) -> String,
    files: &mut Vec<(&'static str, String, String)>,
) {
    match entry.get_ref() {
        DeValue::Table(entries) => {
            entries.iter().for_each(|(below, entry)| {
                add_files(&format!("{key}.{}", below.get_ref()), entry, name, files)
            });
        }
        DeValue::Array(items) => items.iter().for_each(|item| add_files(key, item, name, files)),
        DeValue::String(path) => {
            if let Some(knob) = knobs::find(key).filter(|knob| knob.is_path()) {
                files.push((knob.key, path.to_string(), name(entry.span().start)));
            }
        }
        _ => {}
    }
}

/// The byte at which the value of a key begins, or else the innermost table that could have it; `at` is where `table` does.
fn position(table: &DeTable<'_>, key: &str, at: usize) -> usize {
    let (name, below) = key.split_once('.').map_or((key, None), |(name, below)| (name, Some(below)));
    let Some(value) = table.get(name) else { return at };
    let start = value.span().start;
    match (below, value.get_ref()) {
        (Some(below), DeValue::Table(entries)) => position(entries, below, start),
        _ => start,
    }
}
