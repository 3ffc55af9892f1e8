//! A service that fails all calls for a while: what it is asked meanwhile, and that all is well after it. How soon that is
//! is held where time is virtual: `src/worker/simulation/outages.rs`.
//!
//! The outage lasts five seconds here; `RINGWAY_FULL=1 cargo test --test alone outage` makes it twenty.

use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::open_loop::OpenLoop;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CALLS_PER_SECOND: u32 = 500;
const DEADLINE: Duration = Duration::from_secs(2);
/// The budget's first loan.
const LENT: usize = 10;
/// Calls that succeed one after the other when all is well.
const IN_A_ROW: usize = 50;

fn outage() -> Duration {
    Duration::from_secs(if std::env::var_os("RINGWAY_FULL").is_some() { 20 } else { 5 })
}

async fn an_outage(backend: &str, extra: &str) {
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
    let (asked_before, began) = (service.count(), load.elapsed());
    load.go_on(outage()).await;
    well.store(true, Ordering::SeqCst);
    let back = load.elapsed();
    // The count at the service is read before that of calls.
    let asked_so_far = service.count();
    let (offered_so_far, asked) = (load.begun(), asked_so_far - asked_before);

    // A state, however long this machine takes to it: many calls in a row succeed.
    let mut client = RawClient::connect(address).await;
    let recovers = async {
        let mut well = 0;
        while well < IN_A_ROW {
            let is_ok = client.call(EMPTY_CALL, &[], b"").await.grpc_status() == Some("0");
            well = if is_ok { well + 1 } else { 0 };
        }
        well
    };
    let more = within(Duration::from_secs(60), "all is well again", recovers).await;
    let outcomes = load.stop().await;
    let during: Vec<_> = outcomes.iter().filter(|it| (began..back).contains(&it.at)).collect();
    let retries = metric(&gateway, "ringway_upstream_retries_total");
    println!(
        "{backend}: {asked} attempts for {} calls in the outage, and since the start {:.4} for each",
        during.len(),
        asked_so_far as f64 / offered_so_far as f64,
    );
    // The credit of the calls before the outage may be spent in it, and the budget's first loan.
    let allowed = offered_so_far * 12 / 10 + LENT;
    assert!(asked_so_far <= allowed, "{backend}: {asked_so_far} attempts for {offered_so_far} calls");
    assert!(during.iter().filter(|it| !it.is_ok()).count() > during.len() / 2, "{backend}: it is an outage");
    assert!(outcomes.iter().all(|it| it.status.is_ok()), "{backend}: each call is answered");
    let all = metric(&gateway, "ringway_calls_total") as usize;
    assert!((outcomes.len() + more..).contains(&all), "{backend}: {all} are counted");
    assert!(retries > 0, "{backend}: failed calls were retried");
}

/// The budget alone bounds what is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_breaker_it_is_asked_a_fifth_more() {
    let _alone = crate::alone();
    an_outage(BACKENDS[0], "[clusters.breaker]\nenabled = false\n").await;
}

/// The breaker spares it nearly all; its waits are shorter than by default, or this would take minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_breaker_it_is_hardly_asked() {
    let _alone = crate::alone();
    let extra = "[clusters.breaker]\ntimeout = \"1s\"\nramp = \"1s\"\n";
    an_outage(BACKENDS[1], extra).await;
}
