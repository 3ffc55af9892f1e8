//! The access log and the exporter of traces, which tell of calls, each on a thread of its own.

use std::sync::Arc;

use super::StartError;
use super::access::{self, AccessLog};
use super::series::Series;
use super::traces::{self, Traces};
use crate::config::Config;
use crate::metrics::{AccessLogCounts, Layout, TraceCounts};
use crate::worker::{Access, TelemetryConfig, Tracing};

/// The access log and the exporter, as far as they are configured. Dropping them writes and sends what is left.
pub(super) struct TelemetrySinks {
    series: Arc<Series>,
    access_log: Option<AccessLog>,
    traces: Option<Traces>,
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
        Ok(TelemetrySinks { series, access_log, traces })
    }

    /// Settings and rings of worker number `worker`, for its records.
    pub(super) fn config(&self, config: &Config, worker: usize) -> TelemetryConfig {
        let access_log = self.access_log.as_ref().zip(config.access_log.as_ref()).map(|(log, settings)| {
            Access { ring: log.ring(worker), sample: settings.sample, errors: settings.errors }
        });
        let tracing = self
            .traces
            .as_ref()
            .zip(config.tracing.as_ref())
            .map(|(traces, settings)| Tracing { ring: traces.ring(worker), sample: settings.sample });
        TelemetryConfig { access_log, tracing }
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
