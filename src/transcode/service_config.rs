//! HTTP rules that stand in a `google.api.Service`, as YAML or JSON, beside the descriptors.
//!
//! Of such a file `http.rules` is read; what it says of other things is for others. Names may be as in JSON, or as in the
//! `.proto` file. Anchors and aliases are not taken: a small file could be a large one by them.

use std::io::Read as _;
use std::path::Path;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

use super::annotation::HttpRule;
use super::problem::{Problem, guarded};
use crate::config::{Transcoding, nearest};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Lists and maps in each other.
const DEPTH_MAX: u32 = 32;

const PATTERNS: [(&str, &str); 5] =
    [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")];
/// Further keys of a rule.
const OTHERS: [&str; 5] = ["selector", "custom", "body", "response_body", "additional_bindings"];

/// A rule, and the method that it is for.
#[derive(Debug)]
pub(super) struct Selected {
    /// The file, as it is configured.
    pub(super) origin: String,
    /// The full name of the method.
    pub(super) selector: String,
    pub(super) rule: HttpRule,
}

/// Reads the files that the configuration names.
pub(super) fn read(settings: &Transcoding, directory: &Path, problems: &mut Vec<Problem>) -> Vec<Selected> {
    let mut all = Vec::new();
    for path in &settings.service_configs {
        let origin = path.display().to_string();
        let read = text(&directory.join(path)).and_then(|text| {
            let rules = guarded(&origin, || rules(&origin, &text));
            rules.unwrap_or_else(|defect| Err(defect.to_string()))
        });
        match read {
            Ok(rules) => all.extend(rules),
            Err(wrong) => problems.push(Problem::new(origin, wrong)),
        }
    }
    all
}

fn text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path);
    let read = read.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("larger than 4MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn rules(origin: &str, text: &str) -> Result<Vec<Selected>, String> {
    check(text)?;
    let documents = YamlLoader::load_from_str(text).map_err(|error| format!("not YAML: {error}"))?;
    let [Yaml::Hash(service)] = documents.as_slice() else {
        return Err("not one google.api.Service".to_owned());
    };
    match service.get(&key("type")).and_then(Yaml::as_str) {
        Some("google.api.Service") => {}
        _ => return Err("its `type` is not google.api.Service".to_owned()),
    }
    let Some(http) = service.get(&key("http")) else { return Ok(Vec::new()) };
    let Some(list) = map(http, "http")?.get(&key("rules")) else { return Ok(Vec::new()) };
    let list = list.as_vec().ok_or("http.rules is not a list")?;
    let selected = list.iter().enumerate().map(|(number, rule)| {
        let place = format!("http.rules[{number}]");
        let selector = map(rule, &place)?.get(&key("selector")).and_then(Yaml::as_str);
        let selector = selector.ok_or_else(|| format!("{place} has no selector"))?.to_owned();
        Ok(Selected { origin: origin.to_owned(), selector, rule: one(rule, &place)? })
    });
    selected.collect()
}

/// Refuses what would be large or deep, before anything is built of it.
fn check(text: &str) -> Result<(), String> {
    let (mut parser, mut depth) = (Parser::new_from_str(text), 0_u32);
    loop {
        match parser.next_token().map_err(|error| format!("not YAML: {error}"))? {
            (Event::StreamEnd, _) => return Ok(()),
            (Event::Alias(_), at) => return Err(format!("line {}: aliases are not taken", at.line())),
            (Event::SequenceStart(..) | Event::MappingStart(..), at) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("line {}: nested deeper than {DEPTH_MAX}", at.line()));
                }
            }
            (Event::SequenceEnd | Event::MappingEnd, _) => depth -= 1,
            _ => {}
        }
    }
}

/// A rule, or an additional binding of a rule.
fn one(rule: &Yaml, place: &str) -> Result<HttpRule, String> {
    let mut read = HttpRule::default();
    for (name, value) in map(rule, place)? {
        let name = name.as_str().unwrap_or_default();
        let text = || match value {
            Yaml::String(text) => Ok(text.clone()),
            _ => Err(format!("{place}.{name} is not a text")),
        };
        let pattern = match name {
            "selector" => None,
            "body" => {
                read.body = text()?;
                None
            }
            "response_body" | "responseBody" => {
                read.response_body = text()?;
                None
            }
            "additional_bindings" | "additionalBindings" => {
                let list = value.as_vec().ok_or_else(|| format!("{place}.{name} is not a list"))?;
                let bindings = list.iter().enumerate();
                let bindings = bindings.map(|(number, rule)| one(rule, &format!("{place}.{name}[{number}]")));
                read.additional = bindings.collect::<Result<_, _>>()?;
                None
            }
            "custom" => {
                let custom = map(value, &format!("{place}.custom"))?;
                let part =
                    |name| custom.get(&key(name)).and_then(Yaml::as_str).unwrap_or_default().to_owned();
                Some((part("kind"), part("path")))
            }
            _ => match PATTERNS.iter().find(|(known, _)| *known == name) {
                Some((_, method)) => Some(((*method).to_owned(), text()?)),
                None => return Err(unknown(place, name)),
            },
        };
        if pattern.is_some() && std::mem::replace(&mut read.pattern, pattern).is_some() {
            return Err(format!("{place} has two paths: put the other one into additional_bindings"));
        }
    }
    Ok(read)
}

fn map<'y>(value: &'y Yaml, place: &str) -> Result<&'y Hash, String> {
    value.as_hash().ok_or_else(|| format!("{place} is not a map"))
}

fn key(name: &str) -> Yaml {
    Yaml::String(name.to_owned())
}

fn unknown(place: &str, name: &str) -> String {
    let known = PATTERNS.iter().map(|(name, _)| *name).chain(OTHERS);
    match nearest(name, known) {
        Some(near) => format!("{place}: no key {name:?} in a rule; did you mean {near:?}?"),
        None => format!("{place}: no key {name:?} in a rule"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "type: google.api.Service\nconfig_version: 3\nhttp:\n  rules:\n";

    fn said(text: &str) -> Result<Vec<(String, HttpRule)>, String> {
        let all = rules("api.yaml", text)?;
        Ok(all.into_iter().map(|one| (one.selector, one.rule)).collect())
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let yaml = format!(
            "{HEAD}  - selector: a.S.Get\n    get: /v1/{{name=x/*}}\n    additional_bindings:\n    - custom: {{kind: REPORT, path: /r}}\n      responseBody: list\n  - selector: a.S.Set\n    patch: /v1/s\n    body: '*'\n"
        );
        let json = r#"{"type": "google.api.Service", "http": {"rules": [
            {"selector": "a.S.Get", "get": "/v1/{name=x/*}", "additionalBindings": [{"custom": {"kind": "REPORT", "path": "/r"}, "response_body": "list"}]},
            {"selector": "a.S.Set", "patch": "/v1/s", "body": "*"}]}}"#;
        let rule = |method: &str, path: &str| HttpRule {
            pattern: Some((method.to_owned(), path.to_owned())),
            ..HttpRule::default()
        };
        let more = HttpRule { response_body: "list".to_owned(), ..rule("REPORT", "/r") };
        let wanted = vec![
            ("a.S.Get".to_owned(), HttpRule { additional: vec![more], ..rule("GET", "/v1/{name=x/*}") }),
            ("a.S.Set".to_owned(), HttpRule { body: "*".to_owned(), ..rule("PATCH", "/v1/s") }),
        ];
        assert_eq!(said(&yaml), Ok(wanted.clone()));
        assert_eq!(said(json), Ok(wanted));
        assert_eq!(said("type: google.api.Service\ntitle: x\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let [deep, deeper] = [40, 100_000].map(|depth| format!("type: {}", "[".repeat(depth)));
        let bomb = format!("{HEAD}  - &a {{selector: a.S.M, get: /v1}}\n  - *a\n");
        for (text, wanted) in [
            ("", "not one google.api.Service"),
            ("[]", "not one google.api.Service"),
            ("type: x", "its `type` is not google.api.Service"),
            ("type: [", "not YAML: "),
            (&deep, "nested deeper than 32"),
            (&deeper, "not YAML: recursion limit exceeded"),
            (&bomb, "line 6: aliases are not taken"),
            (&format!("{HEAD}  - get: /v1\n"), "http.rules[0] has no selector"),
            (
                &format!("{HEAD}  - selector: a\n    gett: /v1\n"),
                "no key \"gett\" in a rule; did you mean \"get\"?",
            ),
            (&format!("{HEAD}  - selector: a\n    get: 1\n"), "http.rules[0].get is not a text"),
            (&format!("{HEAD}  - selector: a\n    get: /a\n    put: /b\n"), "http.rules[0] has two paths"),
            (&format!("{HEAD}  - selector: a\n    custom: x\n"), "http.rules[0].custom is not a map"),
            ("type: google.api.Service\nhttp: {rules: x}", "http.rules is not a list"),
        ] {
            let wrong = said(text).expect_err(text);
            assert!(wrong.contains(wanted), "{text:.200}: {wrong}");
        }
    }
}
