//! HTTP/2 without I/O and without a clock (RFC 9113, RFC 7541).

pub mod head;
pub mod hpack;
pub mod name;
