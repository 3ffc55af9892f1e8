//! A process that the kernel refuses io_uring to, as the seccomp profiles of containers do. Needs no privilege.
#![allow(unsafe_code, reason = "there is no safe way to ask the kernel for a filter")]

use std::io;
use std::process::{Child, Command};

/// Starts `command` so that its `io_uring_setup` fails with EPERM, from the first instruction on.
///
/// A filter belongs to a thread and to whatever that thread starts: one thread takes it on, starts the process, and ends.
pub fn spawn_without_io_uring(command: &mut Command) -> io::Result<Child> {
    let start = || {
        refuse_io_uring()?;
        command.spawn()
    };
    std::thread::scope(|scope| scope.spawn(start).join().expect("it does not panic"))
}

/// From now on this thread, and all it starts, has no io_uring.
fn refuse_io_uring() -> io::Result<()> {
    let setup = u32::try_from(libc::SYS_io_uring_setup).expect("system calls have small numbers");
    let filter = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("codes have 16 bits"),
        jt,
        jf,
        k,
    };
    // The number of the call is the first word of what a filter looks at.
    let mut program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, setup),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: takes plain numbers, and only gives up rights that this thread might have gained by exec.
    let given_up = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if given_up != 0 {
        return Err(io::Error::last_os_error());
    }
    let at = std::ptr::from_ref(&program);
    // SAFETY: `program` and the four instructions it points to live until the kernel has copied them.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, at, 0, 0) };
    if filtered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
