//! The schema against files: what it takes, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::super::{schema, template};
use super::{cluster, listener, route, top};

/// A TOML file as JSON, as an editor sees it.
fn as_json(text: &str) -> Value {
    table(DeTable::parse(text).expect("TOML").get_ref())
}

fn table(entries: &DeTable<'_>) -> Value {
    let entries = entries.iter().map(|(key, entry)| (key.get_ref().to_string(), value(entry.get_ref())));
    Value::Object(entries.collect())
}

fn value(it: &DeValue<'_>) -> Value {
    match it {
        DeValue::String(text) => json!(text),
        DeValue::Integer(digits) => json!(digits.as_str().parse::<i64>().expect("a number")),
        DeValue::Float(digits) => json!(digits.as_str().parse::<f64>().expect("a number")),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
        DeValue::Table(entries) => table(entries),
    }
}

#[test]
fn the_schema_takes_the_examples_and_refuses_mistakes() {
    let schema: Value = serde_json::from_str(&schema()).expect("JSON");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("ringway.json", schema).expect("an address of its own");
    let schema = compiler.compile("ringway.json", &mut schemas).expect("a schema of draft 2020-12");
    let example = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        fs::read_to_string(path).expect("an example")
    };
    let taken = [
        example("minimal.toml"),
        example("ringway.toml"),
        template("127.0.0.1:1"),
        top("workers = 3\ndrain_timeout = \"1.5s\""),
        top("workers = \"${WORKERS}\"\n[overload]\nmax_buffered_bytes = \"64KiB\""),
        route("match.headers = { \"x-canary\" = \"1\" }\ncluster = \"echo\""),
    ];
    for text in taken {
        let instance = as_json(&text);
        if let Err(error) = schemas.validate(&instance, schema) {
            panic!("{error:#}\nin\n{text}");
        }
    }
    let refused = [
        String::new(),
        top("workers = 0"),
        top("workers = \"many\""),
        top("drain_timout = \"1s\""),
        top("drain_timeout = 5"),
        top("drain_timeout = \"5 s\""),
        top("[io]\nbackend = \"kqueue\""),
        top("[admin]\naddress = 1"),
        listener("balance_connections = \"yes\""),
        listener("http2 = { max_frame_size = \"1GB\" }"),
        cluster("endpoints2 = []"),
        cluster("[clusters.retry]\nretryable_status_codes = [\"BROKEN\"]"),
        cluster("[clusters.breaker]\nfailure_ratio = 1.5"),
        "[[listeners]]\n[[routes]]\ncluster = \"a\"\n[[clusters]]\nname = \"a\"\nendpoints = [\"a:1\"]"
            .to_owned(),
    ];
    for text in refused {
        assert!(schemas.validate(&as_json(&text), schema).is_err(), "taken:\n{text}");
    }
}
