//! Values from outside of the file: variables of the environment, and settings of the command line.

use std::path::Path;
use std::time::Duration;

use super::super::{Config, Errors, Workers, load, template};
use super::{CLUSTER, LISTENER, ROUTE, top};

/// Reads a text with some variables and settings.
fn read(text: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Config, Errors> {
    let lookup =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let set: Vec<String> = set.iter().map(|setting| (*setting).to_owned()).collect();
    load::read(text, Path::new("r.toml"), &set, &lookup)
}

fn good(text: &str, variables: &[(&str, &str)], set: &[&str]) -> Config {
    read(text, variables, set).unwrap_or_else(|errors| panic!("{errors}"))
}

fn error(text: &str, variables: &[(&str, &str)], set: &[&str]) -> String {
    read(text, variables, set).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn strings_may_name_variables_of_the_environment() {
    let text = format!(
        "workers = \"${{WORKERS}}\"\ndrain_timeout = \"${{DRAIN:-7}}s\"\n\
         [[listeners]]\naddress = \"${{HOST}}:${{PORT:-8080}}\"\nbalance_connections = \"${{BALANCE}}\"\n\
         {ROUTE}name = \"costs $5 or $${{x}}\"\n\
         [[clusters]]\nname = \"echo\"\nendpoints = \"${{BACKENDS}}\"\n"
    );
    let variables = [
        ("WORKERS", "3"),
        ("HOST", "127.0.0.1"),
        ("DRAIN", ""),
        ("BALANCE", "false"),
        ("BACKENDS", "10.0.0.1:1, 10.0.0.2:2"),
    ];
    let config = good(&text, &variables, &[]);
    assert_eq!(config.workers, Workers::Count(3));
    assert_eq!(config.drain_timeout, Duration::from_secs(7), "an empty variable is as one that is not set");
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert!(!config.listeners[0].balance_connections);
    assert_eq!(config.routes[0].name, "costs $5 or ${x}");
    let hosts: Vec<&str> = config.clusters[0].endpoints.iter().filter_map(|at| at.host()).collect();
    assert_eq!(hosts, ["10.0.0.1", "10.0.0.2"]);
    assert!(config.effective.toml().contains("workers = 3"), "{}", config.effective.toml());
}

#[test]
fn a_variable_that_is_not_set_has_its_place() {
    let wrong = |text: &str| error(&top(text), &[("A", "x")], &[]);
    assert_eq!(
        wrong("drain_timeout = \"${DRAIN}\""),
        "r.toml:1:17: drain_timeout = \"${DRAIN}\": the environment variable DRAIN is not set (set it, or write ${DRAIN:-default})"
    );
    assert_eq!(
        wrong("drain_timeout = \"${DRAIN\""),
        "r.toml:1:17: drain_timeout = \"${DRAIN\": a variable that does not end (write ${NAME} or ${NAME:-default}; $${ stands for ${ itself)"
    );
    assert!(wrong("drain_timeout = \"${1}\"").contains("\"1\" is not the name of a variable"));
    // The value of a variable is checked as any other, and its place is that of the reference.
    assert_eq!(wrong("\ndrain_timeout = \"${A}\"").split(" = ").next(), Some("r.toml:2:17: drain_timeout"));
}

#[test]
fn settings_go_before_the_file() {
    let text = top("workers = 1\ndrain_timeout = \"1s\"");
    let set = [
        "workers=2",
        "admin.address=127.0.0.1:9000",
        "io.backend = epoll",
        "clusters.echo.timeout = \"2s\"",
        "clusters.0.retry.max_attempts=1",
        "clusters.echo.retry.retryable_status_codes=UNAVAILABLE,ABORTED",
        "clusters.echo.endpoints=10.0.0.8:1,10.0.0.9:2",
        "listeners.0.address='127.0.0.1:80'",
        "listeners.1.address=127.0.0.1:81",
        "listeners.0.http2.max_concurrent_streams=7",
        "routes.0.match.headers.\"x-a.b\"=1",
        "dns.servers=[\"10.0.0.2:53\"]",
    ];
    let config = good(&text, &[], &set);
    assert_eq!((config.workers, config.drain_timeout), (Workers::Count(2), Duration::from_secs(1)));
    assert_eq!(config.admin.address.port(), 9000);
    let cluster = &config.clusters[0];
    assert_eq!((cluster.timeout, cluster.retry.max_attempts), (Some(Duration::from_secs(2)), 1));
    assert_eq!(cluster.endpoints.len(), 2);
    let ports: Vec<u16> = config.listeners.iter().map(|listener| listener.address.port()).collect();
    assert_eq!((ports, config.listeners[0].http2.max_concurrent_streams), (vec![80, 81], 7));
    assert_eq!(config.routes[0].matching.headers, [("x-a.b".to_owned(), "1".to_owned())]);
    assert_eq!(config.dns.servers.len(), 1);
}

#[test]
fn a_setting_that_is_wrong_is_named() {
    let text = top("");
    for (setting, wanted) in [
        ("workers", "must be KEY=VALUE, such as drain_timeout=10s"),
        ("workers=0", "workers: must be \"auto\", or between 1 and 1024"),
        (
            "drain_timeout=5",
            "drain_timeout: must be between 0s and 1h (a duration has a unit: \"5s\" for seconds)",
        ),
        ("drain_timout=5s", "drain_timout: unknown key (did you mean `drain_timeout`?)"),
        ("clusters.ecco.timeout=5s", "clusters.ecco: no such one (there are: 0 or echo)"),
        ("clusters.\"echo.timeout=5s", "a quote that does not end"),
        ("workers.x=1", "workers: must be \"auto\", or between 1 and 1024 (write a whole number)"),
    ] {
        assert_eq!(error(&text, &[], &[setting]), format!("--set {setting}: {wanted}"));
    }
    let several = error("", &[], &["clusters.echo.name=x"]);
    assert!(
        several.starts_with("--set clusters.echo.name=x: clusters.echo: no such one (there are none yet"),
        "{several}"
    );
}

#[test]
fn another_format_is_one_error() {
    for (text, format) in [
        ("{\n  \"listeners\": [\n    { \"address\": \"127.0.0.1:8080\" }\n  ]\n}\n", "JSON"),
        ("listeners:\n  - address: 127.0.0.1:8080\nroutes:\n  - cluster: echo\n", "YAML"),
    ] {
        let wanted = format!(
            "r.toml:1:1: this looks like {format}: a configuration is TOML (`ringway init` writes one to begin with)"
        );
        assert_eq!(error(text, &[], &[]), wanted);
    }
}

#[test]
fn the_template_is_good_and_shows_the_defaults() {
    let text = template("10.0.0.7:50051");
    let wanted = good(&format!("{LISTENER}{ROUTE}{CLUSTER}").replace("echo", "service"), &[], &[]);
    assert_eq!(good(&text, &[], &[]), wanted);
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= 120 || line.starts_with('#') && !line.starts_with("# "))
    );
    // Each default may be taken out of its comment.
    for line in
        text.lines().filter(|line| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = "))
    {
        let one = text.replacen(line, &line[1..], 1);
        // Its table is a comment, too: there it would stand in another one.
        if text[..text.find(line).unwrap()]
            .lines()
            .rfind(|line| line.trim_start_matches('#').starts_with('['))
            .is_none_or(|table| !table.starts_with('#'))
        {
            assert!(read(&one, &[], &[]).is_ok(), "{line}: {}", error(&one, &[], &[]));
        }
    }
}
