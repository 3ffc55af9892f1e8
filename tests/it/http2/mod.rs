//! HTTP/2: our engine against other engines and hostile bytes, and both sides of the gateway that speak it.

mod bytes;
mod clients;
mod differential;
mod interop;
mod keepalive;
mod misbehaving;
mod slow_upstream;
mod unix;
mod upstream;
