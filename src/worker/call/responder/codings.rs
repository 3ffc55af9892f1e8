//! Codings of an answer in JSON: those of the service's messages, which are undone, and that of the body.

use crate::buffer::Slice;
use crate::config::{Compression, ContentCoding, GrpcCompression};
use crate::http2::{Head, Name};
use crate::transcode::coding;
use crate::wire::messages::Message;

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

/// The body of an answer as it is sent, in the coding that the caller takes if any. The head says so.
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
