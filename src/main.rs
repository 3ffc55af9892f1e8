//! The `ringway` program. All of it is in the library; see `cli.rs`.

use std::process::ExitCode;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

fn main() -> ExitCode {
    ringway::cli::main()
}
