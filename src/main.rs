//! The `ringway` program. All of it is in the library; see [`ringway::cli`].

use std::process::ExitCode;

// glibc grows and trims the heap of a thread with a system call for each step, which a worker should not make. Counting
// costs two additions to the thread's own counters for each allocation.
#[global_allocator]
static ALLOCATOR: ringway::alloc::CountingOver<mimalloc::MiMalloc> =
    ringway::alloc::CountingOver(mimalloc::MiMalloc);

fn main() -> ExitCode {
    ringway::cli::main()
}
