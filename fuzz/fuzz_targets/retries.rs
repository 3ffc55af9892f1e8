//! Calls with retries and a budget: `cargo +nightly fuzz run retries fuzz/inputs/retries`.
#![no_main]

#[path = "../../tests/it/fuzzed/policies.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::retries(bytes));
