//! What access log and traces say of calls, and where the time of a call went.

pub(in crate::worker) mod buffers;
pub(in crate::worker) mod records;
pub(in crate::worker) mod stage_timer;
pub(in crate::worker) mod trace;
