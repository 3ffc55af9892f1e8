//! A worker's event loop: one future on monoio's runtime, which polls all others and waits for the worker's sockets.
//!
//! The loop waits in the worker's own ring, or in its epoll descriptor, and never in that of the runtime. So nothing may
//! be spawned on monoio itself: tasks are those of our executor.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::IoUring;
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

use super::current::{self, Current, Waits, current};
use super::data_ring::{Completion, DataRing, Kind};
use super::epoll::{Epoll, Source};
use super::executor::Executor;
use super::io_context::IoContext;
use super::operations::Operations;
use super::ring::IoBackend;
use super::ring_transport::RingTransport;
use super::sys;
use crate::config::Io;

/// A thread's event loop. It has to be built on the thread that runs it.
pub struct Loop {
    runtime: Runtime<LegacyDriver>,
    current: Rc<Current>,
    wait: Wait,
}

/// The waiting side of a loop.
enum Wait {
    Ring { ring: Rc<DataRing>, operations: Rc<Operations>, transport: Rc<RingTransport> },
    Epoll(Rc<Epoll>),
}

impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Loop").field(&self.current).finish()
    }
}

impl Loop {
    /// A loop on `backend` for `local`'s worker, set up as `io` says.
    ///
    /// # Errors
    /// When the kernel refuses the ring, its buffers, or a descriptor.
    pub fn new(backend: IoBackend, io: &Io, local: &IoContext) -> io::Result<Loop> {
        // First, so that the lowest of the loop's descriptors is the ring's.
        let (wait, waits) = match backend.builder(io) {
            Some(builder) => {
                let ring = Rc::new(DataRing::new(build(&builder, io.entries)?, backend));
                if let Some(span) = io.busy_poll {
                    sys::poll_interfaces(ring.descriptor(), span)?;
                }
                let operations = Operations::new(Rc::clone(&ring));
                let transport = local.enable_ring_io(&ring)?;
                let waits = Waits::Ring(Rc::clone(&operations));
                (Wait::Ring { ring, operations, transport }, waits)
            }
            None => {
                let epoll = Epoll::new()?;
                (Wait::Epoll(Rc::clone(&epoll)), Waits::Epoll(epoll))
            }
        };
        let runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
        Ok(Loop { runtime, current: Rc::new(Current { executor: Executor::new(), waits }), wait })
    }

    /// Runs `main` to its end, counting the loop's turns. Then all tasks end.
    pub fn run<T>(&mut self, local: &IoContext, main: impl Future<Output = T>) -> T {
        let (current, wait) = (&self.current, &self.wait);
        self.runtime.block_on(async {
            // Dropped from the last to the first: what the connections have staged last leaves before their tasks end and
            // close their sockets, and then what their ends have put into the ring.
            let _ended = Flushed(wait);
            let _entered = current::enter(current);
            let _last = Flushed(wait);
            let mut main = pin!(main);
            poll_fn(|_| Poll::Ready(run(current, wait, local, main.as_mut()))).await
        })
    }
}

fn run<T>(
    current: &Current,
    wait: &Wait,
    local: &IoContext,
    mut main: Pin<&mut impl Future<Output = T>>,
) -> T {
    let executor = &current.executor;
    let waker = executor.main_waker();
    local.handshakes.begin_turns();
    loop {
        if executor.take_main()
            && let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return value;
        }
        executor.run();
        local.counts().turns.add(1);
        local.handshakes.end_turn();
        wait.turn(!executor.has_woken());
    }
}

impl Wait {
    /// Sends staged bytes, and waits for events unless there is more to be done first.
    fn turn(&self, waits: bool) {
        let (ring, operations, transport) = match self {
            Wait::Ring { ring, operations, transport } => (ring, operations, transport),
            Wait::Epoll(epoll) => return epoll.turn(waits),
        };
        let has_woken = transport.send();
        let tell = |completion: Completion| match completion.tag.kind {
            Kind::Awaited => operations.complete(completion.tag.key, completion.result),
            Kind::Receive | Kind::Send | Kind::Cancel => transport.complete(completion),
            Kind::Ignored => {}
        };
        if ring.turn(waits && !has_woken, tell) {
            transport.on_submissions_consumed();
        }
    }
}

/// Sends the bytes staged last, however the loop ends.
struct Flushed<'a>(&'a Wait);

impl Drop for Flushed<'_> {
    fn drop(&mut self) {
        if let Wait::Ring { ring, transport, .. } = self.0 {
            transport.send();
            ring.submit();
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Before the memory that its operations point to.
        if let Wait::Ring { ring, .. } = &self.wait {
            ring.close();
        }
    }
}

/// Builds a ring. The kernel frees a closed ring's memory only some time later, such as that of the trial. Until then
/// both count against RLIMIT_MEMLOCK (Linux 6.13 and newer, without CAP_IPC_LOCK).
#[allow(clippy::disallowed_methods, reason = "nothing runs on this core yet")]
fn build(builder: &io_uring::Builder, entries: u32) -> io::Result<IoUring> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut tries = 0;
    loop {
        match builder.build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            built => return built,
        }
    }
}

/// Runs `future` as a task of this thread's loop. A panic in it ends the task alone; `panicked` is told.
pub fn spawn(panicked: impl FnOnce() + 'static, future: impl Future<Output = ()> + 'static) {
    current().executor.spawn(panicked, future);
}

/// Waits for a time, with a millisecond's resolution.
pub async fn sleep(duration: Duration) {
    current().waits.pause(duration).await;
}

/// The reading end of a socket pair.
#[derive(Debug)]
pub struct Notifier {
    /// With epoll. Dropped before the descriptor is closed.
    source: Option<Source>,
    end: std::os::unix::net::UnixStream,
}

impl Notifier {
    /// Takes one end of a socket pair; a byte written to the other end wakes us.
    ///
    /// # Errors
    /// When the descriptor cannot be set up for this loop.
    pub fn new(end: std::os::unix::net::UnixStream, _: IoBackend) -> io::Result<Notifier> {
        end.set_nonblocking(true)?;
        let source = match &current().waits {
            Waits::Ring(_) => None,
            Waits::Epoll(epoll) => Some(epoll.source(end.as_fd())?),
            #[cfg(test)]
            Waits::Memory(_) => None,
        };
        Ok(Notifier { source, end })
    }

    /// Waits for a byte, or for the other end to be closed.
    pub async fn notified(&mut self) {
        loop {
            match (&self.source, &current().waits) {
                (Some(source), _) => poll_fn(|cx| source.poll_readable(cx)).await,
                (None, Waits::Ring(operations)) => {
                    let _ = operations.readable(self.end.as_raw_fd()).await;
                }
                (None, Waits::Epoll(_)) => {}
                #[cfg(test)]
                (None, Waits::Memory(memory)) => memory.before_time_goes_on().await,
            }
            match self.end.read(&mut [0; 16]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(source) = &self.source {
                        source.not_readable();
                    }
                }
                _ => return,
            }
        }
    }
}
