//! The calls of one worker, as futures in slots that are used again and again.
//!
//! A task for each call would be an allocation for each call. Here a slot keeps its memory and its waker when a call
//! ends, so that in steady state beginning and ending a call allocates nothing. One task of the loop runs all calls
//! that were woken; a new call is polled at once, by whoever begins it.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use crate::net::Local;

/// Slots whose wake-ups share one word.
const GROUP: usize = 64;

/// The calls of one worker; `F` is the future of one call.
pub(super) struct Calls<F> {
    local: Rc<Local>,
    slots: RefCell<Vec<Slot<F>>>,
    free: RefCell<Vec<usize>>,
    groups: RefCell<Vec<Arc<Group>>>,
    runner: Arc<Runner>,
}

struct Slot<F> {
    /// Taken out while it is polled, so that a call may begin another one.
    future: Option<Pin<Box<Option<F>>>>,
    waker: Rc<Waker>,
}

/// Which of 64 slots have been woken.
struct Group {
    woken: AtomicU64,
    runner: Arc<Runner>,
}

/// The task that runs woken calls.
#[derive(Default)]
struct Runner {
    scheduled: AtomicBool,
    task: OnceLock<Waker>,
}

struct SlotWaker {
    group: Arc<Group>,
    bit: u64,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.group.woken.fetch_or(self.bit, Ordering::Relaxed);
        let runner = &self.group.runner;
        if !runner.scheduled.load(Ordering::Relaxed)
            && let Some(task) = runner.task.get()
        {
            runner.scheduled.store(true, Ordering::Relaxed);
            task.wake_by_ref();
        }
    }
}

impl<F: Future<Output = ()>> Calls<F> {
    /// No calls yet.
    pub(super) fn new(local: Rc<Local>) -> Rc<Calls<F>> {
        Rc::new(Calls {
            local,
            slots: RefCell::default(),
            free: RefCell::default(),
            groups: RefCell::default(),
            runner: Arc::default(),
        })
    }

    /// Begins a call: polls it once now, and from then on whenever it is woken.
    pub(super) fn begin(&self, call: F) {
        let free = self.free.borrow_mut().pop();
        let index = free.unwrap_or_else(|| self.add_slot());
        let mut future = self.slots.borrow_mut()[index].future.take().expect("a free slot has its memory");
        future.as_mut().set(Some(call));
        self.poll(index, future);
    }

    /// Wakes every call.
    pub(super) fn wake_all(&self) {
        for slot in self.slots.borrow().iter() {
            slot.waker.wake_by_ref();
        }
    }

    /// Runs woken calls for ever.
    pub(super) async fn run(self: Rc<Self>) {
        poll_fn(|cx| {
            let _ = self.runner.task.set(cx.waker().clone());
            self.local.touch();
            self.run_woken();
            Poll::<()>::Pending
        })
        .await;
    }

    fn run_woken(&self) {
        self.runner.scheduled.store(false, Ordering::Relaxed);
        let mut number = 0;
        loop {
            let Some(group) = self.groups.borrow().get(number).cloned() else { return };
            // What a call wakes while it runs comes in the next turn, so that none can hold the worker.
            let mut woken = group.woken.swap(0, Ordering::Relaxed);
            while woken != 0 {
                let index = number * GROUP + woken.trailing_zeros() as usize;
                woken &= woken - 1;
                // A slot may be woken once more after its call has ended, or while it is polled further up the stack.
                let taken = self.slots.borrow_mut()[index].future.take();
                match taken {
                    Some(future) if future.is_some() => self.poll(index, future),
                    idle => self.slots.borrow_mut()[index].future = idle,
                }
            }
            number += 1;
        }
    }

    fn poll(&self, index: usize, mut future: Pin<Box<Option<F>>>) {
        let waker = Rc::clone(&self.slots.borrow()[index].waker);
        let mut cx = Context::from_waker(&waker);
        let call = future.as_mut().as_pin_mut().expect("polled only while there is a call");
        let polled = catch_unwind(AssertUnwindSafe(|| call.poll(&mut cx)));
        let ended = match polled {
            Ok(poll) => poll.is_ready(),
            Err(_) => {
                // The call's handles are dropped below, which resets it on both sides.
                self.local.counts().panics.add(1);
                true
            }
        };
        if ended {
            future.as_mut().set(None);
        }
        self.slots.borrow_mut()[index].future = Some(future);
        if ended {
            self.free.borrow_mut().push(index);
        }
    }

    fn add_slot(&self) -> usize {
        let mut slots = self.slots.borrow_mut();
        let index = slots.len();
        if index.is_multiple_of(GROUP) {
            let group = Group { woken: AtomicU64::new(0), runner: Arc::clone(&self.runner) };
            self.groups.borrow_mut().push(Arc::new(group));
        }
        let group = Arc::clone(&self.groups.borrow()[index / GROUP]);
        let waker = Rc::new(Waker::from(Arc::new(SlotWaker { group, bit: 1 << (index % GROUP) })));
        slots.push(Slot { future: Some(Box::pin(None)), waker });
        index
    }
}

impl<F> fmt::Debug for Calls<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("slots", &self.slots.borrow().len()).finish_non_exhaustive()
    }
}
