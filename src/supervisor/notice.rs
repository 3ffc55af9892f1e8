//! Why a thread that waits for the end of a gateway looks around.

use std::sync::mpsc::Sender;

/// Something that such a wait returns for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A worker has ended.
    WorkerEnded,
    /// Somebody wants the thread to look around.
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
        // Nobody waits for a gateway that is gone.
        let _ = self.0.send(Notice::Wake);
    }
}
