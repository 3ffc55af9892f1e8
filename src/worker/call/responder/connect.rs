//! A response in Connect: one message without a frame, or a stream whose last frame holds status and trailers.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::extra::ExtraHeaders;
use super::sink::ResponseSink;
use crate::buffer::Slice;
use crate::http2::{Head, Heads, Name};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::transcode::connect::{Error, end_of_stream};
use crate::upstream::AttemptError;
use crate::wire::connect::{self, Kind};
use crate::wire::frame::Walker;
use crate::wire::messages::{Message, Messages};
use crate::wire::{binary, message};
use crate::worker::call::headers;
use crate::worker::downstream::buffered::BufferedResponse;

/// The failure of a service's unary answer that is not one message.
const BAD: AttemptError = AttemptError::terminal(Failure::UpstreamBadMessage);

/// A response in Connect.
pub(super) struct ConnectEncoder {
    kind: Kind,
    /// The head of a unary response: its status is known at the end.
    head: Option<Head>,
    messages: Messages,
    /// The only message of a unary response.
    only: Option<Message>,
    /// How much of a unary response is held until its end.
    held: Option<(BufferedResponse, u32)>,
    /// Where in its frames a stream is.
    walker: Walker,
}

impl ConnectEncoder {
    pub(super) fn new(kind: Kind) -> ConnectEncoder {
        ConnectEncoder {
            kind,
            head: None,
            messages: Messages::default(),
            only: None,
            held: None,
            walker: Walker::new(),
        }
    }

    /// Counts what is held of a unary response, whose message may have so many bytes.
    pub(super) fn count(&mut self, held: BufferedResponse, length_max: u32) {
        self.held = Some((held, length_max));
    }

    /// Makes the head of a gRPC response to `asked` that of one in Connect.
    fn change(&self, head: &mut Head, asked: &Head) {
        let codec = head.get(Name::CONTENT_TYPE).and_then(crate::wire::content::format);
        let codec = codec.map_or_else(|| codec_of(asked), <[u8]>::to_vec);
        head.insert(Name::CONTENT_TYPE, &self.kind.content_type(&codec));
        head.remove(Name::CONTENT_LENGTH);
        head.remove(Name::TRAILER);
        let ours = [Name::GRPC_ENCODING, Name::GRPC_ACCEPT_ENCODING];
        for (name, theirs) in ours.into_iter().zip(self.kind.encodings()) {
            if let Some(value) = head.get(name).map(<[u8]>::to_vec) {
                head.remove(name);
                head.push_named(theirs, &value);
            }
        }
    }

    /// Takes the head of a response to `asked`.
    pub(super) fn begin(
        &mut self,
        sink: &mut ResponseSink,
        extra: &ExtraHeaders,
        mut head: Head,
        asked: &Head,
    ) -> Result<(), AttemptError> {
        self.change(&mut head, asked);
        extra.add_to(&mut head);
        match self.kind {
            Kind::Stream => sink.begin(&head)?,
            Kind::Unary => self.head = Some(head),
        }
        Ok(())
    }

    /// Takes a head that is all of the service's response to `asked`.
    pub(super) fn send_whole(
        &mut self,
        heads: &Rc<Heads>,
        (sink, extra): (&mut ResponseSink, &ExtraHeaders),
        mut head: Head,
        asked: &Head,
    ) -> Result<(), AttemptError> {
        let mut trailers = heads.head();
        trailers.copy_from(&head);
        trailers.retain(|field| field.name != Name::CONTENT_TYPE);
        match self.kind {
            Kind::Stream => head.retain(|field| field.name == Name::CONTENT_TYPE),
            Kind::Unary => {
                head.retain(|field| !is_status(field.name));
                trailers.retain(|field| is_status(field.name));
            }
        }
        self.begin(sink, extra, head, asked)?;
        self.end(sink, &trailers)
    }

    /// Takes a chunk of the service's response. Ready when all of it has been sent, or is held.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut ResponseSink,
        chunk: &mut Slice,
    ) -> Poll<Result<(), AttemptError>> {
        if self.kind == Kind::Stream {
            let before = chunk.clone();
            let polled = sink.poll_send(cx, chunk);
            self.walker.feed(&before[..before.len() - chunk.len()]);
            return polled.map_err(AttemptError::from);
        }
        if chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let bytes = self.messages.held_bytes() + chunk.len();
        let mut length_max = u32::MAX;
        if let Some((held, bound)) = &mut self.held {
            ready!(held.poll_hold(cx, bytes)).map_err(AttemptError::terminal)?;
            length_max = *bound;
        }
        self.messages.feed(std::mem::take(chunk));
        while let Some(message) = self.messages.next(length_max).map_err(|_| BAD)? {
            if self.only.replace(message).is_some() {
                return Poll::Ready(Err(BAD));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the response with the service's trailers.
    pub(super) fn end(&mut self, sink: &mut ResponseSink, trailers: &Head) -> Result<(), AttemptError> {
        let code = headers::status(trailers).unwrap_or(Code::Unknown);
        let text = trailers.get(Name::GRPC_MESSAGE).map(message::decode).unwrap_or_default();
        let details = trailers.get(Name::GRPC_STATUS_DETAILS_BIN).and_then(binary::decode);
        let error = Error { code: code.number(), message: &text, status: details.as_deref() };
        let error = (code != Code::Ok).then_some(error);
        if self.kind == Kind::Stream {
            return Ok(sink.end(end_frame(error, trailers))?);
        }
        let fields = trailers.iter().filter(|field| !is_status(field.name));
        let mut head = self.head.take().ok_or(BAD)?;
        for field in fields {
            head.push_named(&[connect::TRAILER_PREFIX, field.name_bytes].concat(), field.value);
        }
        let [encoding, _] = self.kind.encodings();
        let body = match error {
            Some(error) => {
                head.remove_named(encoding);
                head.set_status(code.http());
                head.insert(Name::CONTENT_TYPE, b"application/json");
                error.to_json().into()
            }
            None if !self.messages.is_between() => return Err(BAD),
            None => {
                let only = self.only.take().ok_or(BAD)?;
                if !only.is_compressed {
                    head.remove_named(encoding);
                }
                only.bytes
            }
        };
        Ok(sink.send_whole(head, body, false)?)
    }

    /// The end of a stream that fails here; `None` for a unary call, and within a message, where no frame can follow.
    pub(super) fn failed(&self, failure: Failure, detail: Option<&str>) -> Option<Slice> {
        let can_end = self.kind == Kind::Stream && self.walker.is_between();
        can_end.then(|| failed_frame(failure, detail))
    }

    /// The content type of a response to `asked`.
    pub(super) fn content_type(&self, asked: &Head) -> Vec<u8> {
        self.kind.content_type(&codec_of(asked)).into_owned()
    }
}

/// The last frame of a stream: how it ended, and its trailers.
pub(super) fn end_frame(error: Option<Error<'_>>, trailers: &Head) -> Slice {
    let fields = trailers.iter().filter(|field| !is_status(field.name));
    end_of_stream(error, fields.map(|field| (field.name_bytes, field.value))).into()
}

/// The last frame of a stream that fails here.
pub(super) fn failed_frame(failure: Failure, detail: Option<&str>) -> Slice {
    end_of_stream(Some(error(failure, detail)), std::iter::empty()).into()
}

/// A failure of the gateway as an error of Connect's.
pub(super) fn error(failure: Failure, detail: Option<&str>) -> Error<'_> {
    let message = detail.unwrap_or_else(|| failure.message());
    // A caller makes the code of a bare 405, and it makes this one.
    let code = if failure == Failure::NotPost { Code::Unknown } else { failure.code() };
    Error { code: code.number(), message, status: None }
}

/// The HTTP status of a unary response that fails here. Servers of Connect refuse paths and codecs by HTTP alone.
pub(super) fn http(failure: Failure) -> u16 {
    match failure {
        Failure::UpstreamNotGrpc(status @ (404 | 415)) => status,
        other => other.http(),
    }
}

fn codec_of(asked: &Head) -> Vec<u8> {
    connect::codec(asked.get(Name::CONTENT_TYPE).unwrap_or_default()).to_vec()
}

fn is_status(name: Name) -> bool {
    matches!(name, Name::GRPC_STATUS | Name::GRPC_MESSAGE | Name::GRPC_STATUS_DETAILS_BIN)
}
