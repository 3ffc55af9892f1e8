//! Bodies and fields of gRPC-Web, Connect and gRPC: `cargo +nightly fuzz run grpc_web fuzz/inputs/grpc_web`.
#![no_main]

#[path = "../../tests/it/fuzzed/entry.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry::grpc_web(bytes));
