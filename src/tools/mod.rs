//! Tools beside the gateway: loads, comparisons, checks, advice, and the diagnosis of a host.
//!
//! None of this is on the way of a call. Read [`load`] first: a load, how it is made and what it may claim.

pub mod ab;
pub mod advise;
pub mod compare;
pub mod doctor;
pub mod interval;
pub mod load;
pub mod load_test;
pub mod report;
pub mod scrape;
pub mod service;
pub mod show;
pub mod stage;
pub mod tap;
pub mod top;
pub mod usage;
pub mod verify;
