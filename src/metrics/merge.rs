//! Adds up the shards: a total is the sum of what each core holds.
//!
//! Cores go on writing while they are read. Each number is one atomic that only grows, so a total
//! never falls from one reading to the next by the same thread; when the cores are at rest, it
//! is exact.

use std::sync::Arc;

use super::{BOUNDS_MICROS, ClusterBlock, GRPC_STATUS_NAMES, Shard, Snapshot};

/// How the calls under some labels ended, over all cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// Ended calls by gRPC status code.
    pub by_code: [u64; GRPC_STATUS_NAMES.len()],
    /// Calls that took at most each of [`BOUNDS_MICROS`]; the last is their count.
    pub at_most: [u64; BOUNDS_MICROS.len() + 1],
    /// All durations added up, in microseconds.
    pub sum_micros: u64,
}

/// The totals of the entries `members` of `Shard::calls`.
pub fn call_totals(shards: &[Arc<Shard>], members: &[usize]) -> CallTotals {
    let mut totals = CallTotals::default();
    let mut duration = Snapshot::default();
    for block in members.iter().flat_map(|&at| shards.iter().filter_map(move |s| s.calls.get(at))) {
        for (total, counter) in totals.by_code.iter_mut().zip(&block.by_code) {
            *total += counter.get();
        }
        duration.add(&block.duration);
    }
    totals.at_most = duration.at_most();
    totals.sum_micros = duration.sum_micros();
    totals
}

/// The total of one number over the entries `members` of `Shard::clusters`.
pub fn cluster_total(shards: &[Arc<Shard>], members: &[usize], read: fn(&ClusterBlock) -> u64) -> u64 {
    members
        .iter()
        .flat_map(|&at| shards.iter().filter_map(move |s| s.clusters.get(at)))
        .map(|block| read(block))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::metrics::Layout;

    const WRITERS: usize = 3;
    const CALLS: u64 = if cfg!(miri) { 50 } else { 30_000 };

    fn write(shard: &Shard, writer: usize) {
        for n in 0..CALLS {
            shard.worker.calls_started.add(1);
            shard.clusters[0].calls.add(2);
            shard.calls[0].ended((n % 17) as u8, Duration::from_micros(n * (writer as u64 + 1)));
        }
    }

    fn never_less(before: &CallTotals, after: &CallTotals) {
        let pairs = before.by_code.iter().zip(&after.by_code);
        assert!(pairs.chain(before.at_most.iter().zip(&after.at_most)).all(|(b, a)| b <= a));
        assert!(before.at_most.is_sorted() && after.at_most.is_sorted());
        assert!(before.sum_micros <= after.sum_micros);
    }

    /// Method: three threads write each its shard while this one reads without pause; no total may
    /// fall, and when the writers are done all must be exact.
    #[test]
    fn totals_never_fall_and_are_exact_at_rest() {
        let layout = Layout::new(vec!["c".into()], vec![]);
        let shards: Vec<_> = (0..WRITERS).map(|_| Shard::new(&layout)).collect();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (writer, shard) in shards.iter().enumerate() {
                let done = &done;
                scope.spawn(move || {
                    write(shard, writer);
                    done.fetch_add(1, Ordering::Release);
                });
            }
            let (mut before, mut sent_before) = (CallTotals::default(), 0);
            while done.load(Ordering::Acquire) < WRITERS {
                let after = call_totals(&shards, &[0]);
                never_less(&before, &after);
                let sent = cluster_total(&shards, &[0], |block| block.calls.get());
                assert!(sent_before <= sent);
                (before, sent_before) = (after, sent);
            }
        });
        let totals = call_totals(&shards, &[0]);
        let all = CALLS * WRITERS as u64;
        assert_eq!(totals.by_code.iter().sum::<u64>(), all);
        assert_eq!(totals.at_most.last(), Some(&all));
        assert_eq!(totals.sum_micros, CALLS * (CALLS - 1) / 2 * (1 + 2 + 3));
        assert_eq!(cluster_total(&shards, &[0], |block| block.calls.get()), all * 2);
    }
}
