//! Where there is no ring: readiness of sockets, told by one epoll descriptor of the worker.
//!
//! A socket is registered once and for all, edge-triggered; its source remembers that it is ready until a call has found
//! that it is not.
#![allow(clippy::disallowed_methods, reason = "reads the clock for the timeout of its own wait")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use super::sys;

/// Events of one wait; more come with the next.
const EVENTS: usize = 256;

/// The epoll descriptor of one worker.
pub(super) struct Epoll {
    descriptor: OwnedFd,
    sources: RefCell<Slab<Rc<Readiness>>>,
    /// Pauses of this thread, and when they end.
    pauses: RefCell<Slab<(Instant, Waker)>>,
    events: RefCell<Vec<libc::epoll_event>>,
}

/// The readiness of one descriptor, as epoll reported it.
#[derive(Default)]
struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// The peer has closed its side, or the descriptor has failed: it stays readable.
    hung_up: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

/// A descriptor that is registered, until this is dropped.
pub(super) struct Source {
    epoll: Rc<Epoll>,
    key: usize,
    descriptor: RawFd,
    readiness: Rc<Readiness>,
}

impl Epoll {
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn new() -> io::Result<Rc<Epoll>> {
        let descriptor = sys::epoll()?;
        Ok(Rc::new(Epoll {
            descriptor,
            sources: RefCell::default(),
            pauses: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS)),
        }))
    }

    /// Registers a descriptor, which has to outlive the source.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn source(self: &Rc<Self>, descriptor: BorrowedFd<'_>) -> io::Result<Source> {
        let readiness = Rc::<Readiness>::default();
        let key = self.sources.borrow_mut().insert(Rc::clone(&readiness));
        let descriptor_number = descriptor.as_raw_fd();
        let source = Source { epoll: Rc::clone(self), key, descriptor: descriptor_number, readiness };
        sys::epoll_add(&self.descriptor, descriptor_number, key as u64)?;
        Ok(source)
    }

    /// Waits until a descriptor is ready or a pause is over, or not at all, and wakes their tasks.
    pub(super) fn turn(&self, waits: bool) {
        let timeout = if waits { self.until_next_pause() } else { Some(Duration::ZERO) };
        let mut events = self.events.take();
        // A signal ends a wait; no other error is possible for a descriptor of ours.
        let _ = sys::epoll_wait(&self.descriptor, &mut events, timeout);
        for event in events.drain(..) {
            if let Some(readiness) = self.sources.borrow().get(event.u64 as usize) {
                readiness.note(event.events.cast_signed());
            }
        }
        *self.events.borrow_mut() = events;
        if !self.pauses.borrow().is_empty() {
            let now = Instant::now();
            self.pauses
                .borrow()
                .iter()
                .filter(|(_, (end, _))| *end <= now)
                .for_each(|(_, (_, waker))| waker.wake_by_ref());
        }
    }

    fn until_next_pause(&self) -> Option<Duration> {
        let pauses = self.pauses.borrow();
        let next = pauses.iter().map(|(_, (end, _))| *end).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Waits for a time.
    pub(super) async fn pause(self: &Rc<Self>, span: Duration) {
        let end = Instant::now() + span;
        let mut pause = Pause { epoll: self, key: None };
        poll_fn(|cx| {
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            pause.until(end, cx);
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

/// A pause in the list, until this is dropped.
struct Pause<'a> {
    epoll: &'a Epoll,
    key: Option<usize>,
}

impl Pause<'_> {
    fn until(&mut self, end: Instant, cx: &Context<'_>) {
        let mut pauses = self.epoll.pauses.borrow_mut();
        match self.key {
            Some(key) => pauses[key] = (end, cx.waker().clone()),
            None => self.key = Some(pauses.insert((end, cx.waker().clone()))),
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.epoll.pauses.borrow_mut().remove(key);
        }
    }
}

impl Readiness {
    fn note(&self, events: i32) {
        let over = events & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0;
        if over {
            self.hung_up.set(true);
        }
        if over || events & libc::EPOLLIN != 0 {
            self.readable.set(true);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        if events & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            self.writable.set(true);
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
    }
}

impl Source {
    /// Ready once something may be read.
    pub(super) fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.readiness.readable.get() {
            return Poll::Ready(());
        }
        self.readiness.reader.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ready once something may be written.
    pub(super) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.readiness.writable.get() {
            return Poll::Ready(());
        }
        self.readiness.writer.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Notes that a read found nothing.
    pub(super) fn not_readable(&self) {
        self.readiness.readable.set(false);
    }

    /// Notes that a read left room: epoll reports further bytes, but not an end that it has reported already.
    pub(super) fn read_short(&self) {
        self.readiness.readable.set(self.readiness.hung_up.get());
    }

    /// Notes that a write was not taken as a whole.
    pub(super) fn not_writable(&self) {
        self.readiness.writable.set(false);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.epoll.sources.borrow_mut().remove(self.key);
        // It fails where the descriptor was never added.
        let _ = sys::epoll_remove(&self.epoll.descriptor, self.descriptor);
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_source_is_ready_until_a_call_finds_that_it_is_not() {
        let epoll = Epoll::new().expect("a descriptor");
        let (mut near, mut far) = UnixStream::pair().expect("two descriptors");
        near.set_nonblocking(true).expect("it is open");
        let source = epoll.source(near.as_fd()).expect("it is taken");
        let cx = Context::from_waker(Waker::noop());
        epoll.turn(false);
        assert_eq!((source.poll_readable(&cx), source.poll_writable(&cx)), (Poll::Pending, Poll::Ready(())));
        far.write_all(b"ab").expect("it fits");
        epoll.turn(true);
        for expected in [1, 1] {
            assert_eq!(source.poll_readable(&cx), Poll::Ready(()));
            assert_eq!(near.read(&mut [0]).expect("a byte"), expected);
        }
        source.read_short();
        epoll.turn(false);
        assert_eq!(source.poll_readable(&cx), Poll::Pending);
        drop(far);
        epoll.turn(true);
        // epoll reports the end once, so it must not be forgotten.
        source.read_short();
        assert_eq!(source.poll_readable(&cx), Poll::Ready(()));
        assert_eq!(near.read(&mut [0]).expect("the end"), 0);
        drop(source);
        assert!(epoll.sources.borrow().is_empty());
    }
}
