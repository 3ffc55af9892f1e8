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
        let (connections, why) = value(&advice, "pool size", "max_connections");
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
        (&[("OK", 8_500), ("INTERNAL", 1500)], None, "failure_ratio", Some("0.8")),
        (&[("OK", 5_000), ("UNKNOWN", 5000)], None, "failure_ratio", None),
        (&[("OK", 10_000)], slow, "interval", Some("\"50s\"")),
        (&[("OK", 10_000)], slow, "max_requests", Some("5")),
    ];
    for (codes, before, key, wanted) in table {
        let (found, _) = value(&advise(&page(codes, &[], ""), before), "breaker", key);
        assert_eq!(found.as_deref(), wanted, "{codes:?} {key}");
    }
    // NOT_FOUND is an answer of a service that is well.
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

/// Every line is a comment, a table's head or a key that the configuration knows.
#[test]
fn the_text_can_be_pasted() {
    let seconds = "ringway_call_duration_seconds_sum{route=\"r\",cluster=\"c\"} 5000\n";
    let before = page(&[("OK", 0)], &[], "");
    let busy = page(&[("OK", 100_000)], &[("0.002048", 100_000), ("+Inf", 0)], seconds);
    let text = text(&advise(&busy, Some((&before, Duration::from_secs(10)))));
    let mut table = String::new();
    let mut keys = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(place) = line.strip_prefix("# ---- [[") {
            table = place.split(']').next().unwrap().to_owned();
        } else if let Some(head) = line.strip_prefix('[') {
            table = head.trim_end_matches(']').to_owned();
        } else if !line.starts_with('#') {
            let (key, _) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
            let known = crate::config::knobs::KNOBS.iter().any(|knob| knob.key.starts_with(&table));
            assert!(known, "{table}.{key}: {line}");
            keys += 1;
        }
    }
    assert_eq!(keys, 7, "{text}");
    assert!(advise(&Page::default(), None).is_empty());
}
