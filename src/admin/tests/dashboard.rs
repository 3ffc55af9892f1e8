//! The dashboard against the responses that it reads.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::admin::openapi;
use crate::admin::response::DASHBOARD;

#[test]
fn pages_ask_nobody_but_this_address() {
    let forbidden =
        ["http://", "https://", "//cdn", "@import", "url(", "src=", "import(", "WebSocket", "eval("];
    for (page, forbidden) in
        [DASHBOARD, openapi::PAGE].into_iter().flat_map(|page| forbidden.map(|it| (page, it)))
    {
        let names: Vec<&str> = page
            .match_indices(forbidden)
            .map(|(at, _)| page[at..].split(['"', '\'', ')', '`']).next().unwrap_or_default())
            // The names of two languages, which nobody fetches.
            .filter(|name| !name.starts_with("http://www.w3.org/"))
            .collect();
        assert!(names.is_empty(), "{forbidden}: {names:?}");
    }
    let (admin, _gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    for path in ["/", "/openapi"] {
        let reply = ask(&mut connect(&admin), "GET", path).unwrap();
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"),
            "{policy}"
        );
        assert!(!reply.body.contains("innerHTML"), "names in a configuration are text, not markup");
        assert!(reply.body.len() < 32 << 10, "{} bytes", reply.body.len());
    }
}

/// Method: the script names what it reads by one letter, as its first comment says. Each `letter.field` in it has to
/// be a key of the response that the letter stands for.
#[test]
fn every_field_it_reads_exists() {
    let limits = Limits { sample: Duration::from_millis(10), ..Limits::DEFAULT };
    let (admin, _gateway) = start_gateway(limits, Gateway::default());
    let mut connection = connect(&admin);
    let mut get = |path: &str| -> Value {
        serde_json::from_str(&ask(&mut connection, "GET", path).unwrap().body).unwrap()
    };
    let begun = Instant::now();
    let history = loop {
        let history = get("/history");
        if !history["samples"].as_array().unwrap().is_empty() {
            break history;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    let (workers, clusters) = (get("/workers?format=json"), get("/clusters?format=json"));
    let (calls, breakers) = (get("/calls?format=json"), get("/breakers?format=json"));
    let sample = &history["samples"][0];
    let mut read = 0;
    for (letter, answer) in [
        ('h', &history),
        ('s', sample),
        ('w', &sample["workers"][0]),
        ('c', &sample["clusters"][0]),
        ('p', &workers["workers"][0]),
        ('k', &clusters["clusters"][0]),
        ('e', &clusters["clusters"][0]["endpoints"][0]),
        ('m', &calls["calls"][0]),
        ('b', &breakers["breakers"][0]),
    ] {
        let fields = fields_of(letter);
        assert!(!fields.is_empty(), "{letter} is not used");
        for field in &fields {
            assert!(answer.get(field).is_some(), "{letter}.{field} is not in {answer}");
        }
        read += fields.len();
    }
    assert!(read > 50, "{read} fields");
    for (page, list) in [(&workers, "workers"), (&clusters, "clusters"), (&calls, "calls")] {
        assert!(DASHBOARD.contains(&format!("page.{list}")) && page[list].is_array());
    }
}

/// The names that follow `letter.` where the letter is a word of its own.
fn fields_of(letter: char) -> BTreeSet<String> {
    let (_, script) = DASHBOARD.split_once("<script>").unwrap();
    let code: String = script.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_$.".contains(letter);
    let name = format!("{letter}.");
    let places = code.match_indices(&name).filter(|(at, _)| !code[..*at].ends_with(is_name));
    places
        .map(|(at, _)| {
            code[at + 2..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        })
        .collect()
}
