//! The messages, clients and server traits of the services, generated from `proto/`.
#![allow(missing_docs, unreachable_pub, unused_qualifications, elided_lifetimes_in_paths, clippy::all)]
#![allow(missing_debug_implementations, clippy::pedantic, clippy::unwrap_used, rustdoc::all)]

/// `ringway.demo.auth.v1`
pub mod auth {
    tonic::include_proto!("ringway.demo.auth.v1");
}
/// `ringway.demo.chat.v1`
pub mod chat {
    tonic::include_proto!("ringway.demo.chat.v1");
}
/// `ringway.demo.employee.v1`
pub mod employee {
    tonic::include_proto!("ringway.demo.employee.v1");
}
/// `ringway.demo.structure.v1`
pub mod structure {
    tonic::include_proto!("ringway.demo.structure.v1");
}
