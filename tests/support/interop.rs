//! The generated code of `proto/grpc/testing`.
#![allow(warnings, clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/grpc.testing.rs"));
