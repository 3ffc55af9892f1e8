//! The file that `ringway init` writes: what a gateway needs, and every other key with its default in a comment.

use std::fmt::Write as _;

use super::knobs::{KNOBS, Kind, Knob};

/// Characters of a line.
const WIDTH: usize = 100;

/// Keys that a gateway needs, and what stands for them.
const NEEDED: &[(&str, &str)] = &[
    ("listeners.address", "\"127.0.0.1:8080\""),
    ("routes.cluster", "\"service\""),
    ("clusters.name", "\"service\""),
];

/// The text of a commented file, in front of a service at `endpoint`.
pub fn template(endpoint: &str) -> String {
    let mut out = String::from(INTRODUCTION);
    keys(&mut out, "", endpoint);
    for knob in KNOBS.iter().filter(|knob| matches!(knob.kind, Kind::Table | Kind::Tables { .. })) {
        out.push('\n');
        comment(&mut out, knob.about);
        // Without these three there is no gateway.
        let mark = if matches!(knob.key, "listeners" | "routes" | "clusters") { "" } else { "#" };
        let _ = match knob.kind {
            Kind::Tables { .. } => writeln!(out, "{mark}[[{}]]", knob.key),
            _ => writeln!(out, "{mark}[{}]", knob.key),
        };
        keys(&mut out, knob.key, endpoint);
    }
    out
}

/// The keys of one table.
fn keys(out: &mut String, table: &str, endpoint: &str) {
    let is_value =
        |knob: &&Knob| !matches!(knob.kind, Kind::Table | Kind::Tables { .. } | Kind::Later { .. });
    for knob in KNOBS.iter().filter(|knob| knob.table() == table).filter(is_value) {
        comment(out, knob.about);
        let needed = NEEDED.iter().find(|(key, _)| *key == knob.key).map(|(_, text)| (*text).to_owned());
        let needed = match knob.key {
            "clusters.endpoints" => Some(format!("[{endpoint:?}]")),
            _ => needed,
        };
        // Writing to a String cannot fail.
        let _ = match (needed, knob.default()) {
            (Some(text), _) => writeln!(out, "{} = {text}", knob.name()),
            (None, Some(default)) => writeln!(out, "#{} = {default}", knob.name()),
            (None, None) => {
                comment(out, &format!("Takes: {}.", knob.wanted()));
                writeln!(out, "#{} =", knob.name())
            }
        };
    }
}

/// A comment, in lines of bounded length.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

const INTRODUCTION: &str = "\
# The configuration of a Ringway gateway, written by `ringway init`.
#
#   ringway check FILE    says what is wrong with it, and where
#   ringway run FILE      starts the gateway
#
# A line that begins with # and a key, without a space, shows a key that is not set, with the default it has.
# Values may name variables of the environment: \"${NAME}\" or \"${NAME:-default}\".

";
