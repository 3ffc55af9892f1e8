//! Finds the ring that this host allows, by a trial with the real size on every core.
//!
//! A small ring that was built once says little: the real one can fail on one core of several, or can be built and not be
//! entered. So each worker tries the real thing on its own core, with the operations that connections need, and the
//! weakest answer decides for all.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, opcode};

use super::{ring_selftest, sys};
use crate::config::Io;

/// A way to do I/O, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IoBackend {
    /// io_uring; a thread of the kernel takes submissions. Only where the configuration asks for it.
    SubmissionThread,
    /// io_uring; completions are run only when the worker asks for them (Linux 6.1).
    DeferTaskrun,
    /// epoll.
    Epoll,
}

/// The reason why io_uring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RingUnavailable {
    /// The kernel's errno; 0 where an operation is missing.
    pub errno: i32,
    /// The reason in a sentence, with the likely causes.
    pub reason: String,
}

/// Counters of a ring, by the kernel's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingTails {
    /// Submissions so far, modulo 2^32.
    pub sqes: u32,
    /// Completions so far, modulo 2^32.
    pub cqes: u32,
}

/// The operations that a worker submits.
const OPERATIONS: [(u8, &str); 10] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Nop::CODE, "NOP"),
];

impl IoBackend {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            IoBackend::SubmissionThread | IoBackend::DeferTaskrun => "io_uring",
            IoBackend::Epoll => "epoll",
        }
    }

    /// The set-up flags, for people.
    pub const fn flags(self) -> &'static str {
        match self {
            IoBackend::SubmissionThread => "SINGLE_ISSUER|SQPOLL",
            IoBackend::DeferTaskrun => "SINGLE_ISSUER|DEFER_TASKRUN",
            IoBackend::Epoll => "-",
        }
    }

    /// A builder for this backend's ring; none for epoll.
    pub(super) fn builder(self, io: &Io) -> Option<io_uring::Builder> {
        let mut builder = IoUring::builder();
        match self {
            IoBackend::SubmissionThread => {
                // The kernel refuses it together with deferred or cooperative task work, which save interrupts of a
                // thread that submits for itself.
                let idle = io.sqpoll_idle.unwrap_or_default().as_millis();
                builder.setup_single_issuer().setup_sqpoll(u32::try_from(idle).unwrap_or(u32::MAX));
                builder.setup_submit_all();
            }
            IoBackend::DeferTaskrun => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
            }
            IoBackend::Epoll => return None,
        }
        // Each connection has a receive and often a send in flight, so completions may outnumber a full queue of
        // submissions by far before the worker looks.
        builder.setup_cqsize(io.entries.saturating_mul(4)).setup_clamp();
        Some(builder)
    }
}

/// The ring that a configuration asks for. An option that is set is mandatory: where the kernel lacks it, there is no ring.
fn wanted(io: &Io) -> IoBackend {
    if io.sqpoll_idle.is_some() { IoBackend::SubmissionThread } else { IoBackend::DeferTaskrun }
}

/// The ring that this thread can have now, or why none. The trial enters it, and runs the operations that connections
/// need.
///
/// # Errors
/// The kernel's refusal of the ring, an operation that is missing or does not do what it should, or an option that the
/// kernel lacks.
pub fn probe(io: &Io) -> Result<IoBackend, RingUnavailable> {
    let backend = wanted(io);
    let builder = backend.builder(io).expect("every backend before epoll has a ring");
    let ring = builder.build(io.entries).map_err(|error| RingUnavailable::of(&error, io))?;
    check(&ring, io)?;
    ring_selftest::carrying(ring).map_err(|error| RingUnavailable::of_carrier(&error))?;
    Ok(backend)
}

fn check(ring: &IoUring, io: &Io) -> Result<(), RingUnavailable> {
    check_operations(ring, io)?;
    match io.busy_poll {
        Some(span) => sys::poll_interfaces(ring.as_raw_fd(), span).map_err(|error| RingUnavailable {
            errno: error.raw_os_error().unwrap_or(0),
            reason: format!(
                "io.busy_poll: the kernel refuses IORING_REGISTER_NAPI: {error}; Linux 6.9 or newer with \
                 CONFIG_NET_RX_BUSY_POLL is needed"
            ),
        }),
        None => Ok(()),
    }
}

fn check_operations(ring: &IoUring, io: &Io) -> Result<(), RingUnavailable> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| RingUnavailable::of(&error, io))?;
    match OPERATIONS.iter().find(|(code, _)| !probe.is_supported(*code)) {
        None => Ok(()),
        Some((_, name)) => {
            let reason =
                format!("the kernel's io_uring lacks IORING_OP_{name}; Linux 6.1 or newer is needed");
            Err(RingUnavailable { errno: 0, reason })
        }
    }
}

impl RingUnavailable {
    fn of_carrier(error: &io::Error) -> RingUnavailable {
        let causes = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
                "; likely: a seccomp profile forbids io_uring_enter or io_uring_register"
            }
            _ => "",
        };
        let reason = format!("the kernel's io_uring does not carry bytes as Linux 6.1 does: {error}{causes}");
        RingUnavailable { errno: error.raw_os_error().unwrap_or(0), reason }
    }

    fn of(error: &io::Error, io: &Io) -> RingUnavailable {
        let option = match (error.raw_os_error(), io.sqpoll_idle, io.busy_poll) {
            (Some(libc::EINVAL), Some(_), _) => "io.sqpoll_idle needs Linux 6.0 or newer; ",
            (Some(libc::EINVAL), None, Some(_)) => "io.busy_poll needs Linux 6.9 or newer; ",
            (Some(libc::EINVAL), None, None) => "Linux 6.1 or newer is needed; ",
            _ => "",
        };
        let causes = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "the sysctl kernel.io_uring_disabled is set, or a seccomp profile (the default of Docker and \
                 containerd) forbids io_uring_setup"
            }
            Some(libc::ENOSYS) => "the kernel has no io_uring, or a seccomp profile hides it",
            Some(libc::ENOMEM) => {
                "RLIMIT_MEMLOCK is too low for the rings of all processes of this user (Linux 5.11 and older, 6.13 and \
                 newer), or memory is short"
            }
            Some(libc::EMFILE | libc::ENFILE) => {
                "the limit on open files is reached (RLIMIT_NOFILE, fs.file-max)"
            }
            _ => {
                "the sysctl kernel.io_uring_disabled, a seccomp profile, or RLIMIT_MEMLOCK and RLIMIT_NOFILE"
            }
        };
        let reason = format!("io_uring_setup: {error}; {option}likely: {causes}");
        RingUnavailable { errno: error.raw_os_error().unwrap_or(0), reason }
    }
}

/// The file descriptors of all rings of this process.
pub fn descriptors() -> BTreeSet<i32> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeSet::new() };
    entries
        .flatten()
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]"))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Reads a ring's account from the kernel, which costs its worker nothing.
pub fn tails(descriptor: i32) -> Option<RingTails> {
    parse_tails(&fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?)
}

fn parse_tails(fdinfo: &str) -> Option<RingTails> {
    let field = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    };
    Some(RingTails { sqes: field("SqTail")?, cqes: field("CqTail")? })
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::required;
    use super::*;
    use crate::config::{Backend, OnUnavailable};

    /// The settings that tests make rings by.
    pub(in crate::net) const IO: Io = Io {
        backend: Backend::IoUring,
        entries: 256,
        on_unavailable: OnUnavailable::Fail,
        sqpoll_idle: None,
        busy_poll: None,
    };
    const SPAN: Duration = Duration::from_micros(50);

    #[test]
    fn a_ring_is_tried_as_it_will_be_used() {
        let ring = match IoBackend::DeferTaskrun.builder(&IO).unwrap().build(256) {
            Ok(ring) => ring,
            Err(error) => return required::skip(error),
        };
        let tested = ring_selftest::carrying(ring).map_err(|error| error.to_string());
        assert_eq!(probe(&IO) == Ok(IoBackend::DeferTaskrun), tested.is_ok(), "{tested:?}");
    }

    #[test]
    fn what_is_asked_for_by_name_is_had_or_refused() {
        let idle = Some(Duration::from_millis(10));
        for (io, backend, key) in [
            (Io { sqpoll_idle: idle, ..IO }, IoBackend::SubmissionThread, "io.sqpoll_idle"),
            (Io { busy_poll: Some(SPAN), ..IO }, IoBackend::DeferTaskrun, "io.busy_poll"),
            (Io { sqpoll_idle: idle, busy_poll: Some(SPAN), ..IO }, IoBackend::SubmissionThread, "io."),
        ] {
            match (probe(&IO), probe(&io)) {
                (_, Ok(had)) => assert_eq!(had, backend, "{io:?}"),
                // Where there are rings but not this, the key is named.
                (Ok(_), Err(refusal)) => assert!(refusal.reason.contains(key), "{refusal}"),
                (Err(_), Err(_)) => {}
            }
        }
    }

    #[test]
    fn a_ring_of_this_thread_polls_interfaces_and_anothers_does_not() {
        let io = Io { busy_poll: Some(SPAN), ..IO };
        if let Err(refusal) = probe(&io) {
            return required::skip_option(probe(&IO).is_ok(), refusal);
        }
        let ring = IoBackend::DeferTaskrun.builder(&io).unwrap().build(256).unwrap();
        sys::poll_interfaces(ring.as_raw_fd(), SPAN).unwrap();
        let elsewhere = std::thread::scope(|scope| {
            scope.spawn(|| sys::poll_interfaces(ring.as_raw_fd(), SPAN)).join().unwrap()
        });
        assert_eq!(elsewhere.unwrap_err().raw_os_error(), Some(libc::EEXIST));
    }

    #[test]
    fn each_refusal_names_errno_and_a_cause() {
        for (errno, word) in [
            (libc::EPERM, "seccomp"),
            (libc::ENOSYS, "no io_uring"),
            (libc::ENOMEM, "MEMLOCK"),
            (libc::EMFILE, "NOFILE"),
            (libc::EINVAL, "io_uring_disabled"),
        ] {
            let refusal = RingUnavailable::of(&io::Error::from_raw_os_error(errno), &IO);
            assert!(refusal.reason.contains(word), "{refusal}");
            assert!(refusal.reason.contains(&format!("os error {errno}")), "{refusal}");
        }
    }

    #[test]
    fn an_option_that_the_kernel_lacks_is_named() {
        let invalid = io::Error::from_raw_os_error(libc::EINVAL);
        for (io, word) in [
            (Io { sqpoll_idle: Some(SPAN), ..IO }, "io.sqpoll_idle"),
            (Io { busy_poll: Some(SPAN), ..IO }, "io.busy_poll"),
        ] {
            assert!(RingUnavailable::of(&invalid, &io).reason.contains(word));
        }
    }

    #[test]
    fn the_kernels_account_is_read() {
        let text = "pos:\t0\nflags:\t02000002\nSqMask:\t0xfff\nSqHead:\t7\nSqTail:\t9\nCachedSqHead:\t7\n\
                    CqMask:\t0x3fff\nCqHead:\t5\nCqTail:\t6\n";
        assert_eq!(parse_tails(text), Some(RingTails { sqes: 9, cqes: 6 }));
        assert_eq!(parse_tails("pos:\t0\n"), None);
    }
}
