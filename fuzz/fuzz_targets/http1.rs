//! Requests of HTTP/1.1, and headers of the PROXY protocol: `cargo +nightly fuzz run http1 fuzz/inputs/http1`.
#![no_main]

#[path = "../../tests/it/fuzzed/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::http1(bytes));
