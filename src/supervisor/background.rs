//! A thread for tasks on behalf of all workers: health checks and name resolution; and the end of threads.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::background::BackgroundThread;

/// The thread. Dropping it ends it, and all of its tasks.
pub(super) struct BackgroundRuntime {
    handle: Handle,
    _thread: BackgroundThread<oneshot::Sender<()>>,
}

impl BackgroundRuntime {
    /// A thread without tasks.
    pub(super) fn start() -> io::Result<BackgroundRuntime> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            let _ = runtime.block_on(stopped); // an error is the end, too
        };
        let thread = BackgroundThread::start("background", stop, body)?;
        Ok(BackgroundRuntime { handle, _thread: thread })
    }

    /// The handle that tasks are spawned on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Debug for BackgroundRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundRuntime").finish_non_exhaustive()
    }
}

/// Waits until a thread has ended that has been told to, or for so long.
pub(super) fn join_within(thread: Option<JoinHandle<()>>, farewell: Duration) {
    let Some(thread) = thread else { return };
    let given_up_at = Instant::now() + farewell;
    while !thread.is_finished() && Instant::now() < given_up_at {
        thread::sleep(Duration::from_millis(1));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}
