//! Descriptors from reflection: `cargo +nightly fuzz run descriptors fuzz/inputs/descriptors`.
#![no_main]

#[path = "../../tests/it/fuzzed/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

// A panic of a library is caught, and becomes a problem: only one that leaves the function is a finding.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| entry::descriptors(bytes));
