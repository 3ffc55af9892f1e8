//! Large values in boxes that their thread uses again.
//!
//! A head of a call is some 350 bytes, and is moved from place to place a
//! dozen times on its way through: in frames, each as large as the largest
//! kind, and in their queues. Held, only a pointer moves; once a thread has
//! boxes enough, nothing is allocated for it.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// How many free boxes of each type a thread keeps. In a burst of more heads
/// than this, the rest are allocated.
pub(crate) const KEPT: usize = 256;

/// A box, and nothing in it while it is free.
pub(crate) type Free<T> = Box<Option<T>>;

/// What is kept in such boxes.
pub(crate) trait Hold: Sized {
    /// Calls `f` with the free boxes of this thread, unless the thread ends.
    fn free<R>(f: impl FnOnce(&mut Vec<Free<Self>>) -> R) -> Option<R>;
}

/// Gives types their lists of free boxes; statics cannot be generic.
macro_rules! hold {
    ($($held:ty),*) => {$(
        impl crate::held::Hold for $held {
            fn free<R>(f: impl FnOnce(&mut Vec<crate::held::Free<Self>>) -> R) -> Option<R> {
                thread_local! {
                    static FREE: std::cell::RefCell<Vec<crate::held::Free<$held>>> =
                        const { std::cell::RefCell::new(Vec::new()) };
                }
                FREE.try_with(|free| f(&mut free.borrow_mut())).ok()
            }
        }
    )*};
}
pub(crate) use hold;

/// A value that is moved as a pointer.
#[derive(PartialEq, Eq)]
pub struct Held<T: Hold>(
    /// Is `None` only within `drop` and `into_inner`.
    Option<Free<T>>,
);

impl<T: Hold> Held<T> {
    pub(crate) fn new(value: T) -> Self {
        match T::free(Vec::pop).flatten() {
            Some(mut free) => {
                *free = Some(value);
                Held(Some(free))
            }
            None => Held(Some(Box::new(Some(value)))),
        }
    }

    pub(crate) fn into_inner(mut self) -> T {
        let mut held = self.0.take().expect("is held");
        let value = held.take().expect("is held");
        give(held);
        value
    }
}

fn give<T: Hold>(free: Free<T>) {
    T::free(|list| {
        if list.len() < KEPT {
            list.push(free);
        }
    });
}

impl<T: Hold> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(mut held) = self.0.take() {
            // Not with the list at hand: what is dropped may hold others.
            *held = None;
            give(held);
        }
    }
}

impl<T: Hold> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let held = self.0.as_deref().and_then(Option::as_ref);
        held.expect("is held")
    }
}

impl<T: Hold> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        let held = self.0.as_deref_mut().and_then(Option::as_mut);
        held.expect("is held")
    }
}

impl<T: Hold + fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Value(Vec<u8>);

    hold!(Value);

    fn at(held: &Held<Value>) -> *const Value {
        &**held
    }

    #[test]
    fn boxes_are_used_again() {
        let held = Held::new(Value(vec![1]));
        let first = at(&held);
        assert_eq!(held.into_inner(), Value(vec![1]));
        let held = Held::new(Value(vec![2]));
        assert_eq!(at(&held), first);
        drop(held);
        assert_eq!(at(&Held::new(Value(vec![3]))), first);
    }

    #[test]
    fn so_many_are_kept() {
        let all: Vec<_> = (0..2 * KEPT).map(|_| Held::new(Value(vec![]))).collect();
        drop(all);
        assert_eq!(Value::free(|list| list.len()), Some(KEPT));
    }
}
