//! The guard of a worker against more calls than it can take.
//!
//! Two things tell: how many calls it has, and how late its loop is, that is, how long something that happens now waits
//! until the worker comes to it. The worker ticks every few milliseconds, and what is asked after a tick was due and has
//! not come waits as long as that. One long turn says nothing. A loop that is late at every tick for `interval` has a
//! queue that does not get shorter (a standing queue, in the words of CoDel, RFC 8289); from then on each turn takes
//! what it comes to in time and refuses the rest, until a tick is in time again. Refusing is cheap, so the turns get
//! shorter, and the calls that are taken get their responses while somebody still waits for them.

use std::time::Duration;

use crate::config;
use crate::time::Moment;

/// Of so many calls, one is taken however late it is. A worker may need all its time to read requests, and would
/// otherwise respond to none of them.
const ALWAYS: u32 = 32;

/// A worker's guard against more than it can do.
#[derive(Debug, Default)]
pub struct Overload {
    /// The moment of the next tick.
    due: Moment,
    /// The moment since which every tick was late.
    late_since: Option<Moment>,
    /// The last tick that was.
    late_at: Moment,
    /// Calls that came late.
    late: u32,
}

/// The verdict on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The call is taken.
    Take,
    /// The call is refused: it would be one more than `max_active_calls`.
    TooMany,
    /// The call is refused: the loop has been behind by more than `max_loop_delay` for long.
    TooLate,
}

impl Overload {
    /// Notes a tick, and the moment of the next.
    ///
    /// Something may wake the worker's tick before its time. That says nothing in a turn that has begun with a tick that
    /// was late.
    pub fn record_tick(&mut self, settings: &config::Overload, now: Moment, next: Moment) {
        let max = settings.max_loop_delay.unwrap_or(Duration::MAX);
        if max < now.since(self.due) {
            self.late_since.get_or_insert(now);
            self.late_at = now;
        } else if self.due <= now || max < now.since(self.late_at) {
            self.late_since = None;
        }
        self.due = next;
    }

    /// Asks for a further call; `active` counts the calls with this one.
    pub fn admit(&mut self, settings: &config::Overload, active: u64, now: Moment) -> Verdict {
        if u64::from(settings.max_active_calls) < active {
            return Verdict::TooMany;
        }
        let Some(since) = self.late_since else { return Verdict::Take };
        let in_time = settings.max_loop_delay.is_none_or(|max| now.since(self.due) <= max);
        if in_time || now.since(since) < settings.interval {
            return Verdict::Take;
        }
        self.late = self.late.wrapping_add(1);
        if self.late.is_multiple_of(ALWAYS) { Verdict::Take } else { Verdict::TooLate }
    }
}

#[cfg(test)]
mod tests;
