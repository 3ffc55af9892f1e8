//! A body of JSON, or of anything that a `google.api.HttpBody` holds, as gRPC messages in their frames.

use std::rc::Rc;

use super::request::TranscodedRequest;
use crate::buffer::Slice;
use crate::policy::failure::Failure;
use crate::transcode::api::{Body, BoundField};
use crate::transcode::coding::{self, DecodeError};
use crate::transcode::http_body::field_bytes;
use crate::transcode::oneof;
use crate::transcode::plan::Kind;
use crate::transcode::query::QueryError;
use crate::transcode::read::mask::field_mask;
use crate::transcode::read::{ReadError, ReadOptions, read, read_field};
use crate::transcode::split::{SplitReason, Splitter};
use crate::transcode::wire::put_bytes;
use crate::wire::frame::{COMPRESSED, HEAD_BYTES};
use crate::wire::messages::Messages;

/// A body that has been received whole.
#[derive(Debug, Default)]
pub(in crate::worker) struct CollectedBody {
    /// The only chunk, as it came.
    first: Slice,
    /// All pieces, if there are several.
    all: Vec<u8>,
}

impl CollectedBody {
    /// Adds a chunk, up to `length_max` bytes of them. `announced` is the length that the client stated.
    pub(in crate::worker) fn add(
        &mut self,
        chunk: Slice,
        announced: Option<u64>,
        length_max: usize,
    ) -> Result<(), Failure> {
        if self.bytes().len() + chunk.len() > length_max {
            return Err(Failure::BodyTooLarge);
        }
        if self.bytes().is_empty() {
            self.first = chunk;
            return Ok(());
        }
        let length = self.bytes().len() + chunk.len();
        if self.all.capacity() < length {
            let wanted = room(length, announced, length_max);
            self.all.reserve_exact(wanted - self.all.len());
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
        Ok(())
    }

    /// Bytes of it that have come.
    pub(in crate::worker) fn held_bytes(&self) -> usize {
        self.bytes().len()
    }

    /// A body that came otherwise.
    pub(in crate::worker) fn of(bytes: Vec<u8>) -> CollectedBody {
        CollectedBody { first: bytes.into(), all: Vec::new() }
    }

    /// All of it.
    pub(in crate::worker) fn bytes(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }
}

/// The memory to take for a body of which so much has come. A large body never takes it twice; memory that is not
/// written to costs nothing.
fn room(length: usize, announced: Option<u64>, length_max: usize) -> usize {
    const SMALL: usize = 64 << 10;
    const LARGE: usize = 16 << 20;
    let wanted = match announced {
        Some(announced) => usize::try_from(announced).unwrap_or(length_max),
        None if length <= SMALL => length.next_power_of_two(),
        None => LARGE.max(2 * length),
    };
    wanted.clamp(length, length_max.max(length))
}

/// The refusal of a request: the failure, and a detail for the caller.
pub(in crate::worker) type Refused = (Failure, Option<String>);

impl TranscodedRequest {
    /// Refuses a body that is announced to be too long, before it comes.
    pub(in crate::worker) fn check_length(&self) -> Result<(), Failure> {
        let too_long = self.length.is_some_and(|length| length > self.length_max() as u64);
        if too_long && !self.is_stream() { Err(Failure::BodyTooLarge) } else { Ok(()) }
    }

    /// The most bytes that the body may have, as far as the client has said.
    pub(in crate::worker) fn body_max(&self) -> usize {
        self.length.and_then(|length| usize::try_from(length).ok()).unwrap_or_else(|| self.length_max())
    }

    /// Takes a chunk of the body.
    pub(in crate::worker) fn collect(
        &self,
        collected: &mut CollectedBody,
        chunk: Slice,
    ) -> Result<(), Failure> {
        collected.add(chunk, self.length, self.length_max())
    }

    /// Undoes the coding of a body that is whole.
    pub(in crate::worker) fn decoded(&self, body: CollectedBody) -> Result<CollectedBody, Refused> {
        let Some(coding) = self.coding.filter(|_| !body.bytes().is_empty()) else { return Ok(body) };
        match coding::decode(coding, body.bytes(), self.length_max()) {
            Ok(bytes) => Ok(CollectedBody::of(bytes)),
            Err(DecodeError::TooLarge) => Err((Failure::BodyTooLarge, None)),
            Err(DecodeError::Malformed) => {
                Err((Failure::BadBody, Some(format!("the body is not {}", coding::name(coding)))))
            }
        }
    }

    /// The call's only message, in its frame.
    pub(in crate::worker) fn message(&self, body: &CollectedBody) -> Result<Slice, Refused> {
        self.transcoder.blocks.write(|out| {
            out.reserve_exact(HEAD_BYTES + body.bytes().len() + self.bound.len() + 16);
            self.append(body.bytes(), true, out)
        })
    }

    /// Appends the message of one value of the body, in its frame.
    fn append(&self, value: &[u8], is_first: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let head_at = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        let has_oneof = self.append_body(value, is_first, out)?;
        // Later fields go before earlier ones, so that the path's cannot be changed by the body.
        out.extend_from_slice(&self.bound);
        if has_oneof || self.has_oneof {
            self.check_oneofs(&out[head_at + HEAD_BYTES..])?;
        }
        self.compress(out, head_at);
        let length =
            u32::try_from(out.len() - head_at - HEAD_BYTES).map_err(|_| (Failure::BodyTooLarge, None))?;
        out[head_at + 1..head_at + HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Compresses the message whose frame begins there, if that is configured and makes it shorter.
    fn compress(&self, out: &mut Vec<u8>, head_at: usize) {
        let settings = &self.transcoder.settings.grpc_compression;
        let message = &out[head_at + HEAD_BYTES..];
        let is_long = message.len() >= settings.min_message_length as usize;
        let Some(coding) = settings.request.filter(|_| is_long) else { return };
        if let Ok(encoded) = coding::encode(coding, message)
            && encoded.len() < message.len()
        {
            out.truncate(head_at + HEAD_BYTES);
            out.extend_from_slice(&encoded);
            out[head_at] = COMPRESSED;
        }
    }

    /// Refuses a message of which the body has one member of a oneof, and path or query have another one.
    fn check_oneofs(&self, message: &[u8]) -> Result<(), Refused> {
        let method = self.transcoder.method(self.rule);
        match oneof::conflict(self.transcoder.api.schema_of(method), method.input, message) {
            Some(conflict) => Err((Failure::BadBody, Some(conflict))),
            None => Ok(()),
        }
    }

    /// Appends what the body says. Says whether a oneof may be set twice, which JSON by itself cannot do.
    fn append_body(&self, value: &[u8], is_first: bool, out: &mut Vec<u8>) -> Result<bool, Refused> {
        if self.is_form {
            return self.append_form(value, out);
        }
        let (rule, method) = (self.transcoder.rule(self.rule), self.transcoder.method(self.rule));
        let schema = self.transcoder.api.schema_of(method);
        let options = ReadOptions { ignore_unknown_fields: self.transcoder.settings.ignore_unknown_fields };
        let is_empty = value.iter().all(u8::is_ascii_whitespace);
        let compatibility = &self.transcoder.settings.compatibility;
        let appended = match &rule.body {
            Body::None if is_empty || compatibility.ignore_unused_body => Ok(()),
            Body::None => Err((Failure::BadBody, Some("this method takes no body".to_owned()))),
            Body::Whole if rule.takes_http_body => {
                self.append_http_body(value, is_first, out);
                Ok(())
            }
            Body::Field(field) if rule.takes_http_body => {
                let mut inner = Vec::with_capacity(value.len() + 64);
                self.append_http_body(value, is_first, &mut inner);
                put_bytes(field.descriptor().number(), &inner, out);
                Ok(())
            }
            _ if is_empty => Ok(()),
            Body::Whole => read(schema, method.input, value, options, out).map_err(|error| bad(&error)),
            Body::Field(bound) => {
                let field = bound.path.field(schema).expect("checked when the rule was made");
                read_field(schema, field, value, options, out).map_err(|error| bad(&error))?;
                if compatibility.fill_update_mask { self.append_mask(bound, value, out) } else { Ok(()) }
            }
        };
        appended.map(|()| false)
    }

    /// Appends what the body sets as the rule's update mask, unless path or query say it.
    fn append_mask(&self, body: &BoundField, value: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let (rule, method) = (self.transcoder.rule(self.rule), self.transcoder.method(self.rule));
        let schema = self.transcoder.api.schema_of(method);
        let Some(mask) = &rule.update_mask else { return Ok(()) };
        let number = mask.descriptor().number();
        let is_said = field_bytes(&self.bound, number).ok().flatten().is_some_and(|mask| !mask.is_empty());
        let field = body.path.field(schema).expect("checked when the rule was made");
        let (Kind::Message(id) | Kind::Group(id)) = field.kind else { return Ok(()) };
        if is_said || value.trim_ascii() == b"null" {
            return Ok(());
        }
        let mut paths = Vec::with_capacity(64);
        // A message that is no object of its fields has no paths.
        if field_mask(schema, id, value, &mut paths).is_ok() {
            put_bytes(number, &paths, out);
        }
        Ok(())
    }

    /// Appends the fields of a form. Says whether a member of a oneof is among them.
    fn append_form(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool, Refused> {
        let (rule, method) = (self.transcoder.rule(self.rule), self.transcoder.method(self.rule));
        let schema = self.transcoder.api.schema_of(method);
        let bad = |reason: String| (Failure::BadBody, Some(reason));
        let form = str::from_utf8(value).map_err(|_| bad("the form is not UTF-8".to_owned()))?.trim();
        let mut query = self.transcoder.query.borrow_mut();
        let options = self.transcoder.query_options();
        let failed = |error: QueryError| bad(format!("form field `{}`: {}", error.parameter, error.reason));
        let Body::Field(body) = &rule.body else {
            let bound = query.bind(schema, method.input, form, &rule.taken, options, out).map_err(failed)?;
            return Ok(bound.has_oneof);
        };
        let field = body.path.field(schema).expect("checked when the rule was made");
        let Kind::Message(id) = field.kind else { return Err(bad("this body is no form".to_owned())) };
        let mut inner = Vec::with_capacity(form.len());
        query.bind(schema, id, form, &[], options, &mut inner).map_err(failed)?;
        put_bytes(field.number, &inner, out);
        // The message around it may be a member itself, and the fields in it are members of another one.
        Ok(true)
    }

    /// The fields of a `google.api.HttpBody`.
    fn append_http_body(&self, data: &[u8], is_first: bool, out: &mut Vec<u8>) {
        if let Some(content_type) = &self.content_type
            && is_first
        {
            put_bytes(1, content_type.as_bytes(), out);
        }
        put_bytes(2, data, out);
    }
}

fn bad(error: &ReadError) -> Refused {
    (Failure::BadBody, Some(error.to_string()))
}

/// Cuts values out of a body.
enum Values {
    /// They follow each other as JSON.
    Bare(Splitter),
    /// Each is in a frame.
    Framed(Messages),
}

/// A body of many values, as one message each.
pub(in crate::worker) struct Stream {
    opened: TranscodedRequest,
    values: Values,
    is_first: bool,
    /// The reason why a value was refused, for the caller.
    detail: Option<String>,
}

impl Stream {
    pub(in crate::worker) fn new(opened: TranscodedRequest) -> Stream {
        let values = match opened.is_framed() {
            true => Values::Framed(Messages::default()),
            false => Values::Bare(Splitter::new(opened.length_max())),
        };
        Stream { opened, values, is_first: true, detail: None }
    }

    /// The messages that this chunk of the body completes.
    pub(in crate::worker) fn read(&mut self, chunk: Slice, is_last: bool) -> Result<Slice, Failure> {
        let transcoder = Rc::clone(&self.opened.transcoder);
        let written = transcoder.blocks.write(|out| {
            out.reserve(chunk.len() + 64);
            self.append_all(chunk, is_last, out)
        });
        written.map_err(|(failure, detail)| {
            self.detail = detail;
            failure
        })
    }

    /// Whether a value has begun that has not ended.
    pub(in crate::worker) fn is_inside(&self) -> bool {
        match &self.values {
            Values::Bare(splitter) => splitter.is_inside(),
            Values::Framed(messages) => !messages.is_between(),
        }
    }

    /// Bytes of it that are held.
    pub(in crate::worker) fn held_bytes(&self) -> usize {
        match &self.values {
            Values::Bare(splitter) => splitter.held_bytes(),
            Values::Framed(messages) => messages.held_bytes(),
        }
    }

    /// Takes the reason why a value was refused.
    pub(in crate::worker) fn detail(&mut self) -> Option<String> {
        self.detail.take()
    }

    fn append_all(&mut self, chunk: Slice, is_last: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let Stream { opened, values, is_first, .. } = self;
        if opened.transcoder.rule(opened.rule).takes_http_body {
            // A client that uploads nothing sends a call with the path's fields alone.
            if !chunk.is_empty() || (is_last && *is_first) {
                opened.append(&chunk, std::mem::take(is_first), out)?;
            }
            return Ok(());
        }
        let splitter = match values {
            Values::Bare(splitter) => splitter,
            Values::Framed(messages) => {
                messages.feed(chunk);
                return append_framed(opened, messages, is_last, out);
            }
        };
        splitter.feed(&chunk);
        loop {
            let value = match splitter.value() {
                Ok(None) if is_last => splitter.finish(),
                value => value,
            };
            let (offset, value) = match value {
                Ok(Some(value)) => value,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let failure = match error.reason {
                        SplitReason::TooLarge => Failure::BodyTooLarge,
                        SplitReason::Expected(_) => Failure::BadBody,
                    };
                    return Err((failure, Some(error.to_string())));
                }
            };
            opened.append(value, std::mem::take(is_first), out).map_err(|(failure, detail)| {
                (failure, detail.map(|detail| format!("value at offset {offset}: {detail}")))
            })?;
        }
    }
}

/// Appends the messages of values in frames that are whole.
fn append_framed(
    opened: &TranscodedRequest,
    messages: &mut Messages,
    is_last: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let length_max = u32::try_from(opened.length_max()).unwrap_or(u32::MAX);
    while let Some(value) = messages.next(length_max).map_err(|_| (Failure::BodyTooLarge, None))? {
        if value.is_compressed {
            return Err((
                Failure::BadBody,
                Some("the message is compressed, and no encoding was named".to_owned()),
            ));
        }
        opened.append(&value.bytes, true, out)?;
    }
    if is_last && !messages.is_between() {
        return Err((Failure::BadBody, Some("the body ends within a frame".to_owned())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_large_memory_once() {
        const MIB: usize = 1 << 20;
        for (length, announced, length_max, wanted) in [
            (5, None, 4 * MIB, 8),
            (40_000, None, 4 * MIB, 65_536),
            (40_000, None, 50_000, 50_000),
            (70_000, None, 4 * MIB, 4 * MIB),
            (70_000, None, 100 * MIB, 16 * MIB),
            (17 * MIB, None, 100 * MIB, 34 * MIB),
            (60 * MIB, None, 100 * MIB, 100 * MIB),
            (5, Some(MIB as u64), 4 * MIB, MIB),
            (5, Some(u64::MAX), 4 * MIB, 4 * MIB),
            // The protocol cuts off a body that is longer than announced.
            (50, Some(40), 4 * MIB, 50),
        ] {
            assert_eq!(room(length, announced, length_max), wanted, "{length} {announced:?} {length_max}");
        }
    }

    #[test]
    fn what_was_collected_is_what_came() {
        for pieces in [1, 2, 7, 1000] {
            let body: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
            let mut collected = CollectedBody::default();
            for piece in body.chunks(body.len() / pieces) {
                collected.add(Slice::copy_of(piece), None, body.len()).expect("it fits");
            }
            assert_eq!(collected.bytes(), body);
            let more = collected.add(Slice::copy_of(b"x"), None, body.len());
            assert_eq!(more, Err(Failure::BodyTooLarge));
        }
    }
}
