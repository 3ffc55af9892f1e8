//! JSON to messages and back: `cargo +nightly fuzz run json fuzz/inputs/json`.
#![no_main]

#[path = "../../tests/it/fuzzed/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::json(bytes));
