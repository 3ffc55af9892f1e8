//! A closed loop: lanes that begin their next call when the last has ended.
#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::line::LoadConnection;
use super::tally::Tally;

/// When a lane may begin no more calls.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// When all threads together have begun so many.
    Calls(u64),
    /// At this moment.
    At(Instant),
}

/// Keeps each of `lanes` busy until the end, and tallies what became of the calls. `begun` is shared by all threads.
pub(super) async fn run(
    lanes: &[Rc<LoadConnection>],
    end: End,
    begun: &Arc<AtomicU64>,
    tally: &Rc<RefCell<Tally>>,
) {
    let mut tasks = JoinSet::new();
    for line in lanes {
        let (line, begun, tally) = (Rc::clone(line), Arc::clone(begun), Rc::clone(tally));
        tasks.spawn_local(async move {
            while may_begin(end, &begun) {
                let began = Instant::now();
                let ending = line.call().await;
                tally.borrow_mut().record(ending, began.elapsed());
            }
        });
    }
    tasks.join_all().await;
}

fn may_begin(end: End, begun: &AtomicU64) -> bool {
    match end {
        End::Calls(calls) => begun.fetch_add(1, Ordering::Relaxed) < calls,
        End::At(at) => {
            begun.fetch_add(1, Ordering::Relaxed);
            Instant::now() < at
        }
    }
}
