//! Certificates, keys and authorities of TLS that change while the gateway runs.
//!
//! All that is read is checked aside. What is good goes to all workers, and new connections have it from then on. A file
//! that is wrong changes nothing for its listener or cluster.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::active_config::ActiveConfig;
use super::files::Files;

/// Begins what goes on while the gateway runs. All files of TLS are read again when one of them changes.
pub(super) fn begin(files: &Files, active: ActiveConfig) -> Arc<Mutex<ActiveConfig>> {
    let active = active.begin();
    let weak = Arc::downgrade(&active);
    active.lock().certificates.watch(files, move || renew(&weak));
    active
}

/// Reads all files again, and gives the workers what is good.
fn renew(active: &Weak<Mutex<ActiveConfig>>) {
    let Some(active) = active.upgrade() else { return };
    let (config, before) = {
        let active = active.lock();
        (Arc::clone(&active.shared.config), Arc::clone(&active.shared.tls))
    };
    let (contexts, problems) = before.renew(&config);
    for problem in &problems {
        tracing::error!("TLS: {problem}; what was read before stays in use");
    }
    let contexts = Arc::new(contexts);
    let mut active = active.lock();
    if !Arc::ptr_eq(&active.shared.config, &config) {
        // A reload has read them meanwhile.
        return;
    }
    active.shared.tls = Arc::clone(&contexts);
    active.certificates.status.set(&config, &contexts, problems.is_empty());
    active.notifiers.tell(|control| control.renew_tls(Arc::clone(&contexts)));
    active.renew_targets();
    if problems.is_empty() {
        tracing::info!("TLS: changed files are in use for new connections");
    }
}
