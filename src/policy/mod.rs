//! Policies: the gateway's decisions, as plain values. You ask a policy with `now`, and you tell it the outcome.
//!
//! No I/O, no clock, no runtime, and nothing a call asks for allocates. Begin with [`failure`], then [`route`].

pub mod adaptive;
pub mod address_counts;
pub mod age;
pub mod api_key;
mod atomic;
pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod caller;
pub mod client_cert;
pub mod connection_balance;
pub mod deadline;
pub mod failure;
pub mod health;
pub mod hedge;
pub mod jwt;
pub mod keyed_rate;
pub mod limit;
pub mod outcome;
pub mod outlier;
pub mod overload;
pub mod peer;
pub mod rate;
pub mod rbac;
pub mod retry;
pub mod route;
pub mod shared_cluster;
pub mod status;
