//! A worker without a kernel: clients, the gateway and scripted services in one thread, from one seed, in virtual time.
//!
//! The worker's code is the one that runs in production, over the memory transport of
//! [`net::memory`](crate::net::memory). Read [`play`] first: it plays a seed, and judges it. [`timing`], [`outages`] and
//! [`load`] hold promises about time exactly, [`fleet`] what several workers share; [`rude`] bounds what rude peers cost
//! others. [`secure`] plays with TLS on both sides.

mod ages;
mod client;
mod fleet;
mod gateway;
mod ledger;
mod load;
mod outages;
mod peer;
mod play;
mod rude;
mod scene;
mod secure;
mod service;
mod text;
mod timing;
