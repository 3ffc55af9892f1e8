//! Between HTTP/JSON and protobuf, by the descriptors of the services.
//!
//! [`descriptors`] gathers files into a pool, [`api`] compiles and checks what they say about HTTP, [`openapi`]
//! describes it to people. A [`plan::Schema`] is made once, too: each message becomes a table. All workers read them;
//! nothing on the way of a call looks at a descriptor again: [`rules`] finds the rule for its path, [`read`] turns
//! JSON into wire bytes, [`mod@write`] wire bytes into JSON.
//!
//! ```
//! use prost_reflect::DescriptorPool;
//! use ringway::config::PrintOptions;
//! use ringway::transcode::plan::Schema;
//! use ringway::transcode::read::{ReadOptions, read};
//! use ringway::transcode::write::write;
//!
//! let schema = Schema::new(&DescriptorPool::global());
//! let id = schema.message_id("google.protobuf.Method").expect("it is in the pool");
//! let mut wire = Vec::new();
//! read(&schema, id, br#"{"name": "Greet", "requestStreaming": true}"#, ReadOptions::default(), &mut wire)?;
//! assert_eq!(wire, b"\x0a\x05Greet\x18\x01");
//!
//! let mut json = Vec::new();
//! write(&schema, id, &wire, &PrintOptions::default(), &mut json).expect("it was read just now");
//! assert_eq!(json, br#"{"name":"Greet","requestStreaming":true}"#);
//! # Ok::<(), ringway::transcode::read::ReadError>(())
//! ```

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
mod nearest;
pub mod oneof;
pub mod openapi;
mod options;
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
