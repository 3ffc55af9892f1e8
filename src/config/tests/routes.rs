//! Routes that are accepted, and the values they become.

use std::time::Duration;

use super::super::{
    DirectResponse, LocalResponse, Match, Override, PathMatch, PathRewrite, Regex, Retry, Substitution,
    ValueMatch, ValueMatcher,
};
use super::{cluster, parsed, route};

#[test]
fn conditions_become_values() {
    let text = "cluster = \"echo\"\nmatch = { safe_regex = '/v[0-9]+', runtime_fraction = 2.5, headers = { x-b = \"1\" }, \
                header_matchers = [{ name = \"X-A\", exact = \"2\" }, { name = \"x-c\", range = \"-1..9\", invert = true }], \
                query_parameters = [{ name = \"q\" }] }";
    let matcher = |name: &str, value, invert| ValueMatcher { name: name.to_owned(), value, invert };
    let wanted = Match {
        path: PathMatch::Regex(Regex::new("/v[0-9]+").unwrap()),
        host: None,
        // A whole value is found by the index, wherever it is asked for.
        headers: vec![("x-a".to_owned(), "2".to_owned()), ("x-b".to_owned(), "1".to_owned())],
        header_matchers: vec![matcher("x-c", ValueMatch::Range(-1, 9), true)],
        query_parameters: vec![matcher("q", ValueMatch::Present(true), false)],
        runtime_fraction: Some(25_000),
    };
    let config = parsed(&route(text));
    assert_eq!(config.routes[0].matching, wanted);
    assert_eq!(config.routes[0].name, "safe_regex:/v[0-9]+ x-a:2 x-b:1 !x-c:-1..9 ?q 2.5%");
    let all = parsed(&route("cluster = \"echo\"\nmatch.runtime_fraction = 100.0"));
    assert_eq!(all.routes[0].matching, Match::default());
}

#[test]
fn actions_become_values() {
    let of = |text: &str| parsed(&route(text)).routes[0].actions.clone();
    let rewrite = |matched, by: &str| Some(PathRewrite::Prefix { matched, by: by.to_owned() });
    for (matching, matched) in
        [("prefix = \"/ab\"", 3), ("service = \"a.B\"", 5), ("path = \"/any/path/at/all\"", 16)]
    {
        let text = format!("cluster = \"echo\"\nprefix_rewrite = \"/c\"\nmatch.{matching}");
        assert_eq!(of(&text).rewrite, rewrite(matched, "/c"), "{matching}");
    }
    let regex = of("cluster = \"echo\"\nregex_rewrite = { pattern = \"a\", substitution = '\\0\\0' }");
    assert_eq!(regex.rewrite, Some(PathRewrite::Regex(Substitution::new("a", r"\0\0").unwrap())));
    for (status, code) in [(200, 2), (404, 12), (403, 7), (503, 14), (500, 2)] {
        let direct = DirectResponse { status, code, body: String::new(), content_type: None };
        let answer = of(&format!("direct_response.status = {status}")).response;
        assert_eq!(answer, Some(LocalResponse::Direct(direct)));
    }
    assert!(parsed(&route("direct_response.status = 404")).routes[0].clusters.is_empty());
}

#[test]
fn policies_of_routes_stand_for_those_of_clusters() {
    let config = parsed(&route(
        "name = \"r\"\ncluster = \"echo\"\nretry.max_attempts = 2\nhedging.enabled = false\nbreaker.timeout = \"1s\"",
    ));
    let actions = &config.routes[0].actions;
    assert_eq!(actions.retry, Some(Retry { max_attempts: 2, ..Retry::default() }));
    assert_eq!(actions.hedging, Some(Override::Off));
    let Some(Override::Own(breaker)) = &actions.breaker else { panic!("{actions:?}") };
    assert_eq!(breaker.timeout, Duration::from_secs(1));
    assert_eq!(config.clusters[0].route_breakers, [("r".to_owned(), breaker.clone())]);
    let off = parsed(&route("cluster = \"echo\"\nretry.enabled = false\nbreaker.enabled = false"));
    assert_eq!(off.routes[0].actions.retry.as_ref().map(|retry| retry.max_attempts), Some(1));
    assert_eq!(off.routes[0].actions.breaker, Some(Override::Off));
    assert!(
        off.clusters[0].route_breakers.is_empty()
            && parsed(&cluster("")).clusters[0].route_breakers.is_empty()
    );
}
