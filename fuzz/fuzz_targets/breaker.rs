//! Calls through a breaker: `cargo +nightly fuzz run breaker fuzz/inputs/breaker`.
#![no_main]

#[path = "../../tests/it/fuzzed/policies.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::breaker(bytes));
