//! A request at the admin address, as pages see it.

use std::sync::Arc;

use http::header::{ACCEPT, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};

use super::history::History;
use super::query::Query;
use super::reply::Reply;
use super::value::Value;
use super::world::Source;

/// A request, as pages see it.
pub(super) struct AdminRequest {
    pub(super) method: Method,
    pub(super) path: String,
    query: Query,
    as_json: bool,
    /// A browser sent it for some page, this one's or another's.
    pub(super) has_origin: bool,
    source: Arc<dyn Source>,
    history: Arc<History>,
}

/// A request that is not served, and why.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

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
            has_origin: request.headers().contains_key(ORIGIN),
            source: Arc::clone(source),
            history: Arc::clone(history),
        }
    }

    /// Whether the answer needs no look at counters, so that it is given at once.
    pub(super) fn is_quick(&self) -> bool {
        matches!(self.path.as_str(), "/ready" | "/live")
    }

    pub(super) fn page(&self, value: Value) -> Reply {
        if self.as_json { Reply::json(&value) } else { Reply::text(value.text()) }
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

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.split(';').next().is_some_and(|it| it.trim() == kind))
}
