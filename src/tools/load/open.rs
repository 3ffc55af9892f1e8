//! An open loop: calls begin when they are due, and their latency counts from then.
#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::line::LoadConnection;
use super::tally::{Ending, Tally};

/// Places for calls in flight; a call that finds none waits, and its time runs.
struct Places {
    free: RefCell<VecDeque<Rc<LoadConnection>>>,
    count: Semaphore,
}

/// Makes a call at each of `moments`, on the lines in turn, each of which carries `streams` at once. Gives how late
/// calls began, of which it is never the target's fault.
pub(super) async fn run(
    lines: &[Rc<LoadConnection>],
    streams: usize,
    mut moments: UnboundedReceiver<Instant>,
    begun: &Arc<AtomicU64>,
    tally: &Rc<RefCell<Tally>>,
) -> Tally {
    let free: VecDeque<_> = (0..streams).flat_map(|_| lines.iter().cloned()).collect();
    let places = Rc::new(Places { count: Semaphore::new(free.len()), free: RefCell::new(free) });
    let mut lags = Tally::default();
    let mut calls = JoinSet::new();
    while let Some(due) = moments.recv().await {
        lags.record(Ending::Lost, due.elapsed());
        begun.fetch_add(1, Ordering::Relaxed);
        let (places, tally) = (Rc::clone(&places), Rc::clone(tally));
        calls.spawn_local(async move {
            let ending = call(&places).await;
            tally.borrow_mut().record(ending, due.elapsed());
        });
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
    lags
}

async fn call(places: &Places) -> Ending {
    let _permit = places.count.acquire().await.expect("nobody closes it");
    let line = places.free.borrow_mut().pop_front().expect("there is one for each permit");
    let ending = line.call().await;
    places.free.borrow_mut().push_back(line);
    ending
}

/// How late the worst hundredth began.
pub(super) fn worst(lags: &Tally) -> Duration {
    if lags.calls() == 0 { Duration::ZERO } else { lags.quantile(0.99) }
}
