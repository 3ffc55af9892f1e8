//! Bounds: calls, connections, rates and memory, and how connections are spread over workers.

mod idle_memory;
mod in_use;
mod rude_memory;
mod spread;
