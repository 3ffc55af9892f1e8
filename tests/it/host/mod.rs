//! The host: seccomp profiles, kernels without io_uring, `ringway doctor`.

mod doctor;
mod no_io_uring;
mod sandbox;
