//! A worker's event loop: monoio on the rung that was decided for all workers.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder, foreign};

use super::local::Local;
use super::ring::Rung;
use super::sys;
use crate::config::Io;

/// One thread's event loop. Has to be built on the thread that runs it.
pub struct Loop(Kind);

enum Kind {
    IoUring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::IoUring(_) => "Loop(io_uring)",
            Kind::Epoll(_) => "Loop(epoll)",
        })
    }
}

impl Loop {
    /// A loop on `rung` for `local`'s worker, set up as `io` says.
    ///
    /// # Errors
    /// What the kernel says to the ring or to epoll.
    pub fn new(rung: Rung, io: &Io, local: &Local) -> io::Result<Loop> {
        let entries = io.entries;
        let Some(ring) = rung.builder(io) else {
            let builder = RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).enable_timer();
            return Ok(Loop(Kind::Epoll(builder.build()?)));
        };
        let mut runtime = with_ring(&ring, entries)?;
        runtime.block_on(async {
            if let Some(span) = io.busy_poll {
                sys::poll_interfaces(foreign::descriptor()?, span)?;
            }
            if rung.carries() { local.carry() } else { Ok(()) }
        })?;
        Ok(Loop(Kind::IoUring(runtime)))
    }

    /// Runs `main` to its end, counting the loop's turns.
    pub fn run<T>(&mut self, local: &Local, main: impl Future<Output = T>) -> T {
        let counted = counted(local, main);
        match &mut self.0 {
            Kind::IoUring(runtime) => runtime.block_on(counted),
            Kind::Epoll(runtime) => runtime.block_on(counted),
        }
    }
}

/// The kernel takes back the memory of the ring that was tried a moment ago some time after that was closed, and until
/// then both count against RLIMIT_MEMLOCK (Linux 6.13 and newer, without CAP_IPC_LOCK).
#[allow(clippy::disallowed_methods, reason = "nothing runs on this core yet")]
fn with_ring(ring: &io_uring::Builder, entries: u32) -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut tries = 0;
    loop {
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring.clone());
        match builder.with_entries(entries).enable_timer().build() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            built => return built,
        }
    }
}

async fn counted<T>(local: &Local, main: impl Future<Output = T>) -> T {
    let _ending = Ending(local);
    let mut main = pin!(main);
    std::future::poll_fn(|cx| {
        local.set_root(cx.waker());
        local.counts().turns.add(1);
        let poll = main.as_mut().poll(cx);
        if let Some(carrier) = local.carrier() {
            carrier.send();
        }
        poll
    })
    .await
}

/// However the loop ends, the connections end with it.
struct Ending<'a>(&'a Local);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(carrier) = self.0.carrier() {
            carrier.end();
        }
    }
}

/// Runs `future` as a task of this thread's loop. A panic in it ends the task alone; `panicked` is told.
pub fn spawn(panicked: impl FnOnce() + 'static, future: impl Future<Output = ()> + 'static) {
    // Boxed, because a future that an async block pins inside itself is held there twice.
    let mut future = Box::pin(future);
    let mut panicked = Some(panicked);
    monoio::spawn(async move {
        std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                if let Some(panicked) = panicked.take() {
                    panicked();
                }
                Poll::Ready(())
            }
        })
        .await;
    });
}

/// Waits on the loop's own timer, which has a millisecond's resolution.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// The reading end of a wake-up pipe.
#[derive(Debug)]
pub struct Bell(monoio::net::UnixStream);

impl Bell {
    /// Takes one end of a socket pair; whoever writes a byte to the other wakes us.
    ///
    /// # Errors
    /// When the descriptor cannot be set up for this loop.
    pub fn new(end: std::os::unix::net::UnixStream, rung: Rung) -> io::Result<Bell> {
        end.set_nonblocking(rung == Rung::Epoll)?;
        Ok(Bell(monoio::net::UnixStream::from_std(end)?))
    }

    /// Waits for a byte, or for the other end to be closed.
    pub async fn rung(&mut self) {
        use monoio::io::AsyncReadRent;
        let _ = self.0.read(vec![0; 16]).await;
    }
}
