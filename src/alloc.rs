//! Counts allocations: how many each thread makes, to hold that the way of a request makes none of ours; and how many
//! are live, to see that nothing is leaked. A sample shows where they come from.
//!
//! Nothing is counted unless a program installs [`Counting`] or [`CountingOver`] as its global allocator: the binary
//! does, and so do the tests that hold the figures.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "only a test that asked for samples ever takes the lock")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that count for themselves alone, without a bus lock; later ones share the last slot.
const SLOTS: usize = 256;

/// The counts of one thread. Slots are never given back, so that nothing is forgotten with a thread.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    made: Count,
    freed: Count,
}

#[derive(Debug)]
struct Count {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

static ALL: [Slot; SLOTS] = [const { Slot { made: Count::new(), freed: Count::new() } }; SLOTS];
/// Slots that have an owner.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The thread's slot; none is taken before its first allocation.
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Whether this thread is taking a sample, which allocates too.
    static SAMPLING: Cell<bool> = const { Cell::new(false) };
    /// Whether it is a worker's, once that was asked.
    static IS_WORKER: Cell<Option<bool>> = const { Cell::new(None) };
}

impl Count {
    const fn new() -> Count {
        Count { blocks: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    #[inline]
    fn add(&self, bytes: usize, alone: bool) {
        for (counter, n) in [(&self.blocks, 1), (&self.bytes, bytes as u64)] {
            if alone {
                counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            } else {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }
}

/// The slot of the calling thread.
#[inline]
fn mine() -> usize {
    // A thread that is about to end may have no slot any more.
    match MINE.try_with(Cell::get) {
        Ok(slot) if slot < SLOTS => slot,
        Ok(_) => take_slot(),
        Err(_) => SLOTS - 1,
    }
}

#[cold]
#[inline(never)]
fn take_slot() -> usize {
    let slot = TAKEN.fetch_add(1, Ordering::Relaxed).min(SLOTS - 1);
    let _ = MINE.try_with(|mine| mine.set(slot));
    slot
}

/// Memory that is allocated and not freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Allocations.
    pub blocks: u64,
    /// Their bytes, as they were asked for.
    pub bytes: u64,
}

/// Memory of all threads together that is not freed; exact when they are at rest. `None` if nothing is counted.
pub fn live() -> Option<Live> {
    let sum = |of: fn(&Slot) -> &AtomicU64| {
        ALL.iter().fold(0_u64, |sum, slot| sum.wrapping_add(of(slot).load(Ordering::Relaxed)))
    };
    // Frees are read first, so that no free is seen before its allocation.
    let freed = (sum(|slot| &slot.freed.blocks), sum(|slot| &slot.freed.bytes));
    let made = (sum(|slot| &slot.made.blocks), sum(|slot| &slot.made.bytes));
    let live = Live { blocks: made.0.saturating_sub(freed.0), bytes: made.1.saturating_sub(freed.1) };
    (made.0 > 0).then_some(live)
}

/// Every so many allocations of a thread one is sampled; 0 is none.
static EVERY: AtomicU64 = AtomicU64::new(0);
/// How many more samples are wanted.
static WANTED: AtomicUsize = AtomicUsize::new(0);
/// Whether the bytes that workers hold are followed; how many more they are than at first, and the most that they were.
static WATCHED: AtomicBool = AtomicBool::new(false);
static HELD: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);
static SAMPLES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// The system's allocator, with a count for each thread.
#[derive(Debug)]
pub struct Counting;

/// Any allocator, with the same counts.
#[derive(Debug)]
pub struct CountingOver<A>(pub A);

/// Allocations that this thread has made so far; 0 unless they are counted. Threads without a slot of their own, which
/// are those after the first 255, see the sum of all such.
pub fn allocations_of_this_thread() -> u64 {
    ALL[mine()].made.blocks.load(Ordering::Relaxed)
}

/// Bytes that this thread has allocated so far, freed or not; see [`allocations_of_this_thread`].
pub fn bytes_of_this_thread() -> u64 {
    ALL[mine()].made.bytes.load(Ordering::Relaxed)
}

/// From now on notes where every `every`-th allocation of each worker's thread is made, `wanted` in all. For tests:
/// a sample takes a lock and walks the stack.
pub fn sample(every: u64, wanted: usize) {
    WANTED.store(wanted, Ordering::Relaxed);
    EVERY.store(every, Ordering::Relaxed);
}

/// From now on follows the bytes that the workers' threads hold. For tests: all workers write to one cache line.
pub fn watch_workers() {
    WATCHED.store(true, Ordering::Relaxed);
    HELD.store(0, Ordering::Relaxed);
    MOST.store(0, Ordering::Relaxed);
}

/// The most bytes that workers held at once, beyond those when [`watch_workers`] was called; untouched ones count too.
/// A block that grows counts twice while it is moved.
pub fn most_of_workers() -> usize {
    usize::try_from(MOST.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Takes no more samples, and gives those there are.
pub fn take_samples() -> Vec<Backtrace> {
    EVERY.store(0, Ordering::Relaxed);
    std::mem::take(&mut *SAMPLES.lock().unwrap_or_else(PoisonError::into_inner))
}

#[inline]
fn count(bytes: usize) {
    let slot = mine();
    ALL[slot].made.add(bytes, slot < SLOTS - 1);
    if WATCHED.load(Ordering::Relaxed) {
        held(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    let every = EVERY.load(Ordering::Relaxed);
    if every != 0 {
        note(every);
    }
}

#[inline]
fn count_freed(bytes: usize) {
    let slot = mine();
    ALL[slot].freed.add(bytes, slot < SLOTS - 1);
    if WATCHED.load(Ordering::Relaxed) {
        held(-i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// A block of this size was taken, or given back if it is negative.
#[cold]
#[inline(never)]
fn held(bytes: i64) {
    if is_worker() {
        let now = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST.fetch_max(now, Ordering::Relaxed);
    }
}

fn is_worker() -> bool {
    let Ok(known) = IS_WORKER.try_with(Cell::get) else { return false };
    known.unwrap_or_else(|| {
        // Looking at the name may allocate, which is no worker's then.
        let _ = IS_WORKER.try_with(|known| known.set(Some(false)));
        let is = std::thread::current().name().is_some_and(|name| name.starts_with("worker-"));
        let _ = IS_WORKER.try_with(|known| known.set(Some(is)));
        is
    })
}

#[cold]
#[inline(never)]
fn note(every: u64) {
    let due = allocations_of_this_thread().is_multiple_of(every);
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
// statics, and the cell that says which of them are the thread's needs no destructor. A sample does allocate, and is not taken while one is being taken.
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
        count_freed(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }

    // SAFETY: the contract is that of `A::dealloc`, which the caller keeps.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count_freed(layout.size());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests' own allocator is not one that counts; it is asked here beside it.
    #[test]
    fn what_is_freed_is_not_live() {
        let layout = Layout::from_size_align(100, 8).unwrap();
        let before = live().unwrap_or_default();
        let made = (allocations_of_this_thread(), bytes_of_this_thread());
        // SAFETY: the layout is not empty; the block is freed below, with the layout it was given.
        let block = unsafe { Counting.alloc(layout) };
        assert!(!block.is_null());
        let held = live().expect("it is counted now");
        assert_eq!((held.blocks, held.bytes), (before.blocks + 1, before.bytes + 100));
        // SAFETY: it is the block and its layout; the new size is not zero.
        let block = unsafe { Counting.realloc(block, layout, 300) };
        assert_eq!(live(), Some(Live { blocks: before.blocks + 1, bytes: before.bytes + 300 }));
        // SAFETY: it is the block, and the layout that it has now.
        unsafe { Counting.dealloc(block, Layout::from_size_align(300, 8).unwrap()) };
        assert_eq!(live(), Some(before));
        assert_eq!((allocations_of_this_thread(), bytes_of_this_thread()), (made.0 + 2, made.1 + 400));
    }
}
