//! A body of JSON, or of anything that a `google.api.HttpBody` holds, as gRPC messages in their frames.

use bytes::Bytes;

use super::Opened;
use crate::policy::failure::Failure;
use crate::transcode::api::Body;
use crate::transcode::read::{ReadError, ReadOptions, read, read_field};
use crate::transcode::split::{SplitReason, Splitter};
use crate::wire::frame::HEAD_BYTES;

/// A body that has been received whole.
#[derive(Debug, Default)]
pub(in crate::worker) struct Collected {
    /// The only chunk, as it came.
    first: Bytes,
    /// All of them, if there are several.
    all: Vec<u8>,
}

impl Collected {
    /// Adds a chunk, up to `length_max` bytes of them. `announced` is what the client says will come in all.
    pub(in crate::worker) fn add(
        &mut self,
        chunk: Bytes,
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
        if self.all.is_empty() {
            // With a length that is known, memory is taken once. It was compared with the limit before.
            let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            self.all.reserve_exact(announced.min(length_max).max(2 * (self.first.len() + chunk.len())));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        if self.all.is_empty() { &self.first } else { &self.all }
    }
}

/// A request that is not as it has to be: which failure that is, and what to tell.
pub(in crate::worker) type Refused = (Failure, Option<String>);

impl Opened {
    /// Refuses a body that is announced to be too long, before it comes.
    pub(in crate::worker) fn check_length(&self) -> Result<(), Failure> {
        let too_long = self.length.is_some_and(|length| length > self.length_max() as u64);
        if too_long && !self.is_stream() { Err(Failure::BodyTooLarge) } else { Ok(()) }
    }

    /// Takes a chunk of the body.
    pub(in crate::worker) fn collect(&self, collected: &mut Collected, chunk: Bytes) -> Result<(), Failure> {
        collected.add(chunk, self.length, self.length_max())
    }

    /// The call's only message, in its frame.
    pub(in crate::worker) fn message(&self, body: &Collected) -> Result<Bytes, Refused> {
        let mut out = Vec::with_capacity(HEAD_BYTES + body.bytes().len() + self.bound.len() + 16);
        self.append(body.bytes(), true, &mut out)?;
        Ok(out.into())
    }

    /// Appends the message that one value of the body is, in its frame.
    fn append(&self, value: &[u8], is_first: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let head_at = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        self.append_body(value, is_first, out)?;
        // Later fields go before earlier ones, so that the path's cannot be changed by the body.
        out.extend_from_slice(&self.bound);
        let length =
            u32::try_from(out.len() - head_at - HEAD_BYTES).map_err(|_| (Failure::BodyTooLarge, None))?;
        out[head_at + 1..head_at + HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn append_body(&self, value: &[u8], is_first: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let (api, rule) = (&self.transcoder.api, self.transcoder.rule(self.rule));
        let schema = api.schema();
        let options = ReadOptions { ignore_unknown_fields: self.transcoder.settings.ignore_unknown_fields };
        let is_empty = value.iter().all(u8::is_ascii_whitespace);
        match &rule.body {
            Body::None if is_empty => Ok(()),
            Body::None => Err((Failure::BadBody, Some("this method takes no body".to_owned()))),
            Body::Whole if rule.takes_http_body => {
                self.append_http_body(value, is_first, out);
                Ok(())
            }
            Body::Field(field) if rule.takes_http_body => {
                let mut inner = Vec::with_capacity(value.len() + 64);
                self.append_http_body(value, is_first, &mut inner);
                append_bytes(field.descriptor().number(), &inner, out);
                Ok(())
            }
            _ if is_empty => Ok(()),
            Body::Whole => read(schema, api.methods()[rule.method].input, value, options, out)
                .map_err(|error| bad(&error)),
            Body::Field(bound) => {
                let field = bound.path.field(schema).expect("checked when the rule was made");
                read_field(schema, field, value, options, out).map_err(|error| bad(&error))
            }
        }
    }

    /// The fields of a `google.api.HttpBody`.
    fn append_http_body(&self, data: &[u8], is_first: bool, out: &mut Vec<u8>) {
        if let Some(content_type) = &self.content_type
            && is_first
        {
            append_bytes(1, content_type.as_bytes(), out);
        }
        append_bytes(2, data, out);
    }
}

fn bad(error: &ReadError) -> Refused {
    (Failure::BadBody, Some(error.to_string()))
}

/// Appends a field of bytes, a string, or a message.
fn append_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    append_varint(u64::from(number) << 3 | 2, out);
    append_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A body of many values, as one message each.
pub(in crate::worker) struct Stream {
    opened: Opened,
    splitter: Splitter,
    is_first: bool,
    /// What to tell of the value that was refused.
    detail: Option<String>,
}

impl Stream {
    pub(in crate::worker) fn new(opened: Opened) -> Stream {
        let splitter = Splitter::new(opened.length_max());
        Stream { opened, splitter, is_first: true, detail: None }
    }

    /// The messages that this chunk of the body completes.
    pub(in crate::worker) fn read(&mut self, chunk: Bytes, is_last: bool) -> Result<Bytes, Failure> {
        let mut out = Vec::with_capacity(chunk.len() + 64);
        let refused = self.append_all(&chunk, is_last, &mut out);
        refused.map_err(|(failure, detail)| {
            self.detail = detail;
            failure
        })?;
        Ok(out.into())
    }

    /// What to tell of the value that was refused.
    pub(in crate::worker) fn detail(&mut self) -> Option<String> {
        self.detail.take()
    }

    fn append_all(&mut self, chunk: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), Refused> {
        let Stream { opened, splitter, is_first, .. } = self;
        if opened.transcoder.rule(opened.rule).takes_http_body {
            if !chunk.is_empty() {
                opened.append(chunk, std::mem::take(is_first), out)?;
            }
            return Ok(());
        }
        splitter.feed(chunk);
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
