//! One call, from its head to its last byte. Read this file first.
//!
//! decode head -> route -> guard -> pool -> upstream -> encode; the last three are an attempt, see `attempts.rs`. A step
//! either hands its result to the next or ends the call with a [`Failure`], which becomes an answer in the caller's
//! language at the end. gRPC in and gRPC out is the fast lane: heads, data and trailers pass through frame by frame, and
//! nothing of them is read but what routing and deadlines need.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Worker;
use super::answer::Reply;
use super::attempts;
use super::channel::Channel;
use super::client::Client;
use super::cors;
use super::download::Download;
use super::forward::Upload;
use super::head::{self, Arrival, Asked};
use super::inlet::Inlet;
use super::json;
use super::language::{self, Language};
use super::patience::Patience;
use super::reading::Reading;
use super::records::{Ended, Note};
use super::setup::{Setup, Way};
use crate::buffer::Slice;
use crate::http2::{Head, Stream};
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::policy::retry::End;
use crate::policy::status::Code;
use crate::time::Moment;
use crate::upstream::{self, Cluster, Failed};
use crate::wire::web::{Form, FromText};

/// When a caller of plain HTTP may try again that was refused because the worker has more than it can do.
const RELIEF: Duration = Duration::from_secs(1);

/// Serves one call. Every call gets exactly one answer, unless its client has gone.
///
/// Not an async function: what is handed to one of those, its future holds twice. All that is large is in the [`Call`],
/// and there once, for with many calls in flight it is their futures that fill the caches.
pub(super) fn serve(
    worker: Rc<Worker>,
    client: Rc<Client>,
    arrival: Arrival,
    body: Inlet,
    channel: Channel,
) -> impl Future<Output = ()> {
    let Arrival { mut head, version, is_too_large } = arrival;
    let began = worker.clock.now();
    let setup = worker.setup();
    let counted = client.begin_call();
    let language = language::of(&head, version, worker.transcodes());
    let is_head = head.method() == Some(b"HEAD");
    let mut reply = Reply::new(&worker.heads, channel, language, is_head, began);
    let series = setup.unrouted();
    let logged = setup.logged(series);
    let note = Note::begin(&worker, client.peer, logged, (language, version), &mut head, &mut reply);
    let mut call = Call {
        head,
        client,
        reply,
        upload: Upload::new(body, worker.replays.take()),
        patience: Patience::new(&worker.local.timers, began),
        series,
        note,
    };
    async move {
        let _counted = &counted;
        let outcome = if is_too_large {
            Err(Failure::HeadTooLarge)
        } else {
            run(&worker, &setup, &mut call, language, began).await
        };
        let code = match outcome {
            Ok(code) => code,
            Err(failure) => {
                call.fail(failure);
                failure.code()
            }
        };
        let took = worker.clock.now().since(began);
        setup.series(call.series).ended(code.number(), took);
        let received = call.upload.received_bytes();
        call.note.ended(Ended { began, took, received, reply: &call.reply }, outcome);
        worker.replays.give(call.upload.take_kept());
    }
}

/// What a call has while it lasts.
pub(super) struct Call {
    pub(super) head: Head,
    pub(super) client: Rc<Client>,
    pub(super) reply: Reply,
    pub(super) upload: Upload,
    pub(super) patience: Patience,
    /// Where it is counted.
    series: usize,
    /// What the access log and traces will say of it.
    pub(super) note: Note,
}

/// The steps of a call, in order.
async fn run(
    worker: &Rc<Worker>,
    setup: &Setup,
    call: &mut Call,
    language: Language,
    began: Moment,
) -> Result<Code, Failure> {
    // Decode, route, and the first half of the guard.
    let Some(Aim { cluster, method, asked, opened, fixed }) = aim(worker, setup, call, language, began)?
    else {
        return Ok(Code::Ok);
    };
    // A body that has to be read whole is read before there is room for the call: a client that sends it slowly takes
    // nobody's place.
    let body = match opened {
        Some(opened) => call.read_json(opened).await?,
        None => None,
    };
    let _permit = admit(cluster)?;
    call.prepare(&asked, cluster, body);
    // Pool, upstream, encode; more than once if need be.
    attempts::send(worker, cluster, method, call, fixed).await
}

/// Where a call goes, and what is known of it before anything of its body is read.
struct Aim<'s> {
    cluster: &'s Rc<Cluster>,
    method: &'s upstream::Method,
    asked: Asked,
    /// A request in JSON, whose body has still to become messages.
    opened: Option<json::Opened>,
    /// The timeout for the head of an answer.
    fixed: Option<Duration>,
}

/// Reads the head, finds the route, and asks what can be asked at once: is there a turn for the call, is there time.
/// None if the caller asked nothing of a service, and has been answered.
fn aim<'s>(
    worker: &Rc<Worker>,
    setup: &'s Setup,
    call: &mut Call,
    language: Language,
    began: Moment,
) -> Result<Option<Aim<'s>>, Failure> {
    // Decode: what the gateway itself has to know of the head; from then on it is that of a gRPC call.
    if cors::is_asked(worker, call)? {
        return Ok(None);
    }
    // Before anything of it is read: has this worker more to do than it can?
    if !worker.takes_call(setup, began) {
        call.reply.retry_after(RELIEF);
        return Err(Failure::Overloaded);
    }
    let asked = head::read(&call.head, call.client.listener().http2.max_headers_count as usize, language)?;
    if call.client.listener().tells_time(asked.timing) {
        call.reply.extra.ledger.tell(worker);
    }
    let opened = open(worker, call, language)?;

    // Route.
    let Way { route: index, cluster, series } = route(worker, setup, &call.head)?;
    let method = cluster.method(head::path_text(&call.head));
    call.series = series[method.place];
    let now = worker.clock.now();
    call.note.routed(setup.logged(call.series), &call.reply, now);

    // Guard.
    if !setup.takes(index, now) {
        worker.local.counts().rate_limited.add(1);
        return Err(Failure::RateLimited);
    }
    let timeouts = setup.timeouts(index, method);
    call.patience.allow(asked.timeout, timeouts);
    Ok(Some(Aim { cluster, method, asked, opened, fixed: timeouts.answer }))
}

/// Makes the head of a call of what was asked, in whatever language. JSON comes back with what its body has to become.
fn open(worker: &Worker, call: &mut Call, language: Language) -> Result<Option<json::Opened>, Failure> {
    let head = &mut call.head;
    match language {
        Language::Grpc => head::check_grpc(head, language).map(|()| None),
        Language::Web(form, _) => {
            head::check_grpc(head, language)?;
            if form == Form::Text {
                call.upload.read_as(Reading::Text(FromText::default()));
            }
            head::to_grpc(head, None).map(|()| None)
        }
        Language::Http => {
            call.reply.extra.ledger.enter(Stage::Transcode);
            let transcoder = worker.transcoder().ok_or_else(|| head::not_mapped(head))?;
            json::open(&transcoder, &mut call.reply, head).map(Some)
        }
    }
}

/// Finds the route, and the one of its clusters that takes this call.
fn route<'s>(worker: &Worker, setup: &'s Setup, head: &Head) -> Result<Way<'s>, Failure> {
    let (path, host) = (head::path_text(head), head::host(head));
    setup.find(path, host, head, &mut worker.random.borrow_mut()).ok_or(Failure::NoRoute)
}

/// The right to be in flight; dropping it gives the place back.
struct Permit<'a>(&'a Cluster);

fn admit(cluster: &Cluster) -> Result<Permit<'_>, Failure> {
    if cluster.limit().take() {
        Ok(Permit(cluster))
    } else {
        cluster.counts().limit_refused.add(1);
        Err(Failure::LimitReached)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.limit().give();
    }
}

impl Call {
    /// Makes the head what the upstream gets of it, and keeps what is needed to send the call again.
    fn prepare(&mut self, asked: &Asked, cluster: &Cluster, body: Option<Slice>) {
        head::prepare(&mut self.head, asked);
        self.upload.keep(cluster.settings().pool.replay_buffer_size);
        if let Some(message) = body {
            self.upload.send_whole(message);
        }
    }

    /// Tells the caller that the call has failed.
    fn fail(&mut self, failure: Failure) {
        self.client.call_failed(failure);
        self.upload.detail().into_iter().for_each(|detail| self.reply.explain(detail));
        self.reply.fail(failure);
    }

    /// Waits for `future`, as long as there is time and the client is there.
    pub(super) async fn patiently<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_given_up(cx).map(Err),
        })
        .await
    }

    /// Why the call need not go on: nobody waits for its answer, the worker ends, or no time is left.
    pub(super) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.reply.poll_client_gone(cx).is_ready() {
            return Poll::Ready(Failure::ClientGone);
        }
        if self.client.is_cut() {
            return Poll::Ready(Failure::Draining);
        }
        self.patience.poll(cx)
    }

    /// Reads a body of JSON: whole, if the method takes one message, or else up to the first of them. Nothing that is
    /// wrong in it is ever seen by an upstream.
    async fn read_json(&mut self, opened: json::Opened) -> Result<Option<Slice>, Failure> {
        self.reply.extra.ledger.enter(Stage::Receive);
        opened.check_length()?;
        if opened.is_stream() {
            self.upload.read_as(Reading::Values(Box::new(json::Stream::new(opened))));
            poll_fn(|cx| match self.upload.poll_first(cx) {
                Poll::Pending => self.poll_given_up(cx).map(Err),
                ready => ready,
            })
            .await?;
            return Ok(None);
        }
        let mut collected = json::Collected::default();
        loop {
            let chunk = poll_fn(|cx| match self.upload.poll_receive(cx) {
                Poll::Pending => self.poll_given_up(cx).map(Err),
                ready => ready,
            });
            let Some(chunk) = chunk.await? else { break };
            self.patience.moved();
            opened.collect(&mut collected, chunk)?;
        }
        self.reply.extra.ledger.enter(Stage::Transcode);
        opened.message(&collected).map(Some).map_err(|(failure, detail)| {
            detail.into_iter().for_each(|detail| self.reply.explain(detail));
            failure
        })
    }

    /// Whether the service has the request, or does not take it, and has not begun to answer.
    pub(super) fn waits_for_answer(&self) -> bool {
        !self.patience.is_answered() && (self.upload.is_done() || self.upload.is_stalled())
    }

    /// Passes on an answer that is a status alone.
    pub(super) fn pass_whole(&mut self, head: Head) -> Result<(), Failed> {
        self.patience.answered();
        self.reply.send_whole(head)
    }

    /// Passes on the head of an answer. From then on nothing is sent again.
    pub(super) fn begin_answer(&mut self, head: Head) -> Result<(), Failed> {
        self.patience.answered();
        self.upload.forget();
        self.reply.begin(head)
    }

    /// The request goes up until the head of the answer comes down.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Stream,
    ) -> Poll<Result<Head, Failed>> {
        let uploaded = self.poll_upload(cx);
        // Looked at first: an upstream that resets the request has said why here.
        if let Poll::Ready(head) = stream.poll_head(cx) {
            return Poll::Ready(head.map_err(Failed::of));
        }
        if let Err(failure) = uploaded {
            return Poll::Ready(Err(Failed::finally(failure)));
        }
        self.poll_given_up(cx).map(|failure| {
            // Where only this attempt has no more time, another one may still be answered.
            let lost = failure == Failure::OutOfTime && !self.patience.is_over();
            Err(Failed { failure, end: if lost { End::Lost } else { End::Ours } })
        })
    }

    /// The answer comes down, while the request may still go up. Ready with its trailers.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        download: &mut Download,
    ) -> Poll<Result<Option<Head>, Failed>> {
        let uploaded = self.poll_upload(cx);
        if self.reply.is_json() {
            self.reply.extra.ledger.enter(Stage::Transcode);
        }
        let before = download.moved_bytes();
        let polled = download.poll(cx, &mut self.reply);
        if before < download.moved_bytes() {
            self.patience.moved();
        }
        if polled.is_ready() {
            return polled;
        }
        let stage = if download.waits_for_client() { Stage::Write } else { Stage::Upstream };
        self.reply.extra.ledger.enter(stage);
        if self.reply.is_said() {
            return Poll::Ready(Ok(None));
        }
        if let Err(failure) = uploaded {
            return Poll::Ready(Err(Failed::finally(failure)));
        }
        self.poll_given_up(cx).map(|failure| Err(Failed::finally(failure)))
    }

    /// Moves what there is of the request.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.upload.is_done() {
            return Ok(());
        }
        let before = self.upload.sent_bytes();
        match self.upload.poll(cx) {
            Poll::Pending => {
                self.patience.sending(before < self.upload.sent_bytes(), self.upload.is_stalled());
                Ok(())
            }
            Poll::Ready(Ok(())) => {
                self.patience.asked();
                Ok(())
            }
            Poll::Ready(Err(failure)) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::accept::Begin;

    /// A thousand calls in flight are a thousand of these, touched at each step.
    #[test]
    fn a_call_is_small() {
        fn size<F>(_: Begin<F>) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 2200, "{} bytes", size(serve));
    }
}
