//! Plain HTTP with JSON, for callers that do not speak gRPC.
//!
//! [`open`] finds the method that a request means and turns its head into that of a gRPC call; `body.rs` does the same
//! with its body, `answer.rs` turns the answer back.

mod answer;
mod body;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;

pub(super) use self::answer::{Answer, Format, status_body};
pub(super) use self::body::{Collected, Stream};
use super::answer::{Reply, Voice};
use super::head;
use crate::config::Transcoding;
use crate::http2::{Head, Name};
use crate::policy::failure::Failure;
use crate::transcode::api::{Api, Body, Method as Target, Rule};
use crate::transcode::bind::bind;
use crate::transcode::oneof;
use crate::transcode::query::{Query, QueryOptions};
use crate::transcode::rules::{Captures, Found};

/// The API as one worker has it.
pub(super) struct Transcoder {
    api: Arc<Api>,
    settings: Transcoding,
    /// Paths of methods that take one message and answer with one.
    unary: FxHashSet<Box<str>>,
    captures: RefCell<Captures>,
    query: RefCell<Query>,
    /// Memory of calls that have ended, for those that begin.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// How much of that is kept: pieces, and bytes of one.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 4096;

/// When a caller may try again whose method a service may still tell of: such a service is asked each second.
const SOON: Duration = Duration::from_secs(1);

/// A request whose method is known.
pub(super) struct Opened {
    transcoder: Rc<Transcoder>,
    rule: usize,
    /// What path and query say, as fields of the request's message.
    bound: Vec<u8>,
    /// Whether a member of a oneof is among them: the body may not have another one.
    has_oneof: bool,
    /// What the client says is the length of the body.
    length: Option<u64>,
    /// What the client says is in the body.
    content_type: Option<Box<str>>,
}

impl Transcoder {
    pub(super) fn new(api: Arc<Api>, settings: Transcoding) -> Rc<Transcoder> {
        let unary =
            api.methods().iter().filter(|method| !method.client_streaming && !method.server_streaming);
        let unary = unary.map(|method| method.path.as_str().into()).collect();
        let (captures, query, spare) = Default::default();
        Rc::new(Transcoder { api, settings, unary, captures, query, spare })
    }

    /// Whether this is the path of a method that takes one message and answers with one.
    pub(super) fn is_unary(&self, path: &str) -> bool {
        self.unary.contains(path)
    }

    fn rule(&self, rule: usize) -> &Rule {
        &self.api.rules()[rule]
    }

    fn method(&self, rule: usize) -> &Target {
        &self.api.methods()[self.rule(rule).method]
    }

    /// What a path may be called with; `None` if it is not known.
    pub(super) fn allowed(&self, path: &str) -> Option<String> {
        match self.api.find("OPTIONS", path, &mut self.captures.borrow_mut()) {
            Found::WrongMethod(allow) => Some(allow.to_owned()),
            _ => None,
        }
    }
}

/// Why a request is refused that no rule is for.
fn not_found(api: &Api, reply: &mut Reply, head: &Head) -> Failure {
    match head::not_mapped(head) {
        Failure::NotMapped if !api.is_whole() => {
            reply.retry_after(SOON);
            Failure::NotMappedYet
        }
        failure => failure,
    }
}

/// Finds the method that a request means. From then on the head is that of a call of it, and the reply speaks for it.
pub(super) fn open(
    transcoder: &Rc<Transcoder>,
    reply: &mut Reply,
    head: &mut Head,
) -> Result<Opened, Failure> {
    let mut captures = transcoder.captures.borrow_mut();
    let method = head.method().and_then(|method| str::from_utf8(method).ok()).unwrap_or_default();
    let rule = match transcoder.api.find(method, head::path_text(head), &mut captures) {
        Found::Rule(rule) | Found::Head(rule) => rule,
        Found::WrongMethod(allow) => {
            reply.allow(allow.to_owned());
            return Err(Failure::WrongMethod);
        }
        Found::Nothing => return Err(not_found(&transcoder.api, reply, head)),
        Found::Unreadable(reason) => {
            reply.explain(reason.message().to_owned());
            return Err(Failure::BadParameter);
        }
    };
    let content_type = value(head, Name::CONTENT_TYPE).map(Box::from);
    let (bound, has_oneof) = bound(transcoder, rule, &captures, head::query(head), reply)?;
    let opened = Opened {
        transcoder: Rc::clone(transcoder),
        rule,
        bound,
        has_oneof,
        length: value(head, Name::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        content_type,
    };
    if !opened.takes_this_type() {
        return Err(Failure::WrongContentType);
    }
    let format =
        Format::of(value(head, Name::ACCEPT).unwrap_or_default(), transcoder.method(rule).server_streaming);
    reply.speak(Voice::Json(Box::new(Answer::new(Rc::clone(transcoder), rule, format))));
    head::to_grpc(head, Some(transcoder.method(rule).path.as_str())).map_err(|_| {
        reply.explain("the host is not valid".to_owned());
        Failure::BadParameter
    })?;
    Ok(opened)
}

fn value(head: &Head, name: Name) -> Option<&str> {
    str::from_utf8(head.get(name)?).ok()
}

/// The fields that path and query say, as wire bytes, and whether a member of a oneof is among them.
fn bound(
    transcoder: &Transcoder,
    rule: usize,
    captures: &Captures,
    query: Option<&str>,
    reply: &mut Reply,
) -> Result<(Vec<u8>, bool), Failure> {
    let (api, settings) = (&transcoder.api, &transcoder.settings);
    let method = transcoder.method(rule);
    let schema = api.schema_of(method);
    let rule = transcoder.rule(rule);
    let mut bound = transcoder.spare.borrow_mut().pop().unwrap_or_default();
    let mut has_oneof = false;
    for (field, text) in rule.captures.iter().zip(captures.iter()) {
        has_oneof |= field.path.is_of_oneof(schema);
        bind(schema, &field.path, text, &mut bound).map_err(|reason| {
            reply.explain(format!("path parameter `{}`: {reason}", field.descriptor().name()));
            Failure::BadParameter
        })?;
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let ignore = settings.ignore_unknown_query_parameters;
        if matches!(rule.body, Body::Whole) {
            if !ignore {
                reply.explain(
                    "this method takes no query parameters: its body is the whole request".to_owned(),
                );
                return Err(Failure::BadParameter);
            }
            return Ok((bound, has_oneof));
        }
        let options = QueryOptions { ignore_unknown_parameters: ignore };
        let mut memory = transcoder.query.borrow_mut();
        let from_query = memory.bind(schema, method.input, query, &rule.taken, options, &mut bound);
        has_oneof |= from_query
            .map_err(|error| {
                reply.explain(error.to_string());
                Failure::BadParameter
            })?
            .has_oneof;
    }
    if let Some(conflict) = has_oneof.then(|| oneof::conflict(schema, method.input, &bound)).flatten() {
        reply.explain(conflict);
        return Err(Failure::BadParameter);
    }
    Ok((bound, has_oneof))
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut spare = self.transcoder.spare.borrow_mut();
        if spare.len() < SPARE_MAX && self.bound.capacity() <= SPARE_BYTES_MAX {
            self.bound.clear();
            spare.push(std::mem::take(&mut self.bound));
        }
    }
}

impl Opened {
    /// Whether the method takes a stream of requests.
    pub(super) fn is_stream(&self) -> bool {
        self.transcoder.method(self.rule).client_streaming
    }

    /// The most bytes that the body may have; of a stream, that one of its values may have.
    fn length_max(&self) -> usize {
        self.transcoder.settings.max_request_body_size as usize
    }

    fn takes_this_type(&self) -> bool {
        let rule = self.transcoder.rule(self.rule);
        let Some(content_type) = &self.content_type else { return true };
        // Without a body the type says nothing, and some clients always send one.
        if rule.takes_http_body || matches!(rule.body, Body::None) || self.length == Some(0) {
            return true;
        }
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| media.eq_ignore_ascii_case(known);
        let is_json =
            is("application/json") || is("text/json") || media.to_ascii_lowercase().ends_with("+json");
        let is_lines = is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl");
        is_json || (self.is_stream() && is_lines)
    }
}
