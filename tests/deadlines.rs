//! Deadlines that end calls in time. Alone in its process, for it is about milliseconds.

mod support;

use std::time::Duration;
use support::gateway::{self, BACKENDS, metric_becomes};
use support::open_loop::{OpenLoop, latencies, on_schedule};
use support::service::{Act, Asked, Service};

const MS: Duration = Duration::from_millis(1);

/// Method: a thousand calls to a service that says nothing, each with 100 ms, a thousand in a second: a hundred are in
/// flight all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_end_calls_in_time_and_cancel_them_upstream() {
    const CALLS: usize = 1_000;
    const AT_ONCE: usize = 80;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let extra = "[clusters.breaker]\nenabled = false\n";
        let (gateway, address) = gateway::before(&[service.address()], backend, extra);
        let load = OpenLoop::start(address, 1_000, 100 * MS).await;
        load.go_on(500 * MS).await;
        let in_flight = gateway::metric(&gateway, "ringway_calls_active");
        load.go_on(500 * MS).await;
        let outcomes = load.stop().await;
        assert!(outcomes.len() >= CALLS && outcomes.iter().all(|it| it.status == Ok(4)), "{outcomes:?}");
        assert!(in_flight >= AT_ONCE as u64, "{backend}: only {in_flight} in flight");
        let took = latencies(&outcomes);
        let (first, most, last) = (took[0], took[took.len() * 99 / 100 - 1], took[took.len() - 1]);
        println!(
            "{backend}: {} calls, {in_flight} in flight: {first:?} to {last:?}, 99 % within {most:?}",
            took.len()
        );
        assert!(first >= 100 * MS, "{backend}: {first:?}");
        let judged = on_schedule(&outcomes, 1_000);
        assert!(!judged || (most <= 150 * MS && last <= 250 * MS), "{backend}: {most:?} {last:?}");

        let done = |all: &[Asked]| all.len() == took.len() && all.iter().all(|it| it.cancelled_at.is_some());
        let asked = service.wait_until("every call is cancelled upstream", done).await;
        let late = |it: &Asked| it.cancelled_at.map(|at| at.duration_since(it.at).saturating_sub(100 * MS));
        let mut late: Vec<Duration> = asked.iter().filter_map(late).collect();
        late.sort_unstable();
        let (most, last) = (late[late.len() * 99 / 100 - 1], late[late.len() - 1]);
        println!("{backend}: cancelled upstream at most {last:?} after the deadline, 99 % within {most:?}");
        assert!(!judged || (most <= 50 * MS && last <= 50 * MS), "{backend}: {most:?} {last:?}");
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
    }
}
