//! A worker's buffers for access log and traces: where records go, and memory for those that calls fill.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use crate::metrics::record::{Record, Ring};
use crate::metrics::tap::Tap;
use crate::net::IoContext;
use crate::policy::status::Code;
use crate::random::Random;
use crate::time::Moment;
use crate::worker::clock::{self, Clock};

/// Differences of two clocks that are noise.
const NOISE_US: u64 = 1000;

/// The sinks of a worker's records, and the calls that get records.
#[derive(Clone, Debug, Default)]
pub struct TelemetryConfig {
    /// For the access log.
    pub access_log: Option<Access>,
    /// For traces.
    pub tracing: Option<Tracing>,
    /// For those who watch calls live, if that is allowed.
    pub tap: Option<Arc<Tap>>,
    /// Fields that records keep.
    pub headers: Arc<KeptHeaders>,
}

/// Fields of requests and of responses that records keep: at most [`HEADERS_MAX`](crate::metrics::texts::HEADERS_MAX) together.
#[derive(Clone, Debug, Default)]
pub struct KeptHeaders {
    /// The number of this list: records have it, for they outlive the list that names their fields.
    pub number: u32,
    /// Of requests.
    pub request: Vec<String>,
    /// Of the heads of responses.
    pub response: Vec<String>,
}

/// A core's part of the access log.
#[derive(Clone, Debug)]
pub struct Access {
    /// The ring of its records.
    pub ring: Arc<Ring>,
    /// The share of calls that get a line.
    pub sample: f64,
    /// Whether each call that does not end with OK gets a line.
    pub errors: bool,
    /// Whether a line has all stages of its call. Otherwise a call that fails has a record from its end on, and others none.
    pub stages: bool,
    /// Lines per second, at most; others are counted.
    pub rate_max: Option<u32>,
}

/// A core's part of tracing.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The ring of its spans.
    pub ring: Arc<Ring>,
    /// The share of calls that get spans, among those without a caller's decision.
    pub sample: f64,
}

/// A worker's telemetry buffers.
pub(in crate::worker) struct TelemetryBuffers {
    config: TelemetryConfig,
    clock: Rc<Clock>,
    local: Rc<IoContext>,
    random: RefCell<Random>,
    /// Unix time, in microseconds, of the worker clock's zero.
    epoch_us: Cell<u64>,
    /// Records that calls no longer use.
    #[allow(clippy::vec_box, reason = "a call takes the box as it is")]
    spare: RefCell<Vec<Box<Record>>>,
    /// The second that lines are counted in, and how many there were.
    lines: Cell<(u64, u32)>,
}

/// The most of them that are kept.
const SPARE_MAX: usize = 1024;

impl TelemetryBuffers {
    /// `None` without access log, tracing and tap. The memory of records is that of `before`, and so is the count of lines.
    pub(in crate::worker) fn new(
        config: TelemetryConfig,
        (clock, local): (&Rc<Clock>, &Rc<IoContext>),
        seed: u64,
        before: Option<&TelemetryBuffers>,
    ) -> Option<Rc<TelemetryBuffers>> {
        if config.access_log.is_none() && config.tracing.is_none() && config.tap.is_none() {
            return None;
        }
        let buffers = TelemetryBuffers {
            config,
            clock: Rc::clone(clock),
            local: Rc::clone(local),
            random: RefCell::new(Random::seeded(seed)),
            epoch_us: Cell::new(0),
            spare: RefCell::new(before.map(|before| before.spare.take()).unwrap_or_default()),
            lines: Cell::new(before.map(|before| before.lines.get()).unwrap_or_default()),
        };
        buffers.settle();
        Some(Rc::new(buffers))
    }

    /// The settings of access log and tracing, and the sinks that records go to.
    pub(in crate::worker) fn config(&self) -> &TelemetryConfig {
        &self.config
    }

    /// The worker's clock.
    pub(in crate::worker) fn clock(&self) -> &Rc<Clock> {
        &self.clock
    }

    pub(in crate::worker) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(in crate::worker) fn random(&self) -> RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// An empty record, in memory that a call used before if there is any.
    pub(in crate::worker) fn take_record(&self) -> Box<Record> {
        let mut record = self.spare.borrow_mut().pop().unwrap_or_default();
        record.clear();
        record
    }

    /// Takes the memory of a record back.
    pub(in crate::worker) fn give_record(&self, record: Box<Record>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(record);
        }
    }

    /// Compares the worker's clock to the calendar, which others may set. A difference of less than a millisecond is
    /// noise, and would tear apart what belongs together.
    pub(in crate::worker) fn settle(&self) {
        let epoch_us = clock::unix_us().saturating_sub(self.now().as_nanos() / 1000);
        if NOISE_US < epoch_us.abs_diff(self.epoch_us.get()) {
            self.epoch_us.set(epoch_us);
        }
    }

    /// A moment as microseconds since 1970.
    pub(in crate::worker) fn unix_us(&self, moment: Moment) -> u64 {
        self.epoch_us.get() + moment.as_nanos() / 1000
    }

    /// The access log, if a call that ended with this code has a line in it.
    pub(in crate::worker) fn access_log(&self, code: Code) -> Option<&Access> {
        self.config.access_log.as_ref().filter(|access| {
            let always = access.errors && code != Code::Ok;
            always || self.is_of_share(access.sample)
        })
    }

    /// Whether a call is of this share of all calls.
    fn is_of_share(&self, share: f64) -> bool {
        share > 0.0 && self.random().between(0.0, 1.0) < share
    }

    /// Whether those who watch calls live are to see one more.
    pub(in crate::worker) fn tapped(&self) -> Option<&Ring> {
        let (ring, sample) = self.config.tap.as_ref()?.sink()?;
        self.is_of_share(sample).then_some(ring)
    }

    /// Whether a call that fails gets a line.
    pub(in crate::worker) fn logs_errors(&self) -> bool {
        self.config.access_log.as_ref().is_some_and(|access| access.errors)
    }

    /// Whether every call has a record from its beginning on.
    pub(in crate::worker) fn wants_all(&self) -> bool {
        self.config.access_log.as_ref().is_some_and(|access| access.stages)
            || self.config.tap.as_ref().is_some_and(|tap| tap.is_open())
    }

    /// Shows a record to those who watch, if there is room.
    pub(in crate::worker) fn put_tapped(&self, ring: &Ring, record: &Record) {
        if !ring.put(record) {
            self.local.counts().tap_dropped.add(1);
        }
    }

    /// Puts a line into the ring of the access log, if there is room, and there are not too many.
    pub(in crate::worker) fn put_line(&self, access: &Access, record: &Record) {
        if access.rate_max.is_some_and(|max| !self.is_in_time(max)) {
            self.local.counts().access_log_suppressed.add(1);
        } else if !access.ring.put(record) {
            self.local.counts().access_log_dropped.add(1);
        }
    }

    /// Counts a line; whether there are no more than so many in this second.
    fn is_in_time(&self, max: u32) -> bool {
        let second = self.now().as_nanos() / 1_000_000_000;
        let (counted, lines) = self.lines.get();
        let lines = if counted == second { lines } else { 0 };
        self.lines.set((second, lines.saturating_add(1)));
        lines < max
    }

    /// Puts a span into the ring of the exporter, if there is room.
    pub(in crate::worker) fn put_span(&self, span: &Record) {
        if let Some(tracing) = &self.config.tracing
            && !tracing.ring.put(span)
        {
            self.local.counts().spans_dropped.add(1);
        }
    }
}
