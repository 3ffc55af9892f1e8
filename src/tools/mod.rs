//! What people run beside the gateway: diagnosis of the host.

pub mod doctor;
