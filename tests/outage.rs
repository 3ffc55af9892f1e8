//! A service that fails all calls for a while: what it is asked meanwhile, and how soon all is well after it.
//!
//! The outage lasts five seconds here; `RINGWAY_FULL=1 cargo test --test outage` makes it twenty.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::gateway::{self, BACKENDS, metric};
use support::open_loop::{OpenLoop, on_schedule, success};
use support::service::{Act, Service};

const CALLS_PER_SECOND: u32 = 500;
const DEADLINE: Duration = Duration::from_secs(2);
/// From the return of the service, and the breaker's own waits, until every call succeeds.
const RECOVERY: Duration = Duration::from_secs(2);
/// The budget's first loan, and calls that may be under way when the service changes.
const SLACK: usize = 10 + 20;

fn outage() -> Duration {
    Duration::from_secs(if std::env::var_os("RINGWAY_FULL").is_some() { 20 } else { 5 })
}

async fn an_outage(backend: &str, extra: &str, breaker_waits: Duration) {
    let well = Arc::new(AtomicBool::new(true));
    let decides = Arc::clone(&well);
    let service =
        Service::start(
            move |_, _| {
                if decides.load(Ordering::SeqCst) { Act::Answer } else { Act::Status(14, None) }
            },
        )
        .await;
    let (gateway, address) = gateway::before(&[service.address()], backend, extra);
    let load = OpenLoop::start(address, CALLS_PER_SECOND, DEADLINE).await;
    load.go_on(Duration::from_millis(500)).await;

    well.store(false, Ordering::SeqCst);
    let (offered_before, asked_before, began) = (load.begun(), service.count(), load.elapsed());
    load.go_on(outage()).await;
    well.store(true, Ordering::SeqCst);
    let (offered, asked) = (load.begun() - offered_before, service.count() - asked_before);
    let (offered_so_far, asked_so_far) = (load.begun(), service.count());
    let back = load.elapsed();

    load.go_on(breaker_waits + RECOVERY + Duration::from_secs(1)).await;
    let outcomes = load.stop().await;
    let during = outcomes.iter().filter(|it| (began..back).contains(&it.at));
    let last_failure = outcomes.iter().filter(|it| !it.is_ok()).map(|it| it.at).max().unwrap_or_default();
    let recovery = last_failure.saturating_sub(back);
    let retries = metric(&gateway, "ringway_upstream_retries_total");
    println!(
        "{backend}: {asked} attempts for {offered} calls in the outage, and since the start {:.4} for each; \
         all is well {recovery:?} after",
        asked_so_far as f64 / offered_so_far as f64,
    );
    // The credit of the calls before the outage may be spent in it.
    let allowed = offered_so_far * 12 / 10 + SLACK;
    assert!(asked_so_far <= allowed, "{backend}: {asked_so_far} attempts for {offered_so_far} calls");
    assert!(during.filter(|it| it.is_ok()).count() <= 3 * SLACK, "{backend}: it is an outage");
    let judged = on_schedule(&outcomes, CALLS_PER_SECOND);
    assert!(!judged || recovery <= breaker_waits + RECOVERY, "{backend}: still failing {recovery:?} later");
    let after: Vec<_> =
        outcomes.iter().filter(|it| it.at > back + breaker_waits + RECOVERY).cloned().collect();
    assert!(
        !judged || (after.len() > 100 && success(&after) >= 1.0),
        "{backend}: {} calls after it",
        after.len()
    );
    assert!(outcomes.iter().all(|it| it.status.is_ok()), "{backend}: each call is answered");
    assert_eq!(outcomes.len() as u64, metric(&gateway, "ringway_calls_total"), "{backend}");
    assert!(retries > 0, "{backend}: failed calls were retried");
}

/// The budget alone bounds what is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_breaker_it_is_asked_a_fifth_more() {
    an_outage(BACKENDS[0], "[clusters.breaker]\nenabled = false\n", Duration::ZERO).await;
}

/// The breaker spares it nearly all; its waits are shorter than by default, or this would take minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_breaker_it_is_hardly_asked() {
    let extra = "[clusters.breaker]\ntimeout = \"1s\"\nramp = \"1s\"\n";
    an_outage(BACKENDS[1], extra, Duration::from_secs(2)).await;
}
