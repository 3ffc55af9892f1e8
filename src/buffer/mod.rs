//! Bytes that pass through a worker without being copied.
//!
//! A [`Pool`] has the buffers that sockets receive into, [`Blocks`] have what the worker writes itself. A [`Slice`] is a
//! counted reference to a part of one of them, or to memory on the heap. An [`Output`] is what one connection sends next: bytes of its own, and slices between them. A
//! payload that arrives on one connection leaves on another from where it was received.

use std::cell::RefMut;

mod blocks;
mod output;
mod pool;
mod slice;

pub use blocks::Blocks;
pub use output::Output;
pub use pool::{Draft, Owner, Pool};
pub use slice::Slice;

/// Where bytes of a connection come from and go to: a socket, or memory in tests.
pub trait Transport {
    /// The next bytes that have come.
    fn next_input(&self) -> Option<Slice>;

    /// Bytes that could not be taken yet. They come first the next time.
    fn put_back(&self, input: Slice);

    /// Bytes that are to be sent next; to be added to.
    fn output(&self) -> RefMut<'_, Output>;

    /// Asks that they be sent at the end of this turn of the loop.
    fn flush(&self);

    /// Asks that the protocol be told when they have been sent.
    fn notify_room(&self);
}
