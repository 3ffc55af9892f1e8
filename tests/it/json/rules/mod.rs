//! Rules of `google.api.http`: which templates there are, which rule a path means, what it captures.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "a test binary has no public side")]

mod cases;
mod requests;
mod search;
mod templates;

use ringway::transcode::rules::{Captures, Conflict, Found, Pattern, Rules};
use ringway::transcode::template::Template;

fn compile(rules: &[&str]) -> Result<(Vec<Template>, Rules), Vec<Conflict>> {
    let pairs: Vec<(&str, Template)> = rules
        .iter()
        .map(|rule| rule.split_once(' ').expect("method and template"))
        .map(|(method, text)| (method, Template::parse(text).unwrap()))
        .collect();
    let patterns: Vec<Pattern<'_>> =
        pairs.iter().map(|(method, template)| Pattern { method, template }).collect();
    let rules = Rules::new(&patterns)?;
    Ok((pairs.into_iter().map(|(_, template)| template).collect(), rules))
}

fn shown(rules: &Rules, method: &str, path: &str, captures: &mut Captures) -> String {
    let found = match rules.find(method, path, captures) {
        Found::Rule(rule) => format!("{rule}"),
        Found::Head(rule) => format!("HEAD {rule}"),
        Found::WrongMethod(allow) => return format!("405 {allow}"),
        Found::Nothing => return "404".to_owned(),
        Found::Unreadable(_) => return "400".to_owned(),
    };
    captures.iter().fold(found, |text, value| format!("{text}|{value}"))
}
