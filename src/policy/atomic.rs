//! The atomics of what workers share. In `loom/`, the models of these policies, loom's stand in their place.

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
