//! Where the time of one call goes: each moment of it belongs to one stage. The clock is read for it only where a call goes
//! on to another stage, where somebody wants to know, and where it was not read just now anyway.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use crate::metrics::record::{STAGE_NAMES, Stage};
use crate::time::Moment;

/// The time of one call.
pub(super) struct Ledger {
    /// None as long as nobody wants to know.
    worker: Option<Rc<Worker>>,
    began: Moment,
    stage: Cell<Stage>,
    since: Cell<Moment>,
    /// Nanoseconds.
    spent: [Cell<u64>; STAGE_NAMES.len()],
    /// The answer says it.
    told: bool,
}

impl Ledger {
    /// Of a call that has begun now.
    pub(super) fn new(began: Moment) -> Ledger {
        let (worker, spent) = Default::default();
        Ledger { worker, began, stage: Cell::new(Stage::Queue), since: Cell::new(began), spent, told: false }
    }

    /// Somebody wants to know; the time so far was that of [`Stage::Queue`].
    pub(super) fn keep(&mut self, worker: &Rc<Worker>) {
        self.worker.get_or_insert_with(|| Rc::clone(worker));
    }

    /// The caller wants to know, too.
    pub(super) fn tell(&mut self, worker: &Rc<Worker>) {
        self.keep(worker);
        self.told = true;
    }

    /// The call goes on to this stage, if it is not in it already.
    pub(super) fn enter(&self, stage: Stage) {
        if self.stage.get() == stage {
            return;
        }
        if let Some(worker) = &self.worker {
            self.enter_at(stage, worker.clock.now());
        }
    }

    /// The same, by a clock that was read just now for something else.
    pub(super) fn enter_at(&self, stage: Stage, now: Moment) {
        if self.worker.is_some() && self.stage.get() != stage {
            self.spend(now);
            self.stage.set(stage);
        }
    }

    /// What it does since the last step was in truth this.
    pub(super) fn was(&self, stage: Stage) {
        self.stage.set(stage);
    }

    fn spend(&self, now: Moment) {
        let spent = &self.spent[self.stage.get() as usize];
        spent.set(spent.get() + nanos(self.since.get(), now));
        self.since.set(now);
    }

    /// A moment of the call, as microseconds after its beginning.
    pub(super) fn moment_us(&self, moment: Moment) -> u32 {
        // The largest number means that there is none.
        micros(nanos(self.began, moment)).min(u32::MAX - 1)
    }

    /// The call is over. Microseconds of each stage; zeros if nobody wanted to know.
    pub(super) fn end(&self, now: Moment) -> [u32; STAGE_NAMES.len()] {
        if self.worker.is_some() {
            self.spend(now);
        }
        std::array::from_fn(|at| micros(self.spent[at].get()))
    }

    /// The value of `server-timing` (W3C), if the answer is to have it: milliseconds of each stage so far, which in a head is not all of them.
    pub(super) fn value(&self) -> Option<String> {
        let now = self.worker.as_ref().filter(|_| self.told)?.clock.now();
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

/// Done at each step of a call, where integers cost less than durations.
fn nanos(from: Moment, to: Moment) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1000).unwrap_or(u32::MAX)
}
