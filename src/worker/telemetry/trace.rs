//! A call's place in its trace, and the spans of its attempts.
//!
//! A call follows its caller's `traceparent`. A malformed one is replaced, and the trace begins anew (W3C Trace
//! Context, level 1). A call that is not recorded passes its caller's on unchanged, so that the service's spans hang
//! under the caller's. In a recorded call, each attempt sends a `traceparent` of its own.
//!
//! A `traceparent` of the gateway is new each time, so no table of a connection keeps it.

use std::rc::Rc;

use super::buffers::TelemetryBuffers;
use crate::config::EndpointAddress;
use crate::http2::{Head, Name};
use crate::metrics::record::{Record, Subject};
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::random::Random;
use crate::time::Moment;
use crate::wire::trace_context::TraceParent;

/// A call's place in its trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::worker) struct Trace {
    /// The trace's number; zero if the call is in none.
    pub(in crate::worker) id: u128,
    /// The call's own span; zero if it is not recorded.
    pub(in crate::worker) span: u64,
    /// The caller's span; zero if none is known.
    pub(in crate::worker) parent: u64,
    /// The unrecorded trace that the call begins, if it does.
    pub(in crate::worker) unrecorded: Unrecorded,
}

/// The `traceparent` that services get where a trace begins here and is not recorded. All zero if there is none.
///
/// Each call has one. Words replace a `u128`, which would align it, and the call, to sixteen bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::worker) struct Unrecorded {
    trace_id: [u64; 2],
    span: u64,
}

impl Unrecorded {
    pub(in crate::worker) fn field(&self) -> Option<TraceParent> {
        if self.span == 0 {
            return None;
        }
        let [high, low] = self.trace_id.map(u128::from);
        Some(TraceParent { trace_id: high << 64 | low, parent_id: self.span, sampled: false })
    }
}

impl Trace {
    /// Reads a head's trace context, without a decision and without a change.
    pub(in crate::worker) fn read(head: &Head) -> Trace {
        let said = head.get(Name::TRACEPARENT).and_then(TraceParent::parse);
        said.map_or(Trace::default(), |said| Trace {
            id: said.trace_id,
            parent: said.parent_id,
            ..Trace::default()
        })
    }

    /// Follows the caller's decision, or else decides whether the call is recorded. The head keeps only fields that are
    /// passed on unchanged.
    pub(in crate::worker) fn begin(random: &mut Random, sample: f64, head: &mut Head) -> Trace {
        // A single pass replaces look-ups: most calls have neither field.
        let (mut said, mut fields, mut state) = (None, 0, false);
        for field in head.iter() {
            if field.name == Name::TRACEPARENT {
                said = TraceParent::parse(field.value);
                fields += 1;
            } else if field.name == Name::TRACESTATE {
                state = true;
            }
        }
        // A field that comes twice is ignored.
        let said = said.filter(|_| fields == 1);
        if fields > 0 && said.is_none_or(|said| said.sampled) {
            head.remove(Name::TRACEPARENT);
        }
        if let Some(said) = said {
            let span = if said.sampled { span_id(random) } else { 0 };
            return Trace { id: said.trace_id, span, parent: said.parent_id, ..Trace::default() };
        }
        if state {
            // A `tracestate` without its trace has no meaning.
            head.remove(Name::TRACESTATE);
        }
        let trace_id = [random.bits(), span_id(random)];
        let id = u128::from(trace_id[0]) << 64 | u128::from(trace_id[1]);
        let span = span_id(random);
        if random.between(0.0, 1.0) < sample {
            return Trace { id, span, ..Trace::default() };
        }
        Trace { id, unrecorded: Unrecorded { trace_id, span }, ..Trace::default() }
    }

    pub(in crate::worker) fn is_recorded(&self) -> bool {
        self.span != 0
    }
}

/// A span's number, which is never zero.
fn span_id(random: &mut Random) -> u64 {
    random.bits().max(1)
}

/// The span of one attempt. It is exported when it is dropped: an attempt that is given up has one, too.
pub(in crate::worker) struct Span {
    buffers: Rc<TelemetryBuffers>,
    began: Moment,
    record: Record,
}

impl Span {
    /// Begins the span of an attempt, after so many others, of the call that `record` is of.
    pub(in crate::worker) fn begin(
        buffers: &Rc<TelemetryBuffers>,
        record: &Record,
        path: &[u8],
        previous: u32,
    ) -> Span {
        let span_id = span_id(&mut buffers.random());
        let mut record = Record {
            subject: Subject::Attempt,
            parent_id: record.span_id,
            span_id,
            attempts: u8::try_from(previous).unwrap_or(u8::MAX),
            // The code until the attempt's end is known.
            code: Code::Cancelled.number(),
            upstream: None,
            ..*record
        };
        // An attempt has the path that services get.
        record.texts.clear();
        record.set_path(path);
        Span { buffers: Rc::clone(buffers), began: buffers.now(), record }
    }

    /// Notes the attempt's endpoint, and gives the field that it sends.
    pub(in crate::worker) fn sent(&mut self, upstream: EndpointAddress) -> TraceParent {
        self.record.upstream = Some(upstream);
        let Record { trace_id, span_id: parent_id, .. } = self.record;
        TraceParent { trace_id, parent_id, sampled: true }
    }

    /// Notes the attempt's end.
    pub(in crate::worker) fn ended(&mut self, outcome: Result<Code, Failure>) {
        self.record.code = outcome.unwrap_or_else(Failure::code).number();
        self.record.set_flags(outcome.err().map_or("", Failure::flags));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let buffers = &self.buffers;
        self.record.began_unix_us = buffers.unix_us(self.began);
        let ended = buffers.unix_us(buffers.now());
        self.record.took_us = ended.saturating_sub(self.record.began_unix_us);
        buffers.put_span(&self.record);
    }
}
