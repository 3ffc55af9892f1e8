//! The five monitoring tests of the first performance report, over real sockets: metrics that are exact, timeouts under
//! load, retries under failures, connections that are used again, a breaker that is quick to refuse and to return.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]

use crate::support::gateway::{self, BACKENDS, metric};
use ringway::policy::status::Code;
use ringway::supervisor::Gateway;
use ringway::tools::load::{self, Ending, Load, Pace, Request, Round};
use ringway::tools::scrape::{self, Page};
use ringway::tools::service::Service;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// No guard is on but those of a test.
const ALONE: &str = "[clusters.outlier_detection]\nenabled = false\n";
const NO_RETRIES: &str = "[clusters.retry]\nmax_attempts = 1\n";
const NO_BREAKER: &str = "[clusters.breaker]\nenabled = false\n";

/// A service and a gateway before it, whose cluster has these tables.
fn start(backend: &str, tables: &[&str]) -> (Service, Gateway) {
    let service = Service::start().expect("a free port");
    let (gateway, _) = gateway::before(&[service.address()], backend, &[tables, &[ALONE]].concat().concat());
    (service, gateway)
}

fn closed(gateway: &Gateway, calls: u64, at_once: usize) -> Load {
    let mut load = Load::new(Service::target(gateway.listeners()[0], 100), Pace::Calls { calls, at_once });
    load.warm_up = 0;
    load
}

/// Makes a load. Each of its connections makes a first call that is not in the round.
fn run(load: &Load) -> Round {
    load::run_alone(load).expect("a load with a good target runs")
}

fn ended(round: &Round, code: Code) -> u64 {
    round.tally.endings.get(&Ending::Answered(code)).copied().unwrap_or(0)
}

/// The page once no call is in flight.
fn at_rest(gateway: &Gateway) -> Page {
    let given_up = Instant::now() + Duration::from_secs(5);
    loop {
        let page = scrape::fetch(gateway.admin()).expect("the admin address answers");
        if page.sum("ringway_calls_active") == Some(0.0) {
            return page;
        }
        assert!(Instant::now() < given_up, "calls are left");
        std::thread::yield_now();
    }
}

#[test]
fn performance_metrics_are_exact() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let (service, gateway) = start(backend, &[NO_RETRIES, NO_BREAKER]);
        let loads = [(0, false, 300, 10), (20, false, 100, 20), (0, true, 150, 10)];
        let mut seen = [0.0, 0.0];
        let (mut spent, mut waited) = (Duration::ZERO, Duration::ZERO);
        for (wait, failing, calls, at_once) in loads {
            service.set_wait(wait * MS);
            service.set_failing(failing);
            let load = closed(&gateway, calls, at_once);
            let began = Instant::now();
            let round = run(&load);
            assert_eq!(round.tally.calls(), calls, "{backend}");
            let all = (calls + load.connections as u64) as f64;
            seen[usize::from(failing)] += all;
            spent += began.elapsed() * u32::try_from(at_once).expect("few");
            waited += wait * MS * u32::try_from(calls).expect("few");
        }
        let page = at_rest(&gateway);
        let counted = |status: &str| {
            page.sum_where("ringway_calls_total", |sample| sample.label("grpc_status") == status)
        };
        assert_eq!([counted("OK"), counted("UNAVAILABLE")], seen.map(Some), "{backend}");
        assert_eq!(page.sum("ringway_calls_total"), Some(seen.iter().sum()), "{backend}");
        assert_eq!(page.sum("ringway_call_duration_seconds_count"), Some(seen.iter().sum()), "{backend}");
        assert_eq!(page.sum("ringway_upstream_calls_total"), Some(service.calls() as f64), "{backend}");
        // The sum of all durations lies between the service's waits and the clients' times.
        let took = page.sum("ringway_call_duration_seconds_sum").expect("it is on the page");
        assert!(
            (waited.as_secs_f64()..spent.as_secs_f64()).contains(&took),
            "{backend}: {took} s, {waited:?} to {spent:?}"
        );
    }
}

#[test]
fn timeouts_hold_under_load() {
    let _alone = crate::alone();
    const ALLOWED: Duration = Duration::from_millis(300);
    for backend in BACKENDS {
        let (service, gateway) = start(backend, &[NO_RETRIES, NO_BREAKER]);
        for at_once in [5, 20, 100] {
            let mut load = closed(&gateway, at_once * 2, usize::try_from(at_once).expect("few"));
            if let Request::Grpc { headers, .. } = &mut load.target.request {
                headers.push(("grpc-timeout".to_owned(), "300m".to_owned()));
            }
            service.set_wait(Duration::from_secs(30));
            let round = run(&load);
            service.set_wait(Duration::ZERO);
            let tally = &round.tally;
            assert_eq!(ended(&round, Code::DeadlineExceeded), at_once * 2, "{backend}, {at_once}: {tally:?}");
            let (first, half, last) = (tally.quantile(0.0), tally.quantile(0.5), tally.max());
            println!("{backend}, {at_once} at once: {first:?} to {last:?}, half within {half:?}");
            // By how much they are late at most is held where time is virtual: `src/worker/simulation/timing.rs`.
            assert!(ALLOWED <= first + MS, "{backend}, {at_once}: {first:?}");
        }
        // All of them are given up upstream, too, and the gateway is as well as before.
        assert_eq!(run(&closed(&gateway, 200, 20)).tally.errors(), 0, "{backend}");
        let late = metric(&gateway, "ringway_upstream_calls_total") - service.calls();
        assert_eq!(late, 0, "{backend}: each attempt has reached the service");
    }
}

#[test]
fn retries_under_failures_cost_what_the_budget_allows() {
    let _alone = crate::alone();
    const CALLS: u64 = 600;
    let retry = "[clusters.retry]\ninitial_backoff = \"1ms\"\nmax_backoff = \"2ms\"\n";
    for backend in BACKENDS {
        let (service, gateway) = start(backend, &[retry, NO_BREAKER]);
        // A service that is well: nothing is sent twice.
        let load = closed(&gateway, CALLS, 10);
        let made = CALLS + load.connections as u64;
        assert_eq!(run(&load).tally.errors(), 0, "{backend}");
        assert_eq!(service.calls(), made, "{backend}");
        // For a service that fails always, the bound is a fifth more attempts than calls, and the budget's reserve.
        // Calls that succeeded have paid for some of it.
        service.set_failing(true);
        let before = (service.calls(), metric(&gateway, "ringway_upstream_retries_total"));
        let round = run(&load);
        service.set_failing(false);
        assert_eq!(ended(&round, Code::Unavailable), CALLS, "{backend}");
        let retries = metric(&gateway, "ringway_upstream_retries_total") - before.1;
        assert_eq!(service.calls() - before.0, made + retries, "{backend}");
        let most = 2 * made / 5 + 10;
        assert!((made / 10..=most).contains(&retries), "{backend}: {retries} retries, {most} are allowed");
        assert!(metric(&gateway, "ringway_upstream_retry_budget_exhausted_total") > 0, "{backend}");
        // It is well again, and so are its callers.
        assert_eq!(run(&load).tally.errors(), 0, "{backend}");
    }
}

#[test]
fn connections_are_pooled_and_used_again() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let (service, gateway) = start(backend, &[NO_RETRIES, NO_BREAKER]);
        assert_eq!(run(&closed(&gateway, 500, 50)).tally.errors(), 0, "{backend}");
        let first = service.connections_opened();
        assert!((1..=2 * 8).contains(&first), "{backend}: {first} connections for two workers");
        // Fifty times new clients; the connections to the service stay.
        for _ in 0..50 {
            assert_eq!(run(&closed(&gateway, 40, 8)).tally.errors(), 0, "{backend}");
        }
        let opened = service.connections_opened();
        assert!(opened <= first + 2, "{backend}: {first}, and then {opened}");
        assert_eq!(metric(&gateway, "ringway_upstream_connections_opened_total"), opened, "{backend}");
        let clients = metric(&gateway, "ringway_connections_accepted_total");
        assert_eq!(clients, 16 + 50 * 8, "{backend}");
    }
}

#[test]
fn a_breaker_refuses_at_once_and_lets_calls_return() {
    let _alone = crate::alone();
    let breaker =
        "[clusters.breaker]\nmax_requests = 5\ntimeout = \"500ms\"\nmin_requests = 20\nramp = \"50ms\"\n";
    for backend in BACKENDS {
        let (service, gateway) = start(backend, &[NO_RETRIES, breaker]);
        assert_eq!(run(&closed(&gateway, 100, 10)).tally.errors(), 0, "{backend}");
        // It opens while the service fails, however long that takes to be seen.
        service.set_failing(true);
        let given_up = Instant::now() + Duration::from_secs(10);
        while metric(&gateway, "ringway_breaker_state") != 2 {
            assert!(Instant::now() < given_up, "{backend}: it stays closed");
            run(&closed(&gateway, 40, 10));
        }
        service.set_failing(false);
        let (reached, refused) =
            (service.calls(), metric(&gateway, "ringway_upstream_breaker_refused_total"));
        let mut load = closed(&gateway, 200, 10);
        load.connections = 4;
        let round = run(&load);
        let away = metric(&gateway, "ringway_upstream_breaker_refused_total") - refused;
        let half = round.tally.quantile(0.5);
        println!(
            "{backend}: {away} refused, half of them within {half:?}; {} got through",
            service.calls() - reached
        );
        // Others than these came when the breaker had rested, on a machine that was busy. Those who are refused do not wait:
        // see `src/worker/simulation/outages.rs`.
        assert_eq!(
            service.calls() - reached + away,
            200 + 4,
            "{backend}: a call is refused or reaches the service"
        );
        assert!(away > 0, "{backend}: {away} refused");
        // It closes when calls succeed, and then all pass.
        let given_up = Instant::now() + Duration::from_secs(10);
        while run(&closed(&gateway, 20, 4)).tally.errors() > 0 {
            assert!(Instant::now() < given_up, "{backend}: it never closes");
        }
        let counts =
            ["opens", "closes"].map(|what| metric(&gateway, &format!("ringway_breaker_{what}_total")));
        assert_eq!((counts, metric(&gateway, "ringway_breaker_state")), ([1, 1], 0), "{backend}");
    }
}
