//! A Unix socket in front of a service that listens on TCP, and a TCP port in front of a Unix socket: so every service and
//! every client of these tests can use one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// The socket. Dropping it closes its connections and removes its file.
pub struct UnixFront {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl UnixFront {
    /// Listens at `path` for `service`.
    pub fn start(path: PathBuf, service: SocketAddr) -> UnixFront {
        let listener = UnixListener::bind(&path).expect("a free path of the test's folder");
        UnixFront { path, task: tokio::spawn(pass(listener, service)) }
    }
}

/// A TCP port for clients of a Unix socket. Dropping it closes its connections.
pub struct UnixDoor {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl UnixDoor {
    /// Listens for clients of the socket at `path`. Where nobody listens there, their connections are closed.
    pub async fn start(path: &Path) -> UnixDoor {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, path) = (listener.local_addr().expect("it is bound"), path.to_owned());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let path = path.clone();
                connections.spawn(async move {
                    let Ok(mut gateway) = UnixStream::connect(path).await else { return };
                    let _ = client.set_nodelay(true);
                    // Either side may end the connection as it likes.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
                });
            }
        });
        UnixDoor { address, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A path in the folder for temporary files that no other test has; it is short enough for a socket.
pub fn free_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ringway-{}-{number}.sock", std::process::id()))
}

/// Passes on what comes from a Unix socket, and the answers.
pub async fn pass(listener: UnixListener, service: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let Ok(mut service) = TcpStream::connect(service).await else { return };
            let _ = service.set_nodelay(true);
            // Either side may end the connection as it likes.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
        });
    }
}

impl Drop for UnixFront {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}
