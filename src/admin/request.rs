//! A request at the admin address, as pages see it.

use std::sync::Arc;

use http::header::{ACCEPT, HOST, HeaderName, ORIGIN, REFERER};
use http::{HeaderMap, Method, Request, StatusCode};

use super::history::History;
use super::hosts;
use super::query::Query;
use super::response::AdminResponse;
use super::value::Value;
use super::view::Source;

/// A request, as pages see it.
pub(super) struct AdminRequest {
    pub(super) method: Method,
    pub(super) path: String,
    query: Query,
    as_json: bool,
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
            is_of_browser: OF_BROWSERS.iter().any(|name| request.headers().contains_key(name)),
            host: host(request),
            source: Arc::clone(source),
            history: Arc::clone(history),
        }
    }

    /// Whether the answer needs no look at counters, so that it is given at once.
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

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    pub(super) fn wants_json(&self) -> bool {
        self.as_json
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
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

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.split(';').next().is_some_and(|it| it.trim() == kind))
}
