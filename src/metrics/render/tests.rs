//! The page is read back with a small strict parser: what it takes, Prometheus takes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::*;
use crate::config;
use crate::metrics::labels::Task;
use crate::metrics::{CallLabels, Ending, ProtocolError};
use crate::policy::failure::Failure;

const GATEWAY: GatewayInfo<'_> = GatewayInfo {
    certificates: None,
    version: "0.1.0",
    backend: "io_uring",
    backend_reason: None,
    ready: true,
    workers: 2,
    access_log: Some(AccessLogCounts { written: 8, failed: 3 }),
    traces: Some(TraceCounts { exported: 6, failed: 1 }),
    transcoding: None,
    control_panics: 0,
    reloads: ReloadCounts { taken: 0, refused: 0, refused_last: false, keys_waiting: 0, files_missing: 0 },
    names: NameCounts { lookups: 0, failures: 0, changes: 0 },
    shares: &[],
};

/// A page taken apart: the families' types, and each series with its value.
struct Read {
    types: HashMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Read {
    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series}"))
    }

    fn sum(&self, family: &str) -> f64 {
        let begin = format!("{family}{{");
        self.series.iter().filter(|(name, _)| name.starts_with(&begin)).map(|(_, value)| value).sum()
    }
}

/// Splits `name{labels} value`, checking names, quotes and escapes on the way.
fn split(line: &str) -> (&str, Vec<(String, String)>, f64) {
    let name_end = line.find(['{', ' ']).expect("a value follows the name");
    let (name, mut rest) = line.split_at(name_end);
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").expect("label=\"");
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            let (text, after) = unquoted(value);
            labels.push((label.to_owned(), text));
            match after.as_bytes()[0] {
                b',' => rest = &after[1..],
                b'}' => break rest = &after[1..],
                other => panic!("{} after a label in {line}", char::from(other)),
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("one blank before the value");
    (name, labels, value.parse().unwrap())
}

/// Reads up to the closing quote; returns the plain text and what follows the quote.
fn unquoted(value: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = value.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &value[at + 1..]),
            '\\' => match letters.next().unwrap().1 {
                'n' => text.push('\n'),
                plain @ ('\\' | '"') => text.push(plain),
                other => panic!("unknown escape {other}"),
            },
            plain => text.push(plain),
        }
    }
    panic!("no closing quote in {value}");
}

fn family_of<'a>(name: &'a str, types: &HashMap<String, String>) -> &'a str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|end| name.strip_suffix(end))
        .find(|family| types.get(*family).is_some_and(|kind| kind == "histogram"))
        .unwrap_or(name)
}

fn read(page: &str) -> Read {
    assert!(page.ends_with('\n'));
    let (mut types, mut series, mut helped) = (HashMap::new(), BTreeMap::new(), HashSet::new());
    let (mut unordered, mut current) = (HashSet::new(), String::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').unwrap();
            assert!(!sentence.is_empty() && helped.insert(name.to_owned()), "HELP of {name}");
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} declared twice");
            current = name.to_owned();
        } else {
            let (name, mut labels, value) = split(line);
            assert_eq!(family_of(name, &types), current, "{line} is not beside its family");
            labels.sort();
            assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "label twice: {line}");
            assert!(unordered.insert((name.to_owned(), labels)), "series twice: {line}");
            series.insert(line.rsplit_once(' ').unwrap().0.to_owned(), value);
        }
    }
    assert_eq!(helped, types.keys().cloned().collect());
    Read { types, series }
}

fn call(route: &str, cluster: &str) -> CallLabels {
    CallLabels { route: route.into(), cluster: cluster.into(), method: String::new() }
}

/// A unary call of gRPC.
fn ending(code: u8, took: Duration) -> Ending {
    Ending { protocol: 0, code, is_stream: false, took }
}

fn sample_world() -> (Layout, Vec<Arc<Shard>>) {
    let layout =
        Layout::new(vec!["auth".into(), "cart".into()], vec![call("login", "auth"), call("buy", "cart")]);
    let shards: Vec<_> = (0..2).map(|_| Shard::new(&layout)).collect();
    for shard in &shards {
        shard.worker.turns.add(5);
        shard.worker.bytes_sent.add(1000);
        shard.clusters[1].calls.add(3);
        shard.calls[0].ended(ending(0, Duration::from_micros(300)));
        shard.calls[0].ended(ending(14, Duration::from_millis(2)));
    }
    shards[1].worker.connections_active.raise();
    shards[1].unrouted().ended(ending(12, Duration::from_nanos(1)));
    (layout, shards)
}

#[test]
fn the_page_is_valid_and_says_what_was_counted() {
    let (layout, shards) = sample_world();
    let rings = [RingCounts { worker: 0, sqes: 7, cqes: 6 }, RingCounts { worker: 1, sqes: 9, cqes: 9 }];
    let page = read(&text(&GATEWAY, &layout, &shards, &rings));
    for (series, value) in [
        (r#"ringway_build_info{version="0.1.0"}"#, 1.0),
        (r#"ringway_io_backend{backend="io_uring"}"#, 1.0),
        ("ringway_ready", 1.0),
        ("ringway_workers", 2.0),
        ("ringway_access_log_lines_total", 8.0),
        ("ringway_access_log_failed_total", 3.0),
        ("ringway_spans_exported_total", 6.0),
        ("ringway_spans_failed_total", 1.0),
        (r#"ringway_turns_total{worker="1"}"#, 5.0),
        (r#"ringway_ring_enters_total{worker="1"}"#, 5.0),
        (r#"ringway_ring_sqes_total{worker="0"}"#, 7.0),
        (r#"ringway_ring_cqes_total{worker="1"}"#, 9.0),
        (r#"ringway_sent_bytes_total{worker="0"}"#, 1000.0),
        (r#"ringway_connections_active{worker="0"}"#, 0.0),
        (r#"ringway_connections_active{worker="1"}"#, 1.0),
        (r#"ringway_upstream_calls_total{cluster="cart"}"#, 6.0),
        (r#"ringway_upstream_calls_total{cluster="auth"}"#, 0.0),
        (r#"ringway_calls_total{route="login",cluster="auth",protocol="grpc",grpc_status="OK"}"#, 2.0),
        (
            r#"ringway_calls_total{route="login",cluster="auth",protocol="grpc",grpc_status="UNAVAILABLE"}"#,
            2.0,
        ),
        (r#"ringway_calls_total{route="buy",cluster="cart",protocol="grpc",grpc_status="OK"}"#, 0.0),
        (r#"ringway_calls_total{route="",cluster="",protocol="grpc",grpc_status="UNIMPLEMENTED"}"#, 1.0),
        (
            r#"ringway_call_duration_seconds_bucket{route="login",cluster="auth",grpc_type="unary",le="0.00025"}"#,
            0.0,
        ),
        (
            r#"ringway_call_duration_seconds_bucket{route="login",cluster="auth",grpc_type="unary",le="0.0005"}"#,
            2.0,
        ),
        (
            r#"ringway_call_duration_seconds_bucket{route="login",cluster="auth",grpc_type="unary",le="0.0025"}"#,
            4.0,
        ),
        (
            r#"ringway_call_duration_seconds_bucket{route="login",cluster="auth",grpc_type="unary",le="60.0"}"#,
            4.0,
        ),
        (
            r#"ringway_call_duration_seconds_bucket{route="login",cluster="auth",grpc_type="unary",le="+Inf"}"#,
            4.0,
        ),
        (r#"ringway_call_duration_seconds_sum{route="login",cluster="auth",grpc_type="unary"}"#, 0.0046),
        (r#"ringway_call_duration_seconds_count{route="login",cluster="auth",grpc_type="unary"}"#, 4.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert_eq!(page.sum("ringway_calls_total"), page.sum("ringway_call_duration_seconds_count"));
    assert!(!page.series.contains_key(
        r#"ringway_calls_total{route="buy",cluster="cart",protocol="grpc",grpc_status="ABORTED"}"#
    ));
}

#[test]
fn every_row_of_every_table_is_on_the_page() {
    let (layout, shards) = sample_world();
    let page = read(&text(&GATEWAY, &layout, &shards, &[]));
    for name in
        WorkerBlock::TABLE.iter().map(|row| row.name).chain(ClusterBlock::TABLE.iter().map(|row| row.name))
    {
        assert!(page.types.contains_key(name), "{name}");
        let of_name = |series: &&String| series.starts_with(&format!("{name}{{"));
        assert_eq!(page.series.keys().filter(of_name).count(), 2, "{name}");
    }
    for row in WorkerBlock::BY_LABEL {
        assert_eq!(page.types[row.name], "counter");
        let of_name = |series: &&String| series.starts_with(&format!("{}{{", row.name));
        let each = if row.spread == PerWorker::Each { 2 } else { 1 };
        // Others than workers may panic, too.
        let others = usize::from(row.name == "ringway_panics_total");
        assert_eq!(
            page.series.keys().filter(of_name).count(),
            each * row.values.len() + others,
            "{}",
            row.name
        );
    }
    assert_eq!(page.types["ringway_call_duration_seconds"], "histogram");
}

#[test]
fn without_rings_the_page_has_no_ring_families_and_says_why() {
    let (layout, shards) = sample_world();
    let gateway =
        GatewayInfo { backend: "epoll", backend_reason: Some("EPERM: \"seccomp\""), ready: false, ..GATEWAY };
    let page = read(&text(&gateway, &layout, &shards, &[]));
    assert_eq!(page.value(r#"ringway_io_backend{backend="epoll",reason="EPERM: \"seccomp\""}"#), 1.0);
    assert_eq!(page.value("ringway_ready"), 0.0);
    assert!(page.types.keys().all(|name| !name.contains("_ring_")));
}

#[test]
fn any_name_survives_being_a_label() {
    let odd = "a\"b\\c\nd{e}=,é";
    let layout = Layout::new(vec![odd.into()], vec![call(odd, "")]);
    let page = text(&GATEWAY, &layout, &[Shard::new(&layout)], &[]);
    read(&page);
    let line = page.lines().find(|line| line.starts_with("ringway_upstream_calls_total{")).unwrap();
    assert_eq!(split(line).1, [("cluster".to_owned(), odd.to_owned())]);
}

#[test]
fn equal_labels_are_one_series() {
    let layout = Layout::new(vec!["c".into(), "c".into()], vec![call("r", "c"), call("r", "c")]);
    let shard = Shard::new(&layout);
    for at in 0..2 {
        shard.clusters[at].calls.add(1);
        shard.calls[at].ended(ending(0, Duration::ZERO));
    }
    let page = read(&text(&GATEWAY, &layout, &[shard], &[]));
    assert_eq!(
        page.value(r#"ringway_calls_total{route="r",cluster="c",protocol="grpc",grpc_status="OK"}"#),
        2.0
    );
    assert_eq!(page.value(r#"ringway_upstream_calls_total{cluster="c"}"#), 2.0);
}

#[test]
fn what_a_thing_was_is_a_label() {
    let (layout, shards) = sample_world();
    shards[0].worker.floods.add(1);
    shards[1].worker.floods.add(1);
    shards[1].worker.protocol_errors.add(ProtocolError::Http1Host as usize);
    shards[0].worker.panics.add(Task::Call as usize);
    for shard in &shards {
        shard.worker.failures.add(Failure::NoRoute.number());
    }
    let page = read(&text(&GatewayInfo { control_panics: 4, ..GATEWAY }, &layout, &shards, &[]));
    for (series, value) in [
        (r#"ringway_floods_total{worker="0",flood="too_many_pings"}"#, 1.0),
        (r#"ringway_floods_total{worker="1",flood="too_many_pings"}"#, 1.0),
        (r#"ringway_floods_total{worker="1",flood="too_many_resets"}"#, 0.0),
        (r#"ringway_protocol_errors_total{worker="1",error="http1_host"}"#, 1.0),
        (r#"ringway_panics_total{worker="0",task="call"}"#, 1.0),
        (r#"ringway_panics_total{worker="control",task="control"}"#, 4.0),
        (r#"ringway_failures_total{failure="no_route"}"#, 2.0),
        (r#"ringway_failures_total{failure="downstream_reset"}"#, 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}

/// The bound is generous because test builds are slow and machines shared. Optimised, on one core of
/// the machine it was written on, the page takes a small part of the 250 ms a scrape may cost.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test of elapsed time reads the clock")]
fn fifty_thousand_series_are_written_quickly() {
    let routes = (0..2300).map(|n| call(&format!("route-{n}"), &format!("cluster-{}", n % 40))).collect();
    let layout = Layout::new((0..40).map(|n| format!("cluster-{n}")).collect(), routes);
    let shards: Vec<_> = (0..4).map(|_| Shard::new(&layout)).collect();
    for block in shards.iter().flat_map(|shard| &shard.calls) {
        block.ended(ending(14, Duration::from_micros(700)));
    }
    let begun = Instant::now();
    let page = text(&GATEWAY, &layout, &shards, &[]);
    let took = begun.elapsed();
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!("{series} series, {} bytes, {took:?}", page.len());
    assert!(series >= 50_000, "{series}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// The shared state of two clusters: one with all that can be on the page, one with as little as can be.
fn shares() -> Vec<Arc<SharedClusterState>> {
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nmatch = { prefix = \"/\" }\ncluster = \"all\"\n\
        [[clusters]]\nname = \"all\"\nendpoints = [\"10.0.0.7:1\", \"10.0.0.8:1\"]\n\
        [clusters.breaker]\n[clusters.health_checks]\n[[clusters.methods]]\npath = \"/a.B/C\"\n\
        [clusters.methods.breaker]\n\
        [[clusters]]\nname = \"plain\"\nendpoints = [\"10.0.0.9:1\"]\nbreaker = { enabled = false }\n";
    let config =
        config::parse(text, std::path::Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    config
        .clusters
        .iter()
        .map(|cluster| SharedClusterState::new(cluster, cluster.endpoints.len(), 2))
        .collect()
}

#[test]
fn breakers_health_and_ejected_endpoints_are_on_the_page() {
    let (layout, shards) = sample_world();
    let shares = shares();
    let health = shares[0].health.as_ref().expect("it is asked");
    health.of(1).set(false);
    health.failures().fetch_add(3, std::sync::atomic::Ordering::Relaxed);
    let page = read(&text(&GatewayInfo { shares: &shares, ..GATEWAY }, &layout, &shards, &[]));
    for (series, value) in [
        (r#"ringway_breaker_state{cluster="all",method=""}"#, 0.0),
        (r#"ringway_breaker_state{cluster="all",method="/a.B/C"}"#, 0.0),
        (r#"ringway_breaker_opens_total{cluster="all",method="/a.B/C"}"#, 0.0),
        (r#"ringway_breaker_reopens_total{cluster="all",method=""}"#, 0.0),
        (r#"ringway_breaker_closes_total{cluster="all",method=""}"#, 0.0),
        (r#"ringway_health_unhealthy{cluster="all"}"#, 1.0),
        (r#"ringway_health_check_failures_total{cluster="all"}"#, 3.0),
        (r#"ringway_outlier_ejected{cluster="all"}"#, 0.0),
        (r#"ringway_outlier_ejections_total{cluster="plain"}"#, 0.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    let of_plain = page.series.keys().filter(|series| series.contains("cluster=\"plain\""));
    assert_eq!(of_plain.count(), 2, "it has no breaker and is not asked how it is");
    assert_eq!(page.types["ringway_breaker_state"], "gauge");
    // Without clusters there is nothing to say of any.
    let none = read(&text(&GATEWAY, &layout, &shards, &[]));
    assert!(none.types.keys().all(|name| !name.contains("breaker_state") && !name.contains("outlier")));
}

#[test]
fn endpoints_are_summed_over_cores() {
    let layout = Layout::new(vec!["a".into(), "b".into()], vec![]).with_endpoints([2, 1]);
    let shards: Vec<_> = (0..2).map(|_| Shard::new(&layout)).collect();
    let view = |port: u16, connections| EndpointView {
        address: std::net::SocketAddr::from(([10, 0, 0, 7], port)).into(),
        state: crate::metrics::EndpointState::Connected,
        connections,
        calls_active: 1,
        calls: 10,
        connect_failures: 0,
        retry_in: Duration::ZERO,
        last_error: None,
    };
    shards[0].endpoints[0][0].publish(&view(1, 2));
    shards[1].endpoints[0][1].publish(&view(1, 3));
    shards[1].endpoints[1][0].publish(&view(1, 4));
    let page = read(&text(&GATEWAY, &layout, &shards, &[]));
    for (series, value) in [
        (r#"ringway_endpoint_connections_active{cluster="a",endpoint="10.0.0.7:1"}"#, 5.0),
        (r#"ringway_endpoint_connections_active{cluster="b",endpoint="10.0.0.7:1"}"#, 4.0),
        (r#"ringway_endpoint_calls_total{cluster="a",endpoint="10.0.0.7:1"}"#, 20.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
}
