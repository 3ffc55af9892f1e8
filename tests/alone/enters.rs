//! How often a worker enters the kernel's ring for one call, while it is busy.

use crate::support::gateway::{GatewayBuilder, metric};
use ringway::tools::load::{self, Load, Pace};
use ringway::tools::service::Service;

/// Connections, calls in flight on all of them, calls, and the most turns for each call; a turn of the loop is one
/// `io_uring_enter`.
const TABLE: [(usize, usize, u64, f64); 3] =
    [(1, 1, 2_000, 2.5), (256, 256, 6_000, 0.5), (32, 32 * 32, 12_000, 0.1)];

#[test]
fn a_busy_worker_enters_the_kernel_for_many_calls_at_once() {
    let _alone = crate::alone();
    let service = Service::start().expect("a free port");
    let extra = "max_requests = 100000\n[clusters.pool]\nmax_connections_per_endpoint = 16\n";
    let gateway =
        GatewayBuilder::new(&[service.address()], "io_uring").set("workers", 1).extra(extra).start();
    let counts = || ["ringway_turns_total", "ringway_calls_started_total"].map(|name| metric(&gateway, name));
    for (connections, at_once, calls, most) in TABLE {
        let target = Service::target(gateway.listeners()[0], 20);
        let mut load = Load::new(target, Pace::Calls { calls, at_once });
        (load.connections, load.warm_up) = (connections, 2 * at_once as u64);
        let mut seen = Vec::new();
        let sides: &[ringway::tools::usage::Side] = &[];
        let round = load::run_between(&load, sides, |_| (), || seen.push(counts()));
        let round = round.expect("a load with a good target runs");
        assert_eq!((round.tally.calls(), round.tally.errors()), (calls, 0));
        let [before, after] = seen[..] else { panic!("marked twice: {seen:?}") };
        let per_call = (after[0] - before[0]) as f64 / (after[1] - before[1]) as f64;
        println!("{connections} x {}: {per_call:.3} enters per call", at_once / connections);
        assert!(after[1] - before[1] >= calls * 9 / 10, "the calls are counted");
        assert!(per_call <= most, "{connections} x {}: {per_call:.3}", at_once / connections);
        assert!(per_call > 0.0, "a turn is counted");
    }
}
