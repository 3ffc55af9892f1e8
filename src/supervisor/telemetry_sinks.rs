//! The access log and the exporter of traces, which tell of calls, each on a thread of its own.

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

/// The access log and the exporter, as far as they are configured. Dropping them writes and sends what is left.
pub(super) struct TelemetrySinks {
    series: Arc<Series>,
    access_log: Option<AccessLog>,
    traces: Option<Traces>,
    /// Each worker's side of the tap.
    taps: Vec<Arc<Tap>>,
}

/// Counts of both, for the metrics page.
#[derive(Debug, Default)]
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

impl TelemetrySinks {
    /// Starts those that are configured, for so many workers.
    pub(super) fn start(
        config: &Config,
        workers: usize,
        layout: &Layout,
    ) -> Result<TelemetrySinks, StartError> {
        let series = Arc::new(Series::default());
        series.register(layout);
        let access_log = AccessLog::of(config, workers, &series)?;
        let traces = config.tracing.as_ref().map(|settings| Traces::start(settings, workers, &series));
        let traces = traces.transpose().map_err(StartError::System)?;
        Ok(TelemetrySinks {
            series,
            access_log,
            traces,
            taps: (0..workers).map(|_| Arc::default()).collect(),
        })
    }

    /// Settings and rings of worker number `worker`, for its records.
    pub(super) fn config(&self, config: &Config, worker: usize) -> TelemetryConfig {
        let settings = &config.access_log;
        let share = settings.stderr_lines_per_second / u32::try_from(self.taps.len()).unwrap_or(1).max(1);
        let access_log = self.access_log.as_ref().map(|log| Access {
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
        let (request, response) = (settings.request_headers.clone(), settings.response_headers.clone());
        TelemetryConfig {
            access_log,
            tracing,
            tap: config.admin.tap.then(|| Arc::clone(&self.taps[worker])),
            headers: Arc::new(KeptHeaders { request, response }),
        }
    }

    /// The names of series.
    pub(super) fn series(&self) -> Arc<Series> {
        Arc::clone(&self.series)
    }

    /// The names of the fields that records keep.
    pub(super) fn log_headers(&self, config: &Config) -> Headers {
        let AccessLogSettings { request_headers, response_headers, .. } = &config.access_log;
        Headers { request: request_headers.clone(), response: response_headers.clone() }
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
