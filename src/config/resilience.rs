//! What an operator may set against services that fail: the types that `policy/` works with.

use std::time::Duration;

use super::codes::Codes;

/// When a worker has more than it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Calls one worker has at once.
    pub max_active_calls: u32,
    /// Bytes of unfinished JSON requests that one worker holds.
    pub max_buffered_bytes: u32,
    /// How late its loop may be. `None` where set to "0s".
    pub max_loop_delay: Option<Duration>,
    /// So long it has to be later than that, without a break, before calls are refused for it.
    pub interval: Duration,
}

/// When a failed call is sent again (the words of gRFC A6).
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How often a call may be sent, the first time included. 1 is never again, but for what no service has seen.
    pub max_attempts: u32,
    /// The wait before the second attempt, +-20 % as all of them.
    pub initial_backoff: Duration,
    /// Each next wait is this much longer.
    pub backoff_multiplier: f64,
    /// Before the jitter, no wait is longer than this.
    pub max_backoff: Duration,
    /// What a service may answer, instead of a head, for the call to be sent again.
    pub retryable_status_codes: Codes,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            backoff_multiplier: 2.0,
            max_backoff: Duration::from_secs(5),
            retryable_status_codes: Codes::NONE.with(14),
        }
    }
}

/// How many retries and hedges a cluster may cost, beside its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// For a hundred calls, so many retries.
    pub percent: u32,
    /// And so many on top, once, over all workers; calls that need no retry pay for them later.
    pub min_retries: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_retries: 10 }
    }
}

/// The retry throttle of a gRPC service config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttling {
    /// A failure takes one token; no retries while half of them or less are left.
    pub max_tokens: u32,
    /// What a success gives back, in thousandths of a token.
    pub token_ratio_thousandths: u32,
}

/// Sending a call again before the first attempt has failed (the words of gRFC A6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hedging {
    /// How often a call may be sent, the first time included.
    pub max_attempts: u32,
    /// The wait between two attempts.
    pub hedging_delay: Duration,
    /// Answers that do not end the call while other attempts are left.
    pub non_fatal_status_codes: Codes,
}

/// When a service is given a rest (gobreaker's words).
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Calls that a half-open breaker lets through, over all workers; all of them must succeed to close it.
    pub max_requests: u32,
    /// The window over which a closed breaker counts.
    pub interval: Duration,
    /// How long it stays open.
    pub timeout: Duration,
    /// It does not open on fewer calls than this in the window.
    pub min_requests: u32,
    /// The share of failed calls at which it opens. In the short window beside the long one it is half-way to all.
    pub failure_ratio: f64,
    /// How long it takes, once closed, until all calls are let through again.
    pub ramp: Duration,
    /// What a service may answer that counts as a failure.
    pub failure_status_codes: Codes,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_requests: 3,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            min_requests: 20,
            failure_ratio: 0.5,
            ramp: Duration::from_secs(1),
            failure_status_codes: Codes::NONE.with(14),
        }
    }
}

/// Timeouts that follow the latency of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveTimeout {
    /// The share of calls, in percent, whose latency is looked at.
    pub percentile: f64,
    /// The timeout is this much longer.
    pub multiplier: f64,
    /// And never shorter than this.
    pub floor: Duration,
    /// After this time a latency counts for half.
    pub window: Duration,
}

/// When one endpoint gets no calls for a while (Envoy's words).
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// Answers in a row that say the endpoint is ill. 0 is off.
    pub consecutive_gateway_failure: u32,
    /// Failed connects, resets and timeouts in a row. 0 is off.
    pub consecutive_local_origin_failure: u32,
    /// The first ejection lasts this long, the n-th in short order n times as long.
    pub base_ejection_time: Duration,
    /// But never longer than this.
    pub max_ejection_time: Duration,
    /// No more than this share of the endpoints is ejected at once.
    pub max_ejection_percent: u32,
    /// An endpoint that stays well for this long has one ejection forgotten.
    pub interval: Duration,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 50,
            interval: Duration::from_secs(10),
        }
    }
}

/// How an endpoint that comes back gets its share of calls (Envoy's words).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// The time until it has its whole share. Zero is at once.
    pub window: Duration,
    /// 1 is a straight line; above it, the share grows faster at first.
    pub aggression: f64,
    /// The share it begins with.
    pub min_weight_percent: u32,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::ZERO, aggression: 1.0, min_weight_percent: 10 }
    }
}

/// How many calls a route takes (the words of Envoy's local rate limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many at once, over all workers.
    pub max_tokens: u32,
    /// And so many more at each `fill_interval`.
    pub tokens_per_fill: u32,
    /// See `tokens_per_fill`.
    pub fill_interval: Duration,
}

/// Questions to each endpoint, by `grpc.health.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// The time between two questions to one endpoint.
    pub interval: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// So many bad answers in a row and it gets no calls.
    pub unhealthy_threshold: u32,
    /// So many good answers in a row and it gets calls again.
    pub healthy_threshold: u32,
    /// The service that is asked for; empty is the server as a whole.
    pub service: String,
}
