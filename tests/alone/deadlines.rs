//! Deadlines that end calls, and cancel them upstream, under a load that does not wait. By how much they may be late is held
//! where time is virtual: `src/worker/simulation/timing.rs`.

use crate::support::gateway::{self, BACKENDS, metric_becomes};
use crate::support::open_loop::OpenLoop;
use crate::support::service::{Act, Asked, Service};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_millis(100);

/// Method: a thousand calls to a service that says nothing, each with 100 ms, a thousand in a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_end_calls_never_too_early_and_cancel_them_upstream() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let extra = "[clusters.breaker]\nenabled = false\n";
        let (gateway, address) = gateway::before(&[service.address()], backend, extra);
        let load = OpenLoop::start(address, 1_000, DEADLINE).await;
        load.go_on(Duration::from_secs(1)).await;
        let outcomes = load.stop().await;
        assert!(outcomes.len() >= 1_000 && outcomes.iter().all(|it| it.status == Ok(4)), "{outcomes:?}");
        assert!(outcomes.iter().all(|it| it.took >= DEADLINE), "{backend}: too early: {outcomes:?}");
        // A call whose deadline is over before it is sent is never asked for.
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        let sent = gateway::metric(&gateway, "ringway_upstream_calls_total") as usize;
        let done = |all: &[Asked]| all.len() == sent && all.iter().all(|it| it.cancelled_at.is_some());
        service.wait_until("every call is cancelled upstream", done).await;
    }
}
