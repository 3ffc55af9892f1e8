//! What a worker lends to everything that moves bytes for it: buffers, timers, counters, and the count of its turns.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::Buffers;
use super::carrier::Carrier;
use crate::metrics::WorkerBlock;
use crate::time::Moment;
use crate::time::timers::Timers;

/// One worker's shared means. Never leaves its thread.
pub struct Local {
    /// Buffers for receiving and sending.
    pub buffers: Rc<Buffers>,
    /// The timing wheel.
    pub timers: Rc<Timers>,
    counts: Arc<WorkerBlock>,
    /// Wakes the root future, which counts the loop's turns.
    root: OnceCell<Waker>,
    /// Where all goes through the ring: what carries the bytes.
    carrier: OnceCell<Rc<Carrier>>,
}

impl Local {
    /// The means of a worker whose clock stands at `now`.
    pub fn new(counts: Arc<WorkerBlock>, now: Moment) -> Rc<Local> {
        let (buffers, timers) = (Rc::new(Buffers::new()), Timers::new(now));
        Rc::new(Local { buffers, timers, counts, root: OnceCell::new(), carrier: OnceCell::new() })
    }

    /// The worker's own counters.
    pub fn counts(&self) -> &WorkerBlock {
        &self.counts
    }

    /// The same, to be kept.
    pub fn shared_counts(&self) -> Arc<WorkerBlock> {
        Arc::clone(&self.counts)
    }

    /// Notes that a task runs in this turn of the loop. The root future is polled once at the end of each turn in which
    /// a task ran, and each turn ends with one `io_uring_enter`: so it counts these without asking the kernel.
    pub fn touch(&self) {
        if let Some(root) = self.root.get() {
            root.wake_by_ref();
        }
    }

    /// Says how to wake the root future; the first call counts.
    pub fn set_root(&self, root: &Waker) {
        self.root.get_or_init(|| root.clone());
        if let Some(carrier) = self.carrier.get() {
            carrier.set_root(root);
        }
    }

    /// What carries the bytes of the connections, if all goes through the ring.
    pub(super) fn carrier(&self) -> Option<&Rc<Carrier>> {
        self.carrier.get()
    }

    /// Lets the ring of the runtime that runs on this thread carry the bytes.
    ///
    /// # Errors
    /// When the ring takes no buffers.
    pub(super) fn carry(&self) -> io::Result<()> {
        let carrier =
            Carrier::attach(Rc::clone(&self.buffers), Rc::clone(&self.timers), self.shared_counts())?;
        self.carrier.get_or_init(|| carrier);
        Ok(())
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("buffers", &self.buffers)
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}
