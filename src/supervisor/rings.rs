//! A thread that looks at the rings' counts once a minute, so that none wraps unseen between two scrapes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::guard;
use super::state::State;

const INTERVAL: Duration = Duration::from_secs(60);

/// Ends its thread when it is dropped.
pub(super) struct Rings {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rings {
    pub(super) fn new(state: Arc<State>) -> io::Result<Rings> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            guard::keep("rings", || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    state.sample_rings();
                }
            });
        };
        let thread = thread::Builder::new().name("rings".to_owned()).spawn(look)?;
        Ok(Rings { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
