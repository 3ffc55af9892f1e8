//! Refused configurations. The table of errors is `refused.txt`; the tests here are those that it cannot express.

use super::super::spelling;
use super::{CLUSTER, LISTENER, ROUTE, cluster, errors, listener, route, top};

#[test]
fn each_error_has_its_place_and_its_words() {
    let mut lines =
        include_str!("refused.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut cases, mut wrong) = (0, Vec::new());
    while let Some(case) = lines.next() {
        let (place, text) = case.split_once(": ").unwrap_or((case.trim_end_matches(':'), ""));
        let text = text.replace(" ⏎ ", "\n");
        let whole = match place {
            "top" => top(&text),
            "listener" => listener(&text),
            "route" => route(&text),
            "cluster" => cluster(&text),
            other => panic!("refused.txt: no such place as {other}"),
        };
        let wanted = lines.next().and_then(|line| line.strip_prefix("    ")).expect("a case has an error");
        let got = errors(&whole);
        if got != [wanted] {
            wrong.push(format!("{case}\n    {}", got.join("\n    ")));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "these differ:\n{}", wrong.join("\n"));
    assert!(cases > 100, "only {cases} cases were read");
}

#[test]
fn an_error_is_one_line_whatever_the_key_is() {
    let error = errors(&top("\"a\\nb\" = \"\"\"\nc\"\"\"")).remove(0);
    assert!(error.starts_with("1:1: a b = \"\"\" c\"\"\": unknown key (known here: "), "{error}");
}

#[test]
fn all_errors_are_found_in_one_pass_and_sorted() {
    let text = format!(
        "max_conns = 1\ndrain_timeout = 3\n{CLUSTER}max_requests = 0\ntls = 1\n{LISTENER}backlog = 0\n{ROUTE}timeout = 1\n"
    );
    let places: Vec<String> =
        errors(&text).iter().map(|error| error.split_once(": ").unwrap().0.to_owned()).collect();
    assert_eq!(places, ["1:1", "2:17", "6:16", "7:7", "10:11", "13:11"]);
}

#[test]
fn a_file_needs_a_listener_a_route_and_a_cluster() {
    let needed = |name: &str| format!("1:1: {name}: at least one is needed (begin with [[{name}]])");
    assert_eq!(errors(""), ["listeners", "clusters", "routes"].map(needed));
    assert_eq!(errors(&format!("{ROUTE}{CLUSTER}")), [needed("listeners")]);
    assert_eq!(errors(&format!("{LISTENER}{CLUSTER}")), [needed("routes")]);
    let empty = format!("listeners = []\n{ROUTE}{CLUSTER}");
    assert_eq!(errors(&empty), ["1:13: listeners = []: at least one is needed"]);
    let single = LISTENER.replace("[[", "[").replace("]]", "]");
    assert_eq!(
        errors(&format!("{single}{ROUTE}{CLUSTER}")),
        [
            "1:1: listeners: must be 1 to 64 tables, [[listeners]] (with two brackets: [[listeners]], once for each)"
        ]
    );
    let too_many: String =
        (1..=65).map(|n| format!("[[listeners]]\naddress = \"127.0.0.{n}:80\"\n")).collect();
    assert_eq!(
        errors(&format!("{too_many}{ROUTE}{CLUSTER}")),
        ["1:1: listeners: must be 1 to 64 tables, [[listeners]]"]
    );
}

#[test]
fn listeners_on_a_port_to_be_chosen_do_not_collide() {
    let two = "[[listeners]]\naddress = \"127.0.0.1:0\"\n".repeat(2);
    assert_eq!(errors(&format!("{two}{ROUTE}{CLUSTER}")), [""; 0]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(errors(&listener("\"ü\" = 1"))[0].split_once(' ').unwrap().0, "3:1:");
    let text = route("match = { host = \"ü\", path = 1 }\ncluster = \"echo\"");
    assert!(
        errors(&text).iter().any(|error| error.starts_with("2:30: routes.match.path")),
        "{:?}",
        errors(&text)
    );
}

#[test]
fn the_nearest_word_is_found_or_none() {
    let words = ["timeout", "max_connections", "max_requests", "io"];
    let cases: &[(&str, Option<&str>)] = &[
        ("timout", Some("timeout")),
        ("tiemout", Some("timeout")),
        ("TIMEOUT", Some("timeout")),
        ("max_request", Some("max_requests")),
        ("oi", Some("io")),
        ("tls", None),
        ("", None),
    ];
    for (text, wanted) in cases {
        assert_eq!(spelling::nearest(text, words.into_iter()), *wanted, "{text}");
    }
    assert_eq!(spelling::nearest(&"x".repeat(1_000_000), words.into_iter()), None);
}
