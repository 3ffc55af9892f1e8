//! The wire format of gRPC: headers and frames, read and written.
//!
//! Pure functions over bytes. Source of all of it: gRPC `doc/PROTOCOL-HTTP2.md`, and `doc/PROTOCOL-WEB.md` for the
//! web.

pub mod authz;
pub mod binary;
pub mod connect;
pub mod content;
pub mod frame;
pub mod message;
pub mod messages;
pub mod path;
pub mod proxy_protocol;
pub mod timeout;
pub mod trace_context;
pub mod web;
