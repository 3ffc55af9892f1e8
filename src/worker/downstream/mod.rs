//! The clients' side: listeners, connections, and the protocols that clients speak.
//!
//! [`accept`] takes connections, [`transfer`] decides which worker serves each,
//! [`detect`] tells HTTP/2 from HTTP/1.1 by the first bytes, and [`http2`] or
//! [`http1`] makes calls of requests.

pub(in crate::worker) mod accept;
pub(in crate::worker) mod buffered;
pub(in crate::worker) mod client;
pub(in crate::worker) mod content_lengths;
pub(in crate::worker) mod detect;
pub(in crate::worker) mod h1_body;
pub(in crate::worker) mod h1_bridge;
mod held;
pub(in crate::worker) mod http1;
pub(in crate::worker) mod http2;
pub(in crate::worker) mod listener;
pub(in crate::worker) mod listeners;
mod proxy_protocol;
pub(in crate::worker) mod transfer;
