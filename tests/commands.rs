//! The commands that measure, as a person runs them.

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
        assert!(step.pointer("/sides/gateway/cpu_us_per_call/median").and_then(Value::as_f64) > Some(0.0));
        assert_eq!(step["connections"], step["admitted"]);
    }
    let html = std::fs::read_to_string(html).expect("the page was written");
    assert!(html.contains("<svg") && html.contains("stress"));
}

#[test]
fn a_failing_target_is_an_exit_code() {
    let service = Service::start().expect("a free port");
    service.set_failing(true);
    let target = service.address().to_string();
    let output =
        ringway(&["load-test", "--rounds", "1", "--json", "--target", &target, "--method", "/a.B/C"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["steps"][0]["endings"]["UNAVAILABLE"], 100);
    let output = ringway(&["load-test", "--target", &target]);
    assert_eq!(output.status.code(), Some(1), "neither --method nor --http");
}

#[test]
fn a_comparison_has_four_ways() {
    let result = json(&ringway(&["compare", "60", "6", "--rounds", "1", "--json"]));
    let ways = result["ways"].as_array().expect("an array of ways");
    assert_eq!(ways.len(), 4);
    for way in ways {
        let measured = way["calls"] == 60 && way["error_rate"] == 0.0;
        let absent = way["absent"].as_str().is_some_and(|reason| reason.starts_with("not offered"));
        assert!(measured || absent, "{way:#}");
    }
    assert!(ways[0]["calls"] == 60 && ways[1]["calls"] == 60, "gRPC is always offered");
    let conclusions = result["conclusions"].to_string();
    assert!(conclusions.contains("too few rounds for a verdict"), "{conclusions}");
}

#[test]
fn advice_is_given_on_a_saved_page() {
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

#[test]
fn a_report_says_what_was_not_measured() {
    let (verify, out) = (scratch("verify.json"), scratch("report.md"));
    let checks = r#"{"checks":[{"check":"c","required":"< 1","measured":"2","passed":false}]}"#;
    std::fs::write(&verify, checks).expect("the folder is there");
    let path = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let output = ringway(&["report", "--commit", "abc", "--verify", &path(&verify), "--out", &path(&out)]);
    assert!(output.status.success());
    let report = std::fs::read_to_string(out).expect("it was written");
    assert!(report.contains("| commit | abc |") && report.contains("| c | < 1 | 2 | FAIL |"), "{report}");
    assert_eq!(report.matches("Not measured").count(), 3, "{report}");
}
