//! The time of one call, by stages: each moment of it belongs to one. The clock is read only at a change of stage, and
//! only if the times are wanted. A reading of just now serves again.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use crate::metrics::record::{STAGE_NAMES, Stage};
use crate::time::Moment;
use crate::worker::clock::Clock;

/// Times the stages of one call.
pub(in crate::worker) struct StageTimer {
    /// `None` as long as the times are not wanted.
    clock: Option<Rc<Clock>>,
    began: Moment,
    stage: Cell<Stage>,
    since: Cell<Moment>,
    /// Nanoseconds.
    spent: [Cell<u64>; STAGE_NAMES.len()],
    /// The answer has a `server-timing`.
    told: bool,
}

impl StageTimer {
    /// A timer of a call that has begun now.
    pub(in crate::worker) fn new(began: Moment) -> StageTimer {
        let (clock, spent) = Default::default();
        StageTimer {
            clock,
            began,
            stage: Cell::new(Stage::Queue),
            since: Cell::new(began),
            spent,
            told: false,
        }
    }

    /// Keeps times from now on; the time so far was that of [`Stage::Queue`].
    pub(in crate::worker) fn keep(&mut self, clock: &Rc<Clock>) {
        self.clock.get_or_insert_with(|| Rc::clone(clock));
    }

    /// Keeps times, and puts them into the answer.
    pub(in crate::worker) fn tell(&mut self, clock: &Rc<Clock>) {
        self.keep(clock);
        self.told = true;
    }

    /// Whether times are kept.
    pub(in crate::worker) fn is_kept(&self) -> bool {
        self.clock.is_some()
    }

    /// The present moment, if times are kept.
    pub(in crate::worker) fn now(&self) -> Option<Moment> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    /// Enters a stage, if the call is not in it already.
    pub(in crate::worker) fn enter(&self, stage: Stage) {
        if self.stage.get() == stage {
            return;
        }
        if let Some(clock) = &self.clock {
            self.enter_at(stage, clock.now());
        }
    }

    /// Enters a stage as [`StageTimer::enter`] does, by a clock that was read just now for something else.
    pub(in crate::worker) fn enter_at(&self, stage: Stage, now: Moment) {
        if self.clock.is_some() && self.stage.get() != stage {
            self.spend(now);
            self.stage.set(stage);
        }
    }

    /// Re-labels the current stage: the time since the last `enter` belongs to `stage`.
    pub(in crate::worker) fn reclassify(&self, stage: Stage) {
        self.stage.set(stage);
    }

    fn spend(&self, now: Moment) {
        let spent = &self.spent[self.stage.get() as usize];
        spent.set(spent.get() + nanos(self.since.get(), now));
        self.since.set(now);
    }

    /// A moment of the call, as microseconds after its beginning.
    pub(in crate::worker) fn offset_us(&self, moment: Moment) -> u32 {
        // `u32::MAX` stands for no moment.
        micros(nanos(self.began, moment)).min(u32::MAX - 1)
    }

    /// Ends the last stage. Gives the microseconds of each; zeros if the times were not wanted.
    pub(in crate::worker) fn end(&self, now: Moment) -> [u32; STAGE_NAMES.len()] {
        if self.clock.is_some() {
            self.spend(now);
        }
        std::array::from_fn(|at| micros(self.spent[at].get()))
    }

    /// The value of `server-timing` (W3C), if the answer is to have it: milliseconds of each stage so far. In a head
    /// that is not all of them.
    pub(in crate::worker) fn value(&self) -> Option<String> {
        let now = self.clock.as_ref().filter(|_| self.told)?.now();
        let mut text = String::with_capacity(160);
        for (at, name) in STAGE_NAMES.iter().enumerate() {
            let mut spent = Duration::from_nanos(self.spent[at].get());
            if at == self.stage.get() as usize {
                spent += now.since(self.since.get());
            }
            write_part(&mut text, name, spent);
        }
        write_part(&mut text, "total", now.since(self.began));
        Some(text)
    }
}

fn write_part(text: &mut String, name: &str, spent: Duration) {
    let comma = if text.is_empty() { "" } else { ", " };
    // Writing to a String cannot fail.
    let _ = write!(text, "{comma}{name};dur={:.3}", spent.as_secs_f64() * 1000.0);
}

/// Integers, for this runs at each step of a call, and they cost less than durations.
fn nanos(from: Moment, to: Moment) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1000).unwrap_or(u32::MAX)
}
