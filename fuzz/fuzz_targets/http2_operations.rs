//! Operations on two ends of the engine that talk to each other: `cargo +nightly fuzz run http2_operations fuzz/inputs/http2_operations`.
#![no_main]

#[path = "../../tests/it/fuzzed/operations.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::operations(bytes));
