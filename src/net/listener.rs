//! Listening sockets, one per worker and address, and connecting ones.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::ring::Rung;
use super::socket::Socket;

/// Binds a listening socket that shares its address with those of the other workers.
///
/// What is set here is inherited by every accepted connection, so that accepting costs no further system call.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    set_connection_options(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn set_connection_options(socket: &SockRef<'_>) -> io::Result<()> {
    // We gather everything of a turn into one send, so waiting for more would only delay it.
    socket.set_tcp_nodelay(true)?;
    // A receive in flight never fails on a peer that has vanished; these two find it.
    let probes =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&probes.with_retries(3))?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))
}

/// A worker's listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    /// The same socket, to stop it: a pending accept must not be dropped, it has to come back with an error.
    handle: std::net::TcpListener,
}

impl Listener {
    /// Takes over a bound socket for this thread's loop.
    ///
    /// # Errors
    /// When the descriptor cannot be set up for this loop.
    pub fn new(socket: std::net::TcpListener, rung: Rung) -> io::Result<Listener> {
        // io_uring answers EAGAIN on non-blocking sockets instead of waiting; epoll needs them.
        socket.set_nonblocking(rung == Rung::Epoll)?;
        let handle = socket.try_clone()?;
        Ok(Listener { inner: TcpListener::from_std(socket)?, handle })
    }

    /// The next connection. Must be awaited to its end: an accept that is dropped may lose its connection.
    ///
    /// # Errors
    /// After [`Listener::stop`], and when descriptors run out.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (stream, address) = self.inner.accept().await?;
        Ok((Socket(stream), address))
    }

    /// Ends all pending accepts with an error and refuses new connections.
    pub fn stop(&self) {
        // A listening socket that is shut down leaves the group that shares the address, and wakes its waiters.
        let _ = SockRef::from(&self.handle.as_fd()).shutdown(Shutdown::Both);
    }
}

/// Connects to an upstream.
///
/// # Errors
/// When it refuses or cannot be reached.
pub async fn connect(address: SocketAddr) -> io::Result<Socket> {
    use std::os::fd::{AsRawFd, BorrowedFd};
    let stream = TcpStream::connect_addr(address).await?;
    super::sys::with_fd(stream.as_raw_fd(), |fd: BorrowedFd<'_>| {
        set_connection_options(&SockRef::from(&fd))
    })?;
    Ok(Socket(stream))
}
