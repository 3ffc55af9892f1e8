//! Services that fail, as a whole or one of several, and what their callers see of it.
#![allow(clippy::disallowed_methods, reason = "a test measures how long things take")]
#![allow(unreachable_pub, reason = "a test binary has no public side")]

mod breakers;
mod endpoints;
mod health;
mod limits;

use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// A service's health, as a test sets it.
#[derive(Clone, Default)]
pub struct Mood(pub Arc<AtomicU8>);

pub const WELL: u8 = 0;
pub const ILL: u8 = 1;
pub const SLOW: u8 = 2;

impl Mood {
    pub fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    pub async fn service(&self) -> Service {
        let mood = self.clone();
        Service::start(move |_, _| match mood.0.load(Ordering::SeqCst) {
            WELL => Act::Answer,
            ILL => Act::Status(14, None),
            _ => Act::AnswerAfter(Duration::from_millis(300)),
        })
        .await
    }
}

/// Connections enough that each of two workers has some.
pub async fn clients(address: SocketAddr) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(RawClient::connect(address).await);
    }
    clients
}

/// Makes a call by each client, all at once; their codes.
pub async fn round(clients: &mut [RawClient]) -> Vec<u8> {
    let mut calls = Vec::new();
    for client in clients {
        let mut call = client.open(EMPTY_CALL, &[]).await;
        call.send(raw::message(0, b""), true);
        calls.push(call);
    }
    let mut codes = Vec::new();
    for call in calls {
        let reply = call.reply().await;
        codes.push(
            reply.grpc_status().and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{reply:?}")),
        );
    }
    codes
}
