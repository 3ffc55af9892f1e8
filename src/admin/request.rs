//! A request at the admin address, as pages see it.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, HeaderName, ORIGIN, REFERER};
use http::{HeaderMap, Method, Request, StatusCode};

use super::history::History;
use super::hosts;
use super::query::Query;
use super::response::AdminResponse;
use super::value::Value;
use super::view::Source;
use crate::metrics::Format;

/// A request, as pages see it.
pub(super) struct AdminRequest {
    pub(super) method: Method,
    pub(super) path: String,
    query: Query,
    as_json: bool,
    /// The format of the page of metrics that it asks for.
    pub(super) metrics: Format,
    /// It takes bodies that are compressed with gzip.
    pub(super) takes_gzip: bool,
    /// A browser sent it for some page, this one's or another's.
    pub(super) is_of_browser: bool,
    /// The host that it names.
    host: Option<String>,
    source: Arc<dyn Source>,
    history: Arc<History>,
}

/// Fields that browsers send for pages, and commands do not. A page can leave out one or the other of them.
const OF_BROWSERS: [HeaderName; 3] = [ORIGIN, REFERER, HeaderName::from_static("sec-fetch-site")];

/// A request that is not served, and why.
pub(super) struct AdminError(pub(super) StatusCode, pub(super) String);

impl AdminRequest {
    pub(super) fn new<B>(
        request: &Request<B>,
        source: &Arc<dyn Source>,
        history: &Arc<History>,
    ) -> AdminRequest {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let as_json = match query.get("format") {
            Some(format) => format == "json",
            None => accepts(request.headers(), "application/json"),
        };
        AdminRequest {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query,
            as_json,
            metrics: metrics_format(request.headers()),
            takes_gzip: takes_gzip(request.headers()),
            is_of_browser: OF_BROWSERS.iter().any(|name| request.headers().contains_key(name)),
            host: host(request),
            source: Arc::clone(source),
            history: Arc::clone(history),
        }
    }

    /// Whether the response needs no look at counters, so that it is given at once.
    pub(super) fn is_quick(&self) -> bool {
        matches!(self.path.as_str(), "/ready" | "/live")
    }

    /// Whether it names a host that this is, or none at all, as no browser does.
    pub(super) fn means_this_host(&self) -> bool {
        let allowed = &self.source.view().config.admin.allowed_hosts;
        self.host.as_ref().is_none_or(|host| hosts::is_allowed(host, allowed))
    }

    pub(super) fn page(&self, value: Value) -> AdminResponse {
        if self.as_json { AdminResponse::json(&value) } else { AdminResponse::text(value.text()) }
    }

    /// The host that it names.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    pub(super) fn wants_json(&self) -> bool {
        self.as_json
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    pub(super) fn shared_source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(super) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The history, which is looked at now.
    pub(super) fn history(&self) -> &History {
        self.history.look_at(&*self.source);
        &self.history
    }
}

/// The absolute form goes before the field (RFC 9112 section 3.2.2). Bytes that are no text are no host of ours.
fn host<B>(request: &Request<B>) -> Option<String> {
    let of_uri = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let field = request.headers().get(HOST);
    of_uri.or_else(|| field.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()))
}

/// OpenMetrics, if it is asked for and not less than the plain text format is.
fn metrics_format(headers: &HeaderMap) -> Format {
    let weight = |kind: &str| {
        let weights = items(headers, ACCEPT).filter_map(|item| weight(item, kind));
        weights.fold(0.0, f32::max)
    };
    let open = weight("application/openmetrics-text");
    let text = weight("text/plain");
    if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    items(headers, ACCEPT_ENCODING).filter_map(|item| weight(item, "gzip")).any(|weight| weight > 0.0)
}

/// The items of a header's list.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

/// The weight (RFC 9110 section 12.4.2) of an item that is this word; `None` for another one.
fn weight(item: &str, word: &str) -> Option<f32> {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(word) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    items(headers, ACCEPT).any(|item| item.split(';').next().is_some_and(|it| it.trim() == kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_codings_are_chosen_by_weight() {
        // Prometheus sends this.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, wanted) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(metrics_format(&headers), wanted, "{accept}");
        }
        for (accept, wanted) in [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false)]
        {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), wanted, "{accept}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
