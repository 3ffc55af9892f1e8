//! The published keys of issuers: fetched at start, each `cache_duration`, and when a worker meets an unknown one.
//!
//! A fetch that fails leaves the keys as they are, until they are older than `max_stale` allows. Whoever sends tokens with
//! unknown keys has them fetched once per `cooldown` at most. One task for each issuer, on the background thread.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::shared_state::SharedState;
use super::{channel, guard};
use crate::config::RemoteJwks;
use crate::policy::jwt::{KeySet, SharedKeys};

/// How often a task looks whether a worker has met an unknown key.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The waits after failed fetches: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The largest response that is read.
const JWKS_BYTES_MAX: usize = 1024 * 1024;

/// The issuers whose keys are fetched. Dropping it ends the fetches.
pub(super) struct KeyFetches {
    handle: Handle,
    tasks: Vec<(Arc<SharedKeys>, AbortHandle)>,
}

impl KeyFetches {
    /// Fetches of no issuer; `handle` is of the thread that will fetch.
    pub(super) fn new(handle: &Handle) -> KeyFetches {
        KeyFetches { handle: handle.clone(), tasks: Vec::new() }
    }

    /// Fetches the keys of these issuers and of no others. Tasks of issuers that stay go on.
    pub(super) fn set(&mut self, shared: &SharedState) {
        let mut before = std::mem::take(&mut self.tasks);
        for (provider, keys) in shared.config.jwt_providers.iter().zip(&shared.keys) {
            let Some(remote) = &provider.remote_jwks else { continue };
            let known = before.iter().position(|(known, _)| Arc::ptr_eq(known, keys));
            let task = known.map(|at| before.swap_remove(at)).unwrap_or_else(|| {
                let (name, remote, shared) = (provider.name.clone(), remote.clone(), Arc::clone(keys));
                let task = self.handle.spawn(async move {
                    let make = || Fetcher::new(&name, &remote, &shared).run();
                    guard::keep_on("fetches of keys", make).await;
                });
                (Arc::clone(keys), task.abort_handle())
            });
            self.tasks.push(task);
        }
        before.iter().for_each(|(_, task)| task.abort());
    }
}

impl Drop for KeyFetches {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

impl fmt::Debug for KeyFetches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFetches").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// The fetches of one issuer's keys.
struct Fetcher<'a> {
    name: &'a str,
    remote: &'a RemoteJwks,
    keys: &'a SharedKeys,
    /// The keys as they came last.
    text: Bytes,
    /// The next fetch, whether keys are unknown or not.
    due: Instant,
    retry: Duration,
    /// When the keys are too old to be used.
    stale_at: Option<Instant>,
    /// When an unknown key had them fetched last.
    wanted_at: Option<Instant>,
}

impl<'a> Fetcher<'a> {
    fn new(name: &'a str, remote: &'a RemoteJwks, keys: &'a SharedKeys) -> Fetcher<'a> {
        Fetcher {
            name,
            remote,
            keys,
            text: Bytes::new(),
            due: now(),
            retry: RETRY.0,
            stale_at: None,
            wanted_at: None,
        }
    }

    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let now = now();
            if self.stale_at.is_some_and(|at| at <= now) {
                tracing::error!(
                    provider = self.name,
                    "the keys are too old: all calls that need them are refused"
                );
                self.keys.expire();
                self.stale_at = None;
            }
            let is_wanted = self.keys.is_wanted();
            let may_want = self.wanted_at.is_none_or(|at| at + self.remote.cooldown <= now);
            if self.due <= now || (is_wanted && may_want) {
                if is_wanted {
                    self.wanted_at = Some(now);
                }
                self.fetch().await;
            }
            if is_wanted {
                self.keys.answer();
            }
        }
    }

    /// Fetches the keys once.
    async fn fetch(&mut self) {
        let fetched = timeout(self.remote.timeout, get(self.remote)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let read = fetched.and_then(|text| {
            let keys = KeySet::parse(&String::from_utf8_lossy(&text)).map_err(io::Error::other)?;
            if keys.is_empty() {
                Err(io::Error::other("no key verifies signatures"))
            } else {
                Ok((text, keys))
            }
        });
        match read {
            Ok((text, keys)) => self.fetched(text, keys),
            Err(error) => {
                let (provider, wait) = (self.name, self.retry);
                tracing::warn!(provider, %error, ?wait, "the keys cannot be fetched: those of before are kept");
                self.due = now() + self.retry;
                self.retry = (self.retry * 2).min(RETRY.1);
            }
        }
    }

    fn fetched(&mut self, text: Bytes, keys: KeySet) {
        // Equal keys would have every worker forget its tokens.
        if text != self.text || self.keys.generation().is_none() {
            tracing::info!(provider = self.name, keys = keys.len(), "keys fetched");
            self.keys.replace(keys);
            self.text = text;
        }
        self.due = now() + self.remote.cache_duration;
        self.stale_at = Some(self.due + self.remote.max_stale);
        self.retry = RETRY.0;
    }
}

#[allow(clippy::disallowed_methods, reason = "control plane: never on a call's way")]
fn now() -> Instant {
    Instant::now()
}

/// The body of the response at this address.
async fn get(remote: &RemoteJwks) -> io::Result<Bytes> {
    let socket = channel::connect_to(&remote.authority, remote.tls.as_ref(), b"http/1.1").await?;
    let (mut client, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let request = Request::get(&remote.path)
        .header("host", &remote.authority)
        .header("accept", "application/jwk-set+json, application/json")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let ask = async {
        let answer = client.send_request(request).await.map_err(io::Error::other)?;
        if answer.status() != http::StatusCode::OK {
            return Err(io::Error::other(format!("HTTP status {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), JWKS_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes()).map_err(io::Error::other)
    };
    tokio::pin!(ask);
    tokio::select! {
        answer = &mut ask => answer,
        // The response may have come whole although the connection has ended.
        _ = connection => ask.await,
    }
}
