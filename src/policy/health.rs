//! Active health checks, in Envoy's words: each endpoint's own word on its health.
//!
//! An endpoint gets no calls after so many bad responses in a row. It gets them again after so many good ones. The
//! supervisor asks; workers only read the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::HealthChecks;

/// Health of a cluster's endpoints, for all workers to read. All are healthy until a health check says otherwise.
#[derive(Debug)]
pub struct SharedHealth {
    endpoints: Box<[Arc<Fitness>]>,
    failures: Arc<AtomicU64>,
}

/// Whether one endpoint may get calls.
#[derive(Debug, Default)]
pub struct Fitness {
    unhealthy: AtomicBool,
}

impl Fitness {
    /// Whether the endpoint may get calls.
    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Sets whether the endpoint may get calls.
    pub fn set(&self, healthy: bool) {
        self.unhealthy.store(!healthy, Ordering::Relaxed);
    }
}

impl SharedHealth {
    /// Health of so many endpoints.
    pub fn new(endpoints: usize) -> Arc<Self> {
        Arc::new(Self {
            endpoints: (0..endpoints).map(|_| Arc::default()).collect(),
            failures: Arc::default(),
        })
    }

    /// The health of the cluster with other endpoints. For each of them, `kept` is its position here, if it had one.
    pub fn next(&self, kept: &[Option<usize>]) -> Arc<Self> {
        let health =
            |kept: &Option<usize>| kept.map_or_else(Arc::default, |at| Arc::clone(&self.endpoints[at]));
        let failures = Arc::clone(&self.failures);
        Arc::new(Self { endpoints: kept.iter().map(health).collect(), failures })
    }

    /// Whether an endpoint may get calls.
    pub fn is_healthy(&self, endpoint: usize) -> bool {
        self.endpoints[endpoint].is_healthy()
    }

    /// The health of one endpoint.
    pub fn of(&self, endpoint: usize) -> &Arc<Fitness> {
        &self.endpoints[endpoint]
    }

    /// Where bad responses are counted, and those that never came.
    pub fn failures(&self) -> &Arc<AtomicU64> {
        &self.failures
    }

    /// How many may not.
    pub fn unhealthy(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| !endpoint.is_healthy()).count()
    }
}

/// Judges one endpoint by its responses in a row.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    unhealthy_threshold: u32,
    healthy_threshold: u32,
    healthy: bool,
    /// Responses in a row that contradict `healthy`.
    against: u32,
}

impl Judge {
    /// A judge of an endpoint that is `healthy` so far.
    pub fn new(settings: &HealthChecks, healthy: bool) -> Self {
        let HealthChecks { unhealthy_threshold, healthy_threshold, .. } = *settings;
        Self { unhealthy_threshold, healthy_threshold, healthy, against: 0 }
    }

    /// Notes a response. Tells whether the endpoint is healthy from now on, if that has changed.
    pub fn record(&mut self, well: bool) -> Option<bool> {
        if well == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let threshold = if self.healthy { self.unhealthy_threshold } else { self.healthy_threshold };
        if self.against < threshold {
            return None;
        }
        (self.healthy, self.against) = (well, 0);
        Some(well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::time::Duration;

    fn settings(unhealthy_threshold: u32, healthy_threshold: u32) -> HealthChecks {
        let second = Duration::from_secs(1);
        let service = String::new();
        HealthChecks { interval: second, timeout: second, unhealthy_threshold, healthy_threshold, service }
    }

    #[test]
    fn only_so_many_in_a_row_change_what_is_held_of_an_endpoint() {
        let mut judge = Judge::new(&settings(3, 2), true);
        let answers = [
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
            (true, None),
        ];
        for (at, (well, changed)) in answers.into_iter().enumerate() {
            assert_eq!(judge.record(well), changed, "answer {at}");
        }
    }

    #[test]
    fn one_that_was_held_to_be_unhealthy_needs_only_good_answers() {
        let mut judge = Judge::new(&settings(3, 2), false);
        assert_eq!([false, true, true, true].map(|well| judge.record(well)), [None, None, Some(true), None]);
    }

    /// Endpoints that are ill and well by turns, responses of which some say the wrong thing, and now and then a judge
    /// that takes over from another one. At each step what is held of an endpoint is what the last responses say, and
    /// workers read just that.
    #[test]
    fn no_order_of_answers_leaves_an_endpoint_misjudged() {
        const ENDPOINTS: usize = 5;
        for seed in 0..20 {
            let mut random = Random::seeded(seed);
            let thresholds = (1 + random.below(4), 1 + random.below(4));
            let settings = settings(thresholds.0, thresholds.1);
            let mut health = SharedHealth::new(ENDPOINTS);
            let mut judges = [(); ENDPOINTS].map(|()| Judge::new(&settings, true));
            // The health by the rule, and the responses in a row against it.
            let mut held = [(true, 0_u32); ENDPOINTS];
            let mut changes = 0;
            for _ in 0..20_000 {
                let at = random.below(ENDPOINTS as u32) as usize;
                if random.below(500) == 0 {
                    // A reload: the endpoints come in another order, and one of the judges begins anew.
                    let first = random.below(ENDPOINTS as u32) as usize;
                    let kept: Vec<Option<usize>> =
                        (0..ENDPOINTS).map(|at| Some((at + first) % ENDPOINTS)).collect();
                    health = health.next(&kept);
                    judges.rotate_left(first);
                    held.rotate_left(first);
                    judges[at] = Judge::new(&settings, health.is_healthy(at));
                    held[at].1 = 0;
                }
                let well = random.below(100) < [90, 35][at % 2];
                if let Some(healthy) = judges[at].record(well) {
                    health.of(at).set(healthy);
                    changes += 1;
                }
                let (healthy, against) = held[at];
                let against = if well == healthy { 0 } else { against + 1 };
                let threshold = if healthy { thresholds.0 } else { thresholds.1 };
                held[at] = if against == threshold { (well, 0) } else { (healthy, against) };
                assert_eq!(health.is_healthy(at), held[at].0, "seed {seed}");
                assert_eq!(
                    health.unhealthy(),
                    held.iter().filter(|(healthy, _)| !healthy).count(),
                    "seed {seed}"
                );
            }
            assert!(changes > 100, "seed {seed}: {changes}");
        }
    }

    #[test]
    fn workers_read_what_was_said_and_it_stays_when_endpoints_change() {
        let health = SharedHealth::new(3);
        health.of(1).set(false);
        assert_eq!(([0, 1, 2].map(|at| health.is_healthy(at)), health.unhealthy()), ([true, false, true], 1));
        let next = health.next(&[None, Some(2), Some(1)]);
        assert_eq!([0, 1, 2].map(|at| next.is_healthy(at)), [true, true, false]);
        health.of(1).set(true);
        assert_eq!((health.unhealthy(), next.unhealthy()), (0, 0));
    }
}
