//! Bytes that pass through a worker without being copied.
//!
//! A [`Pool`] has the buffers that sockets receive into. A [`Slice`] is a counted reference to a part of one of them, or
//! to memory on the heap. An [`Output`] is what one connection sends next: bytes of its own, and slices between them. A
//! payload that arrives on one connection leaves on another from where it was received.

mod output;
mod pool;
mod slice;

pub use output::Output;
pub use pool::{Owner, Pool};
pub use slice::Slice;

/// Where a connection's bytes to send are gathered.
pub trait Sink {
    /// What is to be sent next; to be added to.
    fn output(&self) -> std::cell::RefMut<'_, Output>;

    /// Asks that it be sent at the end of this turn of the loop.
    fn flush(&self);

    /// Asks that the protocol be told when it has been sent.
    fn notify_room(&self);
}
