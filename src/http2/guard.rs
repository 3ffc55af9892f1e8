//! Bounds on what costs a receiver much, and its sender nothing: floods of resets, pings, settings and the like.
//!
//! Each has a budget of its own, so many a second and twice as many at once. A peer that uses one up is told to calm
//! down, and its connection ends (RFC 9113 section 10.5).

use std::fmt;

use crate::time::Moment;

/// A kind of frames that a peer can send too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flood {
    /// Streams that end by RST_STREAM, sent by the peer or provoked by it (CVE-2023-44487, CVE-2025-8671).
    Resets,
    /// PING (CVE-2019-9512), and a client's answers to those that nobody has sent.
    Pings,
    /// SETTINGS (CVE-2019-9515).
    Settings,
    /// DATA without bytes that does not end a stream (CVE-2019-9518).
    EmptyFrames,
    /// WINDOW_UPDATE.
    WindowUpdates,
    /// PRIORITY (CVE-2019-9513), frames of unknown kinds, and a GOAWAY that says nothing new.
    Priorities,
    /// CONTINUATION frames of one head (CVE-2024-27316).
    Continuations,
    /// Heads with a status of 1xx.
    Interim,
}

impl Flood {
    /// All of them, in the order of their numbers.
    pub const ALL: [Flood; 8] = [
        Flood::Resets,
        Flood::Pings,
        Flood::Settings,
        Flood::EmptyFrames,
        Flood::WindowUpdates,
        Flood::Priorities,
        Flood::Continuations,
        Flood::Interim,
    ];

    /// The name in logs, metrics and the debug data of GOAWAY.
    pub const fn name(self) -> &'static str {
        match self {
            Flood::Resets => "too_many_resets",
            Flood::Pings => "too_many_pings",
            Flood::Settings => "too_many_settings",
            Flood::EmptyFrames => "too_many_empty_frames",
            Flood::WindowUpdates => "too_many_window_updates",
            Flood::Priorities => "too_many_priority_frames",
            Flood::Continuations => "too_many_continuations",
            Flood::Interim => "too_many_interim_responses",
        }
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The allowed rates of a connection, per second; twice as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    pub resets: u32,
    pub pings: u32,
    pub settings: u32,
    pub empty_frames: u32,
    pub window_updates: u32,
    pub priorities: u32,
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets {
            resets: 1_000,
            pings: 100,
            settings: 100,
            empty_frames: 1_000,
            window_updates: 50_000,
            priorities: 1_000,
        }
    }
}

/// The budgets: nanoseconds that are used of the burst of each, which shrink as time passes. A unit costs as many as one takes
/// at the allowed rate.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    used: [u32; 6],
    at: Moment,
}

const SECOND: u32 = 1_000_000_000;

impl Buckets {
    fn take(&mut self, which: usize, per_second: u32, now: Moment) -> bool {
        let passed = u32::try_from(now.since(self.at).as_nanos()).unwrap_or(u32::MAX);
        self.at = self.at.max(now);
        self.used = self.used.map(|used| used.saturating_sub(passed));
        // The burst is what comes in two seconds.
        let cost = SECOND / per_second.max(1);
        let used = &mut self.used[which];
        if *used + cost > 2 * SECOND {
            return false;
        }
        *used += cost;
        true
    }
}

/// The budgets of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    buckets: Buckets,
    /// Payload was sent since the peer's last ping: gRPC measures the bandwidth with a ping for each round trip.
    ping_is_earned: bool,
    /// WINDOW_UPDATE frames that answer payload.
    updates_earned: u32,
}

/// WINDOW_UPDATE frames that a DATA frame may bring: for its stream and for the connection.
const UPDATES_EACH: u32 = 2;

/// The most that may be saved up of them.
const UPDATES_MAX: u32 = 10_000;

impl Guard {
    /// A DATA frame was sent.
    pub(super) fn sent_data(&mut self) {
        self.ping_is_earned = true;
        self.updates_earned = (self.updates_earned + UPDATES_EACH).min(UPDATES_MAX);
    }

    /// Takes a unit of this flood's budget.
    ///
    /// # Errors
    /// When the budget is used up.
    pub(super) fn take(&mut self, flood: Flood, budgets: &Budgets, now: Moment) -> Result<(), Flood> {
        match flood {
            Flood::Pings if std::mem::take(&mut self.ping_is_earned) => return Ok(()),
            Flood::WindowUpdates if self.updates_earned > 0 => {
                self.updates_earned -= 1;
                return Ok(());
            }
            _ => {}
        }
        let per_second = match flood {
            Flood::Resets => budgets.resets,
            Flood::Pings => budgets.pings,
            Flood::Settings => budgets.settings,
            Flood::EmptyFrames => budgets.empty_frames,
            Flood::WindowUpdates => budgets.window_updates,
            Flood::Priorities => budgets.priorities,
            // These are counted within one head or one stream.
            Flood::Continuations | Flood::Interim => return Ok(()),
        };
        if self.buckets.take(flood as usize, per_second, now) { Ok(()) } else { Err(flood) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_nanos(n * 1_000_000)
    }

    #[test]
    fn twice_a_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let budgets = Budgets { resets: 10, ..Budgets::default() };
        let mut guard = Guard::default();
        let mut taken =
            |at: Moment| (0..100).take_while(|_| guard.take(Flood::Resets, &budgets, at).is_ok()).count();
        assert_eq!(taken(ms(5_000)), 20);
        assert_eq!(taken(ms(5_000)), 0);
        assert_eq!(taken(ms(5_100)), 1);
        assert_eq!(taken(ms(5_600)), 5);
        assert_eq!(taken(ms(60_000)), 20);
    }

    #[test]
    fn payload_earns_a_ping_and_two_updates() {
        let budgets = Budgets { pings: 1, window_updates: 1, ..Budgets::default() };
        let mut guard = Guard::default();
        guard.sent_data();
        guard.sent_data();
        for (flood, expected) in [(Flood::Pings, 3), (Flood::WindowUpdates, 6)] {
            let allowed = (0..9).filter(|_| guard.take(flood, &budgets, ms(1)).is_ok()).count();
            assert_eq!(allowed, expected, "{flood}");
        }
    }

    #[test]
    fn each_has_its_own_budget() {
        let budgets = Budgets { pings: 1, ..Budgets::default() };
        let mut guard = Guard::default();
        for flood in Flood::ALL {
            let allowed = (0..3).filter(|_| guard.take(flood, &budgets, ms(1)).is_ok()).count();
            assert_eq!(allowed, if flood == Flood::Pings { 2 } else { 3 }, "{flood}");
        }
    }
}
