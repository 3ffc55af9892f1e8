//! JSON in front of gRPC: from descriptors and their `google.api.http` rules to a table that a worker only reads.
//!
//! `descriptors.rs` gathers the files, `api.rs` compiles and checks them, `rules.rs` finds the rule for a path,
//! `openapi.rs` describes all of it to people. Whatever can be wrong is found here, before a call arrives.

pub mod descriptors;
pub mod problem;
pub mod rules;
pub mod template;
