//! An issuer's address with its public keys: an HTTP server that says what a test wants, or nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server. Dropping it closes it.
pub struct Idp {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    /// None: every request gets 500.
    keys: Mutex<Option<String>>,
    asked: AtomicUsize,
}

impl Idp {
    pub async fn start(keys: Option<String>) -> Idp {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State { keys: Mutex::new(keys), asked: AtomicUsize::new(0) });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Idp { address, state, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn publish(&self, keys: Option<String>) {
        *self.state.keys.lock().expect("no test panics while it holds this") = keys;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut request).await, Ok(n) if n > 0) {
                break;
            }
        }
        state.asked.fetch_add(1, Ordering::SeqCst);
        let keys = state.keys.lock().expect("no test panics while it holds this").clone();
        let (status, body) = match keys {
            Some(keys) if request.starts_with(b"GET /keys HTTP/1.1\r\n") => ("200 OK", keys),
            _ => ("500 Internal Server Error", String::new()),
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
