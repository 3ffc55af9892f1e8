//! Sockets and rings: the only module that knows monoio.
//!
//! Above it a connection is a [`BufferedConn`]: bytes that arrived and bytes to be sent, which a protocol takes and stages
//! without ever waiting. [`stream::drive`] moves them between it and the socket.
//! Read [`stream`] first.

mod buffer_ring;
pub mod buffered_conn;
pub mod buffers;
mod current;
mod data_ring;
mod descriptor;
mod epoll;
pub mod ethtool;
mod executor;
mod first_bytes;
pub mod handshakes;
pub mod io_context;
pub mod listener;
#[cfg(test)]
pub(crate) mod memory;
mod message;
pub mod numbered;
mod operations;
mod read_buffer;
mod ready;
#[cfg(test)]
mod required;
pub mod ring;
mod ring_selftest;
pub mod ring_transport;
pub mod runtime;
mod secure;
pub mod socket;
pub mod stream;
pub mod sys;
#[cfg(test)]
mod tests;
mod transport;
pub mod unix_socket;
mod write_buffer;

pub use buffered_conn::BufferedConn;
pub use buffers::Buffers;
pub use io_context::IoContext;
pub use socket::Socket;
