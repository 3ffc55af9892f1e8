//! Timeouts that follow the latency, for each method that has been answered.
//!
//! A method is known by its path once the service has answered it with OK. So a path that a client makes up takes no
//! place here.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::config::AdaptiveTimeout;
use crate::metrics::TimeoutSlot;
use crate::policy::adaptive::Adaptive;
use crate::time::Moment;

/// Methods of one cluster that are known at most; others keep the fixed timeout.
const METHODS_MAX: usize = 1024;

/// The latencies of a cluster's methods, as one worker has seen them.
#[derive(Debug)]
pub struct Latencies {
    settings: AdaptiveTimeout,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    places: FxHashMap<Rc<str>, usize>,
    methods: Vec<(Rc<str>, Adaptive)>,
}

/// The latency of a call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencySample {
    /// It was answered after this time.
    Answered(Duration),
    /// The timeout cut it.
    TooLong,
}

impl Latencies {
    pub(super) fn new(settings: AdaptiveTimeout) -> Latencies {
        Latencies { settings, known: RefCell::default() }
    }

    /// The settings of the adaptive timeout, as configured.
    pub(super) fn settings(&self) -> &AdaptiveTimeout {
        &self.settings
    }

    /// The method's place and its present timeout, which is `fixed` at most; `None` if the method is not known.
    pub fn timeout(
        &self,
        path: &str,
        fixed: Option<Duration>,
        now: Moment,
    ) -> Option<(usize, Option<Duration>)> {
        let mut known = self.known.borrow_mut();
        let place = *known.places.get(path)?;
        let method = &mut known.methods[place].1;
        method.set_fixed(fixed);
        Some((place, method.timeout_at(now)))
    }

    /// Adds a method, whose timeout is `fixed` at most.
    pub fn register(&self, path: &str, fixed: Option<Duration>) {
        let known = &mut *self.known.borrow_mut();
        if known.methods.len() < METHODS_MAX && !known.places.contains_key(path) {
            let path: Rc<str> = path.into();
            known.places.insert(Rc::clone(&path), known.methods.len());
            known.methods.push((path, Adaptive::new(self.settings.clone(), fixed)));
        }
    }

    /// Notes the end of a call of the method at this place.
    pub fn record(&self, place: usize, took: LatencySample) {
        let (_, method) = &mut self.known.borrow_mut().methods[place];
        match took {
            LatencySample::Answered(took) => method.took(took),
            LatencySample::TooLong => method.timed_out(),
        }
    }

    /// Publishes the timeouts of the methods that were known first. Each call has to get these slots.
    pub(super) fn publish(&self, slots: &[TimeoutSlot]) {
        for (slot, (path, method)) in slots.iter().zip(&self.known.borrow().methods) {
            slot.publish(path, method.timeout());
        }
    }
}
