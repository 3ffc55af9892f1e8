//! Operations of the worker's ring that a future waits for: accepts, connects, waits for a descriptor, pauses.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use socket2::{SockAddr, SockAddrStorage};

use super::data_ring::{DataRing, Kind, Tag};

/// The operations of one ring.
pub(super) struct Operations {
    ring: Rc<DataRing>,
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
}

/// A slot keeps its memory when its operation is over.
struct Slot {
    state: State,
    memory: Box<Memory>,
}

/// Memory that an operation may point to while the kernel works on it.
struct Memory {
    address: SockAddrStorage,
    length: libc::socklen_t,
    span: types::Timespec,
}

enum State {
    Free,
    InRing(Option<Waker>),
    Done(i32),
    /// The future that waited for the operation has its result.
    Taken,
    /// Nobody waits for it. If it is an accept, it may still bring a connection.
    Left {
        accepts: bool,
    },
}

impl Operations {
    pub(super) fn new(ring: Rc<DataRing>) -> Rc<Operations> {
        Rc::new(Operations { ring, slots: RefCell::default(), free: RefCell::default() })
    }

    /// Takes a connection of a listening socket, with its peer's address unless it is a Unix socket.
    pub(super) async fn accept(
        self: &Rc<Self>,
        socket: BorrowedFd<'_>,
    ) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let operation = self.begin(true, |memory| {
            memory.length = memory.address.size_of();
            let address = (&raw mut memory.address).cast();
            opcode::Accept::new(types::Fd(socket.as_raw_fd()), address, &raw mut memory.length)
                .flags(libc::SOCK_CLOEXEC)
                .build()
        })?;
        operation.accepted().await
    }

    /// Connects a socket.
    pub(super) async fn connect(self: &Rc<Self>, socket: BorrowedFd<'_>, to: SockAddr) -> io::Result<()> {
        let operation = self.begin(false, |memory| {
            memory.length = to.len();
            memory.address = to.as_storage();
            let address = (&raw const memory.address).cast();
            opcode::Connect::new(types::Fd(socket.as_raw_fd()), address, memory.length).build()
        })?;
        result_of(operation.await).map(drop)
    }

    /// Waits until something can be read from a descriptor, or it has failed.
    pub(super) async fn readable(self: &Rc<Self>, descriptor: RawFd) -> io::Result<()> {
        let operation =
            self.begin(false, |_| opcode::PollAdd::new(types::Fd(descriptor), libc::POLLIN as u32).build())?;
        result_of(operation.await).map(drop)
    }

    /// Waits for a time.
    pub(super) async fn pause(self: &Rc<Self>, span: Duration) {
        let operation = self.begin(false, |memory| {
            memory.span = types::Timespec::new().sec(span.as_secs()).nsec(span.subsec_nanos());
            opcode::Timeout::new(&raw const memory.span).build()
        });
        if let Ok(operation) = operation {
            operation.await;
        }
    }

    /// The ring that they are in.
    pub(super) fn ring(&self) -> &Rc<DataRing> {
        &self.ring
    }

    fn begin(
        self: &Rc<Self>,
        accepts: bool,
        entry: impl FnOnce(&mut Memory) -> squeue::Entry,
    ) -> io::Result<Operation> {
        let key = self.free.borrow_mut().pop().unwrap_or_else(|| self.add_slot());
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[key];
        let entry = entry(&mut slot.memory);
        slot.state = State::InRing(None);
        // WHY UNSAFE: the entry may point to the slot's memory.
        // SAFETY: that is in a box, and is not written before the operation has completed.
        if let Err(error) = unsafe { self.ring.push(entry, Tag { kind: Kind::Awaited, key }) } {
            self.release(slot, key);
            return Err(error);
        }
        Ok(Operation { operations: Rc::clone(self), key, accepts })
    }

    fn add_slot(&self) -> usize {
        let span = types::Timespec::new();
        let memory = Box::new(Memory { address: SockAddrStorage::zeroed(), length: 0, span });
        self.slots.borrow_mut().push(Slot { state: State::Free, memory });
        self.slots.borrow().len() - 1
    }

    fn release(&self, slot: &mut Slot, key: usize) {
        slot.state = State::Free;
        self.free.borrow_mut().push(key);
    }

    /// The operation `key` has completed.
    pub(super) fn complete(&self, key: usize, result: i32) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(key) else { return };
        match mem::replace(&mut slot.state, State::Done(result)) {
            State::InRing(Some(waker)) => waker.wake(),
            State::InRing(None) => {}
            State::Left { accepts } => {
                if accepts && result >= 0 {
                    drop(owned(result));
                }
                self.release(slot, key);
            }
            State::Free | State::Done(_) | State::Taken => {
                debug_assert!(false, "an operation completes once")
            }
        }
    }
}

/// The descriptor that an accept has brought.
fn owned(descriptor: i32) -> OwnedFd {
    // WHY UNSAFE: the kernel gives it as a number.
    // SAFETY: it is open, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn result_of(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("slots", &self.slots.borrow().len()).finish_non_exhaustive()
    }
}

/// An operation. Dropping it asks the kernel to end it.
struct Operation {
    operations: Rc<Operations>,
    key: usize,
    accepts: bool,
}

impl Operation {
    async fn accepted(mut self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let socket = owned(result_of((&mut self).await)?);
        let mut slots = self.operations.slots.borrow_mut();
        let Memory { address, length, .. } = &mut *slots[self.key].memory;
        let address = mem::replace(address, SockAddrStorage::zeroed());
        // WHY UNSAFE: the kernel wrote the address.
        // SAFETY: it is that of the accept that has just completed, of `length` bytes; the slot is still this one's.
        let address = unsafe { SockAddr::new(address, *length) };
        Ok((socket, address.as_socket()))
    }
}

impl Future for Operation {
    type Output = i32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<i32> {
        let mut slots = self.operations.slots.borrow_mut();
        let state = &mut slots[self.key].state;
        match state {
            State::Done(result) => {
                let result = *result;
                *state = State::Taken;
                Poll::Ready(result)
            }
            State::InRing(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Free | State::Taken | State::Left { .. } => {
                unreachable!("the slot is this operation's until it is dropped")
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let operations = &self.operations;
        let mut slots = operations.slots.borrow_mut();
        let slot = &mut slots[self.key];
        match slot.state {
            State::InRing(_) => {
                slot.state = State::Left { accepts: self.accepts };
                // If that cannot be put into the ring, the operation ends when it would have.
                let _ = operations.ring.cancel(Tag { kind: Kind::Awaited, key: self.key }, Tag::IGNORED);
            }
            State::Done(result) if self.accepts && result >= 0 => {
                drop(owned(result));
                operations.release(slot, self.key);
            }
            _ => operations.release(slot, self.key),
        }
    }
}
