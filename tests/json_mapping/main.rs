//! JSON into messages, beside prost-reflect: each text is read by both, and both must mean the same or refuse it.
//!
//! Names of cases are those of protobuf's conformance suite where it has the case.

mod allocations;
mod binding;
mod cases;
mod differences;
mod errors;
mod mutations;
mod reference;
mod refused;

#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;
