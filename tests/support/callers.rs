//! Clients that call all the time, for tests in which one gateway takes over from another.

use super::interop_server::InteropServer;
use super::raw::{self, EMPTY_CALL, RawCall, RawClient, RawReply};
use super::within;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Some clients, each with a connection of its own. They redial when they are told goodbye.
pub struct Callers {
    tally: Arc<Tally>,
    tasks: Vec<JoinHandle<()>>,
}

/// Counts of all callers.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    ok: AtomicU64,
    connects: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Callers {
    /// `count` clients, which also redial after so many calls for no reason.
    pub fn start(address: SocketAddr, count: usize, calls_per_connection: usize) -> Self {
        Self::with_pauses(address, count, calls_per_connection, Duration::ZERO)
    }

    /// The clients of `start`, each of which makes no more than one call in each `pause`.
    pub fn with_pauses(
        address: SocketAddr,
        count: usize,
        calls_per_connection: usize,
        pause: Duration,
    ) -> Self {
        let tally = Arc::new(Tally::default());
        let call = |_| tokio::spawn(call(address, calls_per_connection, pause, Arc::clone(&tally)));
        let tasks = (0..count).map(call).collect();
        Self { tally, tasks }
    }

    /// Waits until `more` calls have succeeded from now on.
    pub async fn progress(&self, more: u64) {
        let wanted = self.tally.ok.load(Ordering::Relaxed) + more;
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        let look = async {
            while self.tally.ok.load(Ordering::Relaxed) < wanted {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(20), "calls go on", look).await;
    }

    /// Ends the clients after the call that each is at. Panics if any call has failed; tells how often they dialled.
    pub async fn stop(self) -> u64 {
        self.tally.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            within(Duration::from_secs(5), "a caller stops", task).await.expect("no panic");
        }
        let failed = self.tally.failed.lock().expect("nobody panics with it");
        assert!(failed.is_empty(), "{} of {:?}:\n{}", failed.len(), self.tally.ok, failed.join("\n"));
        self.tally.connects.load(Ordering::Relaxed)
    }
}

async fn call(address: SocketAddr, calls_per_connection: usize, pause: Duration, tally: Arc<Tally>) {
    // Of no length there is no interval.
    let mut turns = (!pause.is_zero()).then(|| tokio::time::interval(pause));
    while !tally.stop.load(Ordering::Relaxed) {
        // A connection that waits in the queue of a socket that closes is reset: it has not been accepted.
        let Ok(mut client) = RawClient::try_connect(address).await else { continue };
        tally.connects.fetch_add(1, Ordering::Relaxed);
        for on_this_connection in 0..calls_per_connection {
            if tally.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Some(turns) = &mut turns {
                turns.tick().await;
            }
            let Some(reply) = client.try_call(EMPTY_CALL, b"").await else { break };
            if reply.grpc_status() == Some("0") && reply.error.is_none() {
                tally.ok.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if !may_redial(&reply, &client) {
                let accepted = if client.was_accepted() { "accepted" } else { "silent" };
                let note = format!("call {on_this_connection} of an {accepted} connection: {reply:?}");
                tally.failed.lock().expect("nobody panics with it").push(note);
            }
            break;
        }
    }
}

/// Whether the call has provably not been looked at, so that any client sends it again on another connection.
///
/// A gateway that accepts a connection says so: with its first turn it sends its settings. A connection that was reset
/// without a word has waited in the queue of a socket that was closed. A connection that was closed in order, without a
/// word or after one, was accepted and then dropped. That is a failure.
fn may_redial(reply: &RawReply, client: &RawClient) -> bool {
    reply.error.is_some() && (reply.was_told_unseen() || (client.was_reset() && !client.was_accepted()))
}

/// A duplex call that has reached the server and is open on both sides.
pub async fn open_call(client: &mut RawClient, server: &InteropServer) -> RawCall {
    let before = server.calls().len();
    let mut call = client.open("/grpc.testing.TestService/FullDuplexCall", &[]).await;
    call.send(raw::message(0, b""), false);
    server.wait_until("the call reaches the server", |calls| calls.len() > before).await;
    call
}
