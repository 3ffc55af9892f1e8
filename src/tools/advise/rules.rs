//! From what was seen to what to set. Each rule is a function of one route or cluster, and says itself in words.

use std::time::Duration;

use super::advice::{Advice, Place};
use super::observed::{Calls, Cluster, Method, Route};
use crate::tools::show::units;

/// Fewer calls say nothing about the slowest thousandth.
const CALLS_FOR_TAILS: f64 = 10_000.0;
/// Fewer calls say nothing about how many fail.
const CALLS_FOR_SHARES: f64 = 1000.0;
/// The shortest timeout that is advised.
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// If more calls than this ran out of time, what the slow ones would have taken is not known.
const CUT_MAX: f64 = 0.001;
/// Calls that wait for one connection's room cost more than another connection.
const STREAMS: f64 = 100.0;
/// In flight at the worst moment, against the average.
const PEAK: f64 = 4.0;
/// Codes that say that a service is ill.
const ILL: [&str; 2] = ["UNAVAILABLE", "DEADLINE_EXCEEDED"];

/// How long the route's calls may take.
pub(super) fn timeout(route: &Route) -> Advice {
    timeout_of(&route.calls, &Place::Route(route.name.clone(), route.cluster.clone()))
}

/// How long the method's calls may take.
pub(super) fn method_timeout(method: &Method) -> Advice {
    timeout_of(&method.calls, &Place::Method(method.cluster.clone(), method.path.clone(), ""))
}

/// How long calls may take: three times the slowest thousandth.
fn timeout_of(calls: &Calls, place: &Place) -> Advice {
    let advice = |setting: Option<Duration>, rule: &str| Advice {
        place: place.clone(),
        setting: setting.map(|value| ("timeout", quoted(value))),
        about: "timeout",
        seen: latencies(calls),
        rule: rule.to_owned(),
    };
    if calls.count() < CALLS_FOR_TAILS {
        return advice(None, "too few calls for the slowest thousandth: 10,000 are needed");
    }
    let Some(slowest) = calls.quantile(0.999) else {
        return advice(
            None,
            "the slowest thousandth took longer than the last bucket: are these streams? Set idle_timeout instead",
        );
    };
    let cut = calls.share(&["DEADLINE_EXCEEDED"]);
    if cut > CUT_MAX {
        let rule = format!(
            "{} ran out of time, so the slowest are not known: twice the p99.9, rounded up, until they are",
            units::percent(cut)
        );
        return advice(Some(round_up(slowest * 2)), &rule);
    }
    advice(
        Some(round_up((slowest * 3).max(TIMEOUT_MIN))),
        "three times the p99.9, at least 50 ms, rounded up",
    )
}

/// How often a call may be sent: until so many failures in a row are rarer than one in ten thousand.
pub(super) fn retries(cluster: &Cluster) -> Advice {
    let share = cluster.calls.share(&["UNAVAILABLE"]);
    let advice = |setting: Option<u32>, rule: String| Advice {
        place: Place::Cluster(cluster.name.clone(), "retry"),
        setting: setting.map(|value| ("max_attempts", value.to_string())),
        about: "retries",
        seen: format!("{} calls, {} UNAVAILABLE", units::count(cluster.calls.count()), units::percent(share)),
        rule,
    };
    if cluster.calls.count() < CALLS_FOR_SHARES {
        return advice(None, "too few calls to know how many fail: 1,000 are needed".to_owned());
    }
    if share > 0.2 {
        let rule =
            "more than a fifth fails, which is an outage: one retry, and let the breaker open".to_owned();
        return advice(Some(2), rule);
    }
    let attempts = (2..=5).find(|attempts| share.powi(*attempts) < 1e-4).unwrap_or(5).max(if share > 0.0 {
        3
    } else {
        2
    });
    let left = share.powi(attempts);
    let rule = format!(
        "so many failures in a row leave {} of the calls, if failures are independent; the budget bounds the load",
        units::percent(left)
    );
    advice(u32::try_from(attempts).ok(), rule)
}

/// How many connections a worker may have to an endpoint: room for the worst moment.
pub(super) fn pool(cluster: &Cluster) -> Advice {
    let calls = cluster.calls.count();
    let place = Place::Cluster(cluster.name.clone(), "pool");
    let churn = cluster.connections_opened / calls.max(1.0);
    let mut seen = format!(
        "{} connections are open on {} workers, {} were opened for {} calls, {} calls were refused for want of room",
        cluster.connections,
        cluster.workers,
        units::count(cluster.connections_opened),
        units::count(calls),
        units::count(cluster.pending_overflow)
    );
    if let Some(in_flight) = cluster.in_flight {
        seen += &format!(", {} in flight on average", units::digits(in_flight));
    }
    let advice = |setting: Option<u32>, rule: &str| Advice {
        place: place.clone(),
        setting: setting.map(|value| ("max_connections_per_endpoint", value.to_string())),
        about: "pool size",
        seen: seen.clone(),
        rule: rule.to_owned(),
    };
    if calls < CALLS_FOR_SHARES {
        return advice(None, "too few calls to size a pool: 1,000 are needed");
    }
    if cluster.pending_overflow > 0.0 {
        let each = (cluster.connections / cluster.workers).ceil().max(1.0);
        return advice(
            count(2.0 * each),
            "calls were refused for want of room: twice what each worker has open",
        );
    }
    if churn > 0.01 {
        return advice(
            None,
            "more than one connection for 100 calls: look why they end, at the service's max age or at a proxy between; a larger pool does not help",
        );
    }
    match cluster.in_flight {
        None => advice(
            None,
            "nobody had to wait; how many calls are in flight is known only of a gateway that is called while it is looked at (--admin)",
        ),
        Some(in_flight) => {
            let each = (PEAK * in_flight / cluster.workers / STREAMS).ceil() + 1.0;
            advice(
                count(each),
                "room for four times the average in flight of each worker, at 100 calls a connection, and one more",
            )
        }
    }
}

/// How many calls may be in flight over all workers.
pub(super) fn limit(cluster: &Cluster) -> Advice {
    let place = Place::Cluster(cluster.name.clone(), "");
    let mut seen = format!("{} calls were refused at the limit", units::count(cluster.limit_refused));
    let mut setting = None;
    let rule = match cluster.in_flight {
        _ if cluster.calls.count() < CALLS_FOR_SHARES => "too few calls to know an average: 1,000 are needed",
        None => {
            "how many calls are in flight is known only of a gateway that is called while it is looked at (--admin)"
        }
        Some(in_flight) => {
            seen += &format!(", {} are in flight on average", units::digits(in_flight));
            // At any average, a limit below a thousand protects nobody that a smaller pool would not.
            setting = count((10.0 * in_flight).max(1024.0)).map(|value| ("max_requests", value.to_string()));
            "ten times the average, at least 1024: it is there for the day on which the service hangs"
        }
    };
    Advice { place, setting, about: "limit", seen, rule: rule.to_owned() }
}

/// When the breaker opens, and how it tries again.
pub(super) fn breaker(cluster: &Cluster) -> Vec<Advice> {
    breaker_of(&cluster.calls, cluster.rate, &Place::Cluster(cluster.name.clone(), "breaker"))
}

/// Advice on a breaker of the method's own, where its calls fail otherwise than those of its cluster.
pub(super) fn method_breaker(method: &Method, cluster: Option<&Cluster>) -> Vec<Advice> {
    let place = Place::Method(method.cluster.clone(), method.path.clone(), "breaker");
    let mine = method.calls.share(&ILL);
    let others = cluster.map_or(0.0, |cluster| cluster.calls.share(&ILL));
    if method.calls.count() >= CALLS_FOR_SHARES && mine <= 2.0 * others + 0.01 {
        let rule = "it fails no more than its cluster: the cluster's breaker is enough";
        let seen = format!("{} of its calls fail, {} of all", units::percent(mine), units::percent(others));
        return vec![Advice { place, setting: None, about: "breaker", seen, rule: rule.to_owned() }];
    }
    breaker_of(&method.calls, method.rate, &place)
}

fn breaker_of(calls: &Calls, rate: Option<f64>, place: &Place) -> Vec<Advice> {
    let share = calls.share(&ILL);
    let advice = |key: &'static str, value: Option<String>, rule: &str| Advice {
        place: place.clone(),
        setting: value.map(|value| (key, value)),
        about: "breaker",
        seen: format!(
            "{} calls, {} of which say that the service is ill",
            units::count(calls.count()),
            units::percent(share)
        ),
        rule: rule.to_owned(),
    };
    if calls.count() < CALLS_FOR_SHARES {
        return vec![advice(
            "failure_ratio",
            None,
            "too few calls to know what is ordinary: 1,000 are needed",
        )];
    }
    if share > 0.2 {
        let rule = "more than a fifth fails: no setting is right for that; look at the service first";
        return vec![advice("failure_ratio", None, rule)];
    }
    let ratio = format!("{:.1}", (5.0 * share).clamp(0.5, 0.9));
    let mut all = vec![advice("failure_ratio", Some(ratio), "five times what is ordinary, from 0.5 to 0.9")];
    if let Some(rate) = rate {
        let interval = Duration::from_secs_f64((100.0 / rate).clamp(10.0, 300.0));
        let rule = format!(
            "{} calls/s: a window that holds a hundred calls, from 10 s to 5 min, rounded up",
            units::digits(rate)
        );
        all.push(advice("interval", Some(quoted(round_up(interval))), &rule));
        let probes = (rate / 10.0).clamp(3.0, 10.0).ceil();
        let rule = "a tenth of a second's calls as probes, from 3 to 10: more of them only slow the return";
        all.push(advice("max_requests", count(probes).map(|count| count.to_string()), rule));
    }
    all
}

fn latencies(calls: &Calls) -> String {
    let mut text = format!("{} calls", units::count(calls.count()));
    for (q, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        if let Some(bound) = calls.quantile(q) {
            text += &format!(", {name} at most {}", units::time(bound));
        }
    }
    if calls.count() > 0.0 {
        text += &format!(
            ", mean {}",
            units::time(Duration::from_secs_f64((calls.seconds / calls.count()).max(0.0)))
        );
    }
    text
}

fn count(number: f64) -> Option<u32> {
    (number.is_finite() && (1.0..=1e9).contains(&number)).then(|| number.ceil() as u32)
}

/// The next of 1, 2, 3, 5, 10, 20, ... in milliseconds or seconds.
pub(super) fn round_up(duration: Duration) -> Duration {
    let mut unit = Duration::from_millis(1);
    loop {
        for step in [1, 2, 3, 5] {
            if duration <= unit * step {
                return unit * step;
            }
        }
        unit *= 10;
    }
}

fn quoted(duration: Duration) -> String {
    if duration.as_millis().is_multiple_of(1000) {
        format!("\"{}s\"", duration.as_secs())
    } else {
        format!("\"{}ms\"", duration.as_millis())
    }
}
