//! A filter of system calls for a child process, as container runtimes set one.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// The number of a system call; none for those of other machines and of newer kernels' headers.
pub fn number(name: &str) -> Option<libc::c_long> {
    let table = include_str!("syscalls.txt").lines();
    table.filter_map(|line| line.split_once(' ')).find(|(each, _)| *each == name)?.1.parse().ok()
}

/// The verdicts on system calls, rule by rule; the first that fits decides.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
    otherwise: u32,
}

/// Where the kernel puts a call's number and its arguments for a filter to look at.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// linux/audit.h
const X86_64: u32 = 0xc000_003e;

const fn step(code: u16, value: u32, if_so: u8, if_not: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: if_so, jf: if_not, k: value }
}

/// Fails with this error.
pub const fn fails(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// Happens.
pub const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

impl Filter {
    /// A filter without a rule: everything ends as `otherwise` says.
    pub fn new(otherwise: u32) -> Self {
        let program = vec![
            step(LOAD, ARCHITECTURE, 0, 0),
            step(IF_EQUAL, X86_64, 1, 0),
            step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        ];
        Self { program, otherwise }
    }

    /// Calls of this number end as `how` says.
    pub fn call(mut self, number: libc::c_long, how: u32) -> Self {
        let number = u32::try_from(number).expect("no call has a negative number");
        self.program.extend([
            step(LOAD, NUMBER, 0, 0),
            step(IF_EQUAL, number, 0, 1),
            step(RETURN, how, 0, 0),
        ]);
        self
    }

    /// Those of them whose argument, the first being 0, has these lower 32 bits.
    pub fn call_with(mut self, number: libc::c_long, argument: u32, value: u32, how: u32) -> Self {
        let number = u32::try_from(number).expect("no call has a negative number");
        self.program.extend([
            step(LOAD, NUMBER, 0, 0),
            step(IF_EQUAL, number, 0, 3),
            step(LOAD, ARGUMENTS + 8 * argument, 0, 0),
            step(IF_EQUAL, value, 0, 1),
            step(RETURN, how, 0, 0),
        ]);
        self
    }

    /// Those of them whose argument, cut to the bits of `mask`, has these lower 32 bits.
    pub fn call_masked(
        mut self,
        number: libc::c_long,
        argument: u32,
        (mask, value): (u32, u32),
        how: u32,
    ) -> Self {
        let number = u32::try_from(number).expect("no call has a negative number");
        self.program.extend([
            step(LOAD, NUMBER, 0, 0),
            step(IF_EQUAL, number, 0, 4),
            step(LOAD, ARGUMENTS + 8 * argument, 0, 0),
            step(AND, mask, 0, 0),
            step(IF_EQUAL, value, 0, 1),
            step(RETURN, how, 0, 0),
        ]);
        self
    }

    /// Starts `command` under this filter, from its first instruction on.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.around(command);
        command.spawn()
    }

    /// Puts the child and all that comes of it under this filter.
    pub fn around(&self, command: &mut Command) {
        let mut program = self.program.clone();
        program.push(step(RETURN, self.otherwise, 0, 0));
        let install = move || {
            let filter = libc::sock_fprog {
                len: u16::try_from(program.len()).unwrap_or(u16::MAX),
                filter: program.as_mut_ptr(),
            };
            // WHY UNSAFE: std has no call for this.
            // SAFETY: `filter` points to `program`, which lives on; the kernel copies it.
            let done = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
            };
            if done { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // WHY UNSAFE: it runs in the child between fork and exec, where little is allowed.
        // SAFETY: it makes two system calls and allocates nothing.
        unsafe { command.pre_exec(install) };
    }
}
