//! Rows of policies against services that fail, which several tables have.

/// The rows of a retry policy, without its budget.
#[rustfmt::skip]
macro_rules! retry_rows {
    ($table:literal) => {
        &[
            count(concat!($table, ".max_attempts"), 3, 1, 10,
                "How often a call may be sent, the first time included."),
            time(concat!($table, ".initial_backoff"), Duration::from_millis(100), MS, HOUR,
                "The wait before the second attempt, +-20 % as all of them."),
            ratio(concat!($table, ".backoff_multiplier"), 2.0, 1.0, 10.0,
                "Each next wait is this much longer."),
            time(concat!($table, ".max_backoff"), secs(5), MS, HOUR,
                "No wait is longer than this; not below `initial_backoff`."),
            codes(concat!($table, ".retryable_status_codes"), &["UNAVAILABLE"],
                "Codes that a service may respond with, instead of a head, for the call to be sent again."),
        ]
    };
}

/// The rows of a hedging policy.
#[rustfmt::skip]
macro_rules! hedging_rows {
    ($table:literal) => {
        &[
            count(concat!($table, ".max_attempts"), 2, 2, 5,
                "How often a call may be sent, the first time included; the retry budget pays for all but that."),
            time(concat!($table, ".hedging_delay"), Duration::from_millis(100), Duration::ZERO, HOUR,
                "The wait between two attempts."),
            codes(concat!($table, ".non_fatal_status_codes"), &["UNAVAILABLE"],
                "Answers after which the next attempt begins at once; others end the call."),
        ]
    };
}

/// The rows of a breaker.
#[rustfmt::skip]
macro_rules! breaker_rows {
    ($table:literal) => {
        &[
            count(concat!($table, ".max_requests"), 3, 1, 1_000_000,
                "Probes that a half-open breaker lets through, over all workers; all must succeed to close it."),
            time(concat!($table, ".interval"), secs(30), Duration::from_millis(100), HOUR,
                "The window over which a closed breaker counts. Beside it is one of 1.5 s, for sudden outages."),
            time(concat!($table, ".timeout"), secs(10), MS, HOUR,
                "How long a breaker stays open. Where connects had failed, one that succeeds ends it at once."),
            count(concat!($table, ".min_requests"), 20, 1, 1_000_000,
                "A breaker does not open on fewer calls than this in the window."),
            ratio(concat!($table, ".failure_ratio"), 0.5, 0.001, 1.0,
                "The share of failed calls at which a breaker opens; in the window of 1.5 s, half-way from it to all. No connection, one that breaks, the gateway's own timeouts and `failure_status_codes` are failures."),
            time(concat!($table, ".ramp"), secs(1), Duration::ZERO, HOUR,
                "Once a breaker closes, the share of calls let through grows from a tenth to all over this time."),
            codes(concat!($table, ".failure_status_codes"), &["UNAVAILABLE"],
                "Answers of the service that count as failures. Clients can cause most others by what they send."),
        ]
    };
}

pub(super) use {breaker_rows, hedging_rows, retry_rows};
