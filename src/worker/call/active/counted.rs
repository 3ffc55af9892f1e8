//! The counting of a call that is over.

use std::time::Duration;

use super::Call;
use crate::metrics::Ending;
use crate::policy::status::Code;
use crate::worker::config::WorkerConfig;
use crate::worker::core::Worker;

impl Call {
    /// Counts the call that is over, with its trace if it is recorded.
    pub(super) fn count(&self, worker: &Worker, config: &WorkerConfig, code: Code, took: Duration) {
        if self.shape.is_local_response() {
            return worker.local.counts().options_answered.add(1);
        }
        let is_stream = self.shape.is_stream(self.request.has_several());
        let block = config.series(self.series);
        block.ended(Ending { protocol: self.protocol.number(), code: code.number(), is_stream, took });
        if !is_stream && let Some((trace_id, unix_us)) = self.telemetry.recorded(self.began.plus(took)) {
            block.set_exemplar(trace_id, took, unix_us);
        }
    }

    /// Sets whether one message goes each way, as far as configuration or descriptors tell.
    pub(in crate::worker::call) fn set_unary(&mut self, unary: Option<bool>) {
        self.shape.declare(unary);
    }
}
