//! [`IoContext`]: the buffers, timers and counters that a worker lends to everything that moves bytes for it.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::Buffers;
use super::data_ring::DataRing;
use super::handshakes::Handshakes;
use super::ring_transport::RingTransport;
use crate::metrics::WorkerBlock;
use crate::time::Moment;
use crate::time::timers::Timers;

/// A worker's means of input and output. Never leaves its thread.
pub struct IoContext {
    /// Buffers for receiving and sending.
    pub buffers: Rc<Buffers>,
    /// The timing wheel.
    pub timers: Rc<Timers>,
    /// The handshakes that wait for a turn.
    pub handshakes: Handshakes,
    counts: Arc<WorkerBlock>,
    /// The transport of the connections' bytes, where they go through the ring.
    transport: OnceCell<Rc<RingTransport>>,
}

impl IoContext {
    /// The means of a worker whose clock stands at `now`.
    pub fn new(counts: Arc<WorkerBlock>, now: Moment) -> Rc<IoContext> {
        let (buffers, timers) = (Rc::new(Buffers::new()), Timers::new(now));
        Rc::new(IoContext {
            buffers,
            timers,
            handshakes: Handshakes::default(),
            counts,
            transport: OnceCell::new(),
        })
    }

    /// The worker's own counters.
    pub fn counts(&self) -> &WorkerBlock {
        &self.counts
    }

    /// The worker's own counters, to be kept.
    pub fn shared_counts(&self) -> Arc<WorkerBlock> {
        Arc::clone(&self.counts)
    }

    /// The transport of the connections' bytes, if they go through the ring.
    pub(super) fn transport(&self) -> Option<&Rc<RingTransport>> {
        self.transport.get()
    }

    /// Lets `ring` carry the bytes from now on.
    ///
    /// # Errors
    /// When the ring takes no buffers.
    pub(super) fn enable_ring_io(&self, ring: &Rc<DataRing>) -> io::Result<Rc<RingTransport>> {
        let (buffers, timers) = (Rc::clone(&self.buffers), Rc::clone(&self.timers));
        let transport = RingTransport::new(Rc::clone(ring), buffers, timers, self.shared_counts())?;
        Ok(Rc::clone(self.transport.get_or_init(|| transport)))
    }
}

impl fmt::Debug for IoContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoContext")
            .field("buffers", &self.buffers)
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}
