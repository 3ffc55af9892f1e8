//! The calls of one worker, as futures in slots that are used again and again.
//!
//! A task for each call would be an allocation for each call. Here a slot keeps its future, which serves one call after
//! the other ([`Inbox`]), and its waker. So in steady state beginning and ending a call allocates nothing, and a future,
//! which is large, is never moved. One task of the loop runs all woken calls. New calls are first polled when their
//! connection has read all bytes that came. So the code that reads heads runs for all of them, then the code that routes
//! and sends. Each stays in the processor's cache.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::metrics::labels::Task;
use crate::net::IoContext;
use crate::net::numbered::{self, Numbered};

/// Slots whose wake-ups share one word.
const GROUP: usize = 64;

/// The calls of one worker. `C` is what a call begins with, `F` the future of a slot.
pub(super) struct CallExecutor<C, F> {
    local: Rc<IoContext>,
    /// Makes the future of a slot.
    serve: fn(Inbox<C>) -> F,
    slots: RefCell<Vec<Slot<C, F>>>,
    free: RefCell<Vec<usize>>,
    /// Calls that have begun and have not been polled yet.
    spawned: RefCell<Vec<usize>>,
    woken: Rc<Woken>,
}

struct Slot<C, F> {
    /// Taken out while it is polled.
    future: Option<Pin<Box<F>>>,
    inbox: Inbox<C>,
}

/// Where the future of a slot takes its calls from.
pub(super) struct Inbox<C>(Rc<State<C>>);

struct State<C> {
    next: Cell<Option<C>>,
    /// All calls so far are over.
    is_idle: Cell<bool>,
}

impl<C> Inbox<C> {
    fn new() -> Inbox<C> {
        Inbox(Rc::new(State { next: Cell::new(None), is_idle: Cell::new(true) }))
    }

    /// Waits for the next call. Who asks for it is done with the one before.
    pub(super) async fn next(&self) -> C {
        poll_fn(|_| match self.0.next.take() {
            Some(call) => Poll::Ready(call),
            None => {
                self.0.is_idle.set(true);
                Poll::Pending
            }
        })
        .await
    }

    fn put(&self, call: C) {
        self.0.is_idle.set(false);
        self.0.next.set(Some(call));
    }

    fn is_idle(&self) -> bool {
        self.0.is_idle.get()
    }

    fn share(&self) -> Inbox<C> {
        Inbox(Rc::clone(&self.0))
    }
}

thread_local! {
    /// The woken slots of the executors of this thread. There is one, but in simulations.
    static EXECUTORS: RefCell<Vec<Option<Rc<Woken>>>> = const { RefCell::new(Vec::new()) };
}

/// The woken slots of one executor.
#[derive(Default)]
struct Woken {
    /// The executor's place among those of this thread.
    place: usize,
    /// A bit for each slot.
    slots: RefCell<Vec<u64>>,
    /// The task that runs woken calls, and whether it was woken for that.
    task: RefCell<Option<Waker>>,
    is_scheduled: Cell<bool>,
}

/// Slots of all executors of this thread: the executor's place in the upper half, the slot's in the lower one.
struct Slots;

impl Numbered for Slots {
    fn wake(number: usize) {
        let _ = EXECUTORS.try_with(|all| {
            if let Some(Some(woken)) = all.borrow().get(number >> HALF) {
                woken.wake(number & ((1 << HALF) - 1));
            }
        });
    }
}

const HALF: u32 = usize::BITS / 2;

impl Woken {
    /// Those of a new executor of this thread.
    fn register() -> Rc<Woken> {
        EXECUTORS.with_borrow_mut(|all| {
            let place = all.iter().position(Option::is_none).unwrap_or(all.len());
            let woken = Rc::new(Woken { place, ..Woken::default() });
            all.resize(all.len().max(place + 1), None);
            all[place] = Some(Rc::clone(&woken));
            woken
        })
    }

    fn wake(&self, slot: usize) {
        if let Some(group) = self.slots.borrow_mut().get_mut(slot / GROUP) {
            *group |= 1 << (slot % GROUP);
        }
        if !self.is_scheduled.get()
            && let Some(task) = &*self.task.borrow()
        {
            self.is_scheduled.set(true);
            task.wake_by_ref();
        }
    }

    fn waker(&self, slot: usize) -> Waker {
        numbered::waker::<Slots>(self.place << HALF | slot)
    }
}

impl<C, F> Drop for CallExecutor<C, F> {
    fn drop(&mut self) {
        let _ = EXECUTORS.try_with(|all| all.borrow_mut()[self.woken.place] = None);
    }
}

impl<C, F: Future<Output = Infallible>> CallExecutor<C, F> {
    /// An executor without calls. `serve` makes a future that serves one call of its inbox after the other.
    pub(super) fn new(local: Rc<IoContext>, serve: fn(Inbox<C>) -> F) -> Rc<CallExecutor<C, F>> {
        Rc::new(CallExecutor {
            local,
            serve,
            slots: RefCell::default(),
            free: RefCell::default(),
            spawned: RefCell::default(),
            woken: Woken::register(),
        })
    }

    /// Begins a call: [`CallExecutor::poll_spawned`] polls it, and from then on each wake-up.
    pub(super) fn spawn(&self, call: C) {
        let free = self.free.borrow_mut().pop();
        let index = free.unwrap_or_else(|| self.add_slot());
        self.slots.borrow()[index].inbox.put(call);
        self.spawned.borrow_mut().push(index);
    }

    /// Polls the calls that have begun since the last call of this, in their order.
    pub(super) fn poll_spawned(&self) {
        // None of these calls begins another one.
        let mut spawned = std::mem::take(&mut *self.spawned.borrow_mut());
        for index in spawned.drain(..) {
            self.poll(index);
        }
        *self.spawned.borrow_mut() = spawned;
    }

    /// Wakes every call.
    pub(super) fn wake_all(&self) {
        for index in 0..self.slots.borrow().len() {
            self.woken.wake(index);
        }
    }

    /// Runs woken calls for ever.
    pub(super) async fn run(self: Rc<Self>) {
        poll_fn(|cx| {
            self.woken.task.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            self.run_woken();
            Poll::<()>::Pending
        })
        .await;
    }

    fn run_woken(&self) {
        self.woken.is_scheduled.set(false);
        let groups = self.woken.slots.borrow().len();
        for group in 0..groups {
            // Calls that a call wakes while it runs come in the next turn, so that none can hold the worker.
            let mut woken = std::mem::take(&mut self.woken.slots.borrow_mut()[group]);
            while woken != 0 {
                self.poll(group * GROUP + woken.trailing_zeros() as usize);
                woken &= woken - 1;
            }
        }
    }

    /// Polls the call of a slot. It may have been woken once more after the call has ended, or while it is polled further up
    /// the stack.
    fn poll(&self, index: usize) {
        let mut slots = self.slots.borrow_mut();
        let Slot { future, inbox } = &mut slots[index];
        if inbox.is_idle() {
            return;
        }
        let Some(mut future) = future.take() else { return };
        drop(slots);
        let waker = self.woken.waker(index);
        let mut cx = Context::from_waker(&waker);
        match self.contained(|| future.as_mut().poll(&mut cx)) {
            Some(_) => self.slots.borrow_mut()[index].future = Some(future),
            None => {
                // The call's handles were dropped, which resets it on both sides. The future serves no more.
                self.contained(|| drop(future));
                self.slots.borrow_mut()[index] = self.new_slot();
            }
        }
        if self.slots.borrow()[index].inbox.is_idle() {
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
            self.woken.slots.borrow_mut().push(0);
        }
        slots.push(self.new_slot());
        index
    }

    fn new_slot(&self) -> Slot<C, F> {
        let inbox = Inbox::new();
        Slot { future: Some(Box::pin((self.serve)(inbox.share()))), inbox }
    }
}

impl<C, F> fmt::Debug for CallExecutor<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallExecutor").field("slots", &self.slots.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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

    type Calls = CallExecutor<Call, Pin<Box<dyn Future<Output = Infallible>>>>;

    fn calls() -> Rc<Calls> {
        CallExecutor::new(IoContext::new(Arc::default(), Moment::ZERO), |inbox| {
            Box::pin(async move {
                loop {
                    inbox.next().await.await;
                }
            })
        })
    }

    /// Begins so many calls that wait.
    fn begin(calls: &Calls, count: usize) -> Vec<ScriptedCall> {
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
        // Whether the call panics when it is polled, or when it is dropped.
        for (polled, dropped) in [(true, false), (false, true)] {
            let calls = calls();
            let mut runner = std::pin::pin!(Rc::clone(&calls).run());
            let all = begin(&calls, 3);
            let orders = &all[1].0;
            orders.ends.set(true);
            orders.panics.set(polled);
            orders.panics_when_dropped.set(dropped);
            calls.wake_all();
            turn(runner.as_mut());
            assert_eq!(calls.local.counts().panics.get(), 1);
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
