//! Wakers that are numbers: making, cloning and dropping one costs nothing. One of the standard library's own making
//! counts its clones atomically, which costs the more the busier a core is.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::without_provenance;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// The receiver of wake-ups by number.
pub trait Numbered {
    /// Wakes the task of this number. A late wake-up may meet a number that is another task's by now, or, on another
    /// thread, none.
    fn wake(number: usize);
}

/// The waker of a number. It is good on the thread that the numbers are of.
#[inline]
pub fn waker<N: Numbered>(number: usize) -> Waker {
    // WHY UNSAFE: see above.
    // SAFETY: nothing is behind the pointer. All four functions take any number, from any thread.
    unsafe { Waker::new(without_provenance(number), &Of::<N>::TABLE) }
}

struct Of<N>(PhantomData<N>);

impl<N: Numbered> Of<N> {
    const TABLE: RawWakerVTable = RawWakerVTable::new(clone::<N>, wake::<N>, wake::<N>, |_| ());
}

fn clone<N: Numbered>(number: *const ()) -> RawWaker {
    RawWaker::new(number, &Of::<N>::TABLE)
}

fn wake<N: Numbered>(number: *const ()) {
    N::wake(number.addr());
}
