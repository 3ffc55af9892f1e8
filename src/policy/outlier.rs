//! Passive outlier detection, in Envoy's words: endpoints that respond badly get no calls for a while.
//!
//! So many failures in a row eject an endpoint, for `base_ejection_time`. If that happens again soon, it lasts a
//! multiple of that. No more than `max_ejection_percent` of the endpoints are ejected at once. An endpoint that comes
//! back gets few calls first (`slow_start_config`).
//!
//! All workers count failures together, in an atomic that only failures touch; where all is well, reporting reads one
//! cell. An ejection reaches the other workers at their tick.
//!
//! The state of an endpoint stays when settings or other endpoints change: see [`SharedOutliers::next`].

use super::atomic::{AtomicU32, AtomicU64, Ordering};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{OutlierDetection, SlowStart};
use crate::time::Moment;

/// The result of one attempt, as far as it judges the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlierEvent {
    /// It responded as a service that is well.
    Success,
    /// It responded that it, or a service behind it, is ill: `consecutive_gateway_failure`.
    GatewayFailure,
    /// It did not respond: no connection, a reset, too late: `consecutive_local_origin_failure`.
    LocalOriginFailure,
}

/// The state of a cluster's endpoints that all workers share.
#[derive(Debug)]
pub struct SharedOutliers {
    settings: OutlierDetection,
    slow_start: SlowStart,
    hosts: Box<[Arc<Host>]>,
    counts: Arc<Counts>,
}

/// Counts of a cluster, which stay whatever settings and endpoints it has.
#[derive(Debug, Default)]
struct Counts {
    /// Endpoints that are ejected, or about to be.
    ejected: AtomicU32,
    ejections: AtomicU64,
}

/// The state of one endpoint that all workers share.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Host {
    standing: AtomicU64,
    gateway_in_a_row: AtomicU32,
    local_in_a_row: AtomicU32,
}

/// An endpoint's standing, as one word: ejected or not, gone or not, how many times in short order, until or since
/// when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    ejected: bool,
    /// The cluster does not have it any more; it is never ejected again.
    gone: bool,
    times: u32,
    /// The end of the ejection; for others, the moment of their return, and zero if they were never ejected.
    at: Moment,
}

impl Standing {
    /// Two bits; times, 20; milliseconds, 42.
    fn pack(self) -> u64 {
        let millis = self.at.as_nanos() / NANOS_PER_MILLI;
        let bits = u64::from(self.ejected) << 63 | u64::from(self.gone) << 62;
        bits | u64::from(self.times.min(TIMES_MAX)) << 42 | millis & MILLIS_MASK
    }

    fn unpack(word: u64) -> Standing {
        let at = Moment::ZERO.plus(Duration::from_millis(word & MILLIS_MASK));
        let (ejected, gone) = (word >> 63 == 1, word >> 62 & 1 == 1);
        Standing { ejected, gone, times: (word >> 42) as u32 & TIMES_MAX, at }
    }
}

impl SharedOutliers {
    /// The state of so many endpoints, none of them ejected.
    pub fn new(settings: OutlierDetection, slow_start: SlowStart, endpoints: usize) -> Arc<Self> {
        let hosts = (0..endpoints).map(|_| Arc::default()).collect();
        Arc::new(Self { settings, slow_start, hosts, counts: Arc::default() })
    }

    /// The state of the cluster with other settings and endpoints. For each endpoint, `kept` is its position here, if
    /// it had one; its state then stays.
    pub fn next(
        &self,
        settings: OutlierDetection,
        slow_start: SlowStart,
        kept: &[Option<usize>],
    ) -> Arc<Self> {
        let host = |kept: &Option<usize>| kept.map_or_else(Arc::default, |at| Arc::clone(&self.hosts[at]));
        let hosts = kept.iter().map(host).collect();
        Arc::new(Self { settings, slow_start, hosts, counts: Arc::clone(&self.counts) })
    }

    /// Lets `next` take the place of this one: endpoints that it does not have count no more.
    pub fn hand_over_to(&self, next: &SharedOutliers) {
        if !Arc::ptr_eq(&self.counts, &next.counts) {
            return;
        }
        for host in self.hosts.iter().filter(|host| !next.hosts.iter().any(|kept| Arc::ptr_eq(kept, host))) {
            let gone = |word| Some(Standing { ejected: false, gone: true, ..Standing::unpack(word) }.pack());
            let before = host.standing.fetch_update(Ordering::AcqRel, Ordering::Acquire, gone);
            if before.is_ok_and(|word| Standing::unpack(word).ejected) {
                self.counts.ejected.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The state of one endpoint.
    pub fn host(&self, endpoint: usize) -> &Arc<Host> {
        &self.hosts[endpoint]
    }

    /// The endpoints that are ejected now, by position, each with the end of that.
    pub fn ejected_hosts(&self) -> impl Iterator<Item = (usize, Moment)> {
        let standings = self.hosts.iter().map(|host| Standing::unpack(host.standing.load(Ordering::Acquire)));
        standings.enumerate().filter(|(_, standing)| standing.ejected).map(|(at, standing)| (at, standing.at))
    }

    /// How many are ejected now.
    pub fn ejected(&self) -> u32 {
        self.counts.ejected.load(Ordering::Relaxed)
    }

    /// How many ejections there were.
    pub fn ejections(&self) -> u64 {
        self.counts.ejections.load(Ordering::Relaxed)
    }

    /// Lets endpoints come back whose ejection is over. To be called each 100 ms, by any thread.
    pub fn sweep(&self, now: Moment) {
        for host in &self.hosts {
            let word = host.standing.load(Ordering::Acquire);
            let standing = Standing::unpack(word);
            if standing.ejected && standing.at <= now {
                let back = Standing { ejected: false, at: now, ..standing };
                if host.change(word, back) {
                    self.counts.ejected.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn eject(&self, host: &Host, now: Moment) {
        let word = host.standing.load(Ordering::Acquire);
        let standing = Standing::unpack(word);
        if standing.ejected || standing.gone || !self.reserve() {
            return;
        }
        let times = self.remembered(standing, now) + 1;
        let away = self.settings.base_ejection_time.saturating_mul(times);
        // A millisecond more, for the moment is rounded down.
        let until = now.plus(away.min(self.settings.max_ejection_time)).plus(Duration::from_micros(999));
        if host.change(word, Standing { ejected: true, gone: false, times, at: until }) {
            self.counts.ejections.fetch_add(1, Ordering::Relaxed);
            host.gateway_in_a_row.store(0, Ordering::Relaxed);
            host.local_in_a_row.store(0, Ordering::Relaxed);
        } else {
            self.counts.ejected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes a place among those that may be ejected at once.
    fn reserve(&self) -> bool {
        let allowed = u64::from(self.settings.max_ejection_percent) * self.hosts.len() as u64;
        let more = |ejected: u32| (u64::from(ejected + 1) * 100 <= allowed).then_some(ejected + 1);
        self.counts.ejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// How many of its ejections still count: each `interval` that it stayed takes one away.
    fn remembered(&self, standing: Standing, now: Moment) -> u32 {
        let interval = self.settings.interval.as_nanos().max(1);
        let stayed = now.since(standing.at).as_nanos() / interval;
        standing.times.saturating_sub(u32::try_from(stayed).unwrap_or(u32::MAX))
    }

    /// The part of its share of calls that an endpoint gets now.
    fn weight(&self, standing: Standing, now: Moment) -> f32 {
        let SlowStart { window, aggression, min_weight_percent } = self.slow_start;
        let back = now.since(standing.at);
        if standing.at == Moment::ZERO || back >= window {
            return 1.0;
        }
        let done = back.as_secs_f64() / window.as_secs_f64();
        let least = f64::from(min_weight_percent) / 100.0;
        done.powf(1.0 / aggression).clamp(least.min(1.0), 1.0) as f32
    }
}

impl Host {
    /// Begins its slow start: it is healthy again for another reason, such as active health checks.
    pub fn welcome(&self, now: Moment) {
        let word = self.standing.load(Ordering::Acquire);
        let standing = Standing::unpack(word);
        if !standing.ejected {
            self.change(word, Standing { at: now, ..standing });
        }
    }

    fn change(&self, from: u64, to: Standing) -> bool {
        self.standing.compare_exchange(from, to.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// A worker's side of outlier detection.
#[derive(Debug)]
pub struct Outliers {
    shared: Arc<SharedOutliers>,
    hosts: Box<[View]>,
}

/// A worker's view of an endpoint, as of its last tick.
#[derive(Debug)]
struct View {
    healthy: Cell<bool>,
    weight: Cell<f32>,
    /// It has failures in a row, which a success ends.
    failing: Cell<bool>,
}

impl Outliers {
    /// A worker's side.
    pub fn new(shared: Arc<SharedOutliers>) -> Self {
        let view = |_: &Arc<Host>| View {
            healthy: Cell::new(true),
            weight: Cell::new(1.0),
            failing: Cell::new(false),
        };
        Self { hosts: shared.hosts.iter().map(view).collect(), shared }
    }

    /// The side that all workers share.
    pub fn shared(&self) -> &Arc<SharedOutliers> {
        &self.shared
    }

    /// Whether an endpoint is not ejected, and the part of its share of calls that it gets.
    pub fn of(&self, endpoint: usize) -> (bool, f32) {
        let view = &self.hosts[endpoint];
        (view.healthy.get(), view.weight.get())
    }

    /// Notes the end of an attempt on this endpoint.
    pub fn record(&self, endpoint: usize, seen: OutlierEvent, now: Moment) {
        let (view, host) = (&self.hosts[endpoint], &self.shared.hosts[endpoint]);
        let (counter, max) = match seen {
            OutlierEvent::Success if !view.failing.get() => return,
            OutlierEvent::Success => {
                host.gateway_in_a_row.store(0, Ordering::Relaxed);
                host.local_in_a_row.store(0, Ordering::Relaxed);
                view.failing.set(false);
                return;
            }
            OutlierEvent::GatewayFailure => {
                (&host.gateway_in_a_row, self.shared.settings.consecutive_gateway_failure)
            }
            OutlierEvent::LocalOriginFailure => {
                (&host.local_in_a_row, self.shared.settings.consecutive_local_origin_failure)
            }
        };
        view.failing.set(true);
        let in_a_row = counter.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if max > 0 && in_a_row >= max {
            self.shared.eject(host, now);
            self.look(view, host, now);
        }
    }

    /// To be called on the worker's tick, each 100 ms.
    pub fn tick(&self, now: Moment) {
        self.shared.sweep(now);
        for (view, host) in self.hosts.iter().zip(&self.shared.hosts) {
            self.look(view, host, now);
            let rows = [&host.gateway_in_a_row, &host.local_in_a_row];
            view.failing.set(rows.iter().any(|row| row.load(Ordering::Relaxed) > 0));
        }
    }

    fn look(&self, view: &View, host: &Host, now: Moment) {
        let standing = Standing::unpack(host.standing.load(Ordering::Acquire));
        view.healthy.set(!standing.ejected);
        view.weight.set(if standing.ejected { 1.0 } else { self.shared.weight(standing, now) });
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_MASK: u64 = (1 << 42) - 1;
const TIMES_MAX: u32 = (1 << 20) - 1;

#[cfg(test)]
mod tests;
