//! Listening sockets, one per worker and address, and connecting ones.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::current::{Waits, current};
use super::epoll::Source;
use super::ring::IoBackend;
use super::socket::Socket;
use crate::config::EndpointAddress;

/// Binds a listening socket that shares its address with those of the other workers.
///
/// Accepted connections inherit the options set here, so that accepting costs no further system call.
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

/// Whether nobody listens on an address, so that [`bind`] will share it with none but ourselves.
///
/// # Errors
/// When it is taken or not ours.
pub fn is_free(address: SocketAddr) -> io::Result<()> {
    // It never listens, so no client ever connects to it.
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
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

/// A listening socket that no loop has taken over yet.
#[derive(Debug)]
pub enum Bound {
    /// A listening socket of the kernel.
    Socket(std::net::TcpListener),
    /// An address of the network in memory.
    #[cfg(test)]
    Memory(SocketAddr),
}

impl From<std::net::TcpListener> for Bound {
    fn from(socket: std::net::TcpListener) -> Bound {
        Bound::Socket(socket)
    }
}

/// A worker's listening socket.
#[derive(Debug)]
pub struct Listener {
    /// With epoll. Dropped before the descriptor is closed.
    source: Option<Source>,
    socket: Bound,
}

impl Listener {
    /// Takes over a bound socket for this thread's loop.
    ///
    /// # Errors
    /// When the descriptor cannot be set up for this loop.
    pub fn new(bound: impl Into<Bound>, backend: IoBackend) -> io::Result<Listener> {
        let bound = bound.into();
        let source = match &bound {
            Bound::Socket(socket) => {
                // io_uring answers EAGAIN on non-blocking sockets instead of waiting; epoll needs them.
                socket.set_nonblocking(backend == IoBackend::Epoll)?;
                match &current().waits {
                    Waits::Epoll(epoll) => Some(epoll.source(socket.as_fd())?),
                    _ => None,
                }
            }
            #[cfg(test)]
            Bound::Memory(_) => None,
        };
        Ok(Listener { source, socket: bound })
    }

    /// The next connection. Must be awaited to its end: an accept that is dropped may lose its connection.
    ///
    /// # Errors
    /// After [`Listener::stop`], and when descriptors run out.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        #[allow(clippy::infallible_destructuring_match, reason = "in tests there is another kind")]
        let listening = match &self.socket {
            Bound::Socket(listening) => listening,
            #[cfg(test)]
            Bound::Memory(address) => {
                let (end, peer) = super::memory::of_this_thread().accept(*address).await?;
                return Ok((Socket::in_memory(end), peer));
            }
        };
        let Some(source) = &self.source else {
            let Waits::Ring(operations) = current().waits.clone() else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            let (socket, peer) = operations.accept(listening.as_fd()).await?;
            return Ok((Socket::adopt(socket)?, peer));
        };
        loop {
            poll_fn(|cx| source.poll_readable(cx)).await;
            match listening.accept() {
                Ok((socket, peer)) => return Ok((Socket::adopt(socket.into())?, peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.not_readable(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next connection that waits already; `None` if none does. For a listener that is about to stop.
    pub fn accept_now(&self) -> Option<(Socket, SocketAddr)> {
        #[allow(irrefutable_let_patterns, reason = "in tests there is another kind")]
        let Bound::Socket(listening) = &self.socket else { return None };
        // With io_uring it waits otherwise.
        listening.set_nonblocking(true).ok()?;
        let (socket, peer) = listening.accept().ok()?;
        Socket::adopt(socket.into()).ok().map(|socket| (socket, peer))
    }

    /// Lets the kernel hold so many connections that are not accepted.
    ///
    /// # Errors
    /// When the socket does not listen any more.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        match &self.socket {
            Bound::Socket(socket) => SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX)),
            #[cfg(test)]
            Bound::Memory(_) => Ok(()),
        }
    }

    /// Ends all pending accepts with an error and refuses new connections.
    pub fn stop(&self) {
        match &self.socket {
            // A listening socket that is shut down leaves the group that shares the address, and wakes its waiters.
            Bound::Socket(socket) => drop(SockRef::from(socket).shutdown(Shutdown::Both)),
            #[cfg(test)]
            Bound::Memory(address) => super::memory::of_this_thread().stop(*address),
        }
    }
}

/// How long a connect waits for room in the queue of a Unix socket before it looks again.
const FULL_QUEUE: Duration = Duration::from_millis(5);

/// Connects to an upstream.
///
/// # Errors
/// When it refuses or cannot be reached.
pub async fn connect(address: EndpointAddress) -> io::Result<Socket> {
    #[cfg(test)]
    if let (Waits::Memory(memory), EndpointAddress::Ip(address)) = (current().waits.clone(), address) {
        return memory.connect(address, None).await.map(Socket::in_memory);
    }
    let (socket, address) = match address {
        EndpointAddress::Ip(address) => {
            let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            set_connection_options(&SockRef::from(&socket))?;
            (socket, SockAddr::from(address))
        }
        EndpointAddress::Unix(path) => {
            (RawSocket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path.path())?)
        }
    };
    let socket = Socket::adopt(socket.into())?;
    match &current().waits {
        Waits::Ring(operations) => operations.connect(socket.descriptor(), address).await?,
        Waits::Epoll(epoll) => {
            let descriptor = socket.descriptor();
            let raw = SockRef::from(&descriptor);
            raw.set_nonblocking(true)?;
            let source = epoll.source(descriptor)?;
            loop {
                match raw.connect(&address) {
                    Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                        // Readiness from before the connect says nothing of it.
                        source.not_writable();
                        poll_fn(|cx| source.poll_writable(cx)).await;
                        break raw.take_error()?.map_or(Ok(()), Err)?;
                    }
                    // The queue of a Unix socket is full, and no event says when it has room.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => epoll.pause(FULL_QUEUE).await,
                    connected => break connected?,
                }
            }
        }
        #[cfg(test)]
        Waits::Memory(_) => {}
    }
    Ok(socket)
}
