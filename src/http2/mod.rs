//! HTTP/2 without I/O and without a clock (RFC 9113, RFC 7541), for both ends of a connection.
//!
//! A [`Connection`] is a value: bytes that came go in, bytes to send come out, and its streams change. A [`Session`] is a
//! connection that its calls share; each holds a [`Stream`] of it. Heads are [`head::Head`]s, read and written by
//! [`hpack`]; payloads are slices that are not copied.
//!
//! An error of a stream ends that stream. Strangers share connections to services, so little ends those.

mod bytes;
#[cfg(test)]
mod check;
mod connection;
mod control;
mod data;
mod exchange;
mod flow;
pub mod frame;
pub mod guard;
pub mod head;
mod headers;
pub mod hpack;
mod ids;
mod input;
mod memory;
pub mod name;
mod queue;
mod rare;
mod receive;
mod resets;
mod send;
mod session;
pub mod settings;
mod state;
mod stream_table;
mod streams;
#[cfg(test)]
mod tests;

pub use connection::{Connection, ConnectionError, GoAway, Notes};
pub use exchange::{Incoming, OpenError};
pub use frame::ErrorCode;
pub use head::{Field, Head, Heads};
pub use memory::Memory;
pub use name::Name;
pub use send::Sent;
pub use session::{Session, Stream};
pub use settings::Bounds;
pub use state::{Ending, StreamError};
