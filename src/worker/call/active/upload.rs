//! The request's way from its client: read, admitted, moved on; and what the client owes meanwhile.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Call, UnreadRequest};
use crate::buffer::Slice;
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::Cluster;
use crate::worker::call::admission::Permit;
use crate::worker::call::body_decoder::BodyDecoder;
use crate::worker::call::connect::UnaryRequest;
use crate::worker::call::json;
use crate::worker::config::WorkerConfig;
use crate::worker::downstream::buffered::BufferedResponse;

impl Call {
    /// Reads a body before anything of it is sent. Gives the message that it became, if it is one.
    pub(in crate::worker::call) async fn read_whole(
        &mut self,
        request: UnreadRequest,
        config: &WorkerConfig,
    ) -> Result<Option<Slice>, Failure> {
        let buffered_max = config.config.overload.max_buffered_bytes;
        match request {
            UnreadRequest::Json(opened) => self.read_json(opened, buffered_max).await,
            UnreadRequest::Connect(request) => {
                let response_max = config.config.transcoding.max_response_message_size;
                self.read_unary(request, (buffered_max, response_max)).await.map(Some)
            }
        }
    }

    /// Reads a body of JSON: whole, if the method takes one message, or else up to the first of them. Nothing that is
    /// wrong in it is ever seen by an upstream.
    async fn read_json(
        &mut self,
        mut opened: json::TranscodedRequest,
        buffered_max: u32,
    ) -> Result<Option<Slice>, Failure> {
        self.enter(Stage::Receive);
        self.buffered.limit(buffered_max);
        self.responder.count(BufferedResponse::new(Rc::clone(&self.client), buffered_max));
        opened.check_length()?;
        if opened.is_stream() || opened.is_framed() {
            self.request.read_as(BodyDecoder::Values(Box::new(json::Stream::new(opened))));
            poll_fn(|cx| match self.request.poll_first(cx) {
                Poll::Pending => match self.note_upload(self.request.is_owed(), self.request.held_bytes()) {
                    Ok(()) => self.poll_given_up(cx).map(Err),
                    refused => Poll::Ready(refused),
                },
                ready => ready,
            })
            .await?;
            self.timeouts.owed_by(None);
            return Ok(None);
        }
        let collected =
            self.collect(opened.body_max(), |collected, chunk| opened.collect(collected, chunk)).await?;
        let collected = opened.given.take().map_or(collected, json::CollectedBody::of);
        self.enter(Stage::Transcode);
        let message = opened.decoded(collected).and_then(|body| opened.message(&body));
        message.map(Some).map_err(|(failure, detail)| {
            detail.into_iter().for_each(|detail| self.responder.explain(detail));
            failure
        })
    }

    /// Reads the body of a unary call in Connect, whose answer may have `response_max` bytes.
    async fn read_unary(
        &mut self,
        mut request: UnaryRequest,
        (buffered_max, response_max): (u32, u32),
    ) -> Result<Slice, Failure> {
        self.enter(Stage::Receive);
        self.buffered.limit(buffered_max);
        self.responder
            .count_unary(BufferedResponse::new(Rc::clone(&self.client), buffered_max), response_max);
        let (announced, length_max) = (request.announced(), request.length_max());
        if announced.is_some_and(|length| length > length_max as u64) {
            return Err(Failure::BodyTooLarge);
        }
        let collected =
            self.collect(length_max, |collected, chunk| collected.add(chunk, announced, length_max)).await?;
        let collected = request.given.take().map_or(collected, json::CollectedBody::of);
        request.message(&collected)
    }

    /// Reads all of the body, of at most `length_max` bytes.
    async fn collect(
        &mut self,
        length_max: usize,
        add: impl Fn(&mut json::CollectedBody, Slice) -> Result<(), Failure>,
    ) -> Result<json::CollectedBody, Failure> {
        let mut collected = json::CollectedBody::default();
        loop {
            let chunk = poll_fn(|cx| match self.request.poll_receive(cx, length_max) {
                Poll::Pending => match self.note_upload(true, collected.held_bytes()) {
                    Ok(()) => self.poll_given_up(cx).map(Err),
                    Err(failure) => Poll::Ready(Err(failure)),
                },
                ready => ready,
            });
            let Some(chunk) = chunk.await? else { break };
            self.timeouts.moved();
            add(&mut collected, chunk)?;
        }
        self.timeouts.owed_by(None);
        Ok(collected)
    }

    /// The client is waited for. Notes whether it owes the rest of something, and how much is held until that has come.
    fn note_upload(&mut self, is_owed: bool, held: usize) -> Result<(), Failure> {
        let settings = self.client.settings();
        let since =
            self.pace.look(is_owed, self.request.received_bytes(), settings.min_rate, self.timeouts.now());
        self.timeouts.owed_by(since.map(|since| since.plus(settings.read_timeout)));
        self.buffered.hold(&self.client, held)
    }

    /// Whether anything of the request's body has come, or none is to come.
    pub(in crate::worker::call) fn has_begun(&self) -> bool {
        self.request.has_begun()
    }

    /// Takes a place among the cluster's calls in flight. `unbegun`: only the head has come, and this wakes the call.
    pub(in crate::worker::call) fn admit(
        &mut self,
        cluster: &Rc<Cluster>,
        unbegun: Option<Waker>,
        now: Moment,
    ) -> Result<(), Failure> {
        self.permit = self.client.unbegun.admit(cluster, &self.client, unbegun, now);
        if self.permit.is_none() {
            cluster.counts().limit_refused.add(1);
            return Err(Failure::LimitReached);
        }
        Ok(())
    }

    /// Moves what there is of the request.
    pub(in crate::worker::call) fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.request.is_done() {
            return Ok(());
        }
        let before = self.request.sent_bytes();
        match self.request.poll(cx) {
            Poll::Pending => {
                let moved = before < self.request.sent_bytes();
                self.timeouts.upload_progress(moved, self.request.stalled_since(self.timeouts.now()));
                if self.permit.as_ref().is_some_and(Permit::is_listed) && self.request.has_begun() {
                    self.begun();
                }
                self.note_upload(self.request.is_owed(), self.request.held_bytes())
            }
            Poll::Ready(Ok(())) => {
                self.begun();
                self.timeouts.request_sent();
                self.timeouts.owed_by(None);
                self.buffered.release(&self.client);
                Ok(())
            }
            Poll::Ready(Err(failure)) => Err(failure),
        }
    }

    /// The body has begun, or the response: from now on nobody takes the call's place.
    pub(super) fn begun(&mut self) {
        let client = &self.client;
        self.permit.iter_mut().for_each(|permit| client.unbegun.begun(permit));
    }
}
