//! Settings against services that fail: the types that `policy/` works with.

use std::time::Duration;

use super::codes::Codes;

/// The guard of a worker against more load than it can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Calls one worker has at once, streams included; more are refused.
    pub max_active_calls: u32,
    /// Bytes of unfinished JSON requests and responses that one worker holds, if they are of more than one call; calls
    /// above it are refused.
    pub max_buffered_bytes: u32,
    /// How late a worker may come to what has arrived. `None` for "0s".
    pub max_loop_delay: Option<Duration>,
    /// Calls are refused only after the delay has stayed above `max_loop_delay` for this long.
    pub interval: Duration,
}

/// The retry policy (the words of gRFC A6).
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How often a call may be sent, the first time included.
    ///
    /// With 1, only a call that no service has seen is sent again.
    pub max_attempts: u32,
    /// The wait before the second attempt, +-20 % as all of them.
    pub initial_backoff: Duration,
    /// Each next wait is this much longer.
    pub backoff_multiplier: f64,
    /// No wait is longer than this; not below `initial_backoff`.
    pub max_backoff: Duration,
    /// Codes that a service may respond with, instead of a head, for the call to be sent again.
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
    /// For a hundred calls, so many retries and hedges.
    pub percent: u32,
    /// Extra retries for all workers together before calls have earned any; later calls repay them.
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
    /// How often a call may be sent, the first time included; the retry budget pays for all but that.
    pub max_attempts: u32,
    /// The wait between two attempts.
    pub hedging_delay: Duration,
    /// Answers after which the next attempt begins at once; others end the call.
    pub non_fatal_status_codes: Codes,
}

/// The circuit breaker (gobreaker's words).
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Probes that a half-open breaker lets through, over all workers; all must succeed to close it.
    pub max_requests: u32,
    /// The window over which a closed breaker counts.
    pub interval: Duration,
    /// How long a breaker stays open.
    pub timeout: Duration,
    /// A breaker does not open on fewer calls than this in the window.
    pub min_requests: u32,
    /// The share of failed calls at which a breaker opens; in the window of 1.5 s, half-way from it to all.
    pub failure_ratio: f64,
    /// Once a breaker closes, the share of calls let through grows from a tenth to all over this time.
    pub ramp: Duration,
    /// Answers of the service that count as failures.
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
    /// The latency that this share of calls, in percent, is not above.
    pub percentile: f64,
    /// The timeout is this much longer than that latency.
    pub multiplier: f64,
    /// The timeout is never shorter than this.
    pub floor: Duration,
    /// After this time a latency counts for half.
    pub window: Duration,
}

/// Outlier detection: the ejection of an endpoint for a while (Envoy's words).
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// UNAVAILABLE (HTTP: 502, 503, 504) so often in a row ejects.
    pub consecutive_gateway_failure: u32,
    /// Failed connects, lost connections, resets and timeouts of the gateway's own, so often in a row, eject.
    pub consecutive_local_origin_failure: u32,
    /// The first ejection lasts this long, the n-th in short order n times as long.
    pub base_ejection_time: Duration,
    /// No ejection lasts longer than this.
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

/// Slow start: the share of calls of an endpoint that comes back (Envoy's words).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// The time until an endpoint has its whole share.
    pub window: Duration,
    /// 1 is a straight line; above it, the share grows faster at first.
    pub aggression: f64,
    /// The share an endpoint begins with, in percent.
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
    /// Calls at once: a full bucket.
    pub max_tokens: u32,
    /// Calls that each `fill_interval` adds, as far as they fit.
    pub tokens_per_fill: u32,
    /// The time after which `tokens_per_fill` calls are added.
    pub fill_interval: Duration,
}

/// Active health checks of each endpoint, by `grpc.health.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChecks {
    /// The time between two questions to one endpoint, from all workers together.
    pub interval: Duration,
    /// How long a response may take.
    pub timeout: Duration,
    /// So many bad responses in a row and it gets no calls.
    pub unhealthy_threshold: u32,
    /// So many good responses in a row and it gets calls again.
    pub healthy_threshold: u32,
    /// The service that is asked for; by default the server as a whole.
    ///
    /// Empty is the server as a whole.
    pub service: String,
}
