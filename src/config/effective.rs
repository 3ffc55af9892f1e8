//! The whole configuration as the gateway runs it: what the file sets, and the default of every key that it leaves out.
//!
//! Made from the table of knobs and the file's own tree, so a new key is shown without a line here. Shown as TOML, the
//! text is itself a configuration and means the same.

use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::knobs::{KNOBS, Kind};
use super::web::{GRPC_GATEWAY, GRPC_GATEWAY_FLAGS};

/// Tables that switch something on just by being there: they are shown only where the file has them.
const OFF_UNLESS_SET: &[&str] = &[
    "tracing",
    "listeners.proxy_protocol",
    "listeners.tls",
    "listeners.tls.validation_context",
    "routes.rate_limit",
    "routes.jwt",
    "routes.api_keys",
    "routes.rbac",
    "routes.rbac.shadow_rules",
    "routes.ext_authz",
    "routes.fault",
    "routes.regex_rewrite",
    "routes.direct_response",
    "routes.redirect",
    "routes.redirect.regex_rewrite",
    "routes.retry",
    "routes.hedging",
    "routes.breaker",
    "routes.fault.delay",
    "routes.fault.abort",
    "jwt_providers.remote_jwks",
    "clusters.adaptive_timeout",
    "clusters.health_checks",
    "clusters.methods.breaker",
    "clusters.methods.hedging",
    "clusters.tls",
    "clusters.tls.validation_context",
];

/// The settings of the whole file.
#[derive(Clone, Debug, Default)]
pub struct Effective(Vec<(String, Setting)>);

/// The value of a key, with defaults filled in.
#[derive(Clone, Debug)]
pub enum Setting {
    /// Text.
    Text(String),
    /// A number, `true` or `false`, written alike in TOML and JSON.
    Plain(String),
    /// A list of texts.
    List(Vec<Setting>),
    /// A table whose keys are the operator's own.
    Names(Vec<(String, Setting)>),
    /// A table.
    Table(Vec<(String, Setting)>),
    /// Several tables.
    Tables(Vec<Vec<(String, Setting)>>),
}

/// It only repeats the rest of a `Config`, so it makes no two of them differ.
impl PartialEq for Effective {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Effective {
    /// The settings of a file that was found to be right. `routes` are the names of its routes, in order.
    pub(super) fn of<'a>(tree: &DeTable<'_>, routes: impl IntoIterator<Item = &'a str>) -> Effective {
        let mut settings = table("", Some(tree), is_compatible(tree));
        if let Some((_, Setting::Tables(tables))) = settings.iter_mut().find(|(key, _)| key == "routes") {
            for (settings, name) in tables.iter_mut().zip(routes) {
                if settings.iter().all(|(key, _)| key != "name") {
                    settings.insert(0, ("name".to_owned(), Setting::Text(name.to_owned())));
                }
            }
        }
        Effective(settings)
    }

    /// Every key with its value, in the order of `docs/CONFIG.md`.
    pub fn settings(&self) -> &[(String, Setting)] {
        &self.0
    }

    /// The value of a key that is in no list of tables, as the file would say it. `None` if it has none.
    pub(super) fn literal(&self, key: &str) -> Option<String> {
        let mut settings = &self.0;
        let (tables, name) = key.rsplit_once('.').map_or((None, key), |(tables, name)| (Some(tables), name));
        for table in tables.into_iter().flat_map(|tables| tables.split('.')) {
            let (_, Setting::Table(inner)) = settings.iter().find(|(key, _)| key == table)? else {
                return None;
            };
            settings = inner;
        }
        settings.iter().find(|(key, _)| key == name).map(|(_, setting)| Literal(setting).to_string())
    }

    /// Takes over the value of a key at the top or in one table.
    pub(super) fn keep(&mut self, key: &str, from: &Effective) {
        let (table, name) = key.split_once('.').map_or((None, key), |(table, name)| (Some(table), name));
        let mut theirs = &from.0;
        let mut ours = &mut self.0;
        if let Some(table) = table {
            let is_it =
                |(key, setting): &&(String, Setting)| key == table && matches!(setting, Setting::Table(_));
            theirs = match theirs.iter().find(is_it) {
                Some((_, Setting::Table(inner))) => inner,
                _ => return,
            };
            ours = match ours.iter_mut().find(|entry| is_it(&&**entry)) {
                Some((_, Setting::Table(inner))) => inner,
                _ => return,
            };
        }
        ours.retain(|(key, _)| key != name);
        ours.extend(theirs.iter().find(|(key, _)| key == name).cloned());
    }

    /// The settings as the text of a file.
    pub fn toml(&self) -> String {
        let mut out = String::new();
        write_table(&mut out, "", &self.0);
        out
    }
}

/// Whether some flags of `[transcoding]` are on where the file does not say so.
fn is_compatible(tree: &DeTable<'_>) -> bool {
    let transcoding = tree.get("transcoding").and_then(|table| table.get_ref().as_table());
    let compatibility = transcoding.and_then(|table| table.get("compatibility"));
    compatibility.and_then(|word| word.get_ref().as_str()) == Some(GRPC_GATEWAY)
}

/// All keys of one table. `set` is its part of the file; `is_compatible`: some flags are on by default.
fn table(path: &str, set: Option<&DeTable<'_>>, is_compatible: bool) -> Vec<(String, Setting)> {
    let mut settings = Vec::new();
    for knob in KNOBS.iter().filter(|knob| knob.table() == path) {
        let value = set.and_then(|set| set.get(knob.name())).map(|value| value.get_ref());
        let setting = match (knob.kind, value) {
            (Kind::Later { .. }, _) => None,
            (Kind::Table, None) if OFF_UNLESS_SET.contains(&knob.key) => None,
            (Kind::Table, value) => {
                let inner = table(knob.key, value.and_then(DeValue::as_table), is_compatible);
                (!inner.is_empty()).then_some(Setting::Table(inner))
            }
            (Kind::Tables { .. }, Some(DeValue::Array(items))) if !items.is_empty() => {
                let items =
                    items.iter().map(|item| table(knob.key, item.get_ref().as_table(), is_compatible));
                Some(Setting::Tables(items.collect()))
            }
            (Kind::Tables { .. }, _) => None,
            (_, Some(value)) => written(value),
            (_, None) if is_compatible && GRPC_GATEWAY_FLAGS.contains(&knob.key) => {
                Some(Setting::Plain("true".to_owned()))
            }
            (_, None) => knob.default().map(|text| default(&text)),
        };
        settings.extend(setting.map(|setting| (knob.name().to_owned(), setting)));
    }
    settings
}

/// A value as it stands in the file.
fn written(value: &DeValue<'_>) -> Option<Setting> {
    Some(match value {
        DeValue::String(text) => Setting::Text(text.to_string()),
        // In decimal, for JSON has no other.
        DeValue::Integer(digits) => {
            Setting::Plain(i128::from_str_radix(digits.as_str(), digits.radix()).ok()?.to_string())
        }
        DeValue::Float(digits) => {
            Setting::Plain(digits.as_str().parse::<f64>().ok().map(|it| format!("{it:?}"))?)
        }
        DeValue::Boolean(flag) => Setting::Plain(flag.to_string()),
        DeValue::Array(items) => {
            Setting::List(items.iter().filter_map(|item| written(item.get_ref())).collect())
        }
        DeValue::Table(entries) => Setting::Names(
            entries
                .iter()
                .filter_map(|(key, value)| Some((key.get_ref().to_string(), written(value.get_ref())?)))
                .collect(),
        ),
        DeValue::Datetime(_) => return None,
    })
}

/// A default as it stands in the knob table: text in quotes, or a plain value.
fn default(text: &str) -> Setting {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => Setting::Text(inner.to_owned()),
        None => Setting::Plain(text.to_owned()),
    }
}

/// A table's own keys first, then the tables in it: TOML knows no other way back.
fn write_table(out: &mut String, path: &str, settings: &[(String, Setting)]) {
    for (key, setting) in settings {
        if !matches!(setting, Setting::Table(_) | Setting::Tables(_)) {
            // Writing to a String cannot fail; so below.
            let _ = writeln!(out, "{key} = {}", Literal(setting));
        }
    }
    for (key, setting) in settings {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match setting {
            Setting::Table(inner) => {
                let _ = writeln!(out, "\n[{full}]");
                write_table(out, &full, inner);
            }
            Setting::Tables(all) => {
                for inner in all {
                    let _ = writeln!(out, "\n[[{full}]]");
                    write_table(out, &full, inner);
                }
            }
            _ => {}
        }
    }
}

/// A value on one line.
struct Literal<'a>(&'a Setting);

impl std::fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Setting::Text(text) => quoted(f, text),
            Setting::Plain(text) => f.write_str(text),
            Setting::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, Literal(item))?;
                }
                f.write_str("]")
            }
            Setting::Names(entries) => {
                f.write_str("{")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if at == 0 { " " } else { ", " })?;
                    quoted(f, key)?;
                    write!(f, " = {}", Literal(value))?;
                }
                f.write_str(" }")
            }
            Setting::Table(_) | Setting::Tables(_) => Ok(()),
        }
    }
}

/// A basic string of TOML.
fn quoted(f: &mut std::fmt::Formatter<'_>, text: &str) -> std::fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            control if control.is_control() => write!(f, "\\u{:04X}", u32::from(control))?,
            plain => write!(f, "{plain}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, parse};

    fn parsed(text: &str) -> Config {
        parse(text, Path::new("examples/test.toml")).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn examples() -> [String; 3] {
        ["minimal", "ringway", "tls"].map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.toml"));
            std::fs::read_to_string(path).unwrap()
        })
    }

    #[test]
    fn what_is_shown_is_a_configuration_that_means_the_same() {
        let odd = "workers = 0x2\n[[listeners]]\naddress = \"[::1]:80\"\n[[routes]]\nname = \"a \\\"b\\\" \\\\ é\"\n\
                   match = { headers = { \"x-a\" = \"1\\t2\", x-b = \"\" } }\nweighted_clusters = [{ name = \"c\" }]\n\
                   [[clusters]]\nname = \"c\"\nendpoints = [\"h:1\"]\nreconnect.backoff_multiplier = 2\n";
        for text in examples().iter().map(String::as_str).chain([odd]) {
            let config = parsed(text);
            let shown = config.effective.toml();
            assert!(parsed(&shown) == config, "{shown}");
            assert_eq!(parsed(&shown).effective.toml(), shown, "shown again it does not change");
        }
    }

    #[test]
    fn every_key_with_a_default_is_shown() {
        fn keys(path: &str, settings: &[(String, Setting)], all: &mut Vec<String>) {
            for (key, setting) in settings {
                let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match setting {
                    Setting::Table(inner) => keys(&full, inner, all),
                    Setting::Tables(tables) => tables.iter().for_each(|inner| keys(&full, inner, all)),
                    _ => {}
                }
                all.push(full);
            }
        }
        let [minimal, mut full, mut tls] = examples().map(|text| {
            let mut all = Vec::new();
            keys("", parsed(&text).effective.settings(), &mut all);
            all
        });
        full.append(&mut tls);
        for knob in KNOBS.iter().filter(|knob| !matches!(knob.kind, Kind::Later { .. })) {
            assert!(full.iter().any(|key| key == knob.key), "{}", knob.key);
            let in_optional = |key: &&str| knob.key.starts_with(&format!("{key}."));
            let lists = ["clusters.methods", "routes.weighted_clusters", "jwt_providers"];
            let added = [
                "routes.request_headers_to_add",
                "routes.response_headers_to_add",
                "routes.rate_limits",
                "routes.request_mirror_policies",
                "routes.match.header_matchers",
                "routes.match.query_parameters",
            ];
            let optional = lists.into_iter().chain(added).any(|key| in_optional(&key))
                || OFF_UNLESS_SET.iter().any(in_optional);
            if knob.default().is_some() && !optional {
                assert!(minimal.iter().any(|key| key == knob.key), "{}", knob.key);
            }
        }
        assert!(minimal.iter().any(|key| key == "routes.name"), "a route's own name, where it has none");
    }
}
