//! The policies that workers share by hand-made atomics, with loom's atomics in place of the standard library's.
//!
//! The folders beside this file are links to `src/`, so the code here is the code of the gateway. Only
//! `policy::atomic` is another one. `./check.sh loom` runs the models of `tests/`.
#![allow(dead_code, missing_docs)]

pub mod config {
    mod codes;
    mod resilience;

    pub use codes::Codes;
    pub use resilience::{Breaker, OutlierDetection, RateLimit, SlowStart};
}

pub mod policy {
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    }
    pub mod breaker;
    pub mod failure;
    pub mod limit;
    pub mod outcome;
    pub mod outlier;
    pub mod rate;
    pub mod status;
}

pub mod random;
pub mod time;
