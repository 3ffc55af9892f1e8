//! Adds up the shards: a total is the sum of what each core holds.
//!
//! Cores go on writing while they are read. Each number is one atomic that only grows, so a total
//! never falls from one reading to the next by the same thread; when the cores are at rest, it
//! is exact.

use std::sync::Arc;

use super::{ClusterBlock, GRPC_STATUS_NAMES, PROTOCOLS, Shard, Snapshot};

/// How the calls under some labels ended, over all cores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// Ended calls by the caller's protocol and gRPC status code.
    pub by_code: [[u64; GRPC_STATUS_NAMES.len()]; PROTOCOLS.len()],
    /// How long unary calls took.
    pub unary: Snapshot,
    /// How long streams took.
    pub streams: Snapshot,
}

impl CallTotals {
    /// Ended calls by gRPC status code, over all protocols.
    pub fn codes(&self) -> [u64; GRPC_STATUS_NAMES.len()] {
        std::array::from_fn(|code| self.by_code.iter().map(|by_code| by_code[code]).sum())
    }
}

/// The totals of the entries `members` of `Shard::calls`.
pub fn call_totals(shards: &[Arc<Shard>], members: &[usize]) -> CallTotals {
    let mut totals = CallTotals::default();
    for block in members.iter().flat_map(|&at| shards.iter().filter_map(move |s| s.calls.get(at))) {
        for (total, counter) in totals.by_code.iter_mut().flatten().zip(block.by_code.iter().flatten()) {
            *total += counter.get();
        }
        totals.unary.add(&block.unary);
        totals.streams.add(&block.streams);
    }
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
    use crate::metrics::{Bounds, Ending, Layout};

    const WRITERS: usize = 3;
    const CALLS: u64 = if cfg!(miri) { 50 } else { 30_000 };

    fn write(shard: &Shard, writer: usize) {
        for n in 0..CALLS {
            shard.worker.calls_started.add(1);
            shard.clusters[0].calls.add(2);
            let took = Duration::from_micros(n * (writer as u64 + 1));
            let (protocol, code, is_stream) = ((n % 4) as u8, (n % 17) as u8, n % 3 == 0);
            shard.calls[0].ended(Ending { protocol, code, is_stream, took });
        }
    }

    fn never_less(before: &CallTotals, after: &CallTotals) {
        let mut pairs = before.by_code.iter().flatten().zip(after.by_code.iter().flatten());
        assert!(pairs.all(|(b, a)| b <= a));
        for (before, after) in [(&before.unary, &after.unary), (&before.streams, &after.streams)] {
            let [then, now] = [before, after].map(|snapshot| snapshot.at_most(&Bounds::default()));
            assert!(then.iter().zip(&now).all(|(b, a)| b <= a), "{then:?} {now:?}");
            assert!(then.is_sorted() && now.is_sorted());
            assert!(before.sum_micros() <= after.sum_micros());
        }
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
        assert_eq!(totals.codes().iter().sum::<u64>(), all);
        let [unary, streams] = [&totals.unary, &totals.streams].map(Snapshot::count);
        assert_eq!((unary + streams, streams), (all, WRITERS as u64 * CALLS.div_ceil(3)));
        let sum = totals.unary.sum_micros() + totals.streams.sum_micros();
        assert_eq!(sum, CALLS * (CALLS - 1) / 2 * (1 + 2 + 3));
        assert_eq!(cluster_total(&shards, &[0], |block| block.calls.get()), all * 2);
    }
}
