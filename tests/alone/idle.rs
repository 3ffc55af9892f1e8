//! An idle gateway sleeps: with the default configuration, no calls and nobody at the admin address, hardly any thread
//! wakes up.
//!
//! Method: a thread that sleeps and wakes up again has given its core away, which Linux counts for each thread
//! (`voluntary_ctxt_switches`). The growth over five seconds is how often they slept, each with a system call or two.
//! That needs neither privilege nor a tracer.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::within;

const WATCHED: Duration = Duration::from_secs(5);

/// A turn of housekeeping each two seconds: at most three. And two for what ends in that time, such as a thread that
/// tokio keeps for ten seconds after the admin address has made a page.
const CONTROL_SLEEPS_MAX: u64 = 3 + 2;

/// Of one worker: without calls it looks at its clock once a second.
const WORKER_SLEEPS_MAX: u64 = 5 + 1;

const WORKERS: u64 = 2;

/// How long it is looked at before, and how often its threads sleep then at most: each worker once a second and once more,
/// and housekeeping.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_MAX: u64 = WORKERS * 2 + 2;

/// How often each kind of thread has slept so far.
fn sleeps(process: u32) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).expect("it runs") {
        let path = thread.expect("a thread").path();
        // A thread may end between the two.
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.expect("every thread has it").trim().to_owned()
        };
        let name = field("Name");
        let kind = if name.starts_with("worker-") { "workers".to_owned() } else { name };
        *all.entry(kind).or_default() += field("voluntary_ctxt_switches").parse::<u64>().expect("a number");
    }
    all
}

/// How often each kind of thread sleeps in this time.
async fn slept(process: u32, span: Duration) -> BTreeMap<String, u64> {
    let before = sleeps(process);
    tokio::time::sleep(span).await;
    let mut slept = sleeps(process);
    for (thread, count) in &mut slept {
        *count -= before.get(thread).copied().unwrap_or(0).min(*count);
    }
    slept
}

#[tokio::test]
async fn an_idle_gateway_sleeps() {
    let _alone = crate::alone();
    // As examples/minimal.toml, but for the ports and the number of workers.
    let config = "workers = 2\n[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
                  [[routes]]\ncluster = \"echo\"\n[[clusters]]\nname = \"echo\"\nendpoints = [\"127.0.0.1:1\"]\n";
    let process = Process::start(config).await;
    // The work that the start began has ended when hardly any thread sleeps and wakes up again.
    let rests = async { while slept(process.id(), LOOK).await.values().sum::<u64>() > LOOK_MAX {} };
    within(Duration::from_secs(60), "what starting began ends", rests).await;
    let mut slept = slept(process.id(), WATCHED).await;
    println!("in {WATCHED:?} slept: {slept:?}");
    let workers = slept.remove("workers").expect("there are workers");
    let control: u64 = slept.values().sum();
    assert!(control <= CONTROL_SLEEPS_MAX, "{slept:?}");
    assert!(workers <= WORKERS * WORKER_SLEEPS_MAX, "{workers} by {WORKERS} workers");
}
