//! Resets that wait, for their service may not have looked at the streams yet.
//!
//! Servers on hyper end a connection, and with it the calls of strangers, over 20 streams that were reset before the
//! service accepted them. A service accepts streams in their order, so an answer on one says that all before it were
//! accepted. Few of the others may be reset at a time.

use std::collections::VecDeque;
use std::time::Duration;

use super::frame::ErrorCode;
use crate::time::Moment;

/// Streams younger than this are not reset yet, unless their service has answered.
const YOUNG: Duration = Duration::from_millis(20);

/// Resets of streams that were perhaps not accepted, at once: half of those that hyper allows.
const UNSEEN_MAX: usize = 10;

/// A service accepts a stream within this time, or is ill. Until its reset leaves, a stream takes a place on the
/// connection.
const WINDOW: Duration = Duration::from_millis(100);

/// Resets that wait at most. The peer counts their streams as open, so its bound holds, too.
const WAITING_MAX: usize = 1024;

/// A reset that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldReset {
    pub(super) stream: u32,
    pub(super) code: ErrorCode,
    opened: Moment,
    due: Moment,
}

/// The resets of one connection to a service.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// The next that is due comes first.
    waiting: VecDeque<HeldReset>,
    /// Resets of streams that were perhaps not accepted, and when they were sent.
    unseen: VecDeque<(u32, Moment)>,
    /// The highest stream that the service has answered.
    answered: u32,
}

impl Resets {
    /// Resets that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The service has answered a stream, read of its body, or reset it.
    #[inline]
    pub(super) fn answered(&mut self, stream: u32) {
        self.answered = self.answered.max(stream);
    }

    /// Whether a stream is to be reset at `now`. If not, the reset waits here.
    pub(super) fn admit(&mut self, stream: u32, code: ErrorCode, opened: Moment, now: Moment) -> bool {
        let old = opened.plus(YOUNG);
        if self.waiting.len() >= WAITING_MAX || (old <= now && self.take(stream, opened, now)) {
            return true;
        }
        let due = if old <= now { now.plus(YOUNG) } else { old };
        let after = self.waiting.iter().rposition(|held| held.due <= due);
        self.waiting.insert(after.map_or(0, |at| at + 1), HeldReset { stream, code, opened, due });
        false
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.waiting.front().map(|held| held.due)
    }

    /// The next one that is to be sent at `now`.
    pub(super) fn next(&mut self, now: Moment) -> Option<HeldReset> {
        while let Some(held) = self.waiting.front().copied()
            && held.due <= now
        {
            self.waiting.pop_front();
            if self.take(held.stream, held.opened, now) {
                return Some(held);
            }
            self.waiting.push_back(HeldReset { due: now.plus(YOUNG), ..held });
        }
        None
    }

    /// Whether one more stream may be reset; it is counted then.
    fn take(&mut self, stream: u32, opened: Moment, now: Moment) -> bool {
        if stream <= self.answered || opened.plus(WINDOW) <= now {
            return true;
        }
        let answered = self.answered;
        self.unseen.retain(|(stream, at)| *stream > answered && now < at.plus(WINDOW));
        let has_room = self.unseen.len() < UNSEEN_MAX;
        if has_room {
            self.unseen.push_back((stream, now));
        }
        has_room
    }

    /// Holds at any time.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.waiting.iter().is_sorted_by_key(|held| held.due));
        assert!(self.unseen.len() <= UNSEEN_MAX && self.waiting.len() <= WAITING_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000)
    }

    fn due(resets: &mut Resets, now: Moment) -> Vec<u32> {
        let all = std::iter::from_fn(|| resets.next(now)).map(|held| held.stream).collect();
        resets.check();
        all
    }

    fn cancelled(resets: &mut Resets, streams: impl Iterator<Item = u32>, opened: u64, now: u64) -> Vec<u32> {
        streams.filter(|stream| resets.admit(*stream, ErrorCode::CANCEL, ms(opened), ms(now))).collect()
    }

    #[test]
    fn a_service_that_accepts_nothing_gets_few_resets_of_young_streams() {
        let mut resets = Resets::default();
        // Streams 1 to 59, none young.
        let sent = cancelled(&mut resets, (1..60).step_by(2), 0, 50);
        assert_eq!(sent, (1..20).step_by(2).collect::<Vec<_>>());
        assert_eq!((resets.len(), resets.next_due()), (20, Some(ms(70))));
        for at in (70..100).step_by(10) {
            assert!(due(&mut resets, ms(at)).is_empty(), "{at}");
        }
        // By then it has accepted them, or is ill.
        assert_eq!(due(&mut resets, ms(110)), (21..60).step_by(2).collect::<Vec<_>>());
        assert_eq!((resets.len(), resets.next_due()), (0, None));
    }

    #[test]
    fn an_answer_says_that_all_streams_before_it_were_accepted() {
        let mut resets = Resets::default();
        cancelled(&mut resets, (1..60).step_by(2), 0, 50);
        resets.answered(31);
        // Those up to 31 count no more, and ten above it may be reset.
        assert_eq!(due(&mut resets, ms(70)), (21..52).step_by(2).collect::<Vec<_>>());
        resets.answered(101);
        assert_eq!(due(&mut resets, ms(90)), [53, 55, 57, 59]);
        assert_eq!(cancelled(&mut resets, (61..100).step_by(2), 0, 150).len(), 20);
    }

    #[test]
    fn young_streams_wait_and_so_many_and_no_more() {
        let mut resets = Resets::default();
        resets.answered(u32::MAX);
        assert_eq!(cancelled(&mut resets, (1..3_000).step_by(2), 100, 119).len(), 1_500 - WAITING_MAX);
        assert_eq!((due(&mut resets, ms(119)).len(), due(&mut resets, ms(120)).len()), (0, WAITING_MAX));
    }
}
