//! `${NAME}` and `${NAME:-default}` in the strings of a file: variables of the environment.
//!
//! A string that names variables becomes the text with their values. Where its key takes a number, a flag or a list, the
//! text is read as one, so that `workers = "${WORKERS}"` works. `$${` stands for a `${` that is meant as it is.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::knobs::{self, Kind};
use super::reader::Source;

/// The value of a variable, `None` if it is not set.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The beginning of every reference.
const OPEN: &str = "${";

/// The text of each string that names variables, in the order of the tree. Errors are reported to `source`.
pub(super) fn expand(tree: &DeTable<'_>, source: &Source<'_>, lookup: Lookup<'_>) -> Vec<String> {
    let mut texts = Vec::new();
    for (key, value) in tree {
        expand_value(key.get_ref(), value, source, lookup, &mut texts);
    }
    texts
}

fn expand_value(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    source: &Source<'_>,
    lookup: Lookup<'_>,
    texts: &mut Vec<String>,
) {
    match value.get_ref() {
        DeValue::String(text) if text.contains(OPEN) => {
            let expanded = expanded(text, lookup).unwrap_or_else(|wrong| {
                source.refuse_value(key, value, wrong.wanted, Some(wrong.hint));
                String::new()
            });
            texts.push(expanded);
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| expand_value(key, item, source, lookup, texts));
        }
        DeValue::Table(entries) => {
            for (name, entry) in entries {
                expand_value(&format!("{key}.{}", name.get_ref()), entry, source, lookup, texts);
            }
        }
        _ => {}
    }
}

/// Puts the texts of [`expand`] where they belong.
pub(super) fn fill<'a>(tree: &mut DeTable<'a>, texts: &'a [String]) {
    let mut texts = texts.iter();
    for (key, value) in tree.iter_mut() {
        fill_value(key.get_ref(), value, &mut texts);
    }
}

fn fill_value<'a>(key: &str, value: &mut Spanned<DeValue<'a>>, texts: &mut std::slice::Iter<'a, String>) {
    match value.get_mut() {
        DeValue::String(text) if text.contains(OPEN) => {
            if let Some(text) = texts.next() {
                let span = value.span();
                *value.get_mut() = typed(key, text, &span);
            }
        }
        DeValue::Array(items) => items.iter_mut().for_each(|item| match item.get_mut() {
            // An item is text, whatever its list takes.
            DeValue::String(text) if text.contains(OPEN) => {
                if let Some(expanded) = texts.next() {
                    *text = Cow::Borrowed(expanded);
                }
            }
            _ => fill_value(key, item, texts),
        }),
        DeValue::Table(entries) => {
            for (name, entry) in entries.iter_mut() {
                fill_value(&format!("{key}.{}", name.get_ref()), entry, texts);
            }
        }
        _ => {}
    }
}

/// Text from outside of the file, as the kind of value that its key takes; a string if it is none of that kind.
pub(super) fn typed<'a>(key: &str, text: &'a str, span: &std::ops::Range<usize>) -> DeValue<'a> {
    let plain = || DeValue::String(Cow::Borrowed(text));
    match knobs::find(key).map(|knob| knob.kind) {
        Some(
            Kind::Count { .. }
            | Kind::CountOrAuto { .. }
            | Kind::PowerOfTwo { .. }
            | Kind::Size { .. }
            | Kind::Ratio { .. }
            | Kind::Flag { .. },
        ) => match DeValue::parse(text).map(Spanned::into_inner) {
            Ok(value @ (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_))) => value,
            _ => plain(),
        },
        Some(Kind::List { .. } | Kind::Codes { .. }) => match DeValue::parse(text) {
            Ok(value) if matches!(value.get_ref(), DeValue::Array(_)) => moved(value, span).into_inner(),
            _ => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items =
                    items.map(|item| Spanned::new(span.clone(), DeValue::String(Cow::Borrowed(item))));
                DeValue::Array(items.collect())
            }
        },
        Some(Kind::Table | Kind::Tables { .. } | Kind::Names { .. }) => {
            DeValue::parse(text).map_or_else(|_| plain(), |value| moved(value, span).into_inner())
        }
        _ => plain(),
    }
}

/// A value that was read on its own, at one position of the file's text.
fn moved<'a>(value: Spanned<DeValue<'a>>, span: &std::ops::Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value.into_inner() {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| moved(item, span)).collect()),
        DeValue::Table(entries) => {
            let entry = |(key, entry): (Spanned<Cow<'a, str>>, _)| {
                (Spanned::new(span.clone(), key.into_inner()), moved(entry, span))
            };
            DeValue::Table(entries.into_iter().map(entry).collect())
        }
        other => other,
    };
    Spanned::new(span.clone(), value)
}

/// A reference that leads to no text.
struct Wrong {
    wanted: String,
    hint: String,
}

fn expanded(text: &str, lookup: Lookup<'_>) -> Result<String, Wrong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str(OPEN);
            rest = &reference[OPEN.len()..];
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = reference[OPEN.len()..].split_once('}') else {
            return Err(Wrong {
                wanted: "a variable that does not end".to_owned(),
                hint: "write ${NAME} or ${NAME:-default}; $${ stands for ${ itself".to_owned(),
            });
        };
        out.push_str(&value(inside, lookup)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of `NAME` or `NAME:-default`. As in a shell, the default stands for a variable that is empty, too.
fn value(inside: &str, lookup: Lookup<'_>) -> Result<String, Wrong> {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, text)| (name, Some(text)));
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    if !is_name(name) {
        return Err(Wrong {
            wanted: format!("{name:?} is not the name of a variable"),
            hint: "write ${NAME} or ${NAME:-default}, with letters, digits and _".to_owned(),
        });
    }
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Wrong {
            wanted: format!("the environment variable {name} is not set"),
            hint: format!("set it, or write ${{{name}:-default}}"),
        }),
    }
}
