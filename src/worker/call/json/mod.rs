//! Plain HTTP with JSON, for callers that do not speak gRPC.
//!
//! [`open`] finds the method that a request means and turns its head into that of a gRPC call; [`body`] does so with its
//! body, and [`responder::json`](crate::worker::call::responder::json) turns the response back.

pub(in crate::worker) mod body;
pub(in crate::worker) mod prefixes;
pub(in crate::worker) mod request;
pub(in crate::worker) mod transcoder;

pub(in crate::worker) use self::body::{CollectedBody, Stream};
pub(in crate::worker) use self::request::{TranscodedRequest, off, open};
