//! `ringway advise`: settings that a gateway's own metrics speak for, each with what was seen and the rule.
//!
//! A page of metrics becomes what was seen of each route and cluster ([`observed`]); rules, which are plain functions,
//! make advice of it ([`rules`]); here it is fetched and written. Where too little was seen, the advice says so and
//! sets nothing.
#![allow(clippy::disallowed_methods, reason = "between two looks at a gateway time has to pass")]

mod advice;
mod observed;
mod rules;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use self::advice::{Advice, Place};
use super::scrape::{self, Page};
use super::show;
use observed::Observed;

/// Where the metrics come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A running gateway, looked at twice with so much time between.
    Admin(SocketAddr, Duration),
    /// A page that was saved.
    File(PathBuf),
}

/// Looks, and prints the advice.
///
/// # Errors
/// When the metrics cannot be had or read.
pub fn run(source: &Source, as_json: bool) -> io::Result<()> {
    let (page, before) = match source {
        Source::File(path) => {
            let wrong = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(wrong)?;
            (Page::parse(&text).map_err(|error| wrong(io::Error::other(error)))?, None)
        }
        Source::Admin(admin, span) => {
            let before = scrape::fetch(*admin)?;
            let began = Instant::now();
            wait(*span);
            (scrape::fetch(*admin)?, Some((before, began.elapsed())))
        }
    };
    let advice = advise(&page, before.as_ref().map(|(page, span)| (page, *span)));
    if as_json {
        println!("{:#}", Value::from(advice.iter().map(Advice::json).collect::<Vec<_>>()));
    } else {
        print!("{}", text(&advice));
    }
    Ok(())
}

fn wait(span: Duration) {
    let bar = show::progress(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), "looking on");
    let began = Instant::now();
    while began.elapsed() < span {
        thread::sleep(Duration::from_millis(100).min(span.saturating_sub(began.elapsed())));
        bar.set_position(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
    bar.finish_and_clear();
}

/// All advice on a page; with an earlier page of the same gateway rates are known, too.
pub fn advise(page: &Page, before: Option<(&Page, Duration)>) -> Vec<Advice> {
    let seen = Observed::on(page, before);
    let mut advice: Vec<Advice> = seen.routes.iter().map(rules::timeout).collect();
    for cluster in &seen.clusters {
        // Keys of the cluster itself come first: in TOML they cannot follow one of its tables.
        advice.extend([rules::limit(cluster), rules::retries(cluster), rules::pool(cluster)]);
        advice.extend(rules::breaker(cluster));
        for method in seen.methods.iter().filter(|method| method.cluster == cluster.name) {
            advice.push(rules::method_timeout(method));
            advice.extend(rules::method_breaker(method, Some(cluster)));
        }
    }
    advice
}

impl Advice {
    fn json(&self) -> Value {
        let (table, name, cluster) = match &self.place {
            Place::Route(name, cluster) => ("routes".to_owned(), name, cluster),
            Place::Cluster(name, "") => ("clusters".to_owned(), name, name),
            Place::Cluster(name, table) => (format!("clusters.{table}"), name, name),
            Place::Method(name, path, "") => ("clusters.methods".to_owned(), path, name),
            Place::Method(name, path, table) => (format!("clusters.methods.{table}"), path, name),
        };
        json!({
            "table": table, "name": name, "cluster": cluster, "about": self.about, "seen": self.seen,
            "rule": self.rule, "key": self.setting.as_ref().map(|(key, _)| key),
            "value": self.setting.as_ref().map(|(_, value)| value),
        })
    }
}

/// TOML with comments. Each block goes into the table that the comment above it names.
fn text(advice: &[Advice]) -> String {
    let mut text =
        String::from("# Advice from what was seen. Each block goes into the table named above it.\n");
    if advice.is_empty() {
        text += "# No route and no cluster is on the page: is it the page of a gateway?\n";
    }
    let mut last = None;
    for advice in advice {
        if last != Some(&advice.place) {
            text += &match &advice.place {
                Place::Route(name, cluster) => {
                    format!("\n# ---- [[routes]] name = {name:?}, cluster = {cluster:?}\n")
                }
                Place::Cluster(name, "") => format!("\n# ---- [[clusters]] name = {name:?}\n"),
                Place::Cluster(name, table) => {
                    format!("\n# ---- [[clusters]] name = {name:?}\n[clusters.{table}]\n")
                }
                Place::Method(name, path, "") => {
                    format!("\n# ---- [[clusters]] name = {name:?}\n[[clusters.methods]]\npath = {path:?}\n")
                }
                // It goes into the method's table, which is the one above it.
                Place::Method(_, path, table) => format!("\n# ---- {path}\n[clusters.methods.{table}]\n"),
            };
            last = Some(&advice.place);
        }
        text += &format!("# {}: {}.\n#   {}.\n", advice.about, advice.seen, advice.rule);
        if let Some((key, value)) = &advice.setting {
            text += &format!("{key} = {value}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests;
