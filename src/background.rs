//! A thread that ends with its owner.

use std::io;
use std::thread::{Builder, JoinHandle};

/// A thread that is told to end when this is dropped, and waited for. `S` is the sender of a channel: its drop is the
/// signal.
#[derive(Debug)]
pub struct BackgroundThread<S> {
    stop: Option<S>,
    thread: Option<JoinHandle<()>>,
}

impl<S> BackgroundThread<S> {
    /// Starts a thread whose `body` returns soon after `stop` is dropped.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(name: &str, stop: S, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl<S> Drop for BackgroundThread<S> {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and changes nothing any more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_has_ended_when_its_owner_is_gone() {
        let ((stop, stopped), (tell, told)) = (mpsc::channel::<()>(), mpsc::channel());
        let body = move || {
            let _ = stopped.recv();
            tell.send("ended").expect("the test waits");
        };
        let thread = BackgroundThread::start("test", stop, body).expect("a thread");
        assert!(told.try_recv().is_err());
        drop(thread);
        assert_eq!(told.try_recv(), Ok("ended"));
    }
}
