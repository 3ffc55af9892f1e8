//! The pages' content, over a socket.
#![allow(clippy::disallowed_types, reason = "a test is not on a call's way")]

use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::admin::history::Look;

fn get(path: &str) -> Received {
    let (admin, _gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    ask(&mut connect(&admin), "GET", path).unwrap()
}

#[track_caller]
fn get_json(path: &str) -> Value {
    let reply = get(path);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_str(&reply.body).unwrap()
}

#[test]
fn json_comes_to_whom_accepts_it_or_asks_for_it() {
    let (admin, _gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    let mut connection = connect(&admin);
    for (path, accept, kind) in [
        ("/workers", "", "text/plain; charset=utf-8"),
        ("/workers", "accept: */*\r\n", "text/plain; charset=utf-8"),
        ("/workers", "accept: text/html, application/json;q=0.9\r\n", "application/json"),
        ("/workers?format=json", "", "application/json"),
        ("/workers?format=text", "accept: application/json\r\n", "text/plain; charset=utf-8"),
        ("/config", "", "application/toml; charset=utf-8"),
        ("/config?format=json", "", "application/json"),
        ("/history", "", "application/json"),
        ("/", "", "text/html; charset=utf-8"),
        ("/?format=text", "", "text/plain; charset=utf-8"),
        ("/?format=json", "", "application/json"),
    ] {
        let reply = ask_with(&mut connection, "GET", path, accept).unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path} {accept}");
    }
}

#[test]
fn workers_say_where_they_run() {
    let page = get_json("/workers?format=json");
    let first = &page["workers"][0];
    for (key, value) in [
        ("worker", json!(0)),
        ("core", json!(3)),
        ("numa_node", json!(0)),
        ("backend", json!("io_uring")),
        ("flags", json!("none")),
        ("connections", json!(1)),
        ("calls", json!(2)),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!(page["workers"][1]["core"], Value::Null);
    let text = get("/workers").body;
    assert!(text.starts_with("workers:\n  worker  core  numa_node  backend   flags"), "{text}");
}

#[test]
fn clusters_add_up_what_workers_see_of_an_endpoint() {
    let page = get_json("/clusters?format=json");
    let one = &page["clusters"][0];
    assert_eq!((&one["cluster"], &one["max_requests"]), (&json!("one"), &json!(1024)));
    let wanted = json!([{
        "address": "10.0.0.1:1", "state": "connected", "workers_connected": 1, "workers_in_backoff": 1,
        "retry_in_ms": 50, "connections": 2, "calls_active": 4, "calls": 6, "connect_failures": 8,
        "ejected": false, "last_error": "refused: nothing listens there", "last_error_ago_s": 120,
    }]);
    assert_eq!(one["endpoints"], wanted);
    let unresolved = json!([{
        "address": "nowhere.example:50051", "state": "unresolved", "workers_connected": 0, "workers_in_backoff": 0,
        "retry_in_ms": null, "connections": 0, "calls_active": 0, "calls": 0, "connect_failures": 0,
        "ejected": false, "last_error": "DNS lookup failed: there is no such name", "last_error_ago_s": 7,
    }]);
    assert_eq!(page["clusters"][1]["endpoints"], unresolved);
    let text = get("/clusters").body;
    assert!(text.contains("one endpoints:\n") && text.contains("10.0.0.1:1"), "{text}");
    assert!(text.contains("DNS lookup failed: there is no such name"), "{text}");
}

#[test]
fn routes_are_listed_and_explained() {
    let routes = get_json("/routes?format=json");
    assert_eq!(routes["routes"][0]["clusters"], json!(["one (9)", "two (1)"]));
    assert_eq!(routes["routes"][0]["headers"], json!(["x-canary: 1"]));
    assert_eq!(
        (&routes["routes"][1]["host"], &routes["routes"][2]["timeout_s"]),
        (&json!("*.example.com"), &Value::Null)
    );

    let taken = |query: &str| {
        let page = get_json(&format!("/routes?format=json&explain={query}"));
        let passed: Vec<String> = page["passed_by"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["because"].as_str().unwrap().to_owned())
            .collect();
        (page["taken_by"]["route"].as_u64(), passed)
    };
    assert_eq!(taken("/a.A/Get&header=x-canary:%201"), (Some(1), vec![]));
    assert_eq!(
        taken("/a.A/Get&host=API.example.com:8080&header=x-canary:2"),
        (Some(2), vec!["the header x-canary is not \"1\"".to_owned()])
    );
    assert_eq!(
        taken("%2Fbc%2FD?x=1"),
        (
            Some(3),
            vec!["the path is not /a.A/Get".to_owned(), "the path does not begin with /a.A/".to_owned()]
        )
    );
    assert_eq!(taken("/a.A/Get&host=example.com").0, None);
    let access = |query: &str| get_json(&format!("/routes?format=json&explain={query}"))["access"].take();
    for (query, connects, rbac) in [
        ("/bc/D&client=10.0.0.7", true, json!("denied")),
        ("/bc/D&client=10.9.0.7", false, json!("denied")),
        ("/bc/D&client=192.0.2.1", true, json!("allowed")),
        ("/bd/D&client=10.0.0.7", true, json!("allowed")),
        ("/a.A/Get&host=api.example.com&client=::1", true, Value::Null),
    ] {
        let wanted = json!([{
            "listener": "127.0.0.1:8080", "connects": connects, "rbac": rbac, "shadow_rbac": null,
        }]);
        assert_eq!(access(query), wanted, "{query}");
    }
    assert_eq!(access("/bc/D"), Value::Null);
    let refused = get("/routes?explain=/bc/D&client=localhost");
    assert!(refused.status == 400 && refused.body.contains("is not an IP address"), "{}", refused.body);
    let refused = get("/routes?explain=/a&header=nonsense");
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(get("/routes?explain=/bc/D").body.contains("taken_by:\n  route: 3\n"));
}

#[test]
fn keys_that_wait_for_a_restart_are_shown() {
    let json = get_json("/config/waiting?format=json");
    let wanted = json!([{ "key": "workers", "place": "test.toml:3:11", "found": "4", "in_use": "2" }]);
    assert_eq!(json, wanted);
    assert!(get("/config/waiting").body.contains("test.toml:3:11"));
}

#[test]
fn the_configuration_is_shown_whole() {
    let text = get("/config").body;
    let parsed = crate::config::parse(&text, std::path::Path::new("shown.toml")).unwrap();
    assert_eq!(&parsed, &*view().config);
    let json = get_json("/config?format=json");
    assert_eq!(json["clusters"][0]["pool"]["max_connections_per_endpoint"], json!(8));
    assert_eq!(json["clusters"][0]["reconnect"]["backoff_multiplier"], json!(1.6));
    assert_eq!(json["clusters"][1]["keepalive"]["without_calls"], json!(false));
    assert_eq!(json["drain_timeout"], json!("30s"));
}

#[test]
fn a_drain_is_asked_for_by_post_and_not_by_a_browser() {
    let (admin, gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    let mut connection = connect(&admin);
    assert_eq!(ask(&mut connection, "GET", "/drain").unwrap().status, 405);
    for of_browser in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-origin\r\n",
        "referer: http://evil.example/\r\n",
    ] {
        let forged = ask_with(&mut connection, "POST", "/drain", of_browser).unwrap();
        assert_eq!(forged.status, 403, "{of_browser}");
        assert!(gateway.ready(), "{of_browser}");
    }
    let reply = ask(&mut connection, "POST", "/drain").unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (202, "draining: true\n"));
    assert_eq!(ask(&mut connection, "GET", "/ready").unwrap().status, 503);
}

/// Row 56: under a foreign name nothing is told but what probes ask for.
#[test]
fn a_foreign_host_reads_nothing() {
    let (admin, gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    let mut connection = connect(&admin);
    for (host, path, status) in [
        ("127.0.0.1:9901", "/config", 200),
        ("localhost", "/", 200),
        ("gateway.example.com", "/metrics", 200),
        ("evil.example", "/", 403),
        ("evil.example:9901", "/config", 403),
        ("evil.example", "/metrics", 403),
        ("evil.example", "/history", 403),
        ("evil.example", "/ready", 200),
        ("evil.example", "/live", 200),
        ("evil.example", "http://127.0.0.1/config", 200),
        ("127.0.0.1", "http://evil.example/config", 403),
    ] {
        let reply = ask_with(&mut connection, "GET", path, &format!("host: {host}\r\n")).unwrap();
        assert_eq!(reply.status, status, "{host} {path}");
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
    }
    assert_eq!(ask_with(&mut connection, "POST", "/drain", "host: evil.example\r\n").unwrap().status, 403);
    assert!(gateway.ready());
}

#[test]
fn what_nobody_does_has_no_path() {
    let (admin, _gateway) = start_gateway(Limits::DEFAULT, Gateway::default());
    let mut connection = connect(&admin);
    for path in ["/log_level", "/config/reload"] {
        assert_eq!(ask(&mut connection, "POST", path).unwrap().status, 404, "{path}");
    }
    assert!(!ask(&mut connection, "GET", "/?format=text").unwrap().body.contains("/log_level"));
}

#[test]
fn hooks_are_called_and_their_refusals_told() {
    let level = Arc::new(Mutex::new("info".to_owned()));
    let (get, set) = (Arc::clone(&level), Arc::clone(&level));
    let log_level = LogLevel {
        get: Box::new(move || get.lock().unwrap().clone()),
        set: Box::new(move |wanted| match wanted {
            "debug" => Err("not in this build".to_owned()),
            wanted => {
                wanted.clone_into(&mut set.lock().unwrap());
                Ok(())
            }
        }),
    };
    let times = AtomicBool::new(false);
    let reload: Reload = Box::new(move || match times.swap(true, Ordering::Relaxed) {
        false => Ok("2 routes".to_owned()),
        true => Err("r.toml:1:1: bad".to_owned()),
    });
    let hooks = Hooks { log_level: Some(log_level), reload: Some(reload) };
    let (admin, _gateway) = start_gateway(Limits::DEFAULT, Gateway { hooks, ..Gateway::default() });
    let mut connection = connect(&admin);
    for (method, path, status, body) in [
        ("GET", "/log_level", 200, "level: info\n"),
        ("POST", "/log_level?level=warn", 200, "level: warn\n"),
        ("POST", "/log_level?level=debug", 400, "{\"code\":3,\"message\":\"not in this build\"}\n"),
        ("POST", "/log_level", 400, "{\"code\":3,\"message\":\"write ?level=info\"}\n"),
        ("GET", "/log_level", 200, "level: warn\n"),
        ("POST", "/config/reload", 200, "reloaded: true\nchanged: 2 routes\n"),
        ("POST", "/config/reload", 409, "{\"code\":9,\"message\":\"r.toml:1:1: bad\"}\n"),
    ] {
        let reply = ask(&mut connection, method, path).unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
    }
}

/// Method: samples made by hand from two looks at counters that moved in between.
#[test]
fn a_sample_is_what_happened_between_two_looks() {
    let view = Arc::new(view());
    let rings = |sqes| [RingCounts { worker: 0, sqes, cqes: 0 }];
    let before = Look::at(Arc::clone(&view), &rings(100));
    let shard = &view.shards[0];
    shard.worker.calls_started.add(20);
    shard.worker.turns.add(10);
    shard.worker.bytes_sent.add(4000);
    for _ in 0..9 {
        shard.calls[0].ended(Ending {
            protocol: 0,
            code: 0,
            is_stream: false,
            took: Duration::from_micros(1000),
        });
    }
    shard.calls[0].ended(Ending {
        protocol: 0,
        code: 14,
        is_stream: false,
        took: Duration::from_millis(100),
    });
    shard.unrouted().ended(Ending {
        protocol: 0,
        code: 12,
        is_stream: false,
        took: Duration::from_micros(50),
    });
    let after = Look::at(Arc::clone(&view), &rings(130));
    let history = History::default();
    history.push(after.since(&before, Duration::from_secs(2), 7).unwrap());
    history.push(after.since(&after, Duration::from_secs(1), 8).unwrap());
    let (samples, next) = history.from(0);
    assert_eq!((samples.len(), next, history.from(1).0.len(), history.from(2).0.len()), (2, 2, 1, 0));

    let shown: Value = serde_json::from_str(&samples[0].value(&view).json()).unwrap();
    let worker = &shown["workers"][0];
    for (key, value) in [
        ("calls_per_s", json!(10)),
        ("enters_per_call", json!(0.5)),
        ("sqes_per_call", json!(1.5)),
        ("sent_bytes_per_s", json!(2000)),
    ] {
        assert_eq!(worker[key].as_f64(), value.as_f64(), "{key}");
    }
    // Of eleven calls, as the histogram rounds them.
    assert_eq!((worker["p50_us"].as_u64(), worker["p99_us"].as_u64()), (Some(1024), Some(102_400)));
    let cluster = &shown["clusters"][0];
    assert_eq!((cluster["calls_per_s"].as_f64(), cluster["errors_per_s"].as_f64()), (Some(5.0), Some(0.5)));
    assert_eq!(shown["by_code"], json!({ "OK": 4.5, "UNIMPLEMENTED": 0.5, "UNAVAILABLE": 0.5 }));
    let idle: Value = serde_json::from_str(&samples[1].value(&view).json()).unwrap();
    assert_eq!(
        (&idle["workers"][0]["p50_us"], &idle["workers"][0]["enters_per_call"]),
        (&Value::Null, &Value::Null)
    );

    let reloaded = Look::at(Arc::new(super::view()), &rings(0));
    assert!(reloaded.since(&after, Duration::from_secs(1), 9).is_none(), "another configuration");
}

#[test]
fn the_history_keeps_five_minutes() {
    let view = Arc::new(view());
    let look = Look::at(Arc::clone(&view), &[]);
    let history = History::default();
    for second in 0..310 {
        history.push(look.since(&look, Duration::from_secs(1), second).unwrap());
    }
    let (samples, next) = history.from(0);
    assert_eq!((samples.len(), samples[0].number, next), (300, 10, 310));
    assert_eq!(history.latest().unwrap().unix_ms, 309);
}

#[test]
fn samples_are_taken_while_somebody_looks_or_calls_run() {
    let gateway = Gateway::default();
    let calls = &gateway.view.shards[0].worker;
    let history = History::default();
    assert!(!history.sample(&gateway), "nobody looks, no call runs");
    assert_eq!(history.from(0).0.len(), 0, "the first look is compared with nothing");

    calls.calls_started.add(1);
    assert!(history.sample(&gateway), "a call ran");
    assert!(!history.sample(&gateway), "no other did");
    let samples = history.from(0).1;
    history.look_at(&gateway);
    assert_eq!(history.from(0).1, samples + 1, "who looks after a pause sees what it was");
    history.look_at(&gateway);
    assert_eq!(history.from(0).1, samples + 1, "and others follow by themselves");
    assert!(history.sample(&gateway), "somebody has looked");
}

#[test]
fn samples_come_by_themselves() {
    let limits = Limits { sample: Duration::from_millis(10), ..Limits::DEFAULT };
    let (admin, _gateway) = start_gateway(limits, Gateway::default());
    let mut connection = connect(&admin);
    let begun = Instant::now();
    loop {
        let reply = ask(&mut connection, "GET", "/history").unwrap();
        let page: Value = serde_json::from_str(&reply.body).unwrap();
        if page["next"].as_u64() > Some(1) {
            assert!(page["samples"][0]["resident_bytes"].as_u64().unwrap() > 100_000);
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", reply.body);
        std::thread::yield_now();
    }
}
