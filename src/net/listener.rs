//! Listening sockets, and connecting ones. Of a TCP address each worker has a socket of its own, of a Unix socket all have
//! the same.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    socket.listen(backlog_of(backlog))?;
    Ok(socket.into())
}

/// The length of a queue, for the kernel.
pub(super) fn backlog_of(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// Whether nobody listens on a TCP address, so that [`bind`] will share it with none but ourselves.
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

/// A listening socket that all workers accept from.
#[derive(Debug)]
pub struct SharedSocket {
    socket: RawSocket,
    /// The kernel does not tell an accept that never waits.
    is_stopped: AtomicBool,
}

impl SharedSocket {
    pub(super) fn new(socket: RawSocket) -> Arc<SharedSocket> {
        Arc::new(SharedSocket { socket, is_stopped: AtomicBool::new(false) })
    }
}

/// A listening socket that no loop has taken over yet.
#[derive(Debug)]
pub enum Bound {
    /// A listening socket of the kernel, for one worker.
    Socket(std::net::TcpListener),
    /// One for all workers.
    Shared(Arc<SharedSocket>),
    /// An address of the network in memory.
    #[cfg(test)]
    Memory(SocketAddr),
}

impl From<std::net::TcpListener> for Bound {
    fn from(socket: std::net::TcpListener) -> Bound {
        Bound::Socket(socket)
    }
}

impl From<&Arc<SharedSocket>> for Bound {
    fn from(socket: &Arc<SharedSocket>) -> Bound {
        Bound::Shared(Arc::clone(socket))
    }
}

impl Bound {
    /// The socket of the kernel. `None` if it is in memory.
    fn socket(&self) -> Option<SockRef<'_>> {
        match self {
            Bound::Socket(socket) => Some(SockRef::from(socket)),
            Bound::Shared(shared) => Some(SockRef::from(&shared.socket)),
            #[cfg(test)]
            Bound::Memory(_) => None,
        }
    }

    /// Whether a socket that workers share was stopped by one of them.
    fn is_stopped(&self) -> bool {
        matches!(self, Bound::Shared(shared) if shared.is_stopped.load(Ordering::Acquire))
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
        let source = match (bound.socket(), &current().waits) {
            (Some(socket), waits) => {
                // io_uring answers EAGAIN on non-blocking sockets instead of waiting; epoll needs them.
                socket.set_nonblocking(backend == IoBackend::Epoll)?;
                match waits {
                    Waits::Epoll(epoll) => Some(epoll.source(socket.as_fd())?),
                    _ => None,
                }
            }
            (None, _) => None,
        };
        Ok(Listener { source, socket: bound })
    }

    /// The next connection, and its peer's address unless it came by a Unix socket. Must be awaited to its end: an accept
    /// that is dropped may lose its connection.
    ///
    /// # Errors
    /// After [`Listener::stop`], and when descriptors run out.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        #[cfg(test)]
        if let Bound::Memory(address) = &self.socket {
            let (end, peer) = super::memory::of_this_thread().accept(*address).await?;
            return Ok((Socket::in_memory(end), Some(peer)));
        }
        let Some(listening) = self.socket.socket() else { return Err(io::ErrorKind::Unsupported.into()) };
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
                Ok((socket, peer)) => return Ok((Socket::adopt(socket.into())?, peer.as_socket())),
                // All that waited when it was stopped has been accepted.
                Err(error) if self.socket.is_stopped() => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.not_readable(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next connection that waits already, of a listener that is about to stop. `None` if none does, or if the socket
    /// is shared: then the pending accepts get those that wait.
    pub fn accept_now(&self) -> Option<(Socket, Option<SocketAddr>)> {
        let Bound::Socket(listening) = &self.socket else { return None };
        // With io_uring it waits otherwise.
        listening.set_nonblocking(true).ok()?;
        let (socket, peer) = listening.accept().ok()?;
        Socket::adopt(socket.into()).ok().map(|socket| (socket, Some(peer)))
    }

    /// Whether another worker has stopped the socket, which they share.
    pub fn is_stopped(&self) -> bool {
        self.socket.is_stopped()
    }

    /// Lets the kernel hold so many connections that are not accepted.
    ///
    /// # Errors
    /// When the socket does not listen any more.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        self.socket.socket().map_or(Ok(()), |socket| socket.listen(backlog_of(backlog)))
    }

    /// Ends all pending accepts with an error and refuses new connections.
    pub fn stop(&self) {
        if let Bound::Shared(shared) = &self.socket {
            shared.is_stopped.store(true, Ordering::Release);
        }
        #[cfg(test)]
        if let Bound::Memory(address) = &self.socket {
            super::memory::of_this_thread().stop(*address);
        }
        // A listening socket that is shut down leaves the group that shares the address, and wakes its waiters.
        self.socket.socket().into_iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
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
