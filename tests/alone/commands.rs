//! The commands that measure, as a person runs them.
#![allow(clippy::disallowed_methods, reason = "a test measures how long a command takes")]

use ringway::tools::service::Service;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn ringway(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).output().expect("the program starts")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}\n{errors}"))
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_load_test_has_the_four_steps() {
    let _alone = crate::alone();
    let html = scratch("load-test.html");
    let page = html.to_str().expect("a path in UTF-8");
    let output = ringway(&["load-test", "--rounds", "1", "--json", "--html", page]);
    let result = json(&output);
    let steps = result["steps"].as_array().expect("an array of steps");
    let names: Vec<_> = steps.iter().map(|step| (step["name"].as_str(), step["calls"].as_u64())).collect();
    let wanted = [("light", 100), ("medium", 500), ("heavy", 1000), ("stress", 2000)];
    assert_eq!(names, wanted.map(|(name, calls)| (Some(name), Some(calls))));
    for step in steps {
        assert_eq!(step["error_rate"], 0.0, "{step:#}");
        sides_are_known(step);
        assert!(step.pointer("/sides/gateway/cpu_us_per_call/median").and_then(Value::as_f64) > Some(0.0));
        assert_eq!(step["connections"], step["admitted"]);
    }
    let html = std::fs::read_to_string(html).expect("the page was written");
    assert!(html.contains("<svg") && html.contains("stress"));
}

/// CPU and memory of the gateway and the service, which are processes of their own.
fn sides_are_known(case: &Value) {
    for side in ["gateway", "service"] {
        let memory = case.pointer(&format!("/sides/{side}/memory_bytes")).and_then(Value::as_u64);
        assert!(memory > Some(1_000_000), "{side}: {case:#}");
        assert!(case.pointer(&format!("/sides/{side}/cpu_us_per_call/median")).is_some(), "{side}: {case:#}");
    }
}

#[test]
fn steps_are_told_apart_by_their_intervals_alone() {
    let _alone = crate::alone();
    let result = json(&ringway(&["load-test", "--rounds", "6", "--json"]));
    let conclusions: Vec<_> = result["conclusions"].as_array().expect("an array").iter().collect();
    let about =
        |words: &str| conclusions.iter().any(|said| said.as_str().is_some_and(|said| said.contains(words)));
    for pair in ["medium against light: ", "heavy against medium: ", "stress against heavy: "] {
        assert!(about(pair), "{conclusions:?}");
    }
    // A hundred calls at once wait longer than five, on any machine.
    let all = result.to_string();
    let light = result["steps"][0].pointer("/latency_us/p50").and_then(Value::as_f64);
    let stress = result["steps"][3].pointer("/latency_us/p50").and_then(Value::as_f64);
    assert!(light < stress, "{all}");
    assert!(!about("too few rounds"), "{conclusions:?}");
}

/// Method: more calls a second than any thread can begin.
#[test]
fn a_generator_that_cannot_keep_up_is_said_to_be_invalid() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    let target = service.address().to_string();
    let arguments = ["load-test", "--open-loop", "--rate", "200000", "--duration", "0.1", "--json"];
    let output = ringway(&[&arguments[..], &["--target", &target, "--method", "/a.B/C"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let result = json(&output);
    let reason = result["steps"][0]["invalid"].as_str().unwrap_or_else(|| panic!("{result:#}"));
    assert!(reason.contains("the generator was busy") || reason.contains(" ms late"), "{reason}");
}

#[test]
fn the_processes_of_a_target_can_be_watched() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    let (target, me) = (service.address().to_string(), std::process::id().to_string());
    let arguments = ["load-test", "--rounds", "1", "--json", "--method", "/a.B/C", "--target", &target];
    let watched = ["--pid", &me, "--service-pid", &me];
    let result = json(&ringway(&[&arguments[..], &watched].concat()));
    sides_are_known(&result["steps"][0]);
    let arguments =
        ["compare", "20", "2", "--rounds", "1", "--json", "--method", "/a.B/C", "--target", &target];
    let result = json(&ringway(&[&arguments[..], &watched].concat()));
    sides_are_known(&result["ways"][0]);
}

/// All eight, as a person runs them. Those that a busy machine can spoil may fail here, and then the exit code says so.
#[test]
fn verify_makes_the_eight_checks() {
    let _alone = crate::alone();
    let began = std::time::Instant::now();
    let output = ringway(&["verify", "--json"]);
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    let result = json(&output);
    let checks = result["checks"].as_array().expect("an array of checks");
    assert_eq!(checks.len(), 8, "{result:#}");
    let all = checks.iter().all(|check| check["passed"] == true);
    assert_eq!((result["passed"] == all, output.status.code()), (true, Some(i32::from(!all))), "{result:#}");
    for check in checks {
        println!("{} {} {}", check["check"], check["passed"], check["measured"]);
        let of_time = ["client retrieval latency", "concurrent throughput", "timeout accuracy"];
        let name = check["check"].as_str().expect("a name");
        assert!(check["passed"] == true || of_time.contains(&name), "{check:#}");
    }
}

/// Method: the service takes a tenth of a second, so fifty callers get no thousand answers in a second.
#[test]
fn verify_that_fails_is_an_exit_code() {
    let _alone = crate::alone();
    let output = ringway(&["verify", "--only", "concurrent throughput", "--hold", "0.1", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let result = json(&output);
    let checks = result["checks"].as_array().expect("an array of checks");
    assert!(result["passed"] == false && checks.len() == 1 && checks[0]["passed"] == false, "{result:#}");
    assert_eq!(ringway(&["verify", "--only", "no such check"]).status.code(), Some(1));
}

#[test]
fn a_failing_target_is_an_exit_code() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    service.set_failing(true);
    let target = service.address().to_string();
    let output =
        ringway(&["load-test", "--rounds", "1", "--json", "--target", &target, "--method", "/a.B/C"]);
    assert_eq!(output.status.code(), Some(1));
    let result = json(&output);
    assert_eq!(result["steps"][0]["endings"]["UNAVAILABLE"], 100);
    assert_eq!(result["steps"][0]["invalid"], "100.0 % of the calls failed (1 of 1 rounds)");
    assert_eq!(result["steps"][0]["calls_per_second"]["median"], 0.0, "{result:#}");
    assert!(result["conclusions"].to_string().contains("medium against light: no verdict"), "{result:#}");
    let output = ringway(&["load-test", "--target", &target]);
    assert_eq!(output.status.code(), Some(1), "neither --method nor --http");
    drop(service);
    let output = ringway(&["load-test", "--target", &target, "--method", "/a.B/C"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("cannot connect to {target}: ")), "{told}");
}

#[test]
fn a_comparison_has_four_ways() {
    let _alone = crate::alone();
    let result = json(&ringway(&["compare", "60", "6", "--rounds", "1", "--json"]));
    let ways = result["ways"].as_array().expect("an array of ways");
    assert_eq!(ways.len(), 4);
    for way in ways {
        let measured = way["calls"] == 60 && way["error_rate"] == 0.0;
        let absent = way["absent"].as_str().is_some_and(|reason| reason.starts_with("not offered"));
        assert!(measured || absent, "{way:#}");
    }
    assert!(ways[0]["calls"] == 60 && ways[1]["calls"] == 60, "gRPC is always offered");
    sides_are_known(&ways[0]);
    let conclusions = result["conclusions"].to_string();
    assert!(conclusions.contains("too few rounds for a verdict"), "{conclusions}");
}

#[test]
fn advice_is_given_on_a_saved_page() {
    let _alone = crate::alone();
    let path = scratch("metrics.txt");
    let page = "ringway_upstream_calls_total{cluster=\"c\"} 1\n\
                ringway_calls_total{route=\"r\",cluster=\"c\",grpc_status=\"OK\"} 100000\n\
                ringway_call_duration_seconds_bucket{route=\"r\",cluster=\"c\",le=\"0.131072\"} 100000\n\
                ringway_call_duration_seconds_bucket{route=\"r\",cluster=\"c\",le=\"+Inf\"} 100000\n";
    std::fs::write(&path, page).expect("the folder is there");
    let output = ringway(&["advise", "--from", path.to_str().expect("a path in UTF-8")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("timeout = \"500ms\""), "{text}");
    assert_eq!(ringway(&["advise", "--from", "no such file"]).status.code(), Some(1));
}

/// Method: a gateway with a named method, a few calls, and then advice from its own page.
#[test]
fn advice_is_given_on_a_running_gateway() {
    let _alone = crate::alone();
    use ringway::tools::load::{Load, Pace, run_alone};
    use ringway::tools::service::METHOD;
    let service = Service::start().expect("a free port");
    let config = format!(
        "workers = 1\n[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"all\"\n\
         cluster = \"c\"\n[[clusters]]\nname = \"c\"\nendpoints = [\"{}\"]\n[[clusters.methods]]\npath = \"{METHOD}\"\n",
        service.address()
    );
    let config =
        ringway::config::parse(&config, std::path::Path::new("test.toml")).expect("a good configuration");
    let gateway = ringway::supervisor::Gateway::start(config).expect("a gateway");
    let admin = gateway.admin().to_string();
    let advice = |arguments: &[&str]| {
        ringway(&[&["advise", "--admin", &admin, "--duration", "0.6"], arguments].concat())
    };
    let text = String::from_utf8_lossy(&advice(&[]).stdout).into_owned();
    assert!(text.contains("too few calls to know how many fail"), "thin data is said to be: {text}");
    let target = Service::target(gateway.listeners()[0], 10);
    let enough = Load::new(target.clone(), Pace::Calls { calls: 1_200, at_once: 20 });
    assert_eq!(run_alone(&enough).expect("a good target").tally.errors(), 0);
    let result = std::thread::scope(|scope| {
        let pace = Pace::Span { span: std::time::Duration::from_secs(8), at_once: 10 };
        let load = scope.spawn(move || run_alone(&Load::new(target, pace)).expect("a good target"));
        let before = service.calls();
        while service.calls() < before + 20 && !load.is_finished() {
            std::thread::yield_now();
        }
        let result = json(&advice(&["--json"]));
        load.join().expect("no panic");
        result
    });
    let said = |table: &str, key: &str| {
        let all = result.as_array().expect("an array");
        all.iter().find(|one| one["table"] == table && one["key"] == key).cloned().unwrap_or_default()
    };
    assert_eq!(said("clusters.retry", "max_attempts")["value"], "2", "{result:#}");
    assert_eq!(said("clusters.breaker", "failure_ratio")["value"], "0.5", "{result:#}");
    // In flight and calls a second are known, for it was called while it was looked at.
    assert!(said("clusters.pool", "max_connections_per_endpoint")["value"].is_string(), "{result:#}");
    assert!(said("clusters.breaker", "max_requests")["value"].is_string(), "{result:#}");
    let of_method =
        result.as_array().expect("an array").iter().any(|one| one["name"] == METHOD && one["cluster"] == "c");
    assert!(of_method, "{result:#}");
}

#[test]
fn a_report_says_what_was_not_measured() {
    let _alone = crate::alone();
    let (verify, out) = (scratch("verify.json"), scratch("report.md"));
    let checks = r#"{"checks":[{"check":"c","required":"< 1","measured":"2","passed":false}]}"#;
    std::fs::write(&verify, checks).expect("the folder is there");
    let path = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let output = ringway(&["report", "--commit", "abc", "--verify", &path(&verify), "--out", &path(&out)]);
    assert!(output.status.success());
    let report = std::fs::read_to_string(out).expect("it was written");
    assert!(report.contains("| commit | abc |") && report.contains("| c | < 1 | 2 | FAIL |"), "{report}");
    assert_eq!(report.matches("Not measured").count(), 4, "{report}");
}
