//! The request's way from its client: read, admitted, moved on; and what the client owes meanwhile.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Call;
use crate::buffer::Slice;
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::time::Moment;
use crate::upstream::Cluster;
use crate::worker::call::admission::Permit;
use crate::worker::call::body_decoder::BodyDecoder;
use crate::worker::call::json;
use crate::worker::downstream::buffered::BufferedAnswer;

impl Call {
    /// Reads a body of JSON: whole, if the method takes one message, or else up to the first of them. Nothing that is
    /// wrong in it is ever seen by an upstream.
    pub(in crate::worker::call) async fn read_json(
        &mut self,
        opened: json::TranscodedRequest,
        buffered_max: u32,
    ) -> Result<Option<Slice>, Failure> {
        self.enter(Stage::Receive);
        self.buffered.limit(buffered_max);
        self.responder.count(BufferedAnswer::new(Rc::clone(&self.client), buffered_max));
        opened.check_length()?;
        if opened.is_stream() {
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
        let mut collected = json::CollectedBody::default();
        let length_max = opened.body_max();
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
            opened.collect(&mut collected, chunk)?;
        }
        self.timeouts.owed_by(None);
        self.enter(Stage::Transcode);
        opened.message(&collected).map(Some).map_err(|(failure, detail)| {
            detail.into_iter().for_each(|detail| self.responder.explain(detail));
            failure
        })
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
