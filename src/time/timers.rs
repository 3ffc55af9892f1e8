//! A timing wheel: one per worker, for every deadline of its calls and connections.
//!
//! Arming, disarming and firing take constant time and allocate nothing once the wheel has grown to its working size.
//! The wheel reads no clock: the worker advances it. A timer fires at the first advance at or after its moment, never
//! before; the worker's tick is what bounds the delay.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use super::Moment;

/// The width of a slot.
pub const TICK: Duration = Duration::from_millis(5);

/// Slots in the wheel. Timers further away than all of them together stay in their slot for more rounds.
const SLOTS: usize = 1024;

/// The end of a slot's list.
const NONE: u32 = u32::MAX;

/// All timers of one worker.
pub struct Timers {
    wheel: RefCell<Wheel>,
    now: Cell<Moment>,
    armed: Cell<usize>,
    fired: Cell<u64>,
    tick: RefCell<Option<Tick>>,
}

/// The worker's tick, asleep.
struct Tick {
    /// It is to be told of timers that fire before this moment.
    until: Moment,
    /// The worker had nothing to do: the next call wakes it.
    is_idle: bool,
    waker: Waker,
}

struct Wheel {
    entries: Slab<Entry>,
    /// The first entry of each slot.
    heads: Box<[u32]>,
}

struct Entry {
    at: Moment,
    state: State,
    links: Links,
    waker: Option<Waker>,
}

/// The place of an armed entry in the list of its slot.
#[derive(Clone, Copy)]
struct Links {
    slot: u16,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Armed,
    Fired,
}

/// A timer; dropping it disarms it.
pub struct Timer {
    timers: Rc<Timers>,
    key: u32,
}

impl Timers {
    /// A wheel that stands at `now`.
    pub fn new(now: Moment) -> Rc<Timers> {
        let wheel = Wheel { entries: Slab::new(), heads: vec![NONE; SLOTS].into_boxed_slice() };
        Rc::new(Timers {
            wheel: RefCell::new(wheel),
            now: Cell::new(now),
            armed: Cell::new(0),
            fired: Cell::new(0),
            tick: RefCell::new(None),
        })
    }

    /// The moment of the last advance: a clock that costs nothing and is late by at most the worker's tick.
    pub fn now(&self) -> Moment {
        self.now.get()
    }

    /// How many timers are armed.
    pub fn armed(&self) -> usize {
        self.armed.get()
    }

    /// How many timers have fired so far.
    pub fn fired(&self) -> u64 {
        self.fired.get()
    }

    /// A timer that is not armed.
    pub fn timer(self: &Rc<Self>) -> Timer {
        let links = Links { slot: 0, previous: NONE, next: NONE };
        let entry = Entry { at: Moment::ZERO, state: State::Idle, links, waker: None };
        let key = self.wheel.borrow_mut().entries.insert(entry);
        let key = u32::try_from(key).expect("far fewer timers than 2^32");
        Timer { timers: Rc::clone(self), key }
    }

    /// The tick sleeps until `until`. A timer that is armed to fire before wakes it; so does [`Timers::stir`], if the
    /// worker is idle.
    pub fn wake_when_armed(&self, until: Moment, is_idle: bool, tick: &Waker) {
        *self.tick.borrow_mut() = Some(Tick { until, is_idle, waker: tick.clone() });
    }

    /// A call or a connection begins at `now`. The coarse clock, which may have stood still, is set to that; an idle
    /// worker's tick wakes. True if the worker was idle.
    pub fn stir(&self, now: Moment) -> bool {
        let mut tick = self.tick.borrow_mut();
        let Some(Tick { until, is_idle, .. }) = &*tick else { return false };
        let (is_long, is_idle) = (now.plus(TICK) < *until, *is_idle);
        if is_idle && let Some(tick) = tick.take() {
            tick.waker.wake();
        }
        drop(tick);
        if is_long {
            self.advance(now);
        }
        is_idle
    }

    /// The moment of the first timer. Looks at each of them, so it is for a worker that has nothing else to do.
    pub fn next_due(&self) -> Option<Moment> {
        let wheel = self.wheel.borrow();
        let armed = wheel.entries.iter().filter(|(_, entry)| entry.state == State::Armed);
        armed.map(|(_, entry)| entry.at).min()
    }

    /// Fires timers that are due. `now` must not go back.
    pub fn advance(&self, now: Moment) {
        let before = slot_number(self.now.get());
        let after = slot_number(now);
        self.now.set(now);
        if self.armed.get() == 0 {
            return;
        }
        // The slot that was current may have got timers since, so it is looked at again.
        let count = (after.saturating_sub(before) + 1).min(SLOTS as u64);
        let mut wheel = self.wheel.borrow_mut();
        for number in after + 1 - count..=after {
            self.fire_slot(&mut wheel, slot_index(number), now);
        }
    }

    fn fire_slot(&self, wheel: &mut Wheel, slot: usize, now: Moment) {
        let mut key = wheel.heads[slot];
        while key != NONE {
            let Entry { at, links, .. } = *wheel.entry(key);
            if at <= now {
                wheel.unlink(links);
                self.armed.set(self.armed.get() - 1);
                self.fired.set(self.fired.get() + 1);
                let entry = wheel.entry(key);
                entry.state = State::Fired;
                if let Some(waker) = &entry.waker {
                    waker.wake_by_ref();
                }
            }
            key = links.next;
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("now", &self.now).field("armed", &self.armed).finish_non_exhaustive()
    }
}

impl Timer {
    /// Fires at `at`, in place of any earlier setting, and wakes `waker` then.
    pub fn arm(&self, at: Moment, waker: &Waker) {
        let timers = &*self.timers;
        let mut wheel = timers.wheel.borrow_mut();
        let Entry { state, links, .. } = *wheel.entry(self.key);
        if state == State::Armed {
            wheel.unlink(links);
        } else {
            timers.armed.set(timers.armed.get() + 1);
        }
        // A moment that has passed already goes into the current slot, which the next advance looks at.
        let slot = slot_index(slot_number(at.max(timers.now.get())));
        let entry = wheel.entry(self.key);
        entry.at = at;
        entry.state = State::Armed;
        match &mut entry.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        wheel.link(self.key, slot);
        if let Some(tick) = timers.tick.borrow_mut().take_if(|tick| at < tick.until) {
            tick.waker.wake();
        }
    }

    /// Disarms it, until it is armed again.
    pub fn disarm(&self) {
        let mut wheel = self.timers.wheel.borrow_mut();
        let Entry { state, links, .. } = *wheel.entry(self.key);
        if state == State::Armed {
            wheel.unlink(links);
            self.timers.armed.set(self.timers.armed.get() - 1);
        }
        wheel.entry(self.key).state = State::Idle;
    }

    /// Whether it has fired since it was armed.
    pub fn fired(&self) -> bool {
        self.timers.wheel.borrow_mut().entry(self.key).state == State::Fired
    }

    /// Whether it is armed and has not fired.
    pub fn is_armed(&self) -> bool {
        self.timers.wheel.borrow_mut().entry(self.key).state == State::Armed
    }

    /// Waits for `future`, until `at` at the longest; `None` if that passed first.
    pub async fn within<T>(&self, at: Moment, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut armed = false;
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            if !armed {
                armed = true;
                self.arm(at, cx.waker());
            }
            if self.fired() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await;
        self.disarm();
        outcome
    }

    /// The wheel's moment; see [`Timers::now`].
    pub fn now(&self) -> Moment {
        self.timers.now()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut wheel = self.timers.wheel.borrow_mut();
        let entry = wheel.entries.remove(self.key as usize);
        if entry.state == State::Armed {
            wheel.unlink(entry.links);
            self.timers.armed.set(self.timers.armed.get() - 1);
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("armed", &self.is_armed()).field("fired", &self.fired()).finish()
    }
}

impl Wheel {
    #[inline]
    fn entry(&mut self, key: u32) -> &mut Entry {
        &mut self.entries[key as usize]
    }

    fn link(&mut self, key: u32, slot: usize) {
        let first = std::mem::replace(&mut self.heads[slot], key);
        self.entry(key).links = Links { slot: slot as u16, previous: NONE, next: first };
        if first != NONE {
            self.entry(first).links.previous = key;
        }
    }

    fn unlink(&mut self, Links { slot, previous, next }: Links) {
        match previous {
            NONE => self.heads[usize::from(slot)] = next,
            _ => self.entry(previous).links.next = next,
        }
        if next != NONE {
            self.entry(next).links.previous = previous;
        }
    }
}

fn slot_number(at: Moment) -> u64 {
    at.as_nanos() / TICK.as_nanos() as u64
}

fn slot_index(number: u64) -> usize {
    (number % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::random::Random;

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicU32::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn ms(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000)
    }

    #[test]
    fn a_call_wakes_the_tick_of_an_idle_worker_alone_and_moves_the_clock() {
        let timers = Timers::new(ms(0));
        let (woken, waker) = count();
        let count = || woken.0.load(Ordering::Relaxed);
        // Until when the tick sleeps, whether the worker is idle, when a call begins; whether that wakes, and the clock.
        for (until, is_idle, at, wakes, clock) in [
            (1_000, true, 300, 1, 300),
            (400, false, 310, 0, 310),
            (400, false, 320, 0, 320),
            (324, false, 322, 0, 320),
            (324, true, 323, 1, 320),
        ] {
            let before = count();
            timers.wake_when_armed(ms(until), is_idle, &waker);
            assert_eq!(timers.stir(ms(at)), is_idle, "{at}");
            assert_eq!((count() - before, timers.now()), (wakes, ms(clock)), "{at}");
        }
        assert!(!timers.stir(ms(400)));
        assert_eq!((count(), timers.now()), (2, ms(320)), "the tick is awake, and does it itself");
    }

    #[test]
    fn a_timer_fires_once_and_never_early() {
        let timers = Timers::new(ms(7));
        let (woken, waker) = count();
        let timer = timers.timer();
        timer.arm(ms(107), &waker);
        timers.advance(ms(106));
        assert!(!timer.fired() && timer.is_armed());
        timers.advance(ms(107));
        assert!(timer.fired());
        timers.advance(ms(5_000));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(timers.armed(), 0);
    }

    #[test]
    fn a_moment_in_the_past_fires_at_the_next_advance() {
        let timers = Timers::new(ms(1_000));
        let (_, waker) = count();
        let timer = timers.timer();
        timer.arm(ms(3), &waker);
        timers.advance(ms(1_000));
        assert!(timer.fired());
    }

    #[test]
    fn a_dropped_or_disarmed_timer_wakes_nobody() {
        let timers = Timers::new(ms(0));
        let (woken, waker) = count();
        let one = timers.timer();
        let two = timers.timer();
        one.arm(ms(20), &waker);
        two.arm(ms(20), &waker);
        drop(one);
        two.disarm();
        timers.advance(ms(100));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert_eq!(timers.armed(), 0);
    }

    #[test]
    fn arming_again_moves_a_timer() {
        let timers = Timers::new(ms(0));
        let (_, waker) = count();
        let timer = timers.timer();
        timer.arm(ms(20), &waker);
        timer.arm(ms(60_000), &waker);
        timers.advance(ms(59_999));
        assert!(!timer.fired());
        timers.advance(ms(60_000));
        assert!(timer.fired());
    }

    /// Against a plain list: timers of all distances are armed, moved, dropped and fired while the time goes on in
    /// steps from nothing to many rounds of the wheel.
    #[test]
    fn behaves_as_a_list_of_moments_would() {
        let mut random = Random::seeded(11);
        let timers = Timers::new(ms(0));
        let (_, waker) = count();
        let mut live: Vec<(Timer, Moment)> = Vec::new();
        let mut now = ms(0);
        for step in 0..20_000 {
            match random.below(4) {
                0 => {
                    let at = now.plus(Duration::from_micros(u64::from(random.below(20_000_000))));
                    let timer = timers.timer();
                    timer.arm(at, &waker);
                    live.push((timer, at));
                }
                1 if !live.is_empty() => {
                    let index = random.below(live.len() as u32) as usize;
                    live.swap_remove(index);
                }
                _ => {
                    let width = if random.below(50) == 0 { 30_000_000 } else { 20_000 };
                    now = now.plus(Duration::from_micros(u64::from(random.below(width))));
                    timers.advance(now);
                    for (timer, at) in &live {
                        assert_eq!(timer.fired(), *at <= now, "step {step}");
                    }
                    live.retain(|(timer, _)| !timer.fired());
                }
            }
            assert_eq!(timers.armed(), live.len(), "step {step}");
        }
    }
}
