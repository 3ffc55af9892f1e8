//! Notices that end a wait for the gateway's end.

use std::sync::mpsc::Sender;

/// A notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A worker has ended.
    WorkerEnded,
    /// The waiting thread is asked to look around.
    Wake,
}

/// Wakes the thread that is in [`Gateway::wait`](super::Gateway::wait), or that will be there next.
#[derive(Clone, Debug)]
pub struct Waker(Sender<Notice>);

impl Waker {
    pub(super) fn new(notices: Sender<Notice>) -> Waker {
        Waker(notices)
    }

    /// Wakes it.
    pub fn wake(&self) {
        // A gateway that is gone has no waiting thread.
        let _ = self.0.send(Notice::Wake);
    }
}
