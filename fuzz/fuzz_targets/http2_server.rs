//! A client's bytes, and what we do meanwhile: `cargo +nightly fuzz run http2_server fuzz/inputs/http2`.
#![no_main]

#[path = "../../tests/it/http2/bytes/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::server(bytes));
