//! Records of calls for access log and traces: filled while a call runs, and put into this core's rings at its end.
//!
//! A call that no record is kept of costs only the filling, in memory that later calls reuse. No code here allocates or
//! waits. Without access log and tracing, a call has little room for its telemetry.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::buffers::{KeptHeaders, TelemetryBuffers};
use super::stage_timer::StageTimer;
use super::trace::{Span, Trace, Unrecorded};
use crate::config::EndpointAddress;
use crate::http2::{Head, Name};
use crate::metrics::record::{METHOD_NAMES, Record, Stage};
use crate::metrics::texts::{TextField, Texts};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::time::Moment;
use crate::wire::trace_context::TraceParent;
use crate::worker::call::headers;
use crate::worker::call::protocol::{DownstreamProtocol, Version};
use crate::worker::clock::Clock;

/// The telemetry of a call so far.
#[derive(Default)]
pub(in crate::worker) struct CallTelemetry {
    unrecorded: Unrecorded,
    /// The call's record, if access log or traces want one.
    active: Option<ActiveRecord>,
}

struct ActiveRecord {
    buffers: Rc<TelemetryBuffers>,
    record: Box<Record>,
}

impl CallTelemetry {
    /// Begins the telemetry of a call whose head has arrived; tracing may change the head. `series` counts the call
    /// until its route is known.
    pub(in crate::worker) fn begin(
        buffers: Option<&Rc<TelemetryBuffers>>,
        client: Option<SocketAddr>,
        series: u32,
        (protocol, version): (DownstreamProtocol, Version),
        head: &mut Head,
    ) -> CallTelemetry {
        let Some(buffers) = buffers else { return CallTelemetry::default() };
        let trace = match &buffers.config().tracing {
            Some(tracing) => Trace::begin(&mut buffers.random(), tracing.sample, head),
            None => Trace::read(head),
        };
        // By the end of a call that is translated, its head is no longer what the caller sent.
        let is_translated = matches!(protocol, DownstreamProtocol::Json | DownstreamProtocol::Connect(_));
        let keeps_head = is_translated && buffers.logs_errors();
        if !buffers.wants_all() && !trace.is_recorded() && !keeps_head {
            return CallTelemetry { unrecorded: trace.unrecorded, active: None };
        }
        let mut active = ActiveRecord::begin(buffers, client, series, (protocol, version), head);
        let record = &mut active.record;
        (record.trace_id, record.span_id, record.parent_id) = (trace.id, trace.span, trace.parent);
        CallTelemetry { unrecorded: trace.unrecorded, active: Some(active) }
    }

    /// Begins the record of a call that has failed and has none, if it gets a line. Its moments are not known.
    pub(in crate::worker) fn failed(
        &mut self,
        buffers: Option<&Rc<TelemetryBuffers>>,
        client: Option<SocketAddr>,
        (protocol, version): (DownstreamProtocol, Version),
        head: &Head,
    ) {
        if let Some(buffers) = buffers.filter(|buffers| self.active.is_none() && buffers.logs_errors()) {
            // Its series is noted at its end.
            let mut active = ActiveRecord::begin(buffers, client, 0, (protocol, version), head);
            if protocol.number() != 0 {
                active.record.texts.set(TextField::GrpcMethod, headers::path(head));
            }
            self.active = Some(active);
        }
    }

    /// Notes that an attempt failed, at this endpoint if it had one. The call gets its record now, if its line would.
    pub(in crate::worker) fn attempt_failed(
        &mut self,
        buffers: Option<&Rc<TelemetryBuffers>>,
        client: Option<SocketAddr>,
        form: (DownstreamProtocol, Version),
        head: &Head,
        upstream: Option<EndpointAddress>,
    ) {
        if self.active.is_some() {
            return;
        }
        self.failed(buffers, client, form, head);
        if let Some((active, upstream)) = self.active.as_mut().zip(upstream) {
            (active.record.upstream, active.record.attempts) = (Some(upstream), 1);
        }
    }

    /// Notes the caller's address, where it is not the peer's.
    pub(in crate::worker) fn called_by(&mut self, caller: Option<IpAddr>) {
        let Some(ActiveRecord { record, .. }) = &mut self.active else { return };
        if let Some(caller) =
            caller.filter(|caller| record.client.is_some_and(|client| client.ip() != *caller))
        {
            // Nobody says which port the caller has.
            record.client = Some(SocketAddr::new(caller, 0));
        }
    }

    /// The trace of a call that is recorded and ends at this moment, and that moment in microseconds since 1970.
    pub(in crate::worker) fn recorded(&self, ended: Moment) -> Option<(u128, u64)> {
        let ActiveRecord { record, buffers } = self.active.as_ref().filter(|it| it.record.span_id != 0)?;
        Some((record.trace_id, buffers.unix_us(ended)))
    }

    /// The clock for the stages of the call, if it has a record.
    pub(in crate::worker) fn stage_clock(&self) -> Option<&Rc<Clock>> {
        self.active.as_ref().map(|active| active.buffers.clock())
    }

    /// Notes the path of the rule that a request in JSON matched.
    pub(in crate::worker) fn mapped(&mut self, route: &dyn Display) {
        if let Some(ActiveRecord { record, .. }) = &mut self.active {
            record.texts.write(TextField::HttpRoute, route);
        }
    }

    /// Notes the route, and the series that counts the call. The head is that of a gRPC call now.
    pub(in crate::worker) fn routed(&mut self, series: u32, head: &Head, timer: &StageTimer) {
        let Some(ActiveRecord { record, buffers }) = &mut self.active else { return };
        record.series = series;
        if record.protocol != 0 {
            record.texts.set(TextField::GrpcMethod, headers::path(head));
        }
        if let Some(id) = head.get(Name::X_REQUEST_ID) {
            record.texts.set(TextField::RequestId, id);
        }
        record.routed_us = Some(timer.offset_us(buffers.now()));
    }

    /// Begins the span of an attempt after so many others, if the call is recorded.
    pub(in crate::worker) fn attempt(&self, head: &Head, previous: u32) -> Option<Box<Span>> {
        let ActiveRecord { buffers, record } =
            self.active.as_ref().filter(|active| active.record.span_id != 0)?;
        Some(Box::new(Span::begin(buffers, record, headers::path(head), previous)))
    }

    /// The `traceparent` of the attempt to this endpoint; `None` where the caller's is passed on.
    pub(in crate::worker) fn traceparent(
        &self,
        span: &mut Option<Box<Span>>,
        upstream: EndpointAddress,
    ) -> Option<TraceParent> {
        match span {
            Some(span) => Some(span.sent(upstream)),
            None => self.unrecorded.field(),
        }
    }

    /// Notes that an attempt has a connection to this endpoint.
    pub(in crate::worker) fn connected(&mut self, upstream: EndpointAddress, timer: &StageTimer) {
        let now = timer.now().inspect(|now| timer.enter_at(Stage::Upstream, *now));
        let Some(ActiveRecord { record, .. }) = &mut self.active else { return };
        record.connected_us = now.map(|now| timer.offset_us(now));
        record.upstream = Some(upstream);
        record.attempts = record.attempts.saturating_add(1);
    }

    /// Notes the head of a response from this endpoint, whose connection was there at `connected`.
    pub(in crate::worker) fn responded(
        &mut self,
        (upstream, connected): (EndpointAddress, Moment),
        timer: &StageTimer,
    ) {
        let Some(now) = timer.now() else { return };
        timer.enter_at(Stage::Write, now);
        let Some(ActiveRecord { record, .. }) = &mut self.active else { return };
        // With hedging, another endpoint may have been connected last.
        record.upstream = Some(upstream);
        record.connected_us = Some(timer.offset_us(connected));
        record.answered_us = Some(timer.offset_us(now));
    }

    /// Keeps the chosen fields of a response's head.
    pub(in crate::worker) fn keep_response(&mut self, head: &Head) {
        let Some(ActiveRecord { record, buffers }) = &mut self.active else { return };
        let KeptHeaders { request, response, .. } = &*buffers.config().headers;
        keep_fields(&mut record.texts, head, response, request.len());
    }

    /// Ends the telemetry of a call: its record goes into the rings that want it.
    pub(in crate::worker) fn ended(&mut self, call: Ended<'_>, outcome: Result<Code, Failure>) {
        let Some(ActiveRecord { buffers, mut record }) = self.active.take() else { return };
        let code = outcome.unwrap_or_else(Failure::code);
        let logged = buffers.access_log(code);
        let is_recorded = record.span_id != 0;
        let tapped = buffers.tapped();
        if logged.is_some() || tapped.is_some() || is_recorded {
            call.fill(&mut record, &buffers);
            record.code = code.number();
            record.set_flags(outcome.err().map_or("", Failure::flags));
        }
        if is_recorded {
            buffers.put_span(&record);
        }
        if let Some(ring) = tapped {
            buffers.put_tapped(ring, &record);
        }
        if let Some(access) = logged {
            buffers.put_line(access, &record);
        }
        buffers.give_record(record);
    }
}

impl ActiveRecord {
    /// A record of what the head says.
    fn begin(
        buffers: &Rc<TelemetryBuffers>,
        client: Option<SocketAddr>,
        series: u32,
        (protocol, version): (DownstreamProtocol, Version),
        head: &Head,
    ) -> ActiveRecord {
        let mut record = buffers.take_record();
        record.client = client;
        record.series = series;
        record.protocol = protocol.number();
        record.headers = buffers.config().headers.number;
        keep_texts(&mut record.texts, head, &buffers.config().headers.request);
        let named = METHOD_NAMES.iter().position(|name| Some(name.as_bytes()) == head.method());
        record.method = named.unwrap_or(METHOD_NAMES.len() - 1) as u8;
        record.version = version as u8;
        ActiveRecord { buffers: Rc::clone(buffers), record }
    }
}

/// Keeps the texts of a request's head as it came.
fn keep_texts(texts: &mut Texts, head: &Head, chosen: &[String]) {
    texts.set(TextField::Path, headers::path(head));
    texts.set(TextField::Authority, headers::host(head));
    for field in head.iter() {
        match field.name {
            Name::USER_AGENT => texts.set(TextField::UserAgent, field.value),
            Name::X_REQUEST_ID => texts.set(TextField::RequestId, field.value),
            _ => {}
        }
    }
    keep_fields(texts, head, chosen, 0);
}

/// Keeps chosen fields, whose positions begin at `first`.
fn keep_fields(texts: &mut Texts, head: &Head, chosen: &[String], first: usize) {
    for (number, name) in (first..).zip(chosen) {
        if let Some(value) = head.get_named(name.as_bytes()) {
            texts.set(TextField::Header(number), value);
        }
    }
}

/// The end of a call, in figures.
pub(in crate::worker) struct Ended<'a> {
    pub(in crate::worker) began: Moment,
    pub(in crate::worker) took: Duration,
    /// Bytes of the body from the client.
    pub(in crate::worker) received: u64,
    /// Bytes of the body to the client.
    pub(in crate::worker) sent: u64,
    /// The HTTP status that the client got; zero if none.
    pub(in crate::worker) http_status: u16,
    /// The series under whose names it is shown.
    pub(in crate::worker) series: u32,
    pub(in crate::worker) timer: &'a StageTimer,
}

impl Ended<'_> {
    fn fill(&self, record: &mut Record, buffers: &TelemetryBuffers) {
        record.began_unix_us = buffers.unix_us(self.began);
        let ended = self.began.plus(self.took);
        record.took_us = buffers.unix_us(ended).saturating_sub(record.began_unix_us);
        record.is_timed = self.timer.is_kept();
        record.stages_us = self.timer.end(ended);
        record.series = self.series;
        record.http_status = self.http_status;
        record.bytes_received = self.received;
        record.bytes_sent = self.sent;
    }
}
