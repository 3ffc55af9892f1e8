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
