//! A response in gRPC-Web: trailers are the last frame of the body, which is base64 text if the caller wants that.

use std::task::{Context, Poll};

use super::sink::{Gone, ResponseSink};
use crate::buffer::Slice;
use crate::http2::{Head, Name};
use crate::wire::frame::Walker;
use crate::wire::web::{self, Form};

/// A response in gRPC-Web.
pub(super) struct Web {
    form: Form,
    walker: Walker,
    /// Encoded, and not yet taken by the client.
    pending: Slice,
}

impl Web {
    pub(super) fn new(form: Form) -> Web {
        Web { form, walker: Walker::new(), pending: Slice::default() }
    }

    /// The last frame of a body: the trailers.
    pub(super) fn trailers(&self, trailers: &Head) -> Slice {
        let mut frame = Vec::with_capacity(128);
        web::write_trailers(trailers.iter().map(|field| (field.name_bytes, field.value)), &mut frame);
        match self.form {
            Form::Binary => frame.into(),
            Form::Text => web::to_text(&frame).into_bytes().into(),
        }
    }

    /// Turns the head of a gRPC response into that of one in gRPC-Web.
    pub(super) fn change(&self, head: &mut Head) {
        head.insert(Name::CONTENT_TYPE, self.form.content_type().as_bytes());
        head.remove(Name::CONTENT_LENGTH);
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
                Form::Binary => chunk,
                Form::Text => web::to_text(&chunk).into_bytes().into(),
            };
        }
        sink.poll_send(cx, &mut self.pending)
    }

    /// Whether all messages have been sent whole, so that trailers may follow.
    pub(super) fn is_between_messages(&self) -> bool {
        self.walker.is_between() && self.pending.is_empty()
    }
}

/// Splits the head of a response that has no messages: the fields of its trailers go there.
pub(super) fn move_trailers(head: &mut Head, trailers: &mut Head) {
    let is_trailer = |name: &[u8]| name.starts_with(b"grpc-");
    for field in head.iter().filter(|field| is_trailer(field.name_bytes)) {
        trailers.push_named(field.name_bytes, field.value);
    }
    head.retain(|field| !is_trailer(field.name_bytes));
}
