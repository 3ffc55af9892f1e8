//! A thread for regular looks: at files that may change, endpoints that may be out, counts of rings that may wrap, and
//! whether calls run. All in one turn, so that an idle gateway wakes up once in two seconds.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::breakers::Breakers;
use super::connectivity_log::ConnectivityLog;
use super::ejections::Ejections;
use super::failing::Failing;
use super::files::Files;
use super::guard;
use super::state::State;
use crate::admin::{Admin, Source as _};
use crate::background::BackgroundThread;

/// A changed file is in use within two seconds: this time, and [`SOON`] if it is under way at first.
const TURN: Duration = Duration::from_millis(1_700);

/// The time until the next look at a file that is under way.
const SOON: Duration = Duration::from_millis(250);

/// Turns with calls in which no count of a ring wraps unseen.
const TURNS_OF_RINGS: u32 = 30;

/// Ends its thread when it is dropped.
pub(super) struct Housekeeping {
    _thread: BackgroundThread<Sender<()>>,
}

impl Housekeeping {
    pub(super) fn start(state: &Arc<State>, files: &Files, admin: &Admin) -> io::Result<Housekeeping> {
        let (state, files, attention) = (Arc::clone(state), files.clone(), admin.attention());
        let (stop, stopped) = mpsc::channel();
        let body = move || {
            let (mut connectivity, mut breakers) = (ConnectivityLog::default(), Breakers::default());
            let (mut ejections, mut failing) = (Ejections::default(), Failing::default());
            let (mut turns, mut calls, mut wait) = (0_u32, 0, TURN);
            // The first look, before anybody has called: the next one is compared with it.
            connectivity.look(&state.view());
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = if files.look() { SOON } else { TURN };
                connectivity.look(&state.view());
                breakers.look(&state.view());
                ejections.look(&state.view(), state.now());
                failing.look(&state.view(), Instant::now());
                let workers = || state.view().shards.clone().into_iter();
                let begun = workers().map(|shard| shard.worker.calls_started.get()).sum();
                if begun == calls && workers().all(|shard| shard.worker.calls_active.get() == 0) {
                    continue;
                }
                calls = begun;
                attention.calls_run();
                turns = (turns + 1) % TURNS_OF_RINGS;
                if turns == 0 {
                    state.sample_rings();
                }
            }
        };
        let body = move || guard::keep("housekeeping", &body);
        Ok(Housekeeping { _thread: BackgroundThread::start("housekeeping", stop, body)? })
    }
}
