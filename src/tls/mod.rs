//! TLS: certificates and rules from files ([`ServerContext`], [`ClientContext`]), and the records of one connection
//! ([`Session`]). The only module that knows rustls.
//!
//! A context is made by the control side, and shared by all workers. A session belongs to one connection; `net::secure`
//! moves its bytes. The unbuffered interface of the library is used: it holds no buffers while a connection is idle.

mod certificate;
mod client;
mod contexts;
mod key_log;
mod params;
mod problem;
mod record_keys;
mod server;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod tickets;
mod verify;

pub use certificate::CertificateInfo;
pub use client::{ClientContext, ServerName};
pub use contexts::{ClusterContext, Contexts, Hosts, files};
pub use problem::{Problem, SessionError};
pub use record_keys::forget_unused_keys;
pub use server::ServerContext;
pub use session::{Alpn, Facts, Progress, RECORD_OVERHEAD, RECORD_PAYLOAD, Session};
