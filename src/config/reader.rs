//! Reads values out of a TOML tree by their row in the table of knobs, and keeps everything that is wrong with them.
//!
//! A value that is wrong is reported and its default returned, so one pass finds all errors. Code that asks for a key
//! without a row, or for another kind than the row's, has a bug; the tests ask for every key.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{Error, Errors, Place};
use super::forms::Hint;
use super::knobs::{self, Kind, Knob};
use super::{format, spelling};

/// A file's text, and the errors that were found in it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    file: &'a Path,
    /// Settings of the command line, which go before the text.
    set: &'a [String],
    errors: RefCell<Vec<Error>>,
}

/// Errors kept of one file. A file with more is not a configuration.
const ERRORS_MAX: usize = 200;

/// Characters shown of a wrong value, or of its key.
const SHOWN_MAX: usize = 80;

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, file: &'a Path, set: &'a [String]) -> Self {
        Self { text, file, set, errors: RefCell::default() }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The settings of the command line.
    pub(super) fn set(&self) -> &'a [String] {
        self.set
    }

    /// The position that stands for a setting of the command line: behind the end of the text.
    pub(super) fn span_of_setting(&self, number: usize) -> Range<usize> {
        let at = self.text.len() + 1 + number;
        at..at
    }

    /// Keeps the TOML parser's errors: the first of each line, for it often causes the others there.
    pub(super) fn refuse_syntax(&self, mut faults: Vec<toml::de::Error>) {
        let start = |fault: &toml::de::Error| fault.span().map_or(0, |span| span.start);
        faults.sort_by_key(start);
        let mut last = None;
        for fault in faults.iter().take(ERRORS_MAX) {
            let place = Place::of(self.text, start(fault));
            if last.replace(place.line) != Some(place.line) {
                let line = self.text.lines().nth(place.line as usize - 1).unwrap_or_default();
                let hint = format::syntax_hint(fault.message(), line);
                self.refuse("", start(fault), None, format!("not valid TOML: {}", fault.message()), hint);
            }
        }
    }

    /// Reports that the text is in another format, once: the TOML parser would stumble at every line.
    pub(super) fn refuse_format(&self, format: &str) {
        let hint = "`ringway init` writes one to begin with".to_owned();
        self.refuse("", 0, None, format!("this looks like {format}: a configuration is TOML"), Some(hint));
    }

    /// All errors that were found.
    pub(super) fn into_errors(self) -> Option<Errors> {
        Errors::new(self.errors.into_inner())
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_good(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// Reports an error at a byte of the text, or at a setting of the command line.
    pub(super) fn refuse(
        &self,
        key: &str,
        at: usize,
        found: Option<String>,
        wanted: String,
        hint: Option<String>,
    ) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < ERRORS_MAX {
            let (file, place) = self.file_and_place(at);
            errors.push(Error { file, place, key: one_line(key), found, wanted, hint });
        }
    }

    /// The file of a byte of the text and its position there, or a setting of the command line.
    fn file_and_place(&self, at: usize) -> (PathBuf, Option<Place>) {
        let setting = at.checked_sub(self.text.len() + 1).and_then(|number| self.set.get(number));
        match setting {
            Some(setting) => (one_line(&format!("--set {setting}")).into(), None),
            None => (self.file.to_owned(), Some(Place::of(self.text, at))),
        }
    }

    /// A byte of the text, or a setting of the command line, as errors name it: `ringway.toml:2:11`.
    pub(super) fn place(&self, at: usize) -> String {
        match self.file_and_place(at) {
            (file, Some(Place { line, column })) => format!("{}:{line}:{column}", file.display()),
            (setting, None) => setting.display().to_string(),
        }
    }

    /// Reports that a value of the text is wrong.
    pub(super) fn refuse_value(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        wanted: String,
        hint: Option<String>,
    ) {
        let span = value.span();
        self.refuse(key, span.start, shown(self.text, &span, value.get_ref()), wanted, hint);
    }
}

/// A table of the file, or a place where one could be: then all its keys are at their defaults.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    path: String,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// The table of the whole file.
    pub(super) fn root(source: &'a Source<'a>, entries: &'a DeTable<'a>) -> Self {
        Self::new(source, String::new(), 0, Some(entries))
    }

    /// A table whose keys are checked: unknown ones and those of later versions are reported.
    fn new(source: &'a Source<'a>, path: String, at: usize, entries: Option<&'a DeTable<'a>>) -> Self {
        let table = Self { source, path, at, entries };
        for (key, value) in entries.into_iter().flatten() {
            table.check_key(key, value);
        }
        table
    }

    fn check_key(&self, key: &Spanned<std::borrow::Cow<'a, str>>, value: &'a Spanned<DeValue<'a>>) {
        let name = key.get_ref().as_ref();
        let full = self.full(name);
        let (wanted, hint) = match knobs::find(&full).map(|knob| (knob.kind, knob.about)) {
            Some((Kind::Later { instead }, about)) => (
                format!("not yet: this version does not {about}"),
                format!("leave it out. {}", instead.trim_end_matches('.')),
            ),
            Some(_) => return,
            None => ("unknown key".to_owned(), self.likely(name)),
        };
        let found = shown(self.source.text, &value.span(), value.get_ref());
        self.source.refuse(&full, key.span().start, found, wanted, Some(hint));
    }

    /// A guess at the key that an unknown one was meant to be.
    fn likely(&self, name: &str) -> String {
        let near = spelling::nearest(name, knobs::keys_in(&self.path));
        if let Some(near) = near.filter(|near| spelling::is_slip(name, near)) {
            return format!("did you mean `{near}`?");
        }
        let meant = spelling::of_others(name);
        let same_name =
            |knob: &&Knob| knob.name() == meant.unwrap_or(name) && !matches!(knob.kind, Kind::Later { .. });
        let mut elsewhere: Vec<&str> = knobs::KNOBS.iter().filter(same_name).map(Knob::table).collect();
        // A table within this one is the one that was meant.
        let is_within =
            |table: &&str| table.strip_prefix(&*self.path).is_some_and(|rest| rest.starts_with('.'));
        if elsewhere.iter().any(is_within) {
            elsewhere.retain(is_within);
        }
        if let Some(meant) = meant.filter(|_| !elsewhere.is_empty()) {
            return format!("did you mean `{meant}` of {}?", elsewhere.join(" or "));
        }
        if elsewhere == [""] {
            return "it belongs at the top of the file, before the first table".to_owned();
        }
        if !elsewhere.is_empty() {
            return format!("it belongs in {}", elsewhere.join(" or "));
        }
        if let Some(near) = near {
            return format!("did you mean `{near}`?");
        }
        let with_word: Vec<&str> = self.keys_with(name).collect();
        let (own, deeper): (Vec<_>, Vec<_>) = with_word.into_iter().partition(|key| !key.contains('.'));
        let meant = if own.is_empty() { deeper } else { own };
        if (1..=3).contains(&meant.len()) {
            return format!("did you mean `{}`?", meant.join("` or `"));
        }
        let known: Vec<&str> = knobs::keys_in(&self.path).collect();
        format!("known here: {}", known.join(", "))
    }

    /// Keys of this table, and of the tables in it, of which the name is a word: `safe_regex` for `regex`.
    fn keys_with(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let is_word = move |word: &str| word == name || word.strip_suffix('s') == Some(name);
        let keys = knobs::KNOBS.iter().filter_map(|knob| match self.path.as_str() {
            "" => Some(knob.key),
            path => knob.key.strip_prefix(path)?.strip_prefix('.'),
        });
        let has_word =
            move |key: &&str| key.rsplit('.').next().is_some_and(|last| last.split('_').any(is_word));
        keys.filter(has_word)
    }

    /// The value of a key, if it is set.
    pub(super) fn value(&self, name: &str) -> Option<Value<'a>> {
        let value = self.entries?.get(name)?;
        Some(Value { source: self.source, key: self.full(name), at: value.span(), it: value.get_ref() })
    }

    /// Reports something that concerns the table as a whole, or a key that is not in it.
    pub(super) fn refuse(&self, name: &str, wanted: impl Into<String>, hint: Option<String>) {
        self.source.refuse(&self.full(name), self.at, None, wanted.into(), hint);
    }

    /// The line that it begins on.
    pub(super) fn line(&self) -> u32 {
        Place::of(self.source.text, self.at).line
    }

    /// The row of a key.
    pub(super) fn knob(&self, name: &str) -> &'static Knob {
        let key = self.full(name);
        knobs::find(&key).unwrap_or_else(|| panic!("{key} has no row in the table of knobs"))
    }

    fn full(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A table in this table.
    pub(super) fn table(&self, name: &str) -> Self {
        let knob = self.knob(name);
        let value = self.value(name);
        let (at, entries) = match value.as_ref().map(|value| (value, value.it)) {
            None => (self.at, None),
            Some((value, DeValue::Table(entries))) => (value.at.start, Some(entries)),
            Some((value, other)) => {
                let hint = match other {
                    DeValue::Array(_) => "there is only one: write it once, with single brackets".to_owned(),
                    DeValue::String(path) if knob.key == "routes.match" && path.starts_with('/') => {
                        format!("write match = {{ prefix = \"{path}\" }}")
                    }
                    _ => "write its keys below it".to_owned(),
                };
                value.refuse(format!("must be {}", knob.wanted()), Some(hint));
                (value.at.start, None)
            }
        };
        Self::new(self.source, self.full(name), at, entries)
    }

    /// A table whose presence alone has a meaning.
    pub(super) fn table_if_set(&self, name: &str) -> Option<Self> {
        self.value(name).map(|_| self.table(name))
    }

    /// The folder of the file, to which the paths in it are relative.
    pub(super) fn folder(&self) -> &'a Path {
        self.source.file.parent().unwrap_or(Path::new(""))
    }

    /// The tables of a list of tables.
    pub(super) fn tables(&self, name: &str) -> Vec<Self> {
        let knob = self.knob(name);
        let Kind::Tables { min, max } = knob.kind else { misread(knob) };
        let mut found = Vec::new();
        if let Some(value) = self.value(name) {
            match value.it {
                DeValue::Array(items) => {
                    for item in items.iter().take(max + 1) {
                        let item = Value { at: item.span(), it: item.get_ref(), ..value.clone() };
                        found.extend(item.as_table(knob));
                    }
                }
                DeValue::Table(entries) => {
                    let hint = format!("with two brackets: [[{}]], once for each", knob.key);
                    value.refuse(format!("must be {}", knob.wanted()), Some(hint));
                    // Go on as if there were brackets, so that errors inside are found too.
                    found.push(Self::new(self.source, value.key.clone(), value.at.start, Some(entries)));
                }
                _ => value.refuse(format!("must be {}", knob.wanted()), None),
            }
            if found.len() > max {
                found.truncate(max);
                value.refuse(format!("must be {}", knob.wanted()), None);
            } else if found.len() < min && matches!(value.it, DeValue::Array(items) if items.is_empty()) {
                value.refuse("at least one is needed", None);
            }
        } else if min > 0 {
            self.refuse(name, "at least one is needed", Some(format!("begin with [[{}]]", knob.key)));
        }
        found
    }

    /// Text of a form that `check` knows. `None` where it is not set or wrong.
    pub(super) fn text<T>(
        &self,
        name: &str,
        check: impl Fn(&str) -> Result<T, Hint>,
    ) -> Option<(T, Value<'a>)> {
        let knob = self.knob(name);
        let Kind::Other { wanted } = knob.kind else { misread(knob) };
        let value = self.value(name)?;
        let text = value.form(wanted, check)?;
        Some((text, value))
    }

    /// Text of a form that `check` knows, under a key that has to be set.
    pub(super) fn needed<T>(
        &self,
        name: &str,
        check: impl Fn(&str) -> Result<T, Hint>,
    ) -> Option<(T, Value<'a>)> {
        if self.value(name).is_none() {
            self.refuse_missing(name);
        }
        self.text(name, check)
    }

    /// Reports a key that has to be set and is not.
    pub(super) fn refuse_missing(&self, name: &str) {
        self.refuse(name, format!("missing: must be {}", self.knob(name).wanted()), None);
    }

    /// A list of texts of a form that `check` knows; those that are wrong are left out.
    pub(super) fn list<T>(&self, name: &str, check: impl Fn(&str) -> Result<T, Hint>) -> Vec<(T, Value<'a>)> {
        let knob = self.knob(name);
        let Kind::List { wanted, min, max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            if min > 0 {
                self.refuse_missing(name);
            }
            return Vec::new();
        };
        let items = match value.it {
            DeValue::Array(items) if (min..=max).contains(&items.len()) => items,
            DeValue::Array(items) if items.is_empty() => {
                value.refuse("at least one is needed", None);
                return Vec::new();
            }
            DeValue::String(_) => {
                value.refuse(format!("must be {}", knob.wanted()), Some("put it in brackets".to_owned()));
                return Vec::new();
            }
            _ => {
                value.refuse(format!("must be {}", knob.wanted()), None);
                return Vec::new();
            }
        };
        let items = items.iter().map(|item| Value { at: item.span(), it: item.get_ref(), ..value.clone() });
        items.filter_map(|item| item.form(wanted, &check).map(|text| (text, item))).collect()
    }

    /// The entries of a table whose keys are the operator's own: each key, its position, and its value.
    pub(super) fn names(&self, name: &str) -> Vec<(&'a str, Value<'a>, Value<'a>)> {
        let knob = self.knob(name);
        let Kind::Names { max } = knob.kind else { misread(knob) };
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        match value.it {
            DeValue::Table(entries) if entries.len() <= max => entries
                .iter()
                .map(|(key, entry)| {
                    let full = format!("{}.{}", value.key, key.get_ref());
                    let at_key = Value { key: full.clone(), at: key.span(), ..value.clone() };
                    (
                        key.get_ref().as_ref(),
                        at_key,
                        Value { key: full, at: entry.span(), it: entry.get_ref(), ..value.clone() },
                    )
                })
                .collect(),
            _ => {
                value.refuse(format!("must be {}", knob.wanted()), None);
                Vec::new()
            }
        }
    }
}

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    /// With the tables it is in.
    pub(super) key: String,
    at: Range<usize>,
    pub(super) it: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// Reports that the value is wrong.
    pub(super) fn refuse(&self, wanted: impl Into<String>, hint: Option<String>) {
        let found = shown(self.source.text, &self.at, self.it);
        self.source.refuse(&self.key, self.at.start, found, wanted.into(), hint);
    }

    /// Reports that the key is wrong, at the position of this value.
    pub(super) fn refuse_key(&self, wanted: impl Into<String>, hint: Hint) {
        self.source.refuse(&self.key, self.at.start, None, wanted.into(), hint.map(str::to_owned));
    }

    /// The text of a string in the form that `check` knows.
    pub(super) fn form<T>(&self, wanted: &str, check: impl Fn(&str) -> Result<T, Hint>) -> Option<T> {
        let DeValue::String(text) = self.it else {
            self.refuse(format!("must be a string: {wanted}"), None);
            return None;
        };
        check(text).map_err(|hint| self.refuse(format!("must be {wanted}"), hint.map(str::to_owned))).ok()
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, allowed: RangeInclusive<u32>) -> Option<u32> {
        let DeValue::Integer(digits) = self.it else {
            return None;
        };
        // TOML allows 64 bits; more than 128 are out of every bound, too.
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok()?;
        u32::try_from(number).ok().filter(|number| allowed.contains(number))
    }

    /// The line of the value.
    pub(super) fn line(&self) -> u32 {
        Place::of(self.source.text, self.at.start).line
    }

    /// The position of the value in the text.
    pub(super) fn start(&self) -> usize {
        self.at.start
    }

    /// The value as one of several tables.
    fn as_table(&self, knob: &Knob) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.it else {
            self.refuse(format!("must be {}", knob.wanted()), None);
            return None;
        };
        Some(Table::new(self.source, self.key.clone(), self.at.start, Some(entries)))
    }
}

/// Panics for the bug that the top of this module describes.
pub(super) fn misread(knob: &Knob) -> ! {
    unreachable!("{} is {:?} and was read as something else", knob.key, knob.kind)
}

/// A value as it is written, on one line of bounded length. Nothing for tables: they are not short, and the position
/// says enough.
fn shown(text: &str, at: &Range<usize>, value: &DeValue<'_>) -> Option<String> {
    let is_table = |value: &DeValue<'_>| matches!(value, DeValue::Table(_));
    if is_table(value)
        || matches!(value, DeValue::Array(items) if items.iter().any(|item| is_table(item.get_ref())))
    {
        return None;
    }
    text.get(at.clone()).map(one_line)
}

/// Text from the file, cut so that an error stays one line that can be read.
fn one_line(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}
