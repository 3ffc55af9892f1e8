//! Telemetry of calls: records for access log and traces, and the times of a call's stages.

pub(in crate::worker) mod buffers;
pub(in crate::worker) mod records;
pub(in crate::worker) mod stage_timer;
pub(in crate::worker) mod trace;
