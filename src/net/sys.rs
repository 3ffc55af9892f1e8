//! System calls that neither std nor the crates in use offer safely.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::buffer::Pool;

/// Receives what has arrived into a buffer of `pool` that was taken, without waiting.
pub(super) fn receive(fd: BorrowedFd<'_>, pool: &Pool, buffer: u16) -> io::Result<usize> {
    let address = pool.address(buffer);
    // WHY UNSAFE: the buffer is none of Rust's before it is filled.
    // SAFETY: `address` is that of Pool::SIZE bytes, which nothing refers to while the buffer is taken and not filled.
    let n = unsafe { libc::recv(fd.as_raw_fd(), address.as_ptr().cast(), Pool::SIZE, libc::MSG_DONTWAIT) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Whether the last packets of a socket were taken in on the CPU that runs this. False where the kernel does not say.
pub(super) fn arrives_here(fd: BorrowedFd<'_>) -> bool {
    let mut cpu: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // WHY UNSAFE: std has no call for this option, nor for the CPU that it is compared with.
    // SAFETY: `cpu` and `length` are live during the call, and the kernel writes at most `length` bytes.
    let told = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_INCOMING_CPU,
            (&raw mut cpu).cast(),
            &raw mut length,
        )
    };
    // SAFETY: the call takes nothing and gives a number.
    told == 0 && cpu >= 0 && cpu == unsafe { libc::sched_getcpu() }
}

/// Raises the limit on open files as far as allowed, and returns it.
///
/// # Errors
/// When the kernel refuses to tell or to change it.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // WHY UNSAFE: std has no call for resource limits.
    // SAFETY: `limit` is a live rlimit, which the kernel fills and nothing else refers to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above; the kernel only reads it here.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// A descriptor for epoll.
///
/// # Errors
/// When no descriptor is left.
pub(super) fn epoll() -> io::Result<OwnedFd> {
    // WHY UNSAFE: std has no epoll.
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets `epoll` tell of all that happens to a descriptor, each time that it happens, with `data`.
///
/// # Errors
/// When the kernel refuses it.
pub(super) fn epoll_add(epoll: &OwnedFd, descriptor: RawFd, data: u64) -> io::Result<()> {
    let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
    let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: data };
    // WHY UNSAFE: see `epoll`.
    // SAFETY: `event` is live during the call, which reads it.
    let result =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Ends that.
///
/// # Errors
/// When the descriptor was not added.
pub(super) fn epoll_remove(epoll: &OwnedFd, descriptor: RawFd) -> io::Result<()> {
    // WHY UNSAFE: see `epoll`.
    // SAFETY: the call reads no event (Linux 2.6.9).
    let result =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits for events, for as long as that takes without a `timeout`. As many are told as there is room for.
///
/// # Errors
/// When a signal has ended the wait.
pub(super) fn epoll_wait(
    epoll: &OwnedFd,
    events: &mut Vec<libc::epoll_event>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    // Rounded up: a wait that ends too early would have to be repeated.
    let millis = timeout
        .map_or(-1, |timeout| i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    events.clear();
    let room = events.spare_capacity_mut();
    let most = i32::try_from(room.len()).unwrap_or(i32::MAX);
    // WHY UNSAFE: see `epoll`.
    // SAFETY: `room` is live during the call, which writes at most `most` events there.
    let n = unsafe { libc::epoll_wait(epoll.as_raw_fd(), room.as_mut_ptr().cast(), most, millis) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the first `n` events have just been written.
    unsafe { events.set_len(n) };
    Ok(())
}

/// Lets a ring poll the interfaces of its sockets for `span` before it sleeps, of less than an hour.
///
/// # Errors
/// When the kernel does not know how, or the ring is another thread's.
pub(super) fn poll_interfaces(ring: RawFd, span: Duration) -> io::Result<()> {
    // linux/io_uring.h: IORING_REGISTER_NAPI, and struct io_uring_napi in 32-bit words: busy_poll_to in microseconds,
    // the byte prefer_busy_poll before three that stay zero, and 64 bits that do, too.
    const REGISTER_NAPI: libc::c_uint = 27;
    let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
    let mut napi: [u32; 4] = [micros, u32::from_ne_bytes([1, 0, 0, 0]), 0, 0];
    // WHY UNSAFE: the crate for rings does not know this call.
    // SAFETY: `napi` is live during the call, which reads it and writes what was set before into its 16 bytes. A
    // descriptor that is no ring is refused.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_NAPI, napi.as_mut_ptr(), 1_u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the receives of a ring take buffers of `group` from the ring of `entries` buffers at `address`, which is that
/// of a page.
///
/// # Errors
/// When the kernel does not know how, or the ring is another thread's.
pub(super) fn provide_buffers(ring: RawFd, address: u64, entries: u16, group: u16) -> io::Result<()> {
    // linux/io_uring.h: IORING_REGISTER_PBUF_RING, and struct io_uring_buf_reg.
    const REGISTER_PBUF_RING: libc::c_uint = 22;
    #[repr(C)]
    struct Registration {
        address: u64,
        entries: u32,
        group: u16,
        flags: u16,
        reserved: [u64; 3],
    }
    let registration = Registration { address, entries: entries.into(), group, flags: 0, reserved: [0; 3] };
    // WHY UNSAFE: the crate for rings offers it only to whoever owns the ring, which is monoio.
    // SAFETY: `registration` is live during the call, which reads it. The kernel checks the address; nothing is written
    // there but by receives that name the group.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_PBUF_RING, &raw const registration, 1_u32)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks the driver of a network interface. `words` begins with the command of linux/ethtool.h, which takes and gives a
/// structure of 32-bit words that is no longer.
///
/// # Errors
/// When there is no such interface, or its driver does not know the command.
pub(super) fn ethtool(name: &str, words: &mut [u32; 32]) -> io::Result<()> {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // WHY UNSAFE: an ifreq is a union, and std has no ioctl.
    // SAFETY: an ifreq of zeros is one with an empty name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: `request` and `words` are live during the call; the commands used write at most the 92 bytes of an
    // ethtool_coalesce, and `words` has 128.
    match unsafe { libc::ioctl(AsRawFd::as_raw_fd(&socket), SIOCETHTOOL, &mut request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ptr::NonNull;

    /// Writes to a buffer of a pool that was taken, as the kernel does.
    pub(in crate::net) fn write(address: NonNull<u8>, bytes: &[u8]) {
        assert!(bytes.len() <= super::Pool::SIZE);
        // WHY UNSAFE: see `receive`.
        // SAFETY: the buffer has room for `bytes`, and nothing refers to it.
        unsafe { address.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}
