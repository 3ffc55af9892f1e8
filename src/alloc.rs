//! Counts allocations, to show that the way of a request makes none of ours.
//!
//! Nothing is counted unless a program installs [`Counting`] as its global allocator: the binary does when it is built
//! with the feature `count-allocations`, and so do the tests that hold the figure.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
#[derive(Debug)]
pub struct Counting;

/// Allocations that this thread has made so far; 0 unless [`Counting`] is installed.
pub fn allocations_of_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes that this thread has allocated so far, freed or not; 0 unless [`Counting`] is installed.
pub fn bytes_of_this_thread() -> u64 {
    BYTES.with(Cell::get)
}

fn count(bytes: usize) {
    // A thread that is about to end may have no counters any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
}

// WHY UNSAFE: a global allocator is an unsafe trait.
// SAFETY: every call is handed to the system's allocator as it is, and counting neither allocates nor panics: the
// counters are plain cells that need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}
