//! The files of TLS that are watched, and the certificates that are in use.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::files::{Absent, Files, WatchedFiles};
use crate::config::Config;
use crate::metrics::render::{CertificateRow, CertificatesInfo};
use crate::tls::{self, CertificateInfo, Contexts, Problem};

/// The certificates in use, for the metrics page.
#[derive(Debug, Default)]
pub(super) struct Status {
    is_bad: AtomicBool,
    rows: Mutex<Option<Arc<[CertificateRow]>>>,
}

impl Status {
    /// Shows those of a configuration.
    pub(super) fn set(&self, config: &Config, contexts: &Contexts, is_good: bool) {
        self.is_bad.store(!is_good, Ordering::Relaxed);
        let mut all: Vec<CertificateRow> = Vec::new();
        for (listener, context) in config.listeners.iter().zip(&contexts.listeners) {
            let infos = context.iter().flat_map(|context| context.certificates());
            all.extend(infos.map(|info| row("listener", listener.address.to_string(), info)));
        }
        for (cluster, context) in config.clusters.iter().zip(&contexts.clusters) {
            let infos = context.iter().flat_map(|context| context.certificates());
            all.extend(infos.map(|info| row("cluster", cluster.name.clone(), info)));
        }
        // One series for each, though a file may be named twice.
        all.sort_by(|one, other| {
            (one.kind, &one.owner, &one.file).cmp(&(other.kind, &other.owner, &other.file))
        });
        all.dedup_by(|one, other| {
            (one.kind, &one.owner, &one.file) == (other.kind, &other.owner, &other.file)
        });
        let has_tls = !tls::files(config).is_empty();
        *self.rows.lock() = has_tls.then(|| all.into());
    }

    /// The certificates; `None` without TLS.
    pub(super) fn rows(&self) -> Option<Arc<[CertificateRow]>> {
        self.rows.lock().clone()
    }

    /// The values for the metrics page.
    pub(super) fn info<'a>(&self, rows: &'a [CertificateRow]) -> CertificatesInfo<'a> {
        CertificatesInfo { is_good: !self.is_bad.load(Ordering::Relaxed), rows }
    }
}

fn row(kind: &'static str, owner: String, info: &CertificateInfo) -> CertificateRow {
    CertificateRow { kind, owner, file: info.file.display().to_string(), not_after: info.not_after }
}

/// Watches the files, as long as it is kept.
pub(super) struct Certificates {
    watched: Arc<WatchedFiles>,
    pub(super) status: Arc<Status>,
}

impl Certificates {
    /// Reads the files of the first configuration.
    pub(super) fn open(config: &Config) -> Result<(Certificates, Arc<Contexts>), Problem> {
        let watched = WatchedFiles::new(tls::files(config), Absent::IsUnderWay);
        let certificates = Certificates { watched, status: Arc::default() };
        let contexts = Arc::new(Contexts::load(config, None)?);
        certificates.status.set(config, &contexts, true);
        Ok((certificates, contexts))
    }

    /// The files of another configuration, which have been read.
    pub(super) fn set(&self, config: &Config) {
        self.watched.set(tls::files(config));
    }

    /// Calls `tell` when one of them has changed.
    pub(super) fn watch(&self, files: &Files, tell: impl Fn() + Send + 'static) {
        files.watch(&self.watched, tell);
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("status", &self.status).finish_non_exhaustive()
    }
}
