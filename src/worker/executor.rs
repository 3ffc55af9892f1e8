//! The calls of one worker, as futures in slots that are used again and again.
//!
//! A task for each call would be an allocation for each call. Here a slot keeps its memory and its waker when a call
//! ends. So in steady state beginning and ending a call allocates nothing. One task of the loop runs all woken calls.
//! New calls are first polled when their connection has read all bytes that came. So the code that reads heads runs for
//! all of them, then the code that routes and sends. Each stays in the processor's cache.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use crate::metrics::labels::Task;
use crate::net::Local;

/// Slots whose wake-ups share one word.
const GROUP: usize = 64;

/// The calls of one worker; `F` is the future of one call.
pub(super) struct CallExecutor<F> {
    local: Rc<Local>,
    slots: RefCell<Vec<Slot<F>>>,
    free: RefCell<Vec<usize>>,
    /// Calls that have begun and have not been polled yet.
    spawned: RefCell<Vec<usize>>,
    groups: RefCell<Vec<Arc<Group>>>,
    runner: Arc<Runner>,
}

struct Slot<F> {
    /// Taken out while it is polled.
    future: Option<Pin<Box<Option<F>>>>,
    waker: Rc<Waker>,
}

/// The woken slots among 64.
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

impl<F: Future<Output = ()>> CallExecutor<F> {
    /// An executor without calls.
    pub(super) fn new(local: Rc<Local>) -> Rc<CallExecutor<F>> {
        Rc::new(CallExecutor {
            local,
            slots: RefCell::default(),
            free: RefCell::default(),
            spawned: RefCell::default(),
            groups: RefCell::default(),
            runner: Arc::default(),
        })
    }

    /// Begins a call: [`CallExecutor::poll_spawned`] polls it, and from then on each wake-up.
    pub(super) fn spawn(&self, call: F) {
        let free = self.free.borrow_mut().pop();
        let index = free.unwrap_or_else(|| self.add_slot());
        let mut slots = self.slots.borrow_mut();
        let future = slots[index].future.as_mut().expect("a free slot has its memory");
        future.as_mut().set(Some(call));
        self.spawned.borrow_mut().push(index);
    }

    /// Polls the calls that have begun since the last call of this, in their order.
    pub(super) fn poll_spawned(&self) {
        // None of these calls begins another one.
        let mut spawned = std::mem::take(&mut *self.spawned.borrow_mut());
        for index in spawned.drain(..) {
            let future = self.slots.borrow_mut()[index].future.take();
            self.poll(index, future.expect("nobody polls it yet"));
        }
        *self.spawned.borrow_mut() = spawned;
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
            // Calls that a call wakes while it runs come in the next turn, so that none can hold the worker.
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
        // After a panic the call's handles are dropped below, which resets it on both sides.
        let ended = self.contained(|| call.poll(&mut cx)).is_none_or(|poll| poll.is_ready());
        if ended {
            // A value is replaced even if dropping the old one panics, so the slot is empty in any case.
            self.contained(|| future.as_mut().set(None));
        }
        self.slots.borrow_mut()[index].future = Some(future);
        if ended {
            self.free.borrow_mut().push(index);
        }
    }

    /// Runs a part of one call. A panic in it is counted, and ends nothing but that call.
    fn contained<T>(&self, part: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(part));
        if result.is_err() {
            self.local.counts().panics.add(Task::Call as usize);
        }
        result.ok()
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

impl<F> fmt::Debug for CallExecutor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallExecutor").field("slots", &self.slots.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::time::Moment;

    /// A call that does as it is told, and notes how often it is polled.
    #[derive(Clone, Default)]
    struct ScriptedCall(Rc<Orders>);

    #[derive(Default)]
    struct Orders {
        polls: Cell<u32>,
        dropped: Cell<bool>,
        ends: Cell<bool>,
        panics: Cell<bool>,
        panics_when_dropped: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }

    struct Call(ScriptedCall);

    impl Future for Call {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let orders = &self.0.0;
            orders.polls.set(orders.polls.get() + 1);
            *orders.waker.borrow_mut() = Some(cx.waker().clone());
            assert!(!orders.panics.get(), "as told");
            if orders.ends.get() { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    impl Drop for Call {
        fn drop(&mut self) {
            self.0.0.dropped.set(true);
            assert!(!self.0.0.panics_when_dropped.get(), "as told");
        }
    }

    impl ScriptedCall {
        fn wake(&self) {
            self.0.waker.borrow().as_ref().expect("it has been polled").wake_by_ref();
        }

        /// How often it was polled, and whether it is over.
        fn seen(&self) -> (u32, bool) {
            (self.0.polls.get(), self.0.dropped.get())
        }
    }

    fn calls() -> Rc<CallExecutor<Call>> {
        CallExecutor::new(Local::new(Arc::default(), Moment::ZERO))
    }

    /// Begins so many calls that wait.
    fn begin(calls: &CallExecutor<Call>, count: usize) -> Vec<ScriptedCall> {
        let spawned = (0..count).map(|_| {
            let told = ScriptedCall::default();
            calls.spawn(Call(told.clone()));
            assert_eq!(told.seen(), (0, false));
            told
        });
        let spawned = spawned.collect();
        calls.poll_spawned();
        spawned
    }

    /// Polls the runner, which leaves its waker, and runs the woken calls.
    fn turn(runner: Pin<&mut impl Future<Output = ()>>) {
        assert!(runner.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn a_call_is_polled_when_it_has_begun_and_whenever_it_is_woken() {
        let calls = calls();
        let mut runner = std::pin::pin!(Rc::clone(&calls).run());
        let all = begin(&calls, 3 * GROUP + 1);
        turn(runner.as_mut());
        assert!(all.iter().all(|told| told.seen() == (1, false)));
        let (woken, others) = all.split_last().expect("there are some");
        woken.wake();
        turn(runner.as_mut());
        assert_eq!(woken.seen(), (2, false));
        assert!(others.iter().all(|told| told.seen() == (1, false)));
        calls.wake_all();
        turn(runner.as_mut());
        assert!(others.iter().all(|told| told.seen() == (2, false)));
        assert_eq!(woken.seen(), (3, false));
    }

    #[test]
    fn a_slot_is_used_again_and_its_late_wake_ups_hurt_nobody() {
        let calls = calls();
        let mut runner = std::pin::pin!(Rc::clone(&calls).run());
        for round in 0..3 {
            let told = begin(&calls, 1).remove(0);
            told.0.ends.set(true);
            told.wake();
            turn(runner.as_mut());
            assert_eq!(told.seen(), (2, true), "{round}");
            told.wake();
            turn(runner.as_mut());
            assert_eq!(told.seen(), (2, true), "{round}");
        }
        assert_eq!(calls.slots.borrow().len(), 1);
    }

    #[test]
    fn a_panic_ends_its_own_call_alone_and_is_counted() {
        // Whether the call panics when it is polled and when it is dropped, and what is counted.
        for (polled, dropped, counted) in [(true, false, 1), (false, true, 1), (true, true, 2)] {
            let calls = calls();
            let mut runner = std::pin::pin!(Rc::clone(&calls).run());
            let all = begin(&calls, 3);
            let orders = &all[1].0;
            orders.ends.set(true);
            orders.panics.set(polled);
            orders.panics_when_dropped.set(dropped);
            calls.wake_all();
            turn(runner.as_mut());
            assert_eq!(calls.local.counts().panics.get(), counted);
            let seen: Vec<_> = all.iter().map(ScriptedCall::seen).collect();
            assert_eq!(seen, [(2, false), (2, true), (2, false)]);

            let next = begin(&calls, 1).remove(0);
            calls.wake_all();
            turn(runner.as_mut());
            let seen: Vec<_> = all.iter().chain([&next]).map(ScriptedCall::seen).collect();
            assert_eq!(seen, [(3, false), (2, true), (3, false), (2, false)]);
            assert_eq!(calls.slots.borrow().len(), 3, "the slot is used again");
        }
    }
}
