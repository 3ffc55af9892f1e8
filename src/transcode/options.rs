//! How JSON is printed: what Envoy calls `print_options`, by its names.

pub use crate::config::PrintOptions;
