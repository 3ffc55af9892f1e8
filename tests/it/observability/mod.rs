//! Tracing, the pages for operators, and the rules that watch the metrics.

mod monitoring;
mod operators;
mod tracing;
