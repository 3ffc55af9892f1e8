//! A tally of calls: how they ended and how long they took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::policy::status::Code;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With this gRPC status; an HTTP response with 2xx counts as OK.
    Answered(Code),
    /// With this HTTP status and no gRPC status.
    Http(u16),
    /// With its connection, or it had none.
    Lost,
    /// It took longer than the caller waited.
    TimedOut,
}

impl Ending {
    /// Whether the call did what it was for.
    pub fn is_ok(self) -> bool {
        self == Ending::Answered(Code::Ok)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Answered(code) => f.write_str(code.name()),
            Ending::Http(status) => write!(f, "HTTP {status}"),
            Ending::Lost => f.write_str("connection lost"),
            Ending::TimedOut => f.write_str("timed out"),
        }
    }
}

/// The longest latency that is told apart.
const LONGEST: Duration = Duration::from_secs(120);
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Ends and latencies of many calls.
#[derive(Clone, Debug)]
pub struct Tally {
    latencies: Histogram<u64>,
    /// How often each end was met.
    pub endings: BTreeMap<Ending, u64>,
    /// Bytes that went out on the wire.
    pub sent: u64,
    /// Bytes that came in on the wire.
    pub received: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let longest = nanos(LONGEST);
        let latencies =
            Histogram::new_with_bounds(1, longest, DIGITS).expect("bounds and digits are allowed ones");
        Tally { latencies, endings: BTreeMap::new(), sent: 0, received: 0 }
    }
}

impl Tally {
    /// Counts one call.
    pub fn record(&mut self, ending: Ending, took: Duration) {
        self.latencies.saturating_record(nanos(took).max(1));
        *self.endings.entry(ending).or_default() += 1;
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Tally) {
        self.latencies.add(&other.latencies).expect("all tallies have the same bounds");
        for (ending, count) in &other.endings {
            *self.endings.entry(*ending).or_default() += count;
        }
        self.sent += other.sent;
        self.received += other.received;
    }

    /// How many calls there are.
    pub fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// Calls that did not end well.
    pub fn errors(&self) -> u64 {
        self.endings.iter().filter(|(ending, _)| !ending.is_ok()).map(|(_, count)| count).sum()
    }

    /// Their share of all.
    pub fn error_rate(&self) -> f64 {
        if self.calls() == 0 { 0.0 } else { self.errors() as f64 / self.calls() as f64 }
    }

    /// The latency that the share `q` of all calls stayed at or below.
    pub fn quantile(&self, q: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(q))
    }

    /// The longest latency.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.latencies.max())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for millis in 1..=99 {
            one.record(Ending::Answered(Code::Ok), Duration::from_millis(millis));
        }
        other.record(Ending::Http(404), Duration::from_secs(500));
        one.merge(&other);
        assert_eq!((one.calls(), one.errors(), one.error_rate()), (100, 1, 0.01));
        let half = one.quantile(0.5).as_secs_f64();
        assert!((0.050..0.0501).contains(&half), "{half}");
        assert!(one.max() >= LONGEST, "longer than the longest counts as the longest");
        assert_eq!(Tally::default().error_rate(), 0.0);
    }

    #[test]
    fn ends_have_names() {
        let ends = [Ending::Answered(Code::NotFound), Ending::Http(502), Ending::Lost, Ending::TimedOut];
        let names = ends.map(|end| end.to_string());
        assert_eq!(names, ["NOT_FOUND", "HTTP 502", "connection lost", "timed out"]);
        assert!(ends.iter().all(|end| !end.is_ok()) && Ending::Answered(Code::Ok).is_ok());
    }
}
