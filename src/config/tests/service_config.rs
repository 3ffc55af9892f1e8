//! gRPC service configs: what is taken, and what is refused.

use std::time::Duration;

use super::super::codes::Codes;
use super::super::resilience::{Hedging, Retry, Throttling};
use super::super::service_config::ServiceConfig;

/// As in the examples of gRFC A6 and of `doc/service_config.md`.
const FILE: &str = r#"{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [
    {
      "name": [{ "service": "a.B", "method": "C" }, { "service": "d.E" }],
      "waitForReady": true,
      "timeout": "1.5s",
      "maxRequestMessageBytes": 4096,
      "retryPolicy": {
        "maxAttempts": 9,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["unavailable", 8]
      }
    },
    {
      "name": [{ "service": "a.B" }],
      "hedgingPolicy": { "maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["UNAVAILABLE"] }
    },
    { "name": [{}], "timeout": "10s" }
  ],
  "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1239 }
}"#;

#[test]
fn a_file_of_a_grpc_client_is_taken_as_it_is() {
    let config = ServiceConfig::parse(FILE).unwrap();
    assert_eq!(config.throttling, Some(Throttling { max_tokens: 10, token_ratio_thousandths: 123 }));
    let method = config.find("/a.B/C").unwrap();
    assert_eq!(method.timeout, Some(Duration::from_millis(1500)));
    let retry = Retry {
        max_attempts: 5,
        initial_backoff: Duration::from_millis(100),
        backoff_multiplier: 2.0,
        max_backoff: Duration::from_secs(1),
        retryable_status_codes: Codes::NONE.with(14).with(8),
    };
    assert_eq!((method.retry.clone(), method.hedging.clone()), (Some(retry), None));
    let hedging = Hedging {
        max_attempts: 3,
        hedging_delay: Duration::from_millis(500),
        non_fatal_status_codes: Codes::NONE.with(14),
    };
    assert_eq!(config.methods[1].hedging, Some(hedging));
    assert_eq!(ServiceConfig::parse("{}").unwrap(), ServiceConfig::default());
}

#[test]
fn the_most_special_name_counts() {
    let config = ServiceConfig::parse(FILE).unwrap();
    let table = [("/a.B/C", 0), ("/a.B/X", 1), ("/d.E/C", 0), ("/x.Y/C", 2), ("/a.BB/C", 2), ("nonsense", 2)];
    for (path, wanted) in table {
        assert_eq!(config.find(path), Some(&config.methods[wanted]), "{path}");
    }
    let one =
        ServiceConfig::parse(r#"{"methodConfig":[{"name":[{"service":"a.B","method":"C"}]}]}"#).unwrap();
    assert_eq!(one.find("/a.B/D"), None);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let retry = |change: &str, to: &str| FILE.replacen(change, to, 1);
    let table = [
        ("[]".to_owned(), "the file must be an object"),
        ("{".to_owned(), "not valid JSON: EOF while parsing an object at line 1 column 1"),
        (
            retry("\"maxAttempts\": 9", "\"maxAttempts\": 1"),
            "methodConfig[0].retryPolicy.maxAttempts must be a whole number above 1",
        ),
        (retry("\"maxAttempts\": 9,", ""), "methodConfig[0].retryPolicy.maxAttempts is missing"),
        (
            retry("\"0.1s\"", "\"100ms\""),
            "methodConfig[0].retryPolicy.initialBackoff must be a duration in seconds, such as \"0.1s\"",
        ),
        (retry("\"0.1s\"", "\"0s\""), "methodConfig[0].retryPolicy.initialBackoff must be above 0"),
        (
            retry("\"backoffMultiplier\": 2", "\"backoffMultiplier\": 0"),
            "methodConfig[0].retryPolicy.backoffMultiplier must be a number above 0",
        ),
        (
            retry("[\"unavailable\", 8]", "[]"),
            "methodConfig[0].retryPolicy.retryableStatusCodes must be a list with at least one code",
        ),
        (
            retry("\"unavailable\"", "\"BUSY\""),
            "methodConfig[0].retryPolicy.retryableStatusCodes must be a list of gRPC codes, such as [\"UNAVAILABLE\"]",
        ),
        (
            retry("8]", "0]"),
            "methodConfig[0].retryPolicy.retryableStatusCodes must be a list of gRPC codes, such as [\"UNAVAILABLE\"]",
        ),
        (
            retry(
                "\"hedgingPolicy\": {",
                "\"retryPolicy\": {\"maxAttempts\": 2, \"initialBackoff\": \"1s\", \"maxBackoff\": \"1s\", \
            \"backoffMultiplier\": 1, \"retryableStatusCodes\": [14]}, \"hedgingPolicy\": {",
            ),
            "methodConfig[1] has both retryPolicy and hedgingPolicy: only one of them can be",
        ),
        (retry("[{}]", "[]"), "methodConfig[2].name is missing: for all methods it is [{}]"),
        (retry("[{}]", "[{\"method\": \"C\"}]"), "methodConfig[2].name[0].service is missing"),
        (retry("[{}]", "[{\"service\": \"a.B\"}]"), "methodConfig names /a.B/ twice"),
        (
            retry("\"maxTokens\": 10", "\"maxTokens\": 1001"),
            "retryThrottling.maxTokens must be a whole number between 1 and 1000",
        ),
        (retry("0.1239", "0.0001"), "retryThrottling.tokenRatio must be at least 0.001"),
    ];
    for (text, wanted) in table {
        assert_eq!(ServiceConfig::parse(&text).unwrap_err(), wanted);
    }
}

#[test]
fn hedging_wants_a_method_that_is_idempotent() {
    let path = std::env::temp_dir().join(format!("ringway-hedging-check-{}.json", std::process::id()));
    std::fs::write(&path, FILE).expect("the directory for scratch files takes one");
    let method = |path: &str, idempotent| {
        format!("[[clusters.methods]]\npath = \"{path}\"\nidempotent = {idempotent}\n")
    };
    for (methods, is_taken) in [
        (method("/a.B/X", true), true),
        (method("/a.B/X", false) + &method("/a.B/Y", true), true),
        (method("/a.B/X", false), false),
        (method("/d.E/X", true), false),
        (String::new(), false),
    ] {
        let errors = super::errors(&super::cluster(&format!("service_config = {path:?}\n{methods}")));
        let wanted = "hedges /a.B/, and only idempotent methods can be";
        let told = errors.iter().any(|error| error.starts_with("4:18: ") && error.contains(wanted));
        assert_eq!((errors.is_empty(), told), (is_taken, !is_taken), "{methods}: {errors:?}");
    }
    std::fs::remove_file(&path).expect("it is still there");
}
