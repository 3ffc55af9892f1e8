//! A service as a process of its own, so that it can be killed and stopped. It writes each call into its ledger before
//! it does anything else about it.
//!
//! The process is the test binary itself, told to run one test: whatever that test is, it begins with
//! [`serve_if_asked`], which serves for the rest of the process's life. It ends with whoever started it.

use super::within;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The process's environment: the address to listen on, and the path of its ledger.
const ADDRESS: &str = "RINGWAY_TEST_SERVICE";
const LEDGER: &str = "RINGWAY_TEST_LEDGER";

/// Not the address from which a kernel connects, so that no connection ever takes the port of a service that is down.
const ANY_PORT: &str = "127.77.0.1:0";

/// A call with this header is never answered.
pub const HOLD: &str = "x-hold";
/// The name of a call in the ledger.
pub const ID: &str = "x-id";

/// How a service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It closes its port and its connections.
    Refuses,
    /// It accepts connections and says nothing more, not even of HTTP/2.
    Blackhole,
    /// It sends GOAWAY after every few calls.
    Goaways,
}

const MOODS: [(&str, Mood); 4] = [
    ("well", Mood::Well),
    ("refuses", Mood::Refuses),
    ("blackhole", Mood::Blackhole),
    ("goaways", Mood::Goaways),
];

/// Calls on a connection of a service in the mood for it, until it says GOAWAY.
const CALLS_TO_GOAWAY: usize = 5;

/// A running service. Dropping it kills it.
pub struct ChildService {
    test: &'static str,
    child: Child,
    orders: ChildStdin,
    address: SocketAddr,
    ledger: PathBuf,
}

impl ChildService {
    /// Starts a process on a free port; `test` is the test of this binary that calls [`serve_if_asked`].
    pub async fn start(test: &'static str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let ledger = std::env::temp_dir().join(format!("ringway-ledger-{}-{number}.txt", std::process::id()));
        File::create(&ledger).expect("the folder for temporary files takes one");
        let (child, orders, address) = spawn(test, ANY_PORT, &ledger).await;
        Self { test, child, orders, address, ledger }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it how to behave from now on.
    pub fn set(&mut self, mood: Mood) {
        let (word, _) = MOODS.iter().find(|(_, known)| *known == mood).expect("each has a word");
        writeln!(self.orders, "{word}").expect("it reads its orders");
    }

    /// Sends a signal by its short name, as `kill` takes it.
    pub fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        let sent = command.arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("there is a kill command").success(), "SIG{name}");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child of ours");
    }

    /// Starts another one in its place, which goes on with its ledger.
    pub async fn restart(&mut self) {
        let address = self.address.to_string();
        (self.child, self.orders, _) = spawn(self.test, &address, &self.ledger).await;
    }

    /// How often each call has come.
    pub fn ledger(&self) -> HashMap<String, usize> {
        let text = std::fs::read_to_string(&self.ledger).expect("it is there as long as this is");
        let mut calls = HashMap::new();
        for id in text.lines() {
            *calls.entry(id.to_owned()).or_default() += 1;
        }
        calls
    }

    /// Waits until a call has come.
    pub async fn wait_for(&self, id: &str) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        let look = async {
            while !self.ledger().contains_key(id) {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(5), "the call comes", look).await;
    }
}

impl Drop for ChildService {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.ledger);
    }
}

async fn spawn(test: &str, address: &str, ledger: &PathBuf) -> (Child, ChildStdin, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().expect("a running program has a file"));
    command.args(["--exact", test, "--nocapture"]).env(ADDRESS, address).env(LEDGER, ledger);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs already");
    let said = BufReader::new(child.stdout.take().expect("it was asked for"));
    let (tell, mut told) = mpsc::unbounded_channel();
    // Reads on when nobody listens any more, and ends with the process, which holds the other end of the pipe.
    std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    let listens = async {
        while let Some(line) = told.recv().await {
            if let Some((_, address)) = line.split_once("listening on ") {
                return address.parse().expect("it says an address");
            }
        }
        panic!("the service has ended");
    };
    let address = within(Duration::from_secs(10), "the service listens", listens).await;
    let orders = child.stdin.take().expect("it was asked for");
    (child, orders, address)
}

/// In a process that was started to serve, serves until whoever started it has gone. In others returns at once.
pub fn serve_if_asked() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let ledger = std::env::var(LEDGER).expect("it comes with the address");
    let ledger = File::options().append(true).open(ledger).expect("it was made before");
    let (tell, mood) = watch::channel(Mood::Well);
    std::thread::spawn(move || {
        for word in std::io::stdin().lines().map_while(Result::ok) {
            let known = MOODS.iter().find(|(known, _)| *known == word);
            tell.send_replace(known.expect("nobody else writes here").1);
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = address.parse().expect("nobody else sets it");
    runtime.expect("a runtime").block_on(serve(address, mood, Arc::new(ledger)));
}

async fn serve(mut address: SocketAddr, mut mood: watch::Receiver<Mood>, ledger: Arc<File>) {
    loop {
        becomes(&mut mood, |mood| mood != Mood::Refuses).await;
        let listener = TcpListener::bind(address).await.expect("a port that is free, or ours");
        address = listener.local_addr().expect("a bound socket has an address");
        println!("listening on {address}");
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = becomes(&mut mood, |mood| mood == Mood::Refuses) => break,
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("descriptors are enough");
                    connections.spawn(connection(stream, mood.clone(), Arc::clone(&ledger)));
                }
            }
        }
    }
}

async fn becomes(mood: &mut watch::Receiver<Mood>, wanted: impl Fn(Mood) -> bool) {
    mood.wait_for(|mood| wanted(*mood)).await.expect("its sender ends with the process");
}

async fn connection(stream: TcpStream, mut mood: watch::Receiver<Mood>, ledger: Arc<File>) {
    let _ = stream.set_nodelay(true);
    if *mood.borrow() == Mood::Blackhole {
        becomes(&mut mood, |mood| mood != Mood::Blackhole).await;
        return drop(stream);
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (mut calls, mut count) = (JoinSet::new(), 0);
    loop {
        tokio::select! {
            biased;
            () = becomes(&mut mood, |mood| mood == Mood::Blackhole) => {
                // Open, and never looked at again.
                return becomes(&mut mood, |mood| mood != Mood::Blackhole).await;
            }
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                count += 1;
                if *mood.borrow() == Mood::Goaways && count % CALLS_TO_GOAWAY == 0 {
                    connection.graceful_shutdown();
                }
                calls.spawn(answer(request, respond, Arc::clone(&ledger)));
                while calls.try_join_next().is_some() {}
            }
        }
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>, ledger: Arc<File>) {
    let (head, mut body) = request.into_parts();
    let id = head.headers.get(ID).and_then(|id| id.to_str().ok()).unwrap_or("nameless");
    (&*ledger).write_all(format!("{id}\n").as_bytes()).expect("a ledger takes every call");
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
    }
    if head.headers.contains_key(HOLD) {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
        return;
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(mut sink) = respond.send_response(response, false) else { return };
    let _ = sink.send_data(Bytes::from_static(&[0; 5]), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = sink.send_trailers(trailers);
}
