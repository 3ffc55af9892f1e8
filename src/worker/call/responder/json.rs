//! The response to a caller of plain HTTP: one value of JSON, or a stream of them.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::codings::{self, StreamCoding};
use super::connect;
use super::extra::ExtraHeaders;
use super::format::Format;
use super::sink::{Gone, ResponseSink};
use crate::buffer::Slice;
use crate::config::{ContentCoding, PrintOptions};
use crate::http2::{Head, Heads, Name};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::transcode::api::Rule;
use crate::transcode::coding;
use crate::transcode::connect::Error;
use crate::transcode::http_body::{self, HttpBody};
use crate::transcode::{status, write};
use crate::upstream::AttemptError;
use crate::wire::messages::Messages;
use crate::wire::{binary, connect as wire_connect, frame, message};
use crate::worker::call::headers;
use crate::worker::call::json::prefixes;
use crate::worker::call::json::transcoder::Transcoder;
use crate::worker::downstream::buffered::BufferedResponse;

/// The response of one call.
pub(in crate::worker) struct JsonEncoder {
    transcoder: Rc<Transcoder>,
    rule: usize,
    format: Format,
    /// The caller speaks Connect.
    connect: bool,
    /// The head, until its fields are settled.
    head: Option<Head>,
    messages: Messages,
    /// The only message in the client's language, until it is known that the call went well.
    only: Option<Result<Slice, AttemptError>>,
    /// In the client's language, and not yet taken.
    pending: Slice,
    is_empty: bool,
    /// The error that ends the response, once the bytes before it have been sent.
    ended: Option<AttemptError>,
    /// The coding that the response may have.
    coding: Option<ContentCoding>,
    /// The coding of a stream that has begun.
    stream_coding: Option<Box<StreamCoding>>,
    /// The coding of the service's messages, if it is one that it was offered.
    message_coding: Option<ContentCoding>,
    /// How much of it is held until it is whole.
    held: Option<BufferedResponse>,
}

/// The failure of an upstream's answer that has no form in JSON.
const BAD: AttemptError = AttemptError::terminal(Failure::UpstreamBadMessage);

impl JsonEncoder {
    pub(in crate::worker) fn new(transcoder: Rc<Transcoder>, rule: usize, format: Format) -> JsonEncoder {
        JsonEncoder {
            transcoder,
            rule,
            format,
            connect: false,
            head: None,
            messages: Messages::default(),
            only: None,
            pending: Slice::default(),
            is_empty: true,
            ended: None,
            coding: None,
            stream_coding: None,
            message_coding: None,
            held: None,
        }
    }

    /// Compresses the response, if that is configured and the caller takes it.
    pub(in crate::worker) fn compress(&mut self, accept_encoding: &[u8]) {
        let offered = &self.transcoder.settings.compression.algorithms;
        self.coding = coding::choose(accept_encoding, offered);
    }

    /// The caller speaks Connect: errors and trailers are in its form.
    pub(in crate::worker) fn speak_connect(&mut self) {
        self.connect = true;
    }

    /// Whether the caller speaks Connect.
    pub(super) fn speaks_connect(&self) -> bool {
        self.connect
    }

    /// Whether status and trailers are a last frame.
    pub(super) fn is_framed(&self) -> bool {
        self.format == Format::Frames
    }

    /// Counts what is held of the response from now on.
    pub(in crate::worker) fn count(&mut self, held: BufferedResponse) {
        self.held = Some(held);
    }

    /// Bytes of messages that are not whole, or not yet with the client.
    fn held_bytes(&self) -> usize {
        let only = self.only.as_ref().and_then(|only| only.as_ref().ok());
        self.messages.held_bytes() + only.map_or(0, |only| only.len()) + self.pending.len()
    }

    /// Takes a chunk, once there is room for what it may add to the messages that are held.
    fn poll_take(&mut self, cx: &mut Context<'_>, chunk: &mut Slice) -> Poll<Result<(), AttemptError>> {
        let bytes = self.held_bytes() + chunk.len();
        if let Some(held) = &mut self.held {
            ready!(held.poll_hold(cx, bytes)).map_err(AttemptError::terminal)?;
        }
        self.messages.feed(std::mem::take(chunk));
        Poll::Ready(Ok(()))
    }

    /// Takes the upstream's head. Gives back its fields about the status, which count if it is all of the response.
    pub(in crate::worker) fn begin(&mut self, heads: &Rc<Heads>, mut head: Head) -> Head {
        let mut trailers = heads.head();
        let is_status = |name: Name| {
            matches!(name, Name::GRPC_STATUS | Name::GRPC_MESSAGE | Name::GRPC_STATUS_DETAILS_BIN)
        };
        for field in head.iter().filter(|field| is_status(field.name)) {
            trailers.push(field.name, field.value);
        }
        self.message_coding = codings::of_messages(&self.transcoder.settings.grpc_compression, &head);
        head.retain(|field| {
            !is_status(field.name)
                && !matches!(
                    field.name,
                    Name::CONTENT_TYPE
                        | Name::CONTENT_LENGTH
                        | Name::TRAILER
                        | Name::GRPC_ENCODING
                        | Name::GRPC_ACCEPT_ENCODING
                )
        });
        if self.has_prefixes() {
            prefixes::add(heads, &mut head);
        }
        head.set_status(200);
        self.head = Some(head);
        trailers
    }

    /// Takes a chunk of the upstream's body. Ready when all messages that it completes have been sent.
    pub(in crate::worker) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        is_head: bool,
        chunk: &mut Slice,
    ) -> Poll<Result<(), AttemptError>> {
        if is_head && sink.is_over() {
            return Poll::Ready(Ok(()));
        }
        if !chunk.is_empty() {
            ready!(self.poll_take(cx, chunk))?;
        }
        loop {
            if !self.pending.is_empty() {
                match sink.poll_send(cx, &mut self.pending) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Err(Gone.into())),
                    Poll::Ready(Ok(())) => {}
                }
            }
            if let Some(failed) = self.ended.take() {
                return Poll::Ready(Err(failed));
            }
            let transcoder = Rc::clone(&self.transcoder);
            let Ok(pending) = transcoder.blocks.write(|out| {
                // A message that cannot be written does not take along those before it.
                self.ended = self.append_next(sink, extra, is_head, out).err();
                let coded = self.stream_coding.as_mut().map_or(Ok(()), |coding| coding.encode(out));
                self.ended = self.ended.take().or(coded.is_err().then_some(BAD));
                Ok::<(), Infallible>(())
            });
            self.pending = pending;
            let bytes = self.held_bytes();
            self.held.iter_mut().for_each(|held| held.note(bytes));
            if self.pending.is_empty() && self.ended.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Appends the next messages in the client's format; nothing if there is none.
    fn append_next(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        is_head: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), AttemptError> {
        /// Enough to send, when a chunk has many messages.
        const ENOUGH: usize = 32 * 1024;
        let length_max = self.transcoder.settings.max_response_message_size;
        while out.len() < ENOUGH {
            let Some(message) = self.messages.next(length_max).map_err(|_| BAD)? else { break };
            if self.only.is_some() {
                return Err(BAD);
            }
            let message = codings::message(self.message_coding, message, length_max).ok_or(BAD)?;
            if self.format == Format::Value {
                self.only = Some(self.whole(&message));
                continue;
            }
            let before = out.len();
            if let Err(failed) = self.append(&message, out) {
                out.truncate(before);
                return Err(failed);
            }
            if !sink.is_begun() {
                self.set_type(&message)?;
                self.begin_on(sink, extra, is_head)?;
                if is_head {
                    out.clear();
                    return Ok(());
                }
            }
            self.is_empty = false;
        }
        Ok(())
    }

    /// Sends the head; a HEAD request gets no more.
    fn begin_on(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        is_head: bool,
    ) -> Result<(), AttemptError> {
        let mut head = self.head_with(extra)?;
        // Frames of Connect have codings of their own, and only the service knows what bodies of other types are.
        if !is_head && !self.is_framed() && !self.rule().gives_http_body {
            self.stream_coding = StreamCoding::begin(&self.transcoder, self.coding, &mut head);
        }
        let sent = if is_head { sink.send_head(&head) } else { sink.begin(&head) };
        sent.map_err(AttemptError::from)
    }

    fn head_with(&mut self, extra: &ExtraHeaders) -> Result<Head, AttemptError> {
        let mut head = self.head.take().ok_or(BAD)?;
        extra.add_to(&mut head);
        Ok(head)
    }

    fn rule(&self) -> &Rule {
        self.transcoder.rule(self.rule)
    }

    /// Sets the content type in the head. `first` is the first message: an `HttpBody` has a content type.
    fn set_type(&mut self, first: &[u8]) -> Result<(), AttemptError> {
        let value = if self.rule().gives_http_body {
            let content_type = self.http_body(first)?.content_type;
            // A content type that is no field value is not passed on.
            (!content_type.is_empty() && is_field_value(content_type)).then_some(content_type)
        } else {
            Some(self.format.content_type().as_bytes())
        };
        if let (Some(value), Some(head)) = (value, &mut self.head) {
            head.insert(Name::CONTENT_TYPE, value);
        }
        Ok(())
    }

    fn http_body<'m>(&self, message: &'m [u8]) -> Result<HttpBody<'m>, AttemptError> {
        let message = match &self.rule().response_body {
            None => message,
            Some(field) => http_body::field_bytes(message, field.descriptor().number())
                .map_err(|_| BAD)?
                .unwrap_or_default(),
        };
        HttpBody::read(message).map_err(|_| BAD)
    }

    /// The only message as the client gets it, with its type in the head.
    fn whole(&mut self, message: &[u8]) -> Result<Slice, AttemptError> {
        self.set_type(message)?;
        self.transcoder.blocks.write(|out| self.append(message, out))
    }

    /// Appends a message as the client gets it.
    fn append(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), AttemptError> {
        let rule = self.rule();
        if rule.gives_http_body {
            out.extend_from_slice(self.http_body(message)?.data);
            return Ok(());
        }
        out.reserve(2 * message.len() + 64);
        let begin = out.len();
        out.extend_from_slice(self.format.before(self.is_empty && out.is_empty()));
        let api = &self.transcoder.api;
        let method = &api.methods()[rule.method];
        let (schema, output) = (api.schema_of(method), method.output);
        // A value of a stream is one line.
        let wide = self.transcoder.settings.print_options;
        let options =
            PrintOptions { add_whitespace: wide.add_whitespace && self.format == Format::Value, ..wide };
        let written = match &rule.response_body {
            None => write::write(schema, output, message, &options, out),
            Some(field) => {
                let index = schema.message(output).by_number(field.descriptor().number());
                let index = index.expect("checked when the rule was made");
                write::write_field(schema, output, index, message, &options, out)
            }
        };
        written.map_err(|error| {
            tracing::debug!(%error, "an answer cannot be written as JSON");
            BAD
        })?;
        if self.is_framed() {
            frame::set_length(&mut out[begin..]);
        }
        out.extend_from_slice(self.format.after());
        Ok(())
    }

    /// Ends the response with the upstream's trailers.
    pub(in crate::worker) fn end(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        is_head: bool,
        trailers: &Head,
    ) -> Result<(), AttemptError> {
        let code = headers::status(trailers).unwrap_or(Code::Unknown);
        if code != Code::Ok {
            return self.end_badly(sink, extra, is_head, code, trailers);
        }
        if !self.messages.is_between() {
            return Err(BAD);
        }
        if self.format == Format::Value {
            let body = self.only.take().ok_or(BAD)??;
            let mut head = self.head_with(extra)?;
            self.add_metadata(&mut head, trailers);
            let settings = &self.transcoder.settings.compression;
            let body = if is_head { body } else { codings::body(settings, self.coding, body, &mut head) };
            return Ok(sink.send_whole(head, body, is_head)?);
        }
        if !sink.is_begun() {
            if !self.rule().gives_http_body {
                self.set_type(b"")?;
            }
            self.begin_on(sink, extra, is_head)?;
            if is_head {
                return Ok(());
            }
        }
        if self.is_framed() {
            return Ok(sink.end(connect::end_frame(None, trailers))?);
        }
        let end = if self.rule().gives_http_body { b"" } else { self.format.end(self.is_empty) };
        Ok(sink.end(self.last(Slice::copy_of(end)))?)
    }

    /// The last bytes of a body, in its coding.
    fn last(&mut self, bytes: Slice) -> Slice {
        let Some(coding) = self.stream_coding.take() else { return bytes };
        // Without the end of the coding a caller sees that the body is not whole.
        coding.finish(&bytes).unwrap_or_default()
    }

    /// Sends the client the service's failure.
    fn end_badly(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        is_head: bool,
        code: Code,
        trailers: &Head,
    ) -> Result<(), AttemptError> {
        let text = trailers.get(Name::GRPC_MESSAGE).map(message::decode).unwrap_or_default();
        let details = trailers.get(Name::GRPC_STATUS_DETAILS_BIN).and_then(binary::decode);
        if self.connect {
            let error = Error { code: code.number(), message: &text, status: details.as_deref() };
            return self.end_in_connect(sink, extra, (code, error), trailers);
        }
        let schema = Some(self.transcoder.api.schema_of(self.transcoder.method(self.rule)));
        let body = status::to_json(schema, code.number(), &text, details.as_deref());
        if sink.is_begun() {
            let last = self.last(self.error(&body));
            return Ok(self.end_begun(sink, last)?);
        }
        let mut head = self.head_with(extra)?;
        head.set_status(code.http());
        head.insert(Name::CONTENT_TYPE, b"application/json");
        self.add_metadata(&mut head, trailers);
        let body = if self.format == Format::Results { self.error(&body) } else { body.into() };
        Ok(sink.send_whole(head, body, is_head)?)
    }

    /// Sends a caller in Connect the service's failure.
    fn end_in_connect(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        (code, error): (Code, Error<'_>),
        trailers: &Head,
    ) -> Result<(), AttemptError> {
        if self.is_framed() && sink.is_begun() {
            return Ok(sink.end(connect::end_frame(Some(error), trailers))?);
        }
        let mut head = self.head_with(extra)?;
        head.insert(Name::CONTENT_TYPE, self.format.content_type().as_bytes());
        if self.is_framed() {
            return Ok(sink.send_whole(head, connect::end_frame(Some(error), trailers), false)?);
        }
        head.set_status(code.http());
        self.add_metadata(&mut head, trailers);
        Ok(sink.send_whole(head, error.to_json().into(), false)?)
    }

    /// Ends a body that had begun when the call failed. One that says so in each of its lines is whole; others are cut.
    pub(in crate::worker) fn end_begun(&self, sink: &mut ResponseSink, last: Slice) -> Result<(), Gone> {
        if matches!(self.format, Format::Results | Format::Frames) {
            return sink.end(last);
        }
        sink.cut(last);
        Ok(())
    }

    /// Ends a body that had begun when the call failed: bytes that the client has not taken yet, and a last value.
    pub(in crate::worker) fn failed(&mut self, failure: Failure, detail: Option<&str>) -> Slice {
        let error = if self.is_framed() {
            connect::failed_frame(failure, detail)
        } else {
            let error = self.error(&status_body(failure, detail));
            self.last(error)
        };
        if self.pending.is_empty() {
            return error;
        }
        [&*std::mem::take(&mut self.pending), &*error].concat().into()
    }

    /// `{"error": {...}}`, framed like the values before it.
    fn error(&self, status: &[u8]) -> Slice {
        // A body of some other type has no place for the object.
        if self.rule().gives_http_body {
            return Slice::default();
        }
        let mut out = Vec::with_capacity(status.len() + 48);
        out.extend_from_slice(self.format.before_error(self.is_empty));
        out.extend_from_slice(b"{\"error\":");
        out.extend_from_slice(status);
        out.push(b'}');
        out.extend_from_slice(self.format.after_error());
        out.into()
    }

    /// Metadata that came last goes with what came first: HTTP/1.1 has no trailers that anyone reads.
    fn add_metadata(&self, head: &mut Head, trailers: &Head) {
        let prefix = match self.connect {
            true => wire_connect::TRAILER_PREFIX,
            false if self.has_prefixes() => prefixes::TRAILER,
            false => b"",
        };
        for field in trailers.iter() {
            if !field.name_bytes.starts_with(b"grpc-") && !prefixes::is_of_a_body(field.name) {
                prefixes::push(head, prefix, field);
            }
        }
    }

    fn has_prefixes(&self) -> bool {
        !self.connect && self.transcoder.settings.compatibility.metadata_prefixes
    }
}

/// Whether these bytes may be the value of a field (RFC 9110 section 5.5).
fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) && bytes.trim_ascii() == bytes
}

/// The body of a response that the gateway makes itself: a `google.rpc.Status` in JSON. `detail` takes the place of the
/// failure's own sentence.
pub(in crate::worker) fn status_body(failure: Failure, detail: Option<&str>) -> Slice {
    let message = detail.unwrap_or_else(|| failure.message());
    status::to_json(None, failure.code().number(), message, None).into()
}
