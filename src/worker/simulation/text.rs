//! The configuration of a simulation as text: one cluster with a method of each kind, and what a test adds.

use std::fmt;

use super::ledger::MAX_ATTEMPTS;

/// Settings in which simulations differ.
pub(super) struct Text<'a> {
    pub(super) workers: usize,
    /// Tables before the listener.
    pub(super) head: &'a str,
    /// More keys of the listener.
    pub(super) listener: &'a str,
    /// Routes before the one that takes all calls.
    pub(super) routes: &'a str,
    /// Keys of that one.
    pub(super) route: &'a str,
    pub(super) endpoints: usize,
    /// More keys and tables of the cluster, before those that all simulations have.
    pub(super) cluster: &'a str,
    /// So often a call is tried, retries included.
    pub(super) max_attempts: usize,
    /// The mean wait before a call's first retry.
    pub(super) backoff: &'a str,
    pub(super) hedging_delay: &'a str,
}

impl Default for Text<'_> {
    fn default() -> Self {
        Text {
            workers: 1,
            head: "",
            listener: "",
            routes: "",
            route: "",
            endpoints: 1,
            cluster: "",
            max_attempts: MAX_ATTEMPTS,
            backoff: "20ms",
            hedging_delay: "50ms",
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text {
            workers,
            head,
            listener,
            routes,
            route,
            cluster,
            max_attempts,
            backoff,
            hedging_delay,
            ..
        } = self;
        let endpoints: Vec<_> = (1..=self.endpoints).map(|number| format!("\"10.0.1.{number}:1\"")).collect();
        let endpoints = endpoints.join(", ");
        write!(
            f,
            r#"
workers = {workers}
{head}
[[listeners]]
address = "10.0.0.1:80"
{listener}
{routes}
[[routes]]
cluster = "a"
{route}
[[clusters]]
name = "a"
endpoints = [{endpoints}]
connect_timeout = "300ms"
{cluster}
[clusters.retry]
max_attempts = {max_attempts}
initial_backoff = "{backoff}"
[[clusters.methods]]
path = "/sim.S/Idempotent"
idempotent = true
[[clusters.methods]]
path = "/sim.S/Hedged"
idempotent = true
[clusters.methods.hedging]
max_attempts = 3
hedging_delay = "{hedging_delay}"
"#
        )
    }
}
