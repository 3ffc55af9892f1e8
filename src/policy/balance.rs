//! The choice of an endpoint for the next call.
//!
//! The cluster tells it of each endpoint: calls in flight, health, the part of its share, and whether this call has
//! just failed there. Read [`outlier`](super::outlier) next.

use crate::config::LbPolicy;
use crate::random::Random;

/// An endpoint's state when a call looks for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Calls in flight there; `None` if it can take none now, healthy or not.
    pub load: Option<u32>,
    /// Neither ejected nor unhealthy.
    pub healthy: bool,
    /// The part of its share of calls that it is to get: 1 for all of it, less in slow start.
    pub weight: f32,
    /// This call has failed there, so another endpoint goes before it.
    pub avoid: bool,
}

impl Candidate {
    /// A candidate of which nothing bad is known.
    pub fn good(load: Option<u32>) -> Self {
        Self { load, healthy: true, weight: 1.0, avoid: false }
    }
}

/// The endpoints that a call has failed on. Of those above the first 64, only the last one is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    first: u64,
    last: Option<usize>,
}

impl Tried {
    /// Notes that the call has failed on an endpoint.
    pub fn add(&mut self, endpoint: usize) {
        self.last = Some(endpoint);
        if endpoint < 64 {
            self.first |= 1 << endpoint;
        }
    }

    /// Whether the call has failed on an endpoint.
    pub fn has(self, endpoint: usize) -> bool {
        self.last == Some(endpoint) || endpoint < 64 && self.first >> endpoint & 1 == 1
    }
}

/// A worker's algorithm of choosing among the endpoints of a cluster.
#[derive(Clone, Debug)]
pub struct Balance {
    algorithm: Algorithm,
    panic_percent: u32,
}

#[derive(Clone, Debug)]
enum Algorithm {
    /// Each endpoint in turn.
    RoundRobin {
        /// The endpoint whose turn it is. `None` before the first call: then chance decides, so that the workers do not
        /// all begin with the first endpoint.
        next: Option<usize>,
    },
    /// The one with fewer calls in flight out of two taken at random.
    ///
    /// Two choices keep the longest queue almost as short as asking all would, and do not send every worker to the
    /// same idle endpoint at once (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    LeastRequest,
}

impl Balance {
    /// The configured algorithm. Where less than `panic_percent` of the endpoints are healthy, all count as healthy. The few
    /// healthy ones would only fall over, too, and the judgement of the others may be wrong.
    pub fn new(policy: LbPolicy, panic_percent: u32) -> Self {
        let algorithm = match policy {
            LbPolicy::RoundRobin => Algorithm::RoundRobin { next: None },
            LbPolicy::LeastRequest => Algorithm::LeastRequest,
        };
        Self { algorithm, panic_percent }
    }

    /// The endpoint, of `count`, for the next call; `None` if none may be used. `look(i)` is the candidate at `i`.
    pub fn pick(
        &mut self,
        count: usize,
        look: impl Fn(usize) -> Candidate,
        random: &mut Random,
    ) -> Option<usize> {
        if count == 1 {
            let only = look(0);
            if only.healthy {
                return only.load.map(|_| 0);
            }
        }
        let mut picked = self.choose(count, &look, random)?;
        // An endpoint in its slow start passes some of its calls on. If the others do, too, the last one keeps the
        // call.
        let mut passed = Tried::default();
        for _ in 0..PASSED_ON_MAX {
            let weight = f64::from(look(picked).weight);
            if weight >= 1.0 || random.between(0.0, 1.0) < weight {
                break;
            }
            // With few calls, it might be chosen again.
            passed.add(picked);
            let others = |at: usize| {
                let one = look(at);
                Candidate { avoid: one.avoid || passed.has(at), ..one }
            };
            match self.choose(count, &others, random) {
                Some(other) if !passed.has(other) && !look(other).avoid => picked = other,
                _ => break,
            }
        }
        Some(picked)
    }

    fn choose(
        &mut self,
        count: usize,
        look: &impl Fn(usize) -> Candidate,
        random: &mut Random,
    ) -> Option<usize> {
        // Most picks need only a few looks.
        let good = |i| Some(look(i)).filter(|one| one.healthy && !one.avoid)?.load;
        if let Some(picked) = self.algorithm.glance(count, &good, random) {
            return Some(picked);
        }
        let panic =
            (0..count).filter(|i| look(*i).healthy).count() * 100 < self.panic_percent as usize * count;
        let healthy = |i| Some(look(i)).filter(|one| one.healthy || panic);
        let other = |i| healthy(i).filter(|one| !one.avoid)?.load;
        let picked = self.algorithm.among(count, &other, random);
        picked.or_else(|| self.algorithm.among(count, &|i| healthy(i)?.load, random))
    }
}

impl Algorithm {
    /// Chooses without a look at all of them; `None` if that does not suffice.
    fn glance(
        &mut self,
        count: usize,
        load: &dyn Fn(usize) -> Option<u32>,
        random: &mut Random,
    ) -> Option<usize> {
        match self {
            Algorithm::RoundRobin { next } => {
                let start = next.filter(|next| *next < count);
                let start = start.unwrap_or_else(|| if next.is_some() { 0 } else { below(count, random) });
                let is_good = start < count && load(start).is_some();
                *next = Some(start + usize::from(is_good));
                is_good.then_some(start)
            }
            Algorithm::LeastRequest if count > 1 => {
                let (one, other) = two_below(count, random);
                let (load_one, load_other) = (load(one)?, load(other)?);
                Some(if load_one <= load_other { one } else { other })
            }
            Algorithm::LeastRequest => None,
        }
    }

    /// Chooses among all that can take a call.
    fn among(
        &mut self,
        count: usize,
        load: &dyn Fn(usize) -> Option<u32>,
        random: &mut Random,
    ) -> Option<usize> {
        match self {
            Algorithm::RoundRobin { next } => {
                let start = next.unwrap_or(0).min(count);
                let picked = (start..count).chain(0..start).find(|&i| load(i).is_some())?;
                *next = Some(picked + 1);
                Some(picked)
            }
            Algorithm::LeastRequest => least_of_two(count, load, random),
        }
    }
}

/// Chooses among those that can take a call. Any pair of them is as likely as any other.
fn least_of_two(count: usize, load: &dyn Fn(usize) -> Option<u32>, random: &mut Random) -> Option<usize> {
    let usable = || (0..count).filter_map(|i| Some((i, load(i)?)));
    match usable().count() {
        0 => None,
        1 => usable().next().map(|(one, _)| one),
        usable_count => {
            let (one, other) = two_below(usable_count, random);
            let (one, load_one) = usable().nth(one)?;
            let (other, load_other) = usable().nth(other)?;
            Some(if load_one <= load_other { one } else { other })
        }
    }
}

/// Two different numbers below `count`, which is at least 2, each ordered pair as likely as any.
fn two_below(count: usize, random: &mut Random) -> (usize, usize) {
    let one = below(count, random);
    let other = below(count - 1, random);
    (one, if other < one { other } else { other + 1 })
}

fn below(count: usize, random: &mut Random) -> usize {
    // Endpoints come from a file and are far fewer than 2^32; were they not, the rest would get no calls.
    random.below(u32::try_from(count).unwrap_or(u32::MAX)) as usize
}

const PASSED_ON_MAX: u32 = 4;

#[cfg(test)]
mod tests;
