//! A check: its gateway, its measurement, and the result.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::config;
use crate::supervisor::Gateway;
use crate::tools::service::Service;

/// The subject of a check.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where clients of the gateway connect.
    pub gateway: SocketAddr,
    /// Where it shows its metrics.
    pub admin: SocketAddr,
    /// The service behind the gateway.
    pub service: &'a Service,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The measured value, in words.
    pub measured: String,
    /// Whether that is good enough.
    pub passed: bool,
    /// The figure behind it.
    pub figure: f64,
}

/// A check, with its requirement and its measurement.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// The requirement.
    pub required: &'static str,
    /// How it is measured.
    pub how: &'static str,
    /// The gateway's configuration for the check.
    pub setup: Setup,
    /// Measures it.
    pub run: fn(&Subject<'_>) -> io::Result<Finding>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The configuration of a check's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// No retries, no breaker.
    Plain,
    /// Retries, and the budget that is on by default.
    Retries,
    /// A breaker that opens soon and stays open for a second.
    Breaker,
}

impl Setup {
    fn config(self, service: SocketAddr) -> String {
        // A check makes calls fail that others count. So a feature that would take this for an outage is on only in the
        // check that measures it.
        let (attempts, breaker) = match self {
            Setup::Plain => (1, "enabled = false"),
            Setup::Retries => (3, "enabled = false"),
            Setup::Breaker => (
                1,
                "max_requests = 5\ninterval = \"10s\"\ntimeout = \"1s\"\nmin_requests = 20\nfailure_ratio = 0.5\n\
                 ramp = \"100ms\"",
            ),
        };
        format!(
            "drain_timeout = \"1s\"\n[admin]\naddress = \"127.0.0.1:0\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [[routes]]\nmatch = {{ prefix = \"/\" }}\ncluster = \"service\"\ntimeout = \"30s\"\n\
             [[clusters]]\nname = \"service\"\nendpoints = [\"{service}\"]\n\
             [clusters.retry]\nmax_attempts = {attempts}\ninitial_backoff = \"1ms\"\nmax_backoff = \"2ms\"\n\
             [clusters.breaker]\n{breaker}\n[clusters.outlier_detection]\nenabled = false\n"
        )
    }

    /// Starts a gateway before `service`.
    ///
    /// # Errors
    /// When it cannot be configured or started.
    pub fn start(self, service: &Service) -> io::Result<Gateway> {
        let text = self.config(service.address());
        let config = config::parse(&text, Path::new("(verify)"))
            .map_err(|errors| io::Error::other(errors.to_string()))?;
        Gateway::start(config).map_err(io::Error::other)
    }
}
