//! Settings of the command line, `--set key=value`: they go before the file, and the file before the defaults.
//!
//! A key is written as in the documentation. One of several tables is chosen by its name, or by its number from 0:
//! `clusters.echo.timeout=2s`, `listeners.0.address=0.0.0.0:8080`.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::knobs::{self, Kind};
use super::reader::Source;
use super::variables::typed;

/// Puts all settings of the command line into the tree of a file. Errors are reported to `source`.
pub(super) fn apply<'a>(tree: &mut DeTable<'a>, source: &Source<'a>) {
    for (number, setting) in source.set().iter().enumerate() {
        let span = source.span_of_setting(number);
        let refuse = |wrong: Wrong| source.refuse(&wrong.key, span.start, None, wrong.wanted, wrong.hint);
        match setting.split_once('=') {
            Some((key, text)) => match segments(key.trim()) {
                Some(segments) => {
                    let setting = Setting { segments: &segments, text: text.trim(), span: &span };
                    let _ = setting.put(tree, String::new()).map_err(refuse);
                }
                None => refuse(Wrong::new("", "a quote that does not end")),
            },
            None => refuse(Wrong::new("", "must be KEY=VALUE, such as drain_timeout=10s")),
        }
    }
}

/// A setting that does not fit the file.
struct Wrong {
    key: String,
    wanted: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(key: impl Into<String>, wanted: impl Into<String>) -> Wrong {
        Wrong { key: key.into(), wanted: wanted.into(), hint: None }
    }
}

/// The rest of a key, below the table that was reached.
struct Setting<'a, 's> {
    segments: &'s [&'a str],
    text: &'a str,
    span: &'s Range<usize>,
}

impl<'a> Setting<'a, '_> {
    /// Sets it in this table, whose key is `path`.
    fn put(&self, table: &mut DeTable<'a>, path: String) -> Result<(), Wrong> {
        let Some((name, below)) = self.segments.split_first() else {
            return Err(Wrong::new(path, "a table, not a single value"));
        };
        let key = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        let spanned = || Spanned::new(self.span.clone(), Cow::Borrowed(*name));
        if below.is_empty() {
            let value = quoted(self.text).unwrap_or_else(|| typed(&key, self.text, self.span));
            table.remove(*name);
            table.insert(spanned(), Spanned::new(self.span.clone(), value));
            return Ok(());
        }
        let below = Setting { segments: below, ..*self };
        let is_several = matches!(knobs::find(&key).map(|knob| knob.kind), Some(Kind::Tables { .. }));
        if !table.contains_key(*name) {
            let empty = match is_several {
                true => DeValue::Array(std::iter::empty::<Spanned<DeValue<'a>>>().collect()),
                false => DeValue::Table(DeTable::new()),
            };
            table.insert(spanned(), Spanned::new(self.span.clone(), empty));
        }
        match table.get_mut(*name).map(Spanned::get_mut) {
            Some(DeValue::Table(entries)) => below.put(entries, key),
            Some(DeValue::Array(items)) if is_several => below.put_in_one(items, key),
            _ => Err(Wrong::new(key, "is no table in the file")),
        }
    }

    /// Sets it in the one of several tables that the next segment chooses.
    fn put_in_one(&self, tables: &mut toml::de::DeArray<'a>, key: String) -> Result<(), Wrong> {
        let Some((chosen, below)) = self.segments.split_first() else {
            return Err(Wrong::new(key, "say which one"));
        };
        let name_of = |table: &Spanned<DeValue<'a>>| match table.get_ref() {
            DeValue::Table(entries) => {
                entries.get("name").and_then(|name| name.get_ref().as_str().map(str::to_owned))
            }
            _ => None,
        };
        let names: Vec<Option<String>> = tables.iter().map(name_of).collect();
        let by_name = names.iter().position(|name| name.as_deref() == Some(*chosen));
        let at = by_name.or_else(|| chosen.parse().ok().filter(|at| *at <= names.len()));
        let Some(at) = at else {
            let known = names.iter().enumerate().map(|(number, name)| match name {
                Some(name) => format!("{number} or {name}"),
                None => number.to_string(),
            });
            let known: Vec<String> = known.collect();
            let hint = match known.is_empty() {
                true => format!("there are none yet: write {key}.0 for the first"),
                false => format!("there are: {}", known.join(", ")),
            };
            return Err(Wrong { hint: Some(hint), ..Wrong::new(format!("{key}.{chosen}"), "no such one") });
        };
        if at == names.len() {
            tables.push(Spanned::new(self.span.clone(), DeValue::Table(DeTable::new())));
        }
        match tables.get_mut(at).map(Spanned::get_mut) {
            Some(DeValue::Table(entries)) => Setting { segments: below, ..*self }.put(entries, key),
            _ => Err(Wrong::new(format!("{key}.{chosen}"), "is no table in the file")),
        }
    }
}

/// Text in quotes, as a file has it.
fn quoted(text: &str) -> Option<DeValue<'_>> {
    let value =
        if text.starts_with(['"', '\'']) { DeValue::parse(text).ok()?.into_inner() } else { return None };
    matches!(value, DeValue::String(_)).then_some(value)
}

/// The parts of a key between its dots; a part in quotes may have dots. `None` if a quote does not end.
fn segments(key: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = key;
    loop {
        let (segment, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (segment, after) = quoted.split_once('"')?;
                (segment, after.strip_prefix('.').or_else(|| after.is_empty().then_some(""))?)
            }
            None => rest.split_once('.').unwrap_or((rest, "")),
        };
        found.push(segment);
        if after.is_empty() {
            return Some(found);
        }
        rest = after;
    }
}
