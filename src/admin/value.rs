//! The content of a page, as data; written as JSON for programs and as text for people.

use std::fmt::{self, Write as _};

/// A piece of a page's content. Unlike `serde_json::Value`, whose map is sorted, it keeps the order of keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Flag(bool),
    Count(u64),
    /// A measured number, shown with at most three digits after the point.
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Record(Vec<(&'static str, Value)>),
    /// Like a record, with keys that are the operator's own.
    Names(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Value {
        Value::List(values.into_iter().collect())
    }
}

impl Value {
    /// A line of JSON.
    pub(super) fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out.push('\n');
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Text(text) => write_quoted(out, text),
            Value::List(items) => {
                write_all(out, ['[', ']'], items, |out, item| item.write_json(out));
            }
            Value::Record(entries) => write_all(out, ['{', '}'], entries, |out, (key, value)| {
                write_quoted(out, key);
                out.push(':');
                value.write_json(out);
            }),
            Value::Names(entries) => write_all(out, ['{', '}'], entries, |out, (key, value)| {
                write_quoted(out, key);
                out.push(':');
                value.write_json(out);
            }),
            Value::Null => out.push_str("null"),
            // Writing to a String cannot fail; so below.
            scalar => drop(write!(out, "{scalar}")),
        }
    }

    /// Lines for people: a table for each list of records, `key: value` for the rest.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out, "");
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    fn write_text(&self, out: &mut String, indent: &str) {
        match self {
            Value::Record(entries) => {
                for (key, value) in entries {
                    write_entry(out, indent, key, value);
                }
            }
            Value::Names(entries) => {
                for (key, value) in entries {
                    write_entry(out, indent, key, value);
                }
            }
            Value::List(items) if items.iter().all(Value::is_record) => write_rows(out, indent, items),
            other => drop(write!(out, "{indent}{other}")),
        }
    }

    fn is_record(&self) -> bool {
        matches!(self, Value::Record(_))
    }

    fn is_large(&self) -> bool {
        match self {
            Value::Record(_) | Value::Names(_) => true,
            Value::List(items) => !items.is_empty() && items.iter().all(Value::is_record),
            _ => false,
        }
    }
}

/// A scalar, or a list of them, on one line without quotes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("-"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Count(count) => write!(f, "{count}"),
            Value::Number(number) if !number.is_finite() => f.write_str("0"),
            Value::Number(number) => {
                let text = format!("{number:.3}");
                f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
            }
            Value::Text(text) if text.is_empty() => f.write_str("-"),
            Value::Text(text) => f.write_str(text),
            Value::List(items) if items.is_empty() => f.write_str("-"),
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Value::Record(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Value::Names(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

fn write_all<T>(out: &mut String, ends: [char; 2], items: &[T], mut one: impl FnMut(&mut String, &T)) {
    out.push(ends[0]);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        one(out, item);
    }
    out.push(ends[1]);
}

fn write_entry(out: &mut String, indent: &str, key: &str, value: &Value) {
    if value.is_large() {
        let _ = writeln!(out, "{}{indent}{key}:", if out.is_empty() { "" } else { "\n" });
        value.write_text(out, &format!("{indent}  "));
    } else {
        let _ = writeln!(out, "{indent}{key}: {value}");
    }
}

/// The columns of a terminal that a table takes at most.
const WIDTH_MAX: usize = 100;

/// The blanks between two columns.
const GAP: usize = 2;

/// Records under one heading, in columns. Where these are too many for a line, those without any value are left out; the
/// others come in several tables, each with the first column. Large values of a record come below all rows.
fn write_rows(out: &mut String, indent: &str, rows: &[Value]) {
    let mut columns: Vec<&str> = Vec::new();
    let records =
        || rows.iter().filter_map(|row| if let Value::Record(entries) = row { Some(entries) } else { None });
    for (key, value) in records().flatten() {
        if !value.is_large() && !columns.contains(key) {
            columns.push(key);
        }
    }
    let cell = |entries: &[(&'static str, Value)], column: &str| {
        let found = entries.iter().find(|(key, _)| *key == column);
        found.map_or_else(|| "-".to_owned(), |(_, value)| value.to_string())
    };
    let mut columns: Vec<Column> = columns
        .into_iter()
        .map(|name| Column::new(name, records().map(|entries| cell(entries, name)).collect()))
        .collect();
    if width(&columns) > WIDTH_MAX - indent.len() {
        columns.retain(|column| column.cells.iter().any(|cell| cell != "-"));
    }
    for (number, group) in groups(columns, WIDTH_MAX - indent.len()).iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        write_columns(out, indent, group);
    }
    let has_large = records().flatten().any(|(_, value)| value.is_large());
    if has_large {
        for entries in records() {
            for (key, value) in entries.iter().filter(|(_, value)| value.is_large()) {
                let name = entries.first().map_or(String::new(), |(_, name)| name.to_string());
                write_entry(out, indent, &format!("{name} {key}"), value);
            }
        }
    }
}

/// A column of a table.
#[derive(Clone)]
struct Column {
    width: usize,
    name: String,
    cells: Vec<String>,
}

impl Column {
    fn new(name: &str, cells: Vec<String>) -> Column {
        let width = cells.iter().map(|cell| cell.chars().count()).fold(name.len(), usize::max);
        Column { width, name: name.to_owned(), cells }
    }
}

/// The width of a table of these columns.
fn width(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// The least room for a column of words: with less, the column goes into another table.
const ROOM_MIN: usize = 40;

/// Tables that are no wider than this, each with the first column. A column for which a table has no room is made narrower.
fn groups(columns: Vec<Column>, width_max: usize) -> Vec<Vec<Column>> {
    let mut columns = columns.into_iter();
    let Some(mut first) = columns.next() else { return Vec::new() };
    first.width = first.width.min(width_max / 2);
    let mut groups = vec![vec![first.clone()]];
    for mut column in columns {
        let group = groups.last_mut().expect("there is always one");
        let room = width_max.saturating_sub(width(group) + GAP);
        if column.width <= room || room >= ROOM_MIN {
            column.width = column.width.min(room);
            group.push(column);
        } else {
            column.width = column.width.min(width_max - first.width - GAP);
            groups.push(vec![first.clone(), column]);
        }
    }
    groups
}

/// A table. A cell that is wider than its column goes on in the next line.
fn write_columns(out: &mut String, indent: &str, columns: &[Column]) {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let heads = columns.iter().map(|column| &column.name).collect();
    let rows = (0..rows).map(|row| columns.iter().map(|column| &column.cells[row]).collect());
    for cells in std::iter::once::<Vec<&String>>(heads).chain(rows) {
        let cells: Vec<Vec<String>> =
            cells.iter().zip(columns).map(|(cell, column)| folded(cell, column.width)).collect();
        for number in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = indent.to_owned();
            for (lines, column) in cells.iter().zip(columns) {
                let part = lines.get(number).map_or("", String::as_str);
                let _ = write!(line, "{part:width$}{:GAP$}", "", width = column.width);
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

/// A text in lines of at most so many characters, cut behind a blank or a slash where there is one.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let end = rest[..width].iter().rposition(|&letter| letter == ' ' || letter == '/');
        let after = rest.split_off(end.map_or(width, |end| end + 1));
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = after;
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// A string of JSON.
fn write_quoted(out: &mut String, text: &str) {
    *out += &serde_json::Value::from(text).to_string();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let row = |name: &str, busy: f64| {
            Value::Record(vec![
                ("name", name.into()),
                ("busy", busy.into()),
                ("core", None::<u64>.into()),
                ("to", [Value::from(1_u64), true.into()].into_iter().collect()),
            ])
        };
        Value::Record(vec![
            ("backend", "epoll".into()),
            ("rows", [row("a\"\\\n\u{1}", 0.5), row("b", 1.0 / 3.0)].into_iter().collect()),
        ])
    }

    #[test]
    fn json_is_what_others_read() {
        let read: serde_json::Value = serde_json::from_str(&sample().json()).unwrap();
        let row = |name: &str, busy: f64| serde_json::json!({ "name": name, "busy": busy, "core": null, "to": [1, true] });
        let wanted =
            serde_json::json!({ "backend": "epoll", "rows": [row("a\"\\\n\u{1}", 0.5), row("b", 0.333)] });
        assert_eq!(read, wanted);
        assert_eq!(Value::Number(f64::NAN).json(), "0\n");
    }

    /// Method: a table of the widest words that a page has, and of a cell wider than a line.
    #[test]
    fn no_line_of_a_table_is_wider_than_a_terminal() {
        let row = |name: &str, long: &str| {
            Value::Record(vec![
                ("address", name.into()),
                ("never_set", Value::Null),
                ("state", "unresolved".into()),
                ("last_error", long.into()),
                ("workers_connected", 1_u64.into()),
                ("connect_failures", 2_u64.into()),
                ("calls_active", 33_u64.into()),
            ])
        };
        let long = "a reason of several words /and/a/path ".repeat(6);
        let rows = [row("a", "short"), row("bb", &long)];
        let text = Value::Record(vec![("rows", rows.into_iter().collect())]).text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        let joined: String = text.split_whitespace().collect();
        assert!(joined.contains("bbunresolvedareasonofseveralwords"), "{text}");
        assert!(!text.contains("never_set"), "{text}");
        let wanted = "rows:\n  address  state       last_error\n  a        unresolved  short\n";
        assert!(text.starts_with(wanted), "{text}");
        let wanted = "\n\n  address  workers_connected  connect_failures  calls_active\n  \
                      a        1                  2                 33\n  bb       1";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn text_has_columns() {
        let plain = Value::Record(vec![
            ("backend", "epoll".into()),
            ("rows", [Value::Record(vec![("n", 1_u64.into()), ("name", "x".into())])].into_iter().collect()),
            ("none", Value::List(Vec::new())),
        ]);
        assert_eq!(plain.text(), "backend: epoll\n\nrows:\n  n  name\n  1  x\nnone: -\n");
    }
}
