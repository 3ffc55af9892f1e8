//! Counts allocations, and shows where they come from, to hold that the way of a request makes none of ours.
//!
//! Nothing is counted unless a program installs [`Counting`] as its global allocator: the binary does when it is built
//! with the feature `count-allocations`, and so do the tests that hold the figure.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "only a test that asked for samples ever takes the lock")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread is taking a sample, which allocates too.
    static SAMPLING: Cell<bool> = const { Cell::new(false) };
}

/// Every so many allocations of a thread one is sampled; 0 is none.
static EVERY: AtomicU64 = AtomicU64::new(0);
/// How many more samples are wanted.
static WANTED: AtomicUsize = AtomicUsize::new(0);
static SAMPLES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// The system's allocator, with a count for each thread.
#[derive(Debug)]
pub struct Counting;

/// Any allocator, with the same counts.
#[derive(Debug)]
pub struct CountingOver<A>(pub A);

/// Allocations that this thread has made so far; 0 unless [`Counting`] is installed.
pub fn allocations_of_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes that this thread has allocated so far, freed or not; 0 unless [`Counting`] is installed.
pub fn bytes_of_this_thread() -> u64 {
    BYTES.with(Cell::get)
}

/// From now on notes where every `every`-th allocation of each worker's thread is made, `wanted` in all. For tests:
/// a sample takes a lock and walks the stack.
pub fn sample(every: u64, wanted: usize) {
    WANTED.store(wanted, Ordering::Relaxed);
    EVERY.store(every, Ordering::Relaxed);
}

/// Takes no more samples, and gives those there are.
pub fn take_samples() -> Vec<Backtrace> {
    EVERY.store(0, Ordering::Relaxed);
    std::mem::take(&mut *SAMPLES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn count(bytes: usize) {
    // A thread that is about to end may have no counters any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
    let every = EVERY.load(Ordering::Relaxed);
    if every != 0 {
        note(every);
    }
}

#[cold]
#[inline(never)]
fn note(every: u64) {
    let due = COUNT.try_with(Cell::get).is_ok_and(|count| count.is_multiple_of(every));
    if !due || SAMPLING.try_with(|sampling| sampling.replace(true)).unwrap_or(true) {
        return;
    }
    if std::thread::current().name().is_some_and(|name| name.starts_with("worker-"))
        && WANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    {
        let sample = Backtrace::force_capture();
        SAMPLES.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
    let _ = SAMPLING.try_with(|sampling| sampling.set(false));
}

// WHY UNSAFE: a global allocator is an unsafe trait.
// SAFETY: every call is handed to the allocator below as it is. Counting neither allocates nor panics: the counters are
// plain cells that need no destructor. A sample does allocate, and is not taken while one is being taken.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingOver<A> {
    // SAFETY: the contract is that of `A::alloc`, which the caller keeps.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    // SAFETY: the contract is that of `A::alloc_zeroed`, which the caller keeps.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    // SAFETY: the contract is that of `A::realloc`, which the caller keeps.
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }

    // SAFETY: the contract is that of `A::dealloc`, which the caller keeps.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

// SAFETY: all of it is `CountingOver`'s, over the system's allocator.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the contract is `System::alloc`'s, which the caller keeps.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { CountingOver(System).alloc(layout) }
    }

    // SAFETY: the contract is `System::alloc_zeroed`'s, which the caller keeps.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { CountingOver(System).alloc_zeroed(layout) }
    }

    // SAFETY: the contract is `System::realloc`'s, which the caller keeps.
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { CountingOver(System).realloc(ptr, layout, new_size) }
    }

    // SAFETY: the contract is `System::dealloc`'s, which the caller keeps.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { CountingOver(System).dealloc(ptr, layout) }
    }
}
