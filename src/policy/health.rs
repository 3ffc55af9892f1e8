//! Which endpoints say of themselves that they are well: active health checks, in Envoy's words.
//!
//! So many bad answers in a row and an endpoint gets no calls, so many good ones and it gets them again. Somebody else
//! asks; workers only read the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::HealthChecks;

/// What all workers read of a cluster's endpoints. All are fit until something else is known.
#[derive(Debug)]
pub struct SharedHealth {
    unfit: Box<[AtomicBool]>,
}

impl SharedHealth {
    /// So many endpoints.
    pub fn new(endpoints: usize) -> Arc<Self> {
        Arc::new(Self { unfit: (0..endpoints).map(|_| AtomicBool::new(false)).collect() })
    }

    /// Whether an endpoint may get calls.
    pub fn is_fit(&self, endpoint: usize) -> bool {
        !self.unfit[endpoint].load(Ordering::Relaxed)
    }

    /// Says whether it may.
    pub fn set_fit(&self, endpoint: usize, fit: bool) {
        self.unfit[endpoint].store(!fit, Ordering::Relaxed);
    }

    /// How many may not.
    pub fn unfit(&self) -> usize {
        self.unfit.iter().filter(|unfit| unfit.load(Ordering::Relaxed)).count()
    }
}

/// What the answers of one endpoint come to.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    unhealthy_threshold: u32,
    healthy_threshold: u32,
    fit: bool,
    /// Answers in a row that speak against what is held of it.
    against: u32,
}

impl Judge {
    /// Fit, as far as is known.
    pub fn new(settings: &HealthChecks) -> Self {
        let HealthChecks { unhealthy_threshold, healthy_threshold, .. } = *settings;
        Self { unhealthy_threshold, healthy_threshold, fit: true, against: 0 }
    }

    /// One more answer. Tells whether the endpoint is fit from now on, if that has changed.
    pub fn tell(&mut self, well: bool) -> Option<bool> {
        if well == self.fit {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let threshold = if self.fit { self.unhealthy_threshold } else { self.healthy_threshold };
        if self.against < threshold {
            return None;
        }
        (self.fit, self.against) = (well, 0);
        Some(well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_so_many_in_a_row_change_what_is_held_of_an_endpoint() {
        let settings = HealthChecks {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
            service: String::new(),
        };
        let mut judge = Judge::new(&settings);
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
            assert_eq!(judge.tell(well), changed, "answer {at}");
        }
    }

    #[test]
    fn workers_read_what_was_said() {
        let health = SharedHealth::new(3);
        health.set_fit(1, false);
        assert_eq!(([0, 1, 2].map(|at| health.is_fit(at)), health.unfit()), ([true, false, true], 1));
        health.set_fit(1, true);
        assert_eq!(health.unfit(), 0);
    }
}
