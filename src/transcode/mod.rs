//! Between HTTP/JSON and protobuf, by the descriptors of the services.
//!
//! A [`plan::Schema`] is made once, when the descriptors are loaded: each message becomes a table. All workers read it;
//! nothing on the way of a call looks at a descriptor again.

pub mod bind;
pub mod http_body;
pub mod options;
pub mod plan;
pub mod query;
pub mod read;
pub mod split;
pub mod wire;
pub mod write;
