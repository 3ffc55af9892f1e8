//! Certificates, keys and authorities of TLS that change while the gateway runs.
//!
//! All that is read is checked aside. What is good goes to all workers, and new connections have it from then on. A file
//! that is wrong changes nothing for its listener or cluster.

use std::sync::{Arc, Mutex, Weak};

use super::files::Files;
use super::live::{Live, lock};

/// Begins what goes on while the gateway runs. All files of TLS are read again when one of them changes.
pub(super) fn begin(files: &Files, live: Live) -> Arc<Mutex<Live>> {
    let live = live.begin();
    let weak = Arc::downgrade(&live);
    lock(&live).certificates.watch(files, move || renew(&weak));
    live
}

/// Reads all files again, and gives the workers what is good.
fn renew(live: &Weak<Mutex<Live>>) {
    let Some(live) = live.upgrade() else { return };
    let (config, before) = {
        let live = lock(&live);
        (Arc::clone(&live.shared.config), Arc::clone(&live.shared.tls))
    };
    let (contexts, problems) = before.renew(&config);
    for problem in &problems {
        tracing::error!("TLS: {problem}; what was read before stays in use");
    }
    let contexts = Arc::new(contexts);
    let mut live = lock(&live);
    if !Arc::ptr_eq(&live.shared.config, &config) {
        // A reload has read them meanwhile.
        return;
    }
    live.shared.tls = Arc::clone(&contexts);
    live.certificates.status.set(&config, &contexts, problems.is_empty());
    live.notifiers.tell(|control| control.renew_tls(Arc::clone(&contexts)));
    live.renew_targets();
    if problems.is_empty() {
        tracing::info!("TLS: changed files are in use for new connections");
    }
}
