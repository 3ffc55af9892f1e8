//! A thread for tasks on behalf of all workers: health checks and name resolution.

use std::thread::{self, JoinHandle};
use std::{fmt, io};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The thread. Dropping it ends it, and all of its tasks.
pub(super) struct BackgroundRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        let thread = thread::Builder::new().name("background".to_owned()).spawn(body)?;
        Ok(BackgroundRuntime { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// The handle that tasks are spawned on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for BackgroundRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundRuntime").finish_non_exhaustive()
    }
}
