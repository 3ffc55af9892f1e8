//! A response in gRPC-Web: trailers are the last frame of the body, which is base64 text if the caller wants that.

use std::task::{Context, Poll};

use super::sink::{Gone, ResponseSink};
use crate::buffer::Slice;
use crate::http2::{Head, Name};
use crate::wire::frame::Walker;
use crate::wire::web::{self, WebEncoding};
use crate::worker::call::headers;

/// A response in gRPC-Web.
pub(super) struct Web {
    form: WebEncoding,
    walker: Walker,
    /// Encoded, and not yet taken by the client.
    pending: Slice,
}

impl Web {
    pub(super) fn new(form: WebEncoding) -> Web {
        Web { form, walker: Walker::new(), pending: Slice::default() }
    }

    /// The last frame of a body: the trailers.
    pub(super) fn trailers(&self, trailers: &Head) -> Slice {
        let mut frame = Vec::with_capacity(128);
        web::write_trailers(trailers.iter().map(|field| (field.name_bytes, field.value)), &mut frame);
        self.encode(frame)
    }

    fn encode(&self, frame: Vec<u8>) -> Slice {
        match self.form {
            WebEncoding::Binary => frame.into(),
            WebEncoding::Text => web::to_text(&frame).into_bytes().into(),
        }
    }

    /// Takes the trailers out of the head of a response that is a head alone, as the last frame of its body. They are all
    /// of it but what HTTP itself reads: a page of another origin cannot read the head.
    pub(super) fn take_trailers(&self, head: &mut Head) -> Slice {
        let mut frame = Vec::with_capacity(128);
        let trailers = head.iter().filter(|field| !is_of_http(field.name));
        web::write_trailers(trailers.map(|field| (field.name_bytes, field.value)), &mut frame);
        head.retain(|field| is_of_http(field.name));
        self.encode(frame)
    }

    /// Makes the head of a gRPC response to `asked` that of one in gRPC-Web. A service that does not name the format of
    /// its messages has taken that of the request.
    pub(super) fn change(&self, head: &mut Head, asked: &Head) {
        let format = headers::format(head).or_else(|| headers::format(asked));
        let content_type = self.form.content_type(format);
        head.insert(Name::CONTENT_TYPE, &content_type);
        head.remove(Name::CONTENT_LENGTH);
        // The trailers are in the body: there are none that it could announce.
        head.remove(Name::TRAILER);
    }

    /// Sends the next piece of the body, as base64 text if the caller wants that.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut ResponseSink,
        chunk: &mut Slice,
    ) -> Poll<Result<(), Gone>> {
        if !chunk.is_empty() && self.pending.is_empty() {
            self.walker.feed(chunk);
            let chunk = std::mem::take(chunk);
            self.pending = match self.form {
                WebEncoding::Binary => chunk,
                WebEncoding::Text => web::to_text(&chunk).into_bytes().into(),
            };
        }
        sink.poll_send(cx, &mut self.pending)
    }

    /// Whether all messages have been sent whole, so that trailers may follow.
    pub(super) fn is_between_messages(&self) -> bool {
        self.walker.is_between() && self.pending.is_empty()
    }
}

/// Whether a field of a response is for HTTP, and no metadata of the call.
fn is_of_http(name: Name) -> bool {
    matches!(
        name,
        Name::CONTENT_TYPE
            | Name::CONTENT_LENGTH
            | Name::TRAILER
            | Name::DATE
            | Name::SERVER
            | Name::VIA
            | Name::VARY
            | Name::CACHE_CONTROL
            | Name::ALT_SVC
            | Name::SET_COOKIE
            | Name::STRICT_TRANSPORT_SECURITY
            | Name::X_CONTENT_TYPE_OPTIONS
            | Name::ACCESS_CONTROL_ALLOW_ORIGIN
            | Name::ACCESS_CONTROL_ALLOW_CREDENTIALS
            | Name::ACCESS_CONTROL_EXPOSE_HEADERS
    )
}
