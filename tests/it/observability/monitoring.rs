//! The files in `tuning/` for Grafana and Prometheus fit the page of metrics: every name and every label is there.

use crate::support::gateway::{gateway_config, start};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::tools::tool;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// Labels that Prometheus adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];

fn in_tuning(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(in_tuning(path)).expect("a file of tuning/")
}

/// Families that say more about less than a panel of the dashboard is for.
const BESIDE: [&str; 18] = [
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "ringway_call_duration_seconds_sum",
    "ringway_client_keepalive_timeouts_total",
    "ringway_connections_aged_total",
    "ringway_endpoint_calls_active",
    "ringway_late_frames_total",
    "ringway_mirrored_total",
    "ringway_mirrors_dropped_total",
    "ringway_mirrors_failed_total",
    "ringway_options_answered_total",
    "ringway_priority_frames_total",
    "ringway_transcoding_loads_total",
    "ringway_transcoding_reflections_total",
    "ringway_upstream_connections_refused_total",
    "ringway_upstream_held_resets_total",
    "ringway_upstream_late_frames_total",
    "ringway_upstream_pending_failed_total",
];

/// The labels of each metric on a page.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn page(admin: SocketAddr) -> Metrics {
    let mut stream = TcpStream::connect(admin).expect("the admin address listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    let mut metrics = Metrics::new();
    for line in text.lines().filter(|line| line.starts_with("ringway_") || line.starts_with("process_")) {
        let end = line.find(['{', ' ']).expect("a sample has a value");
        let labels = metrics.entry(line[..end].to_owned()).or_default();
        for part in line[end..].split("=\"").map(|part| part.rsplit(['{', ',']).next().unwrap_or_default()) {
            if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                labels.insert(part.to_owned());
            }
        }
    }
    metrics
}

/// A gateway that has answered a call, with all that gives it series.
async fn metrics() -> Metrics {
    let server = InteropServer::start();
    let extra = "[clusters.breaker]\n[clusters.outlier_detection]\n[clusters.health_checks]\n";
    let log = "[access_log]\npath = \"/dev/null\"\n";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");
    let json =
        format!("[transcoding]\nprotos = [\"{folder}/greeter.proto\"]\nproto_paths = [\"{folder}\"]\n");
    let gateway = start(&format!("{}{log}{json}", gateway_config(&[server.address()], "io_uring", extra)));
    let mut client = RawClient::connect(gateway.listeners()[0]).await;
    let reply = client.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
    let admin = gateway.admin();
    let mut metrics = tokio::task::spawn_blocking(move || page(admin)).await.expect("no panic");
    for (name, labels) in ELSEWHERE {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        assert!(metrics.insert((*name).to_owned(), labels).is_none(), "{name} is on the page");
    }
    metrics
}

/// Series that a gateway has only as a program of its own, with TLS, with tracing or after many calls, and the one that Prometheus makes itself.
const ELSEWHERE: [(&str, &[&str]); 7] = [
    ("ringway_heap_live_bytes", &[]),
    ("up", &[]),
    ("ringway_certificate_good", &[]),
    ("ringway_certificate_not_after_seconds", &["listener", "cluster", "file"]),
    ("ringway_adaptive_timeout_seconds", &["cluster", "method"]),
    ("ringway_spans_exported_total", &[]),
    ("ringway_spans_failed_total", &[]),
];

/// An expression of PromQL as words and signs. Quoted texts are left out.
fn words(expression: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$');
        let end = match first {
            '"' => rest[1..].find('"').expect("a quote is closed") + 2,
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        if first != '"' && !first.is_whitespace() {
            words.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
    }
    words
}

/// Adds the faults of an expression's names and labels to `wrong`; gives the labels that its result may have.
fn check(expression: &str, metrics: &Metrics, wrong: &mut Vec<String>) -> BTreeSet<String> {
    let words = words(expression);
    let (mut known, mut grouped) = (BTreeSet::new(), BTreeSet::new());
    let mut used = 0;
    for (at, word) in words.iter().enumerate() {
        if word == "up" || word.starts_with("ringway_") || word.starts_with("process_") {
            used += 1;
            let Some(labels) = metrics.get(word) else {
                wrong.push(format!("{word} is no metric: {expression}"));
                continue;
            };
            known.extend(labels.iter().cloned());
            let inside =
                words[at + 1..].iter().skip_while(|word| *word == "{").take_while(|word| *word != "}");
            let inside: Vec<&String> =
                if words.get(at + 1).is_some_and(|word| word == "{") { inside.collect() } else { Vec::new() };
            for (place, label) in inside.iter().enumerate() {
                let is_word = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let is_label =
                    is_word && inside.get(place + 1).is_some_and(|next| matches!(next.as_str(), "=" | "!"));
                if is_label && !labels.contains(*label) && !ADDED.contains(&label.as_str()) {
                    wrong.push(format!("{word} has no label {label}: {expression}"));
                }
            }
        }
        if matches!(word.as_str(), "by" | "on") {
            grouped.extend(
                words[at + 2..].iter().take_while(|word| *word != ")").filter(|word| *word != ",").cloned(),
            );
        }
    }
    if used == 0 {
        wrong.push(format!("it names no metric: {expression}"));
    }
    known.extend(ADDED.map(str::to_owned));
    for label in grouped.difference(&known) {
        wrong.push(format!("nothing has a label {label}: {expression}"));
    }
    if grouped.is_empty() { known } else { grouped }
}

/// All objects of a document that have this key.
fn with_key<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(entries) => {
            if entries.contains_key(key) {
                found.push(value);
            }
            entries.values().for_each(|value| with_key(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| with_key(value, key, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_asks_for_what_there_is() {
    let metrics = metrics().await;
    let dashboard: Value = serde_json::from_str(&text("grafana/ringway.json")).expect("it is JSON");
    let (mut queries, mut wrong) = (Vec::new(), Vec::new());
    with_key(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 30, "{} queries", queries.len());
    for query in queries {
        let expression = query["expr"].as_str().expect("text");
        let labels = check(expression, &metrics, &mut wrong);
        let legend = query["legendFormat"].as_str().unwrap_or_default();
        for name in legend.split("{{").skip(1).filter_map(|part| part.split("}}").next()) {
            if !labels.contains(name) {
                wrong.push(format!("the legend names {name}: {expression}"));
            }
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("a list") {
        if let Some(query) = variable["definition"].as_str() {
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) =
                inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(series, label)");
            let labels = check(series, &metrics, &mut wrong);
            assert!(labels.contains(label), "{query}");
        }
    }
    let shown = serde_json::to_string(&dashboard).expect("it is JSON");
    let missing: Vec<&String> = metrics.keys().filter(|name| !shown.contains(name.as_str())).collect();
    assert_eq!(missing, BESIDE, "families that no panel asks for");
    for states in ["ringway_breaker_state", "min(ringway_ready", "ringway_config_good"] {
        let mut panels = Vec::new();
        with_key(&dashboard, "targets", &mut panels);
        let asks = |panel: &&&Value| panel["targets"].to_string().contains(states);
        let panel = panels.iter().find(asks).unwrap_or_else(|| panic!("no panel of {states}"));
        let words = &panel["fieldConfig"]["defaults"]["mappings"][0]["options"];
        assert!(words["0"]["text"].is_string(), "{states}: its numbers have no words: {words}");
    }
    let panels = dashboard["panels"].as_array().expect("a list");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_ask_for_what_there_is() {
    let metrics = metrics().await;
    let rules = YamlLoader::load_from_str(&text("prometheus/alerts.yml")).expect("it is YAML");
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for rule in rules[0]["groups"][0]["rules"].as_vec().expect("a list") {
        let expression = rule["expr"].as_str().expect("text");
        let labels = check(expression, &metrics, &mut wrong);
        names.insert(rule["alert"].as_str().expect("a name"));
        for key in ["summary", "description"] {
            let text = rule["annotations"][key].as_str().unwrap_or_else(|| panic!("no {key}: {expression}"));
            for label in text.split("$labels.").skip(1) {
                let label =
                    label.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
                if !labels.contains(label) {
                    wrong.push(format!("{key} names {label}: {expression}"));
                }
            }
        }
        assert!(!matches!(rule["labels"]["severity"], Yaml::BadValue), "no severity: {expression}");
    }
    assert!(names.len() > 10, "{names:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Prometheus's own tests have a moment for each at which it fires, and one at which it does not yet.
    let tests = text("prometheus/alerts.test.yml");
    let tests = YamlLoader::load_from_str(&tests).expect("it is YAML");
    let moments = tests[0]["tests"].as_vec().expect("a list").iter();
    let moments = moments.flat_map(|test| test["alert_rule_test"].as_vec().expect("a list"));
    let tried = moments.map(|moment| {
        let fires = moment["exp_alerts"].as_vec().is_some_and(|alerts| !alerts.is_empty());
        (moment["alertname"].as_str().expect("a name"), fires)
    });
    let wanted = names.iter().flat_map(|name| [(*name, false), (*name, true)]);
    assert_eq!(tried.collect::<BTreeSet<_>>(), wanted.collect());
}

#[test]
fn what_is_misspelt_is_found() {
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    let metrics = Metrics::from([("ringway_a_total".to_owned(), labels(&["worker"]))]);
    for (expression, count) in [
        ("sum by (worker) (rate(ringway_a_total{job=~\"$job\", worker!=\"1\"}[5m])) > 0", 0),
        ("ringway_b_total", 1),
        ("ringway_a_total{wrker=\"ringway_b\"}", 1),
        ("sum by (cluster) (ringway_a_total)", 1),
        ("time() == 0", 1),
        ("up == 0", 1),
    ] {
        let mut wrong = Vec::new();
        check(expression, &metrics, &mut wrong);
        assert_eq!(wrong.len(), count, "{expression}: {wrong:?}");
    }
}

/// Prometheus's own judgement, where its tool is installed.
#[test]
fn prometheus_takes_the_alerts() {
    for (kind, file) in [("check", "alerts.yml"), ("test", "alerts.test.yml")] {
        let Some(mut promtool) = tool("promtool") else { return };
        promtool.args([kind, "rules"]).arg(in_tuning("prometheus").join(file));
        let output = promtool.output().expect("it is installed");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{kind} {file}: {}", String::from_utf8_lossy(&said));
    }
}
