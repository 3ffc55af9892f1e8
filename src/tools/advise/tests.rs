use super::*;

type Counts = &'static [(&'static str, u64)];

/// A page of one route and one cluster: calls by code, and calls by bucket (the bound in seconds, not cumulative).
fn page(codes: &[(&str, u64)], buckets: &[(&str, u64)], more: &str) -> Page {
    let mut text = "ringway_workers 2\nringway_upstream_calls_total{cluster=\"c\"} 1\n".to_owned();
    for (code, count) in codes {
        text += &format!("ringway_calls_total{{route=\"r\",cluster=\"c\",grpc_status=\"{code}\"}} {count}\n");
    }
    let mut sum = 0;
    for (bound, count) in buckets {
        sum += count;
        let family = "ringway_call_duration_seconds_bucket";
        text += &format!("{family}{{route=\"r\",cluster=\"c\",le=\"{bound}\"}} {sum}\n");
    }
    Page::parse(&(text + more)).unwrap()
}

/// The value of a key, and the rule that led to it.
fn value(advice: &[Advice], about: &str, key: &str) -> (Option<String>, String) {
    let mine = |advice: &&Advice| {
        advice.about == about && advice.setting.as_ref().is_none_or(|(known, _)| *known == key)
    };
    let found = advice.iter().find(mine).unwrap_or_else(|| panic!("no advice on {about}: {advice:?}"));
    (found.setting.as_ref().map(|(_, value)| value.clone()), found.rule.clone())
}

#[test]
fn timeouts_follow_the_slowest_thousandth() {
    let table: [(Counts, Counts, Option<&str>, &str); 5] = [
        (&[("OK", 9_999)], &[("0.002048", 9_999), ("+Inf", 0)], None, "too few calls"),
        (&[("OK", 20_000)], &[("0.002048", 20_000), ("+Inf", 0)], Some("\"50ms\""), "three times"),
        (
            &[("OK", 20_000)],
            &[("0.002048", 19_900), ("0.262144", 100), ("+Inf", 0)],
            Some("\"1s\""),
            "three times",
        ),
        (
            &[("OK", 19_000), ("DEADLINE_EXCEEDED", 1000)],
            &[("0.002048", 19_000), ("0.524288", 1000), ("+Inf", 0)],
            Some("\"2s\""),
            "5.00 % ran out of time",
        ),
        (&[("OK", 20_000)], &[("0.002048", 19_000), ("+Inf", 1000)], None, "longer than the last bucket"),
    ];
    for (codes, buckets, wanted, rule) in table {
        let advice = advise(&page(codes, buckets, ""), None);
        let (timeout, why) = value(&advice, "timeout", "timeout");
        assert_eq!(timeout.as_deref(), wanted, "{codes:?}");
        assert!(why.contains(rule), "{why}");
    }
}

#[test]
fn retries_follow_how_many_fail() {
    let table: [(Counts, Option<&str>, &str); 5] = [
        (&[("OK", 999)], None, "too few calls"),
        (&[("OK", 10_000)], Some("2"), "0 % of the calls"),
        (&[("OK", 9_900), ("UNAVAILABLE", 100)], Some("3"), "in a row"),
        (&[("OK", 9_000), ("UNAVAILABLE", 1000)], Some("5"), "in a row"),
        (&[("OK", 5_000), ("UNAVAILABLE", 5000)], Some("2"), "an outage"),
    ];
    for (codes, wanted, rule) in table {
        let (attempts, why) = value(&advise(&page(codes, &[], ""), None), "retries", "max_attempts");
        assert_eq!(attempts.as_deref(), wanted, "{codes:?}");
        assert!(why.contains(rule), "{why}");
    }
}

#[test]
fn pools_follow_what_is_in_flight() {
    let seconds =
        |sum: f64| format!("ringway_call_duration_seconds_sum{{route=\"r\",cluster=\"c\"}} {sum}\n");
    let before = page(&[("OK", 0)], &[], &seconds(0.0));
    let ten_seconds = Some((&before, Duration::from_secs(10)));
    let opened = |count: u32| format!("ringway_upstream_connections_opened_total{{cluster=\"c\"}} {count}\n");
    let busy = seconds(10_000.0) + &opened(4);
    let overflow = "ringway_upstream_pending_overflow_total{cluster=\"c\"} 5\n\
                    ringway_upstream_connections_active{cluster=\"c\"} 6\n";
    let table = [
        (100, busy.clone(), ten_seconds, None, "too few calls"),
        (10_000, opened(4), None, None, "--admin"),
        // 1,000 in flight, 2,000 of each worker at the worst: 20 connections, and one.
        (10_000, busy.clone(), ten_seconds, Some("21"), "four times"),
        (10_000, busy + overflow, ten_seconds, Some("6"), "twice what each worker has open"),
        (10_000, opened(500), ten_seconds, None, "look why they end"),
    ];
    for (calls, more, before, wanted, rule) in table {
        let advice = advise(&page(&[("OK", calls)], &[], &more), before);
        let (connections, why) = value(&advice, "pool size", "max_connections_per_endpoint");
        assert_eq!(connections.as_deref(), wanted, "{more}");
        assert!(why.contains(rule), "{why}");
    }
}

#[test]
fn breakers_follow_what_is_ordinary() {
    let none = page(&[("OK", 0)], &[], "");
    let slow = Some((&none, Duration::from_secs(5000)));
    type Row<'a> = (Counts, Option<(&'a Page, Duration)>, &'a str, Option<&'a str>);
    let table: [Row<'_>; 6] = [
        (&[("OK", 999)], None, "failure_ratio", None),
        (&[("OK", 10_000)], None, "failure_ratio", Some("0.5")),
        (&[("OK", 8_500), ("UNAVAILABLE", 1500)], None, "failure_ratio", Some("0.8")),
        (&[("OK", 5_000), ("DEADLINE_EXCEEDED", 5000)], None, "failure_ratio", None),
        (&[("OK", 10_000)], slow, "interval", Some("\"50s\"")),
        (&[("OK", 10_000)], slow, "max_requests", Some("3")),
    ];
    for (codes, before, key, wanted) in table {
        let (found, _) = value(&advise(&page(codes, &[], ""), before), "breaker", key);
        assert_eq!(found.as_deref(), wanted, "{codes:?} {key}");
    }
    // NOT_FOUND is a response of a service that is well.
    let (ratio, _) = value(
        &advise(&page(&[("OK", 5_000), ("NOT_FOUND", 5000)], &[], ""), None),
        "breaker",
        "failure_ratio",
    );
    assert_eq!(ratio.as_deref(), Some("0.5"));
}

#[test]
fn limits_leave_room_above_the_average() {
    let seconds = "ringway_call_duration_seconds_sum{route=\"r\",cluster=\"c\"} 5000\n";
    let before = page(&[("OK", 0)], &[], "");
    let advice = advise(&page(&[("OK", 10_000)], &[], seconds), Some((&before, Duration::from_secs(10))));
    assert_eq!(value(&advice, "limit", "max_requests").0.as_deref(), Some("5000"));
    let advice = advise(&page(&[("OK", 10_000)], &[], seconds), None);
    assert_eq!(value(&advice, "limit", "max_requests").0, None);
}

#[test]
fn durations_are_rounded_up_to_those_that_people_write() {
    for (millis, wanted) in
        [(0, 1), (1, 1), (4, 5), (6, 10), (50, 50), (51, 100), (786, 1000), (1049, 2000), (4_000, 5_000)]
    {
        assert_eq!(rules::round_up(Duration::from_millis(millis)), Duration::from_millis(wanted));
    }
}

/// Advice on a method, from a page on which it has series of its own.
#[test]
fn methods_have_advice_of_their_own() {
    let series = |method: &str, code: &str, calls: u64, slow: u64| {
        let labels = format!("route=\"r\",cluster=\"c\"{method}");
        let bucket = |le: &str, count: u64| {
            format!("ringway_call_duration_seconds_bucket{{{labels},le=\"{le}\"}} {count}\n")
        };
        format!("ringway_calls_total{{{labels},grpc_status=\"{code}\"}} {calls}\n")
            + &bucket("0.002048", calls - slow)
            + &bucket("0.262144", calls)
            + &bucket("+Inf", calls)
    };
    let (well, ill) = (",method=\"/a.B/Well\"", ",method=\"/a.B/Ill\"");
    let page = "ringway_upstream_calls_total{cluster=\"c\"} 1\n".to_owned()
        + &series("", "OK", 100_000, 0)
        + &series(well, "OK", 20_000, 100)
        + &series(ill, "OK", 4_500, 0)
        + &series(ill, "UNAVAILABLE", 500, 0);
    let advice = advise(&Page::parse(&page).unwrap(), None);
    let of = |path: &str, about: &str| {
        let mine = |advice: &&Advice| {
            matches!(&advice.place, Place::Method(_, known, _) if known == path) && advice.about == about
        };
        let found = advice.iter().find(mine).unwrap_or_else(|| panic!("{path} {about}: {advice:?}"));
        (found.setting.as_ref().map(|(_, value)| value.as_str()), found.rule.as_str())
    };
    // Of the route's calls few are slow, of this method's one in two hundred.
    assert_eq!(value(&advice, "timeout", "timeout").0.as_deref(), Some("\"50ms\""));
    assert_eq!(of("/a.B/Well", "timeout").0, Some("\"1s\""));
    assert!(of("/a.B/Ill", "timeout").1.contains("too few calls"));
    assert_eq!(of("/a.B/Ill", "breaker").0, Some("0.5"));
    assert!(of("/a.B/Well", "breaker").1.contains("the cluster's breaker is enough"));
}

/// Method: every block is pasted where the comment above it says, and the whole is read as a configuration.
#[test]
fn the_text_can_be_pasted() {
    let seconds = "ringway_call_duration_seconds_sum{route=\"r\",cluster=\"c\"} 5000\n";
    let method = "ringway_calls_total{route=\"r\",cluster=\"c\",method=\"/a.B/C\",grpc_status=\"INTERNAL\"} 2000\n\
                  ringway_calls_total{route=\"r\",cluster=\"c\",method=\"/a.B/C\",grpc_status=\"OK\"} 18000\n\
                  ringway_call_duration_seconds_bucket{route=\"r\",cluster=\"c\",method=\"/a.B/C\",le=\"0.002048\"} 20000\n\
                  ringway_call_duration_seconds_bucket{route=\"r\",cluster=\"c\",method=\"/a.B/C\",le=\"+Inf\"} 20000\n";
    let before = page(&[("OK", 0)], &[], "");
    let busy =
        page(&[("OK", 100_000)], &[("0.002048", 100_000), ("+Inf", 0)], &(seconds.to_owned() + method));
    let text = text(&advise(&busy, Some((&before, Duration::from_secs(10)))));
    let (mut routes, mut clusters) = (String::new(), String::new());
    for block in text.split("\n# ---- ").skip(1) {
        let (place, lines) = block.split_once('\n').unwrap();
        if place.starts_with("[[routes]] name = \"r\"") { &mut routes } else { &mut clusters }
            .push_str(lines);
    }
    let pasted = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"r\"\ncluster = \"c\"\n{routes}\n\
         [[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:1\"]\n{clusters}\n"
    );
    let config = crate::config::parse(&pasted, std::path::Path::new("pasted.toml"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}\n{pasted}"));
    let (route, cluster) = (&config.routes[0], &config.clusters[0]);
    let [method] = &cluster.methods[..] else { panic!("{pasted}") };
    assert_eq!(route.timeout, Some(Duration::from_millis(50)), "{text}");
    assert_eq!((cluster.max_requests, cluster.retry.max_attempts), (5000, 2), "{text}");
    assert_eq!(cluster.pool.max_connections_per_endpoint, 11, "{text}");
    assert_eq!(cluster.breaker.as_ref().map(|breaker| breaker.max_requests), Some(10), "{text}");
    assert_eq!((method.path.as_str(), method.timeout), ("/a.B/C", Some(Duration::from_millis(50))), "{text}");
    assert!(method.breaker.is_some(), "{text}");
    assert!(advise(&Page::default(), None).is_empty());
}
