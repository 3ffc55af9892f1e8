//! What people measure a gateway with: loads, comparisons, checks and advice.
//!
//! None of this is on the way of a call. Read `load/mod.rs` first: a load, how it is made and what it may claim.

pub mod ab;
pub mod advise;
pub mod compare;
pub mod interval;
pub mod load;
pub mod load_test;
pub mod report;
pub mod scrape;
pub mod service;
pub mod show;
pub mod stage;
pub mod usage;
pub mod verify;
