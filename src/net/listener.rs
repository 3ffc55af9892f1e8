//! Listening sockets, one per worker and address, and connecting ones.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::current::{Waits, current};
use super::epoll::Source;
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
    /// With epoll. Dropped before the descriptor is closed.
    source: Option<Source>,
    socket: std::net::TcpListener,
}

impl Listener {
    /// Takes over a bound socket for this thread's loop.
    ///
    /// # Errors
    /// When the descriptor cannot be set up for this loop.
    pub fn new(socket: std::net::TcpListener, rung: Rung) -> io::Result<Listener> {
        // io_uring answers EAGAIN on non-blocking sockets instead of waiting; epoll needs them.
        socket.set_nonblocking(rung == Rung::Epoll)?;
        let source = match &current().waits {
            Waits::Ring(_) => None,
            Waits::Epoll(epoll) => Some(epoll.source(socket.as_fd())?),
        };
        Ok(Listener { source, socket })
    }

    /// The next connection. Must be awaited to its end: an accept that is dropped may lose its connection.
    ///
    /// # Errors
    /// After [`Listener::stop`], and when descriptors run out.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let Some(source) = &self.source else {
            let Waits::Ring(operations) = current().waits.clone() else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            let (socket, peer) = operations.accept(self.socket.as_fd()).await?;
            return Ok((Socket::adopt(socket)?, peer));
        };
        loop {
            poll_fn(|cx| source.poll_readable(cx)).await;
            match self.socket.accept() {
                Ok((socket, peer)) => return Ok((Socket::adopt(socket.into())?, peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.not_readable(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends all pending accepts with an error and refuses new connections.
    pub fn stop(&self) {
        // A listening socket that is shut down leaves the group that shares the address, and wakes its waiters.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

/// Connects to an upstream.
///
/// # Errors
/// When it refuses or cannot be reached.
pub async fn connect(address: SocketAddr) -> io::Result<Socket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    set_connection_options(&SockRef::from(&socket))?;
    let socket = Socket::adopt(socket.into())?;
    match &current().waits {
        Waits::Ring(operations) => operations.connect(socket.descriptor(), address).await?,
        Waits::Epoll(epoll) => {
            let descriptor = socket.descriptor();
            let raw = SockRef::from(&descriptor);
            raw.set_nonblocking(true)?;
            let source = epoll.source(descriptor)?;
            match raw.connect(&address.into()) {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                    // Readiness from before the connect says nothing of it.
                    source.not_writable();
                    poll_fn(|cx| source.poll_writable(cx)).await;
                    raw.take_error()?.map_or(Ok(()), Err)?;
                }
                connected => connected?,
            }
        }
    }
    Ok(socket)
}
