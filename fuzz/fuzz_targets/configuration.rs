//! Configurations: `cargo +nightly fuzz run configuration fuzz/inputs/configuration`.
#![no_main]

#[path = "../../tests/it/fuzzed/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::configuration(bytes));
