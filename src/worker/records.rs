//! What the access log and traces say of a call: noted while it runs, and put into this core's rings when it is over.
//!
//! A call that is left out costs the noting, in memory that is used again and again; nothing here allocates or waits.
//! Where nothing is told of calls, a call has little room for it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::answer::Reply;
use super::clock;
use super::head::{self, Version};
use super::language::Language;
use super::trace::{Span, Trace, Unrecorded};
use crate::http2::Head;
use crate::metrics::record::{METHOD_NAMES, Record, Ring, Stage};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::time::Moment;
use crate::wire::trace_context::TraceParent;

/// Differences of two clocks that say nothing.
const NOISE_US: u64 = 1000;

/// Where a worker puts what is told of its calls, and of which calls.
#[derive(Clone, Debug)]
pub struct Telling {
    /// For the access log.
    pub access_log: Option<Access>,
    /// For traces.
    pub tracing: Option<Tracing>,
}

/// One core's part of the access log.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where records go.
    pub ring: Arc<Ring>,
    /// The share of calls that get a line.
    pub sample: f64,
    /// Whether each call that does not end with OK gets one.
    pub errors: bool,
}

/// One core's part of tracing.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Where records of spans go.
    pub ring: Arc<Ring>,
    /// The share of calls that get spans, of those that come without a decision.
    pub sample: f64,
}

/// The same, beside the calendar.
pub(super) struct Records {
    telling: Telling,
    /// What the worker's clock stood at when 1970 began, if it had; as microseconds before its own zero.
    epoch_us: Cell<u64>,
    /// Records that calls no longer use.
    #[allow(clippy::vec_box, reason = "a call takes the box as it is")]
    spare: RefCell<Vec<Box<Record>>>,
}

/// How many of them are kept.
const SPARE_MAX: usize = 1024;

impl Records {
    /// `None` if nothing is told of calls.
    pub(super) fn new(telling: Telling, now: Moment) -> Option<Records> {
        if telling.access_log.is_none() && telling.tracing.is_none() {
            return None;
        }
        let records = Records { telling, epoch_us: Cell::new(0), spare: RefCell::default() };
        records.settle(now);
        Some(records)
    }

    /// Compares the worker's clock to the calendar, which others may set. What differs by less than a millisecond is
    /// noise, and would tear apart what belongs together.
    pub(super) fn settle(&self, now: Moment) {
        let epoch_us = clock::unix_us().saturating_sub(now.as_nanos() / 1000);
        if NOISE_US < epoch_us.abs_diff(self.epoch_us.get()) {
            self.epoch_us.set(epoch_us);
        }
    }

    /// A moment as microseconds since 1970.
    pub(super) fn unix_us(&self, moment: Moment) -> u64 {
        self.epoch_us.get() + moment.as_nanos() / 1000
    }

    /// Puts what is known of a call that is over where it is told from, if it is to be.
    fn tell(&self, worker: &Worker, record: &mut Record, call: Ended<'_>, outcome: Result<Code, Failure>) {
        let code = outcome.unwrap_or_else(Failure::code);
        let logged = self.telling.access_log.as_ref().filter(|access| {
            let always = access.errors && code != Code::Ok;
            always || worker.random.borrow_mut().between(0.0, 1.0) < access.sample
        });
        let is_recorded = record.span_id != 0;
        if logged.is_none() && !is_recorded {
            return;
        }
        record.began_unix_us = self.unix_us(call.began);
        let ended = call.began.plus(call.took);
        record.took_us = self.unix_us(ended).saturating_sub(record.began_unix_us);
        record.stages_us = call.reply.extra.ledger.end(ended);
        record.code = code.number();
        record.http_status = call.reply.status();
        record.bytes_received = call.received;
        record.bytes_sent = call.reply.sent_bytes();
        record.set_flags(outcome.err().map_or("", Failure::flags));
        if is_recorded {
            self.put_span(worker, record);
        }
        if let Some(access) = logged
            && !access.ring.put(record)
        {
            worker.local.counts().access_log_dropped.add(1);
        }
    }

    /// Puts a span where it is exported from, if there is room.
    pub(super) fn put_span(&self, worker: &Worker, span: &Record) {
        if let Some(tracing) = &self.telling.tracing
            && !tracing.ring.put(span)
        {
            worker.local.counts().spans_dropped.add(1);
        }
    }
}

/// What is known of a call so far.
#[derive(Default)]
pub(super) struct Note {
    unrecorded: Unrecorded,
    /// If anything is told of it.
    told: Option<Told>,
}

struct Told {
    worker: Rc<Worker>,
    record: Box<Record>,
}

impl Note {
    /// The head of a call has arrived; where calls are traced it may change it. `series` is where the call is counted as
    /// long as no route is known, as the access log and traces call it. `reply` keeps the time of the call if
    /// anything is told of it.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        client: SocketAddr,
        series: u32,
        (language, version): (Language, Version),
        head: &mut Head,
        reply: &mut Reply,
    ) -> Note {
        let Some(records) = &worker.records else { return Note::default() };
        let trace = match &records.telling.tracing {
            Some(tracing) => Trace::begin(worker, tracing.sample, head),
            None => Trace::read(head),
        };
        if records.telling.access_log.is_none() && !trace.is_recorded() {
            return Note { unrecorded: trace.unrecorded, told: None };
        }
        reply.extra.ledger.keep(worker);
        let mut record = records.spare.borrow_mut().pop().unwrap_or_default();
        *record = Record::default();
        (record.trace_id, record.span_id, record.parent_id) = (trace.id, trace.span, trace.parent);
        record.client = Some(client);
        record.series = series;
        record.language = match language {
            Language::Grpc => 0,
            Language::Web(..) => 1,
            Language::Http => 2,
        };
        record.set_path(head::path(head));
        let named = METHOD_NAMES.iter().position(|name| Some(name.as_bytes()) == head.method());
        record.method = named.unwrap_or(METHOD_NAMES.len() - 1) as u8;
        record.version = version as u8;
        Note { unrecorded: trace.unrecorded, told: Some(Told { worker: Rc::clone(worker), record }) }
    }

    /// Its route was found, and with it where it is counted.
    pub(super) fn routed(&mut self, series: u32, reply: &Reply, now: Moment) {
        let Some(Told { record, .. }) = &mut self.told else { return };
        record.series = series;
        record.routed_us = Some(reply.extra.ledger.moment_us(now));
    }

    /// An attempt begins, after so many others: its span, if the call is recorded.
    pub(super) fn attempt(&self, head: &Head, previous: u32) -> Option<Box<Span>> {
        let Told { worker, record } = self.told.as_ref().filter(|told| told.record.span_id != 0)?;
        Some(Box::new(Span::begin(worker, record, head::path(head), previous)))
    }

    /// The `traceparent` of the attempt that goes to this endpoint; none where that of the caller is passed on.
    pub(super) fn traceparent(
        &self,
        span: &mut Option<Box<Span>>,
        upstream: SocketAddr,
    ) -> Option<TraceParent> {
        match span {
            Some(span) => Some(span.sent(upstream)),
            None => self.unrecorded.field(),
        }
    }

    /// An attempt has a connection to this endpoint.
    pub(super) fn connected(&mut self, upstream: SocketAddr, reply: &Reply, now: Moment) {
        reply.extra.ledger.enter_at(Stage::Upstream, now);
        let Some(Told { record, .. }) = &mut self.told else { return };
        record.connected_us = Some(reply.extra.ledger.moment_us(now));
        record.upstream = Some(upstream);
        record.attempts = record.attempts.saturating_add(1);
    }

    /// The head of the answer has come.
    pub(super) fn answered(&mut self, reply: &Reply, now: Moment) {
        reply.extra.ledger.enter_at(Stage::Write, now);
        let Some(Told { record, .. }) = &mut self.told else { return };
        record.answered_us = Some(reply.extra.ledger.moment_us(now));
    }

    /// The same where several endpoints were asked at once: it is the answer of this one, which was connected then.
    pub(super) fn answered_by(
        &mut self,
        upstream: SocketAddr,
        connected: Moment,
        reply: &Reply,
        now: Moment,
    ) {
        if let Some(Told { record, .. }) = &mut self.told {
            record.upstream = Some(upstream);
            record.connected_us = Some(reply.extra.ledger.moment_us(connected));
        }
        self.answered(reply, now);
    }

    /// The call is over.
    pub(super) fn ended(&mut self, call: Ended<'_>, outcome: Result<Code, Failure>) {
        let Some(Told { worker, mut record }) = self.told.take() else { return };
        let Some(records) = &worker.records else { return };
        records.tell(&worker, &mut record, call, outcome);
        let mut spare = records.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(record);
        }
    }
}

/// How a call ended.
pub(super) struct Ended<'a> {
    pub(super) began: Moment,
    pub(super) took: Duration,
    /// Bytes of the body from the client.
    pub(super) received: u64,
    pub(super) reply: &'a Reply,
}
