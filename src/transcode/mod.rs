//! Between HTTP/JSON and protobuf, by the descriptors of the services.
//!
//! `descriptors.rs` gathers files into a pool, `api.rs` compiles and checks what they say about HTTP, `openapi.rs`
//! describes it to people. A [`plan::Schema`] is made once, too: each message becomes a table. All workers read them;
//! nothing on the way of a call looks at a descriptor again: `rules.rs` finds the rule for its path, `read.rs` turns
//! JSON into wire bytes, `write.rs` wire bytes into JSON.

mod annotation;
pub mod api;
pub mod bind;
mod binding;
pub mod coding;
mod comments;
pub mod connect;
pub mod descriptors;
mod editions;
mod fields;
pub mod http_body;
pub mod oneof;
pub mod openapi;
pub mod options;
pub mod plan;
pub mod problem;
pub mod query;
pub mod read;
pub mod rule;
pub mod rules;
mod service_config;
mod sound;
pub mod split;
pub mod status;
pub mod template;
pub mod unescape;
pub mod wire;
pub mod write;
