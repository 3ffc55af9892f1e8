//! A request in JSON: the method that it means, and its head as that of a call of it.

use std::rc::Rc;
use std::time::Duration;

use super::prefixes;
use super::transcoder::Transcoder;
use crate::config::ContentCoding;
use crate::http2::{Head, Name};
use crate::policy::failure::Failure;
use crate::transcode::api::{Api, Body};
use crate::transcode::bind::bind;
use crate::transcode::coding;
use crate::transcode::oneof;
use crate::transcode::plan::{Cardinality, Kind, Shape};
use crate::transcode::rules::{Captures, Found};
use crate::transcode::template::Template;
use crate::wire::connect;
use crate::wire::content;
use crate::worker::call::headers;
use crate::worker::call::responder::Responder;
use crate::worker::call::responder::format::Format;
use crate::worker::call::responder::json::JsonEncoder;

/// The time after which a caller may try again whose method reflection may still find: such a service is asked each
/// second.
const SOON: Duration = Duration::from_secs(1);

/// A request whose method is known.
pub(in crate::worker) struct TranscodedRequest {
    pub(super) transcoder: Rc<Transcoder>,
    pub(super) rule: usize,
    /// Fields of the request's message that path and query give, encoded.
    pub(super) bound: Vec<u8>,
    /// Whether a member of a oneof is among them: the body may not have another one.
    pub(super) has_oneof: bool,
    /// The length of the body, as the client states it.
    pub(super) length: Option<u64>,
    /// Whether the body is a form.
    pub(super) is_form: bool,
    /// The media type of the body, as the client states it.
    pub(super) content_type: Option<Box<str>>,
    /// The coding of the body.
    pub(super) coding: Option<ContentCoding>,
    /// The form of a request in Connect.
    pub(super) connect: Option<connect::Kind>,
    /// The message of a GET in Connect.
    pub(in crate::worker::call) given: Option<Vec<u8>>,
}

/// The failure of a request for a gateway without descriptors.
pub(in crate::worker) fn off(responder: &mut Responder, head: &Head) -> Failure {
    let failure = headers::not_mapped(head);
    if failure == Failure::NotMapped {
        responder.explain("no method is mapped to this path: the gateway's configuration has no [transcoding], so JSON is off".to_owned());
    }
    failure
}

/// The failure of a request that no rule matches.
fn not_found(api: &Api, responder: &mut Responder, head: &Head) -> Failure {
    match headers::not_mapped(head) {
        Failure::NotMapped if !api.is_whole() => {
            responder.retry_after(SOON);
            Failure::NotMappedYet
        }
        Failure::NotMapped => {
            if let Some(near) = api.nearest(headers::path_text(head)) {
                responder.explain(format!("no method is mapped to this path: did you mean {near}?"));
            }
            Failure::NotMapped
        }
        failure => failure,
    }
}

impl TranscodedRequest {
    /// The path of the rule that the request matched.
    pub(in crate::worker::call) fn template(&self) -> &Template {
        &self.transcoder.rule(self.rule).template
    }
}

/// Finds the method that a request means. The head becomes that of a call of it, and the responder encodes its
/// response.
pub(in crate::worker) fn open(
    transcoder: &Rc<Transcoder>,
    responder: &mut Responder,
    head: &mut Head,
    connect: Option<connect::Kind>,
) -> Result<TranscodedRequest, Failure> {
    let mut captures = transcoder.captures.borrow_mut();
    let method = head.method().and_then(|method| str::from_utf8(method).ok()).unwrap_or_default();
    let rule = match transcoder.api.find(method, headers::path_text(head), &mut captures) {
        Found::Rule(rule) | Found::Head(rule) => rule,
        Found::WrongMethod(allow) => {
            responder.allow(allow.to_owned());
            return Err(Failure::WrongMethod);
        }
        Found::Nothing => return Err(not_found(&transcoder.api, responder, head)),
        Found::Unreadable(reason) => {
            responder.explain(reason.message().to_owned());
            return Err(Failure::BadParameter);
        }
    };
    let content_type = value(head, Name::CONTENT_TYPE);
    let (bound, has_oneof) =
        path_and_query_fields(transcoder, rule, &captures, headers::query(head), responder)?;
    let Ok(coding) = coding::of_body(head.get(Name::CONTENT_ENCODING)) else {
        responder.explain(format!("the content-encoding is none of {}", coding::ACCEPTED));
        return Err(Failure::WrongContentType);
    };
    let opened = TranscodedRequest {
        transcoder: Rc::clone(transcoder),
        rule,
        bound,
        has_oneof,
        is_form: is_form(transcoder, rule, content_type),
        length: value(head, Name::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        // Only methods that take a `google.api.HttpBody` need it.
        content_type: content_type.filter(|_| transcoder.rule(rule).takes_http_body).map(Box::from),
        coding,
        connect,
        given: None,
    };
    if coding.is_some() && (opened.is_stream() || opened.is_framed()) {
        responder.explain("a stream of values may have no content-encoding".to_owned());
        return Err(Failure::WrongContentType);
    }
    if !opened.takes_this_type(content_type) {
        return Err(Failure::WrongContentType);
    }
    if connect.is_some() {
        let mut encoder = opened.connect_encoder();
        encoder.compress(head.get(Name::ACCEPT_ENCODING).unwrap_or_default());
        responder.encode_json(encoder);
        headers::json_to_grpc(
            head,
            transcoder.method(rule).path.as_str(),
            &transcoder.settings.grpc_compression,
        );
        return Ok(opened);
    }
    let compatibility = &transcoder.settings.compatibility;
    let wraps = compatibility.wrap_stream_messages && !transcoder.rule(rule).gives_http_body;
    let (accept, is_stream) =
        (value(head, Name::ACCEPT).unwrap_or_default(), transcoder.method(rule).server_streaming);
    let format = Format::of(accept, is_stream, wraps);
    let mut encoder = JsonEncoder::new(Rc::clone(transcoder), rule, format);
    encoder.compress(head.get(Name::ACCEPT_ENCODING).unwrap_or_default());
    responder.encode_json(encoder);
    headers::json_to_grpc(head, transcoder.method(rule).path.as_str(), &transcoder.settings.grpc_compression);
    // After the fields of the connection are gone.
    if compatibility.metadata_prefixes {
        prefixes::strip(head);
    }
    Ok(opened)
}

/// Whether the body is a form that the rule takes.
fn is_form(transcoder: &Transcoder, rule: usize, content_type: Option<&str>) -> bool {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !transcoder.settings.compatibility.form_bodies
        || !media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    {
        return false;
    }
    let (rule, method) = (transcoder.rule(rule), transcoder.method(rule));
    let takes_fields = match &rule.body {
        Body::None | Body::Whole => true,
        Body::Field(field) => {
            let schema = transcoder.api.schema_of(method);
            let field = field.path.field(schema).expect("checked when the rule was made");
            matches!(field.cardinality, Cardinality::Singular { .. })
                && matches!(field.kind, Kind::Message(id) if schema.message(id).shape() == Shape::Plain)
        }
    };
    takes_fields && !method.client_streaming && !rule.takes_http_body
}

fn value(head: &Head, name: Name) -> Option<&str> {
    str::from_utf8(head.get(name)?).ok()
}

/// The fields of path and query, as wire bytes, and whether a member of a oneof is among them.
fn path_and_query_fields(
    transcoder: &Transcoder,
    rule: usize,
    captures: &Captures,
    query: Option<&str>,
    responder: &mut Responder,
) -> Result<(Vec<u8>, bool), Failure> {
    let (api, options) = (&transcoder.api, transcoder.query_options());
    let method = transcoder.method(rule);
    let schema = api.schema_of(method);
    let rule = transcoder.rule(rule);
    let mut bound = transcoder.take_buffer();
    let mut has_oneof = false;
    for (field, text) in rule.captures.iter().zip(captures.iter()) {
        has_oneof |= field.path.is_of_oneof(schema);
        bind(schema, &field.path, text, &mut bound).map_err(|reason| {
            responder.explain(format!("path parameter `{}`: {reason}", field.descriptor().name()));
            Failure::BadParameter
        })?;
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        if matches!(rule.body, Body::Whole) {
            if !(options.ignore_taken || options.ignore_unknown_parameters) {
                responder.explain(
                    "this method takes no query parameters: its body is the whole request".to_owned(),
                );
                return Err(Failure::BadParameter);
            }
            return Ok((bound, has_oneof));
        }
        let mut memory = transcoder.query.borrow_mut();
        let from_query = memory.bind(schema, method.input, query, &rule.taken, options, &mut bound);
        has_oneof |= from_query
            .map_err(|error| {
                responder.explain(error.to_string());
                Failure::BadParameter
            })?
            .has_oneof;
    }
    if let Some(conflict) = has_oneof.then(|| oneof::conflict(schema, method.input, &bound)).flatten() {
        responder.explain(conflict);
        return Err(Failure::BadParameter);
    }
    Ok((bound, has_oneof))
}

impl Drop for TranscodedRequest {
    fn drop(&mut self) {
        self.transcoder.give_buffer(std::mem::take(&mut self.bound));
    }
}

impl TranscodedRequest {
    /// Whether the method takes a stream of requests.
    pub(in crate::worker) fn is_stream(&self) -> bool {
        self.transcoder.method(self.rule).client_streaming
    }

    /// Whether its values come in frames.
    pub(in crate::worker) fn is_framed(&self) -> bool {
        self.connect == Some(connect::Kind::Stream)
    }

    /// The encoder of the response to a caller in Connect.
    fn connect_encoder(&self) -> JsonEncoder {
        let format = if self.is_framed() { Format::Frames } else { Format::Value };
        let mut encoder = JsonEncoder::new(Rc::clone(&self.transcoder), self.rule, format);
        encoder.speak_connect();
        encoder
    }

    /// The most bytes that the body may have; for a stream, that one of its values may have.
    pub(super) fn length_max(&self) -> usize {
        self.transcoder.settings.max_request_body_size as usize
    }

    fn takes_this_type(&self, content_type: Option<&str>) -> bool {
        let (rule, method) = (self.transcoder.rule(self.rule), self.transcoder.method(self.rule));
        if self.connect == Some(connect::Kind::Unary) && (method.client_streaming || method.server_streaming)
        {
            return false;
        }
        let Some(content_type) = content_type else { return true };
        // Without a body the type says nothing, and some clients always send one.
        let is_unread = rule.takes_http_body || matches!(rule.body, Body::None) || self.length == Some(0);
        if is_unread || self.is_form {
            return true;
        }
        let content_type = content_type.as_bytes();
        content::is_json(content_type) || (self.is_stream() && content::is_json_lines(content_type))
    }
}
