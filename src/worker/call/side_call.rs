//! Unary calls of the gateway's own, over the worker's pool: to an authorization service, and to mirrors.

use std::future::poll_fn;
use std::rc::Rc;

use super::headers;
use crate::buffer::Slice;
use crate::http2::{Head, Sent, Stream};
use crate::policy::balance::Tried;
use crate::policy::failure::Failure;
use crate::policy::retry::AttemptOutcome;
use crate::policy::status::Code;
use crate::upstream::{AttemptError, AttemptResult, Cluster, RouteBreaker};
use crate::worker::clock::Clock;

/// How often a call is sent that no service has seen.
const ATTEMPTS_MAX: usize = 2;

/// A call of the gateway's own.
pub(super) struct SideCall<'a> {
    pub(super) clock: &'a Clock,
    pub(super) cluster: &'a Rc<Cluster>,
    pub(super) head: &'a Head,
    /// The body: a message in its frame, or several pieces of one.
    pub(super) body: &'a [Slice],
    /// Bytes of a response that are kept. Of one that is larger, nothing is.
    pub(super) response_max: usize,
    /// Whether breakers and endpoints are told how it ended.
    pub(super) is_told: bool,
}

impl SideCall<'_> {
    /// Makes the call: the service's code, and the frames of its response.
    pub(super) async fn make(&self) -> Result<(Code, Vec<u8>), Failure> {
        if !self.cluster.limit().take() {
            return Err(Failure::LimitReached);
        }
        let _place = Place(self.cluster);
        let mut attempts = 1;
        loop {
            match self.attempt().await {
                Err(error) if attempts < ATTEMPTS_MAX && is_unseen(error.outcome) => attempts += 1,
                ended => return ended.map_err(AttemptError::into_failure),
            }
        }
    }

    async fn attempt(&self) -> Result<(Code, Vec<u8>), AttemptError> {
        let path = headers::path(self.head);
        let now = self.clock.now();
        let permits = match self.is_told {
            true => {
                let method = self.cluster.method(path);
                let permits = self.cluster.admit(method, RouteBreaker::OfCluster, now);
                Some(permits.map_err(|refusal| AttemptError {
                    failure: Failure::BreakerOpen,
                    outcome: refusal.outcome,
                })?)
            }
            false => None,
        };
        let ended = self.exchange().await;
        if let Some(permits) = permits {
            let result = match &ended {
                Ok((code, _)) => AttemptResult::Answered(*code),
                Err(error) => AttemptResult::Failed(error.failure),
            };
            permits.record(result, self.clock.now());
        }
        ended
    }

    async fn exchange(&self) -> Result<(Code, Vec<u8>), AttemptError> {
        let acquired = self.cluster.acquire(Tried::default(), false).await;
        let lease = acquired.map_err(AttemptError::from_acquire)?;
        // Dropped before the lease: the stream ends before its place is given away.
        let stream = lease.open(self.head, false)?;
        let mut pieces: Vec<Slice> = self.body.iter().rev().cloned().collect();
        let head = poll_fn(|cx| {
            while let Some(mut piece) = pieces.pop() {
                match stream.send_data(cx, &mut piece, pieces.is_empty()) {
                    Sent::Blocked => {
                        pieces.push(piece);
                        break;
                    }
                    Sent::All | Sent::Gone => {}
                }
            }
            stream.poll_head(cx)
        });
        let classify = |error| lease.classify(AttemptError::from_stream(error));
        let head = head.await.map_err(classify)?;
        let code = headers::read_response(&head)?;
        let answer = if stream.ended_with_head() {
            (code.ok_or(AttemptError::terminal(Failure::UpstreamNoStatus))?, Vec::new())
        } else {
            self.body_of(&stream).await?
        };
        if self.is_told {
            lease.record(AttemptResult::Answered(answer.0), self.clock.now());
        }
        Ok(answer)
    }

    /// The body of a response, and the code in its trailers.
    async fn body_of(&self, stream: &Stream) -> Result<(Code, Vec<u8>), AttemptError> {
        let mut bytes = Vec::new();
        let mut is_too_large = false;
        while let Some(piece) = poll_fn(|cx| stream.poll_data(cx)).await.map_err(AttemptError::from_stream)? {
            is_too_large |= bytes.len() + piece.len() > self.response_max;
            if !is_too_large {
                bytes.extend_from_slice(&piece);
            }
            stream.release(piece.len());
        }
        let code = stream.take_trailers().as_ref().and_then(headers::status);
        let code = code.ok_or(AttemptError::terminal(Failure::UpstreamNoStatus))?;
        match is_too_large {
            true if self.response_max > 0 => Err(AttemptError::terminal(Failure::UpstreamBadMessage)),
            _ => Ok((code, bytes)),
        }
    }
}

/// Whether no service can have seen the call.
fn is_unseen(outcome: AttemptOutcome) -> bool {
    matches!(
        outcome,
        AttemptOutcome::NeverOpened
            | AttemptOutcome::NotWritten
            | AttemptOutcome::Refused
            | AttemptOutcome::AboveGoaway
    )
}

/// A place among the calls in flight of a cluster.
pub(super) struct Place<'a>(pub(super) &'a Cluster);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.limit().give();
    }
}
