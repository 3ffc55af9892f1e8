//! So many connections are open at once. The next one takes the place of the one that has asked nothing for longest, so
//! that nobody who keeps connections makes a probe wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::AbortHandle;

/// The connections that are open.
pub(super) struct Places {
    open: VecDeque<(Sign, AbortHandle)>,
    max: usize,
    now: Arc<AtomicU64>,
}

/// When a connection was made, or has asked for something last: the order of such moments.
#[derive(Clone)]
pub(super) struct Sign {
    at: Arc<AtomicU64>,
    now: Arc<AtomicU64>,
}

impl Sign {
    /// The connection asks for something.
    pub(super) fn give(&self) {
        self.at.store(self.now.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }
}

impl Places {
    pub(super) fn new(max: usize) -> Places {
        Places { open: VecDeque::with_capacity(max), max, now: Arc::default() }
    }

    /// The sign of a connection that is made now.
    pub(super) fn sign(&self) -> Sign {
        let sign = Sign { at: Arc::default(), now: Arc::clone(&self.now) };
        sign.give();
        sign
    }

    /// Gives a place to a connection; ends another one if there is none.
    pub(super) fn take(&mut self, sign: Sign, task: AbortHandle) {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= self.max {
            let oldest = (0..self.open.len()).min_by_key(|at| self.open[*at].0.at());
            if let Some((_, task)) = oldest.and_then(|at| self.open.remove(at)) {
                task.abort();
            }
        }
        self.open.push_back((sign, task));
    }
}
