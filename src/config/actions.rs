//! The actions of a route besides choosing a cluster: other paths, responses of its own, and policies in place of the
//! cluster's.

use super::matching::PathMatch;
use super::regex::Substitution;
use super::resilience::{Breaker, Hedging, Retry};

/// The actions of a route. By default none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteActions {
    /// Another path for the service.
    pub rewrite: Option<PathRewrite>,
    /// The authority that the service gets. `None` where it is not set.
    pub host_rewrite: Option<String>,
    /// The response of a route that asks no service. Only such a route has no cluster.
    pub response: Option<LocalResponse>,
    /// When a failed call of this route is sent again, in place of what its clusters say; their budget pays.
    pub retry: Option<Retry>,
    /// How idempotent methods are hedged on this route, in place of what `[[clusters.methods]]` say.
    pub hedging: Option<Override<Hedging>>,
    /// A breaker for the calls of this route, one for each of its clusters, in place of theirs.
    pub breaker: Option<Override<Breaker>>,
}

impl RouteActions {
    /// Whether a path of plain HTTP means something to the route, before it means a method.
    pub fn takes_paths(&self) -> bool {
        self.rewrite.is_some() || self.response.is_some()
    }
}

/// A policy in place of another one.
#[derive(Clone, Debug, PartialEq)]
pub enum Override<T> {
    /// There is none.
    Off,
    /// This one.
    Own(T),
}

/// Another path (Envoy's words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The part of a path that matched, which has so many bytes, becomes this.
    Prefix {
        /// Bytes of the part that matched.
        matched: usize,
        /// Its substitution; it begins with a slash.
        by: String,
    },
    /// All parts of a path that match a pattern become something else.
    Regex(Substitution),
}

impl PathRewrite {
    /// The rewrite of what a condition matches of a path; `None` where it matches no beginning.
    pub(super) fn of_prefix(path: &PathMatch, by: String) -> Option<PathRewrite> {
        let matched = match path {
            PathMatch::Prefix(text) | PathMatch::SeparatedPrefix(text) | PathMatch::Path(text) => text.len(),
            // With a slash at both ends.
            PathMatch::Service(service) => service.len() + 2,
            PathMatch::Regex(_) => return None,
        };
        Some(PathRewrite::Prefix { matched, by })
    }
}

/// The response of a route that asks no service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalResponse {
    /// This response.
    Direct(DirectResponse),
    /// Where callers of plain HTTP find it.
    Redirect(Redirect),
}

/// A response that the operator has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The HTTP status for callers of plain HTTP.
    pub status: u16,
    /// The number of the gRPC code for others, and of a status in JSON.
    pub code: u8,
    /// The message.
    pub body: String,
    /// The type of the body for callers of plain HTTP. `None` where it is not set.
    pub content_type: Option<String>,
}

/// Where callers of plain HTTP find what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The HTTP status.
    pub status: u16,
    /// The scheme there; by default that of the request.
    pub scheme: Option<String>,
    /// The host there; by default that of the request.
    pub host: Option<String>,
    /// The path there; by default that of the request.
    pub path: Option<String>,
    /// Another path, made of that of the request.
    pub rewrite: Option<PathRewrite>,
    /// Whether the query of the request is left out.
    pub strip_query: bool,
}
