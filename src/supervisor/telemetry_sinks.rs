//! The access log and the exporter of traces, which tell of calls, each on a thread of its own. A reload changes both.

use std::sync::Arc;

use super::StartError;
use super::access::{self, AccessLog};
use super::series::Series;
use super::traces::{self, Traces};
use crate::config::{AccessLog as AccessLogSettings, Config, LogSink};
use crate::metrics::line::Headers;
use crate::metrics::tap::Tap;
use crate::metrics::{AccessLogCounts, Layout, TraceCounts};
use crate::worker::{Access, KeptHeaders, TelemetryConfig, Tracing};

/// The access log and the exporter. Each runs from the first configuration on that has it. Dropping them writes and sends
/// what is left.
pub(super) struct TelemetrySinks {
    series: Arc<Series>,
    access_log: Option<AccessLog>,
    traces: Option<Traces>,
    /// Each worker's side of the tap.
    taps: Vec<Arc<Tap>>,
}

/// Counts of both, for the metrics page.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    access_log: Option<Arc<access::LogCounters>>,
    traces: Option<Arc<traces::ExportCounters>>,
}

impl Counts {
    pub(super) fn access_log(&self) -> Option<AccessLogCounts> {
        self.access_log.as_ref().map(|log| log.counts())
    }

    pub(super) fn traces(&self) -> Option<TraceCounts> {
        self.traces.as_ref().map(|traces| traces.counts())
    }
}

/// A part that runs already, or one that was started for this change.
enum Part<T, C> {
    Stays,
    Started(T),
    Changed(C),
}

/// Sinks of another configuration, open and not yet in use.
pub(super) struct Changes {
    access_log: Part<AccessLog, access::Change>,
    traces: Part<Traces, traces::Change>,
}

impl TelemetrySinks {
    /// Starts those that are configured, for so many workers.
    pub(super) fn start(
        config: &Config,
        workers: usize,
        layout: &Layout,
    ) -> Result<TelemetrySinks, StartError> {
        let series = Arc::new(Series::default());
        series.register(layout);
        let taps = (0..workers).map(|_| Arc::default()).collect();
        let mut sinks = TelemetrySinks { series, access_log: None, traces: None, taps };
        let changes = sinks.prepare(config)?;
        sinks.change(changes);
        Ok(sinks)
    }

    /// Opens the sinks of a configuration, as far as others are in use.
    pub(super) fn prepare(&self, config: &Config) -> Result<Changes, StartError> {
        let (workers, series) = (self.taps.len(), &self.series);
        let settings = &config.access_log;
        let failed = |error| StartError::AccessLog(settings.sink.to_string().into(), error);
        let access_log = match &self.access_log {
            _ if !settings.is_on() => Part::Stays,
            None => Part::Started(AccessLog::start(settings, workers, series).map_err(failed)?),
            Some(log) => Part::Changed(log.prepare(settings).map_err(failed)?),
        };
        let traces = match (&self.traces, &config.tracing) {
            (_, None) => Part::Stays,
            (None, Some(settings)) => {
                Part::Started(Traces::start(settings, workers, series).map_err(StartError::System)?)
            }
            (Some(traces), Some(settings)) => {
                Part::Changed(traces.prepare(settings).map_err(StartError::System)?)
            }
        };
        Ok(Changes { access_log, traces })
    }

    /// Lets them be used. Lines of the log of before are written by then.
    pub(super) fn change(&mut self, changes: Changes) {
        match (changes.access_log, &mut self.access_log) {
            (Part::Started(log), own) => *own = Some(log),
            (Part::Changed(change), Some(log)) => log.change(change),
            (Part::Changed(_), None) | (Part::Stays, _) => {}
        }
        match (changes.traces, &mut self.traces) {
            (Part::Started(traces), own) => *own = Some(traces),
            (Part::Changed(change), Some(traces)) => traces.change(change),
            (Part::Changed(_), None) | (Part::Stays, _) => {}
        }
    }

    /// Settings and rings of worker number `worker`, for its records.
    pub(super) fn config(&self, config: &Config, worker: usize) -> TelemetryConfig {
        let settings = &config.access_log;
        let share = settings.stderr_lines_per_second / u32::try_from(self.taps.len()).unwrap_or(1).max(1);
        let access_log = self.access_log.as_ref().filter(|_| settings.is_on()).map(|log| Access {
            ring: log.ring(worker),
            sample: settings.sample,
            errors: settings.errors,
            stages: settings.sink != LogSink::Stderr || settings.sample > 0.0,
            rate_max: (settings.sink == LogSink::Stderr).then_some(share.max(1)),
        });
        let tracing = self
            .traces
            .as_ref()
            .zip(config.tracing.as_ref())
            .map(|(traces, settings)| Tracing { ring: traces.ring(worker), sample: settings.sample });
        TelemetryConfig {
            access_log,
            tracing,
            tap: config.admin.tap.then(|| Arc::clone(&self.taps[worker])),
            headers: Arc::new(self.kept_headers(settings)),
        }
    }

    /// The fields that records keep, and the number by which records name them.
    fn kept_headers(&self, settings: &AccessLogSettings) -> KeptHeaders {
        let AccessLogSettings { request_headers, response_headers, .. } = settings.clone();
        let list = Headers { request: request_headers, response: response_headers };
        let number = self.series.register_headers(&list);
        KeptHeaders { number, request: list.request, response: list.response }
    }

    /// The names of series.
    pub(super) fn series(&self) -> Arc<Series> {
        Arc::clone(&self.series)
    }

    /// Each worker's side of the tap.
    pub(super) fn taps(&self) -> &[Arc<Tap>] {
        &self.taps
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            access_log: self.access_log.as_ref().map(AccessLog::shared),
            traces: self.traces.as_ref().map(Traces::shared),
        }
    }

    /// Adds the labels of a layout's series. Gives the number to be added to those of its series.
    pub(super) fn register(&self, layout: &Layout) -> u32 {
        self.series.register(layout)
    }

    /// Opens the file of the access log anew, if there is one.
    pub(super) fn reopen_access_log(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }
}

/// Whether the workers' records have other sinks or decisions.
pub(super) fn differ(before: &Config, now: &Config) -> bool {
    before.access_log != now.access_log || before.tracing != now.tracing || before.admin.tap != now.admin.tap
}
