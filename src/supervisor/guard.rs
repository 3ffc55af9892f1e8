//! Guards threads and tasks of the control side: a panic is logged and counted, and the work is taken up again.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// The wait before work is taken up again after a panic, which may come back at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Panics so far, on all threads that are guarded. The process has one, as it has one page of metrics.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics on the control side so far.
pub(super) fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Counts a panic that was caught elsewhere.
pub(super) fn count() {
    PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Does the work of a thread to its end, however often it panics.
pub(super) fn keep(what: &str, mut work: impl FnMut()) {
    while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
        tell(what, &*panic);
        #[expect(clippy::disallowed_methods, reason = "no worker runs on this thread")]
        thread::sleep(PAUSE);
    }
}

/// Does the work of a task to its end, however often it panics. Each try makes the task anew.
pub(super) async fn keep_on<F: Future>(what: &'static str, mut make: impl FnMut() -> F) -> F::Output {
    loop {
        let mut future = Box::pin(make());
        let done = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
        match done.await {
            Ok(output) => return output,
            Err(panic) => tell(what, &*panic),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn tell(what: &str, panic: &(dyn Any + Send)) {
    count();
    let text = panic.downcast_ref::<&str>().copied();
    let reason = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    tracing::error!(what, reason, "a panic, which is a defect of Ringway; the work is taken up again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_is_counted_and_taken_up_again() {
        let before = panics();
        let mut turns = 0;
        keep("test", || {
            turns += 1;
            assert!(turns > 1, "as told");
        });
        assert_eq!(turns, 2);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut turns = 0;
        let output = runtime.block_on(keep_on("test", || {
            turns += 1;
            let turn = turns;
            async move {
                assert!(turn > 1, "as told");
                turn
            }
        }));
        assert_eq!(output, 2);
        assert!(panics() >= before + 2);
    }
}
