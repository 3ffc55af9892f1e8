//! The `ringway` program. All of it is in the library; see `cli.rs`.

use std::process::ExitCode;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: ringway::alloc::Counting = ringway::alloc::Counting;

// glibc grows and trims the heap of a thread with a system call for each step, which a worker should not make.
#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringway::cli::main()
}
