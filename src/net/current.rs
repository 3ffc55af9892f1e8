//! The loop of a worker's thread, found from any code on it: its executor, and the way that it waits.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::epoll::Epoll;
use super::executor::Executor;
#[cfg(test)]
use super::memory::Memory;
use super::operations::Operations;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Current>>> = const { RefCell::new(None) };
}

/// The means of the loop that runs on this thread.
pub(super) struct Current {
    pub(super) executor: Executor,
    pub(super) waits: Waits,
}

/// The event source that the futures of this thread wait on.
#[derive(Clone, Debug)]
pub(super) enum Waits {
    Ring(Rc<Operations>),
    Epoll(Rc<Epoll>),
    #[cfg(test)]
    Memory(Rc<Memory>),
}

impl Waits {
    /// Waits for a time.
    pub(super) async fn pause(&self, span: Duration) {
        match self {
            Waits::Ring(operations) => operations.pause(span).await,
            Waits::Epoll(epoll) => epoll.pause(span).await,
            #[cfg(test)]
            Waits::Memory(memory) => memory.pause(span).await,
        }
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("executor", &self.executor).field("waits", &self.waits).finish()
    }
}

/// The loop of this thread.
///
/// # Panics
/// Where no loop runs.
pub(super) fn current() -> Rc<Current> {
    CURRENT.with_borrow(Clone::clone).expect("only tasks of a loop call this, and it runs")
}

/// How the loop of this thread waits, if one runs.
#[cfg(test)]
pub(super) fn waits() -> Option<Waits> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| current.waits.clone()))
}

/// Lets code of this thread find `current` until the guard is dropped, which ends its tasks.
pub(super) fn enter(current: &Rc<Current>) -> impl Drop + use<> {
    CURRENT.set(Some(Rc::clone(current)));
    Entered(Rc::clone(current))
}

struct Entered(Rc<Current>);

impl Drop for Entered {
    fn drop(&mut self) {
        // Tasks may need their loop while they are dropped.
        self.0.executor.end();
        CURRENT.set(None);
    }
}
