//! Turns a request's body into the upstream's form: gRPC messages in their frames.

use super::json::Stream;
use crate::buffer::Slice;
use crate::policy::failure::Failure;
use crate::wire::web::FromText;

/// The decoding that a request's body needs.
pub(in crate::worker) enum BodyDecoder {
    /// The body is gRPC.
    AsItIs,
    /// The body has gRPC-Web's text form.
    Text(FromText),
    /// The body is a stream of JSON values.
    Values(Box<Stream>),
}

impl BodyDecoder {
    /// The next piece for the upstream, made of the next one of the body, which may be the last.
    pub(in crate::worker) fn read(&mut self, chunk: Slice, is_last: bool) -> Result<Slice, Failure> {
        match self {
            BodyDecoder::AsItIs => Ok(chunk),
            BodyDecoder::Text(text) => {
                let mut bytes = Vec::with_capacity(chunk.len() / 4 * 3 + 3);
                text.feed(&chunk, &mut bytes).map_err(|_| Failure::BadBody)?;
                if is_last && !text.is_between() {
                    return Err(Failure::BadBody);
                }
                Ok(bytes.into())
            }
            BodyDecoder::Values(stream) => stream.read(chunk, is_last),
        }
    }

    /// Takes the reason why the body was refused, for the caller.
    pub(in crate::worker) fn detail(&mut self) -> Option<String> {
        match self {
            BodyDecoder::Values(stream) => stream.detail(),
            BodyDecoder::AsItIs | BodyDecoder::Text(_) => None,
        }
    }
}
