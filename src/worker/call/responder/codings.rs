//! Codings of a response in JSON: those of the service's messages, which are undone, and that of the body.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use crate::buffer::Slice;
use crate::config::{Compression, ContentCoding, GrpcCompression};
use crate::http2::{Head, Name};
use crate::transcode::coding;
use crate::transcode::coding::StreamEncoder;
use crate::wire::messages::Message;
use crate::worker::call::json::transcoder::Transcoder;

/// The coding of a service's messages by its head, if it is one that the service was offered.
pub(super) fn of_messages(settings: &GrpcCompression, head: &Head) -> Option<ContentCoding> {
    let named = coding::of_body(head.get(Name::GRPC_ENCODING)).ok().flatten();
    named.filter(|coding| settings.accept.contains(coding))
}

/// A message of a service as it was before the service compressed it; none if it cannot be had in `length_max` bytes. A
/// service that was offered no coding may use none.
pub(super) fn message(coding: Option<ContentCoding>, message: Message, length_max: u32) -> Option<Slice> {
    if !message.is_compressed {
        return Some(message.bytes);
    }
    coding::decode(coding?, &message.bytes, length_max as usize).ok().map(Slice::from)
}

/// The body of a response as it is sent, in the coding that the caller takes if any. The head says so.
pub(super) fn body(
    settings: &Compression,
    coding: Option<ContentCoding>,
    body: Slice,
    head: &mut Head,
) -> Slice {
    if settings.algorithms.is_empty() {
        return body;
    }
    head.push(Name::VARY, b"accept-encoding");
    let is_long = body.len() >= settings.min_content_length as usize;
    let is_encoded = head.get(Name::CONTENT_ENCODING).is_some();
    let Some(coding) = coding.filter(|_| is_long && !is_encoded) else { return body };
    match coding::encode(coding, &body) {
        Ok(encoded) if encoded.len() < body.len() => {
            head.push(Name::CONTENT_ENCODING, coding::name(coding).as_bytes());
            encoded.into()
        }
        _ => body,
    }
}

/// The coding of a stream's body, and its place among those of the worker.
pub(super) struct StreamCoding {
    encoder: StreamEncoder,
    place: Place,
}

/// One of the streams that a worker may compress at a time.
struct Place(Rc<Cell<u32>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl StreamCoding {
    /// Begins a body in the coding that the caller takes, if any and if there is a place. The head says so.
    pub(super) fn begin(
        transcoder: &Transcoder,
        coding: Option<ContentCoding>,
        head: &mut Head,
    ) -> Option<Box<StreamCoding>> {
        let settings = &transcoder.settings.compression;
        if settings.algorithms.is_empty() || settings.max_streams == 0 {
            return None;
        }
        head.push(Name::VARY, b"accept-encoding");
        let coding = coding.filter(|_| head.get(Name::CONTENT_ENCODING).is_none())?;
        let places = &transcoder.compressed_streams;
        if places.get() >= settings.max_streams {
            return None;
        }
        let encoder = StreamEncoder::new(coding).ok()?;
        places.set(places.get() + 1);
        head.push(Name::CONTENT_ENCODING, coding::name(coding).as_bytes());
        Some(Box::new(StreamCoding { encoder, place: Place(Rc::clone(places)) }))
    }

    /// Puts the coded form of what stands in `out` in its place: all of it can be decoded.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if out.is_empty() { Ok(()) } else { self.encoder.encode(out, 0) }
    }

    /// The coded end of the body.
    pub(super) fn finish(self, last: &[u8]) -> io::Result<Slice> {
        let end = self.encoder.finish(last);
        drop(self.place);
        end.map(Slice::from)
    }
}
