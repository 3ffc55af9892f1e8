//! Settings against services that fail: the types that `policy/` works with.

use std::time::Duration;

use super::codes::Codes;

/// The guard of a worker against more load than it can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Calls that one worker has at once.
    pub max_active_calls: u32,
    /// Bytes of unfinished JSON requests that one worker holds.
    pub max_buffered_bytes: u32,
    /// How late its loop may be. `None` where set to "0s".
    pub max_loop_delay: Option<Duration>,
    /// Calls are refused only after the delay has stayed above `max_loop_delay` for this long.
    pub interval: Duration,
}

/// The retry policy (the words of gRFC A6).
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts of a call, the first included. With 1, only a call that no service has seen is sent again.
    pub max_attempts: u32,
    /// The wait before the second attempt, +-20 % as all of them.
    pub initial_backoff: Duration,
    /// The factor from each wait to the next.
    pub backoff_multiplier: f64,
    /// The longest wait, before the jitter.
    pub max_backoff: Duration,
    /// Codes of trailers-only answers on which the call is sent again.
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

/// The retry budget of a cluster: bounds on retries and hedges beside its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries per hundred calls.
    pub percent: u32,
    /// Retries that all workers together may borrow on top; later calls repay them.
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
    /// Thousandths of a token that a success gives back.
    pub token_ratio_thousandths: u32,
}

/// The hedging policy (the words of gRFC A6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hedging {
    /// Attempts of a call, the first included.
    pub max_attempts: u32,
    /// The wait between two attempts.
    pub hedging_delay: Duration,
    /// Answers that do not end the call while other attempts are left.
    pub non_fatal_status_codes: Codes,
}

/// The circuit breaker (gobreaker's words).
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Calls that a half-open breaker lets through, over all workers; all of them must succeed to close it.
    pub max_requests: u32,
    /// The window over which a closed breaker counts.
    pub interval: Duration,
    /// The time that it stays open.
    pub timeout: Duration,
    /// The fewest calls in the window that it opens on.
    pub min_requests: u32,
    /// The share of failed calls at which it opens. In the short window beside the long one, the share is half-way from
    /// there to all.
    pub failure_ratio: f64,
    /// The time, once closed, until all calls are let through again.
    pub ramp: Duration,
    /// Codes of answers that count as failures.
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

/// The adaptive timeout, which follows the latency of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveTimeout {
    /// The percentile of the latency.
    pub percentile: f64,
    /// The factor from the percentile to the timeout.
    pub multiplier: f64,
    /// The shortest timeout.
    pub floor: Duration,
    /// The age at which a latency counts for half.
    pub window: Duration,
}

/// Outlier detection: the ejection of an endpoint for a while (Envoy's words).
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// Failed answers in a row that eject an endpoint. 0 is off.
    pub consecutive_gateway_failure: u32,
    /// Failed connects, resets and timeouts in a row that eject it. 0 is off.
    pub consecutive_local_origin_failure: u32,
    /// The first ejection's time; the n-th in short order takes n times as long.
    pub base_ejection_time: Duration,
    /// The longest ejection.
    pub max_ejection_time: Duration,
    /// The largest share of the endpoints that is ejected at once.
    pub max_ejection_percent: u32,
    /// The time without failures after which one ejection of an endpoint is forgotten.
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

/// Slow start: the share of calls of an endpoint that comes back (Envoy's words).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// The time until it has its whole share. Zero is at once.
    pub window: Duration,
    /// 1 is a straight line; above it, the share grows faster at first.
    pub aggression: f64,
    /// The share at the beginning.
    pub min_weight_percent: u32,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::ZERO, aggression: 1.0, min_weight_percent: 10 }
    }
}

/// The rate limit of a route (the words of Envoy's local rate limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls at once, over all workers.
    pub max_tokens: u32,
    /// Calls that each `fill_interval` adds.
    pub tokens_per_fill: u32,
    /// See `tokens_per_fill`.
    pub fill_interval: Duration,
}

/// Active health checks of each endpoint, by `grpc.health.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// The time between two questions to one endpoint.
    pub interval: Duration,
    /// The time that an answer may take.
    pub timeout: Duration,
    /// Bad answers in a row, after which the endpoint gets no calls.
    pub unhealthy_threshold: u32,
    /// Good answers in a row, after which it gets calls again.
    pub healthy_threshold: u32,
    /// The service that is asked about; empty is the server as a whole.
    pub service: String,
}
