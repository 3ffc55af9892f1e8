//! An upstream of three is killed, stopped, refuses, says goodbye all the time, or says nothing at all, under a load
//! that does not wait: every call has one outcome, and none is sent twice. How many succeed, and how late they are at most,
//! is held where time is virtual: `src/worker/simulation/outages.rs`.
//!
//! The method is not idempotent and all policies are at their defaults. Each of the five faults lasts for three seconds
//! here; with `RINGWAY_FULL=1 cargo test --test alone chaos` for twelve, a minute in all.

use crate::support::child::{ChildService, HOLD, ID, Mood, serve_if_asked};
use crate::support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use crate::support::open_loop::{OpenLoop, Outcome, latencies, success};
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient, RawReply};
use crate::support::within;
use std::collections::HashMap;
use std::time::Duration;

const CALLS_PER_SECOND: u32 = 1_000;
const DEADLINE: Duration = Duration::from_secs(2);
/// A call that meets a service which stands still for longer takes longer, or ends at its deadline.
const HELD_UP: Duration = Duration::from_secs(1);
/// The test that a child process is told to run.
const SERVICE: &str = "chaos::a_service_of_its_own_keeps_a_ledger";

/// How long each fault lasts.
fn span() -> Duration {
    Duration::from_secs(if std::env::var_os("RINGWAY_FULL").is_some() { 12 } else { 3 })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// kill -9, and another process in its place.
    Killed,
    /// SIGSTOP and SIGCONT.
    Stopped,
    Refuses,
    Goaways,
    Blackhole,
}

impl Fault {
    /// How long it goes on, and how long the service is well then.
    fn rhythm(self) -> [Duration; 2] {
        let [ill, well] = match self {
            Fault::Killed => [300, 700],
            Fault::Stopped | Fault::Blackhole => [1_500, 1_000],
            Fault::Refuses => [700, 800],
            Fault::Goaways => [900, 100],
        };
        [ill, well].map(Duration::from_millis)
    }

    fn begin(self, service: &mut ChildService) {
        match self {
            Fault::Killed => service.kill(),
            Fault::Stopped => service.signal("STOP"),
            Fault::Refuses => service.set(Mood::Refuses),
            Fault::Goaways => service.set(Mood::Goaways),
            Fault::Blackhole => service.set(Mood::Blackhole),
        }
    }

    async fn end(self, service: &mut ChildService) {
        match self {
            Fault::Killed => service.restart().await,
            Fault::Stopped => service.signal("CONT"),
            Fault::Refuses | Fault::Goaways | Fault::Blackhole => service.set(Mood::Well),
        }
    }

    /// The family in which the gateway counts this fault. A service that stands still shows in its calls alone.
    fn shows_in(self) -> Option<&'static str> {
        match self {
            Fault::Killed | Fault::Refuses => Some("ringway_upstream_connect_failures_total"),
            Fault::Goaways => Some("ringway_upstream_goaways_total"),
            Fault::Stopped | Fault::Blackhole => None,
        }
    }
}

/// The ledgers of all services, each call with how often.
fn all_noted(services: &[ChildService]) -> HashMap<String, usize> {
    let mut all: HashMap<String, usize> = HashMap::new();
    for (id, times) in services.iter().flat_map(ChildService::ledger) {
        *all.entry(id).or_default() += times;
    }
    all
}

/// Each call has one outcome, an answer of the gateway; what succeeded was done once, and nothing was done twice.
fn check(what: &str, outcomes: &[Outcome], begun: usize, noted: &HashMap<String, usize>) {
    assert!(outcomes.iter().map(|outcome| outcome.id).eq(0..begun), "{what}: one outcome for each call");
    for outcome in outcomes {
        let times = noted.get(&outcome.id.to_string()).copied().unwrap_or(0);
        assert!(outcome.status.is_ok(), "{what}: an answer, not the end of a connection: {outcome:?}");
        let allowed = if outcome.is_ok() { 1..=1 } else { 0..=1 };
        assert!(allowed.contains(&times), "{what}: sent {times} times: {outcome:?}");
    }
    assert!(
        noted.keys().all(|id| id.parse::<usize>().is_ok_and(|id| id < begun)),
        "{what}: made by no caller"
    );
}

async fn counted(gateway: &Process, fault: Fault) -> u64 {
    match fault.shows_in() {
        Some(metric) => gateway.metric(metric).await,
        None => 0,
    }
}

async fn survives(fault: Fault, backend: &str) {
    let mut services = Vec::new();
    for _ in 0..3 {
        services.push(ChildService::start(SERVICE).await);
    }
    let addresses: Vec<_> = services.iter().map(ChildService::address).collect();
    let gateway = Process::start(&gateway_config(&addresses, backend, "")).await;
    let load = OpenLoop::start(gateway.listener, CALLS_PER_SECOND, DEADLINE).await;
    load.go_on(Duration::from_millis(200)).await;
    let before = counted(&gateway, fault).await;
    let [ill, well] = fault.rhythm();
    let ends = load.elapsed() + span();
    while load.elapsed() < ends {
        fault.begin(&mut services[0]);
        load.go_on(ill).await;
        fault.end(&mut services[0]).await;
        load.go_on(well).await;
    }
    let outcomes = load.stop().await;
    let begun = outcomes.len();

    let what = format!("{fault:?}, {backend}");
    let noted = all_noted(&services);
    let share = success(&outcomes);
    let took = latencies(&outcomes);
    let (median, most, last) = (took[begun / 2], took[begun * 99 / 100], took[begun - 1]);
    println!(
        "{what}: {begun} calls, {:.3} % succeeded; p50 {median:?}, p99 {most:?}, max {last:?}",
        share * 100.0
    );
    let mut failures: HashMap<_, usize> = HashMap::new();
    outcomes.iter().filter(|outcome| !outcome.is_ok()).for_each(|outcome| {
        *failures.entry(outcome.status.clone()).or_default() += 1;
    });
    println!("    failures by status: {failures:?}");
    check(&what, &outcomes, begun, &noted);
    match fault.shows_in() {
        Some(metric) => assert!(counted(&gateway, fault).await > before, "{what}: {metric}"),
        None => assert!(last >= HELD_UP, "{what}: no call has met it: {last:?}"),
    }
    assert_eq!(
        gateway.metric("ringway_calls_total").await,
        begun as u64,
        "{what}: each call is counted once"
    );
    assert_eq!(gateway.metric("ringway_panics_total").await, 0, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ill_upstream_of_three_leaves_each_call_one_outcome() {
    let _alone = crate::alone();
    let faults = [Fault::Killed, Fault::Stopped, Fault::Refuses, Fault::Goaways, Fault::Blackhole];
    for (at, fault) in faults.into_iter().enumerate() {
        survives(fault, BACKENDS[at % 2]).await;
    }
}

/// A call of this id.
async fn called(client: &mut RawClient, id: &str, more: &[(&str, &str)]) -> RawReply {
    let headers = [&[(ID, id)], more].concat();
    client.call(EMPTY_CALL, &headers, b"x").await
}

/// Also what the processes run that the other tests start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_its_own_keeps_a_ledger() {
    let _alone = crate::alone();
    tokio::task::spawn_blocking(serve_if_asked).await.expect("it serves to its end");
    let mut service = ChildService::start(SERVICE).await;
    let mut client = RawClient::connect(service.address()).await;
    assert_eq!(called(&mut client, "one", &[]).await.grpc_status(), Some("0"));
    service.kill();
    client.closed().await;
    service.restart().await;
    let mut client = RawClient::connect(service.address()).await;
    assert_eq!(called(&mut client, "two", &[]).await.grpc_status(), Some("0"));
    assert_eq!(called(&mut client, "two", &[]).await.grpc_status(), Some("0"));
    let noted = [("one", 1), ("two", 2)].map(|(id, times)| (id.to_owned(), times));
    assert_eq!(service.ledger(), HashMap::from(noted));

    service.set(Mood::Refuses);
    client.closed().await;
    let refused = async { while tokio::net::TcpStream::connect(service.address()).await.is_ok() {} };
    within(Duration::from_secs(5), "it refuses", refused).await;
}

/// Method: the service has noted a call and not answered it when its process is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_service_is_killed_is_answered_once_and_done_once() {
    let _alone = crate::alone();
    const ROUNDS: usize = 8;
    for backend in BACKENDS {
        let mut service = ChildService::start(SERVICE).await;
        let quick = "[clusters.reconnect]\ninitial_backoff = \"10ms\"\nmax_backoff = \"10ms\"\n\
                     [clusters.breaker]\nenabled = false\n";
        let (gateway, address) = gateway::before(&[service.address()], backend, quick);
        let mut client = RawClient::connect(address).await;
        for round in 0..ROUNDS {
            let held = format!("held-{round}");
            let mut beside = RawClient::connect(address).await;
            let id = held.clone();
            let call = tokio::spawn(async move { called(&mut beside, &id, &[(HOLD, "1")]).await });
            service.wait_for(&held).await;
            service.kill();
            let reply = call.await.expect("no panic");
            assert_eq!((reply.grpc_status(), reply.status), (Some("14"), 200), "{backend}: {reply:?}");
            service.restart().await;
            let mut tries = 0;
            let back = async {
                while called(&mut client, &format!("{round}-{tries}"), &[]).await.grpc_status() != Some("0") {
                    tries += 1;
                }
            };
            within(Duration::from_secs(5), "the one in its place is used", back).await;
        }
        let noted = service.ledger();
        assert!(noted.values().all(|times| *times == 1), "{backend}: {noted:?}");
        assert_eq!(noted.keys().filter(|id| id.starts_with("held")).count(), ROUNDS, "{backend}");
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        assert_eq!(metric(&gateway, "ringway_upstream_retries_total"), 0, "{backend}");
    }
}
