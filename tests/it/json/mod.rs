//! JSON: rules, mapping, descriptors, and calls that are turned into gRPC and back.

mod descriptors;
mod differential;
mod editions;
mod lacking;
mod mapping;
mod memory;
mod mutated;
mod openapi;
pub(crate) mod reflection;
mod reloaded;
mod rules;
mod transcoding;
mod writing;
