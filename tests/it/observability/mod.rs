//! Tracing, the pages for operators, and the rules that watch the metrics.

mod incidents;
mod metrics;
mod monitoring;
mod operators;
mod tap;
mod tracing;
