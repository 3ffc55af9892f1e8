//! The original: the work of the eleven rows in a gateway whose shared state lies behind one lock, and each of whose
//! calls allocates what it needs. Written for this comparison; the program itself is in another language.
#![allow(clippy::disallowed_types, reason = "locks are what is compared with")]
#![allow(clippy::disallowed_methods, reason = "clocks and waits are what is compared with")]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// The reply of a service: nothing, or a status.
pub type Reply = Result<(), Box<Status>>;

/// A status as an error: a number and a text.
#[derive(Debug)]
pub struct Status {
    pub code: u32,
    pub text: &'static str,
}

const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", CODES[self.code as usize], self.text)
    }
}

/// Words in an error's text that make it one to try again.
const RETRYABLE: [&str; 6] =
    ["unavailable", "deadlineexceeded", "resourceexhausted", "connection refused", "timeout", "broken pipe"];

/// Whether a call that ended so is sent again: the error is formatted and its text searched.
pub fn is_retryable(error: &Status) -> bool {
    let text = error.to_string().to_lowercase();
    RETRYABLE.iter().any(|word| text.contains(word))
}

/// A count and a sum behind a mutex.
#[derive(Default)]
pub struct Metrics(Mutex<(u64, Duration)>);

impl Metrics {
    pub fn record(&self, took: Duration) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.0 += 1;
        totals.1 += took;
    }
}

/// The process's timers: deadlines in order, behind a mutex.
#[derive(Default)]
pub struct Timers {
    armed: Mutex<BTreeMap<(Instant, u64), Arc<Context>>>,
    next: AtomicU64,
}

/// A deadline that can be cancelled, and that many may ask about.
#[derive(Default)]
pub struct Context {
    ended: Mutex<bool>,
}

impl Context {
    fn is_over(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timers {
    /// A context that ends after `after`, and what cancels it.
    pub fn context(&self, after: Duration) -> (Arc<Context>, Box<dyn FnOnce() + '_>) {
        let context = Arc::new(Context::default());
        let key = (Instant::now() + after, self.next.fetch_add(1, Ordering::Relaxed));
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&context));
        let ended = Arc::clone(&context);
        let cancel = move || {
            *ended.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.armed.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        };
        (context, Box::new(cancel))
    }
}

/// Sends a call again, up to `retries` times, with waits that double.
pub struct Retrier {
    name: String,
    retries: u32,
    wait: Duration,
    wait_max: Duration,
    log: Box<dyn Fn(&str) + Send + Sync>,
}

impl Retrier {
    pub fn new(name: &str, wait: Duration) -> Retrier {
        let log = Box::new(|line: &str| eprintln!("{line}"));
        Retrier { name: name.to_owned(), retries: 2, wait, wait_max: Duration::from_secs(5), log }
    }

    /// Calls with a deadline until it succeeds, the error is not one to retry, or no retry is left.
    pub fn execute(&self, timers: &Timers, mut call: Box<dyn FnMut(&Context) -> Reply + '_>) -> Reply {
        let (context, cancel) = timers.context(Duration::from_secs(5));
        let mut wait = self.wait;
        let mut tries = 0;
        let last = loop {
            let reply = call(&context);
            let Err(error) = reply else { break reply };
            if context.is_over() || tries == self.retries || !is_retryable(&error) {
                break Err(error);
            }
            tries += 1;
            if self.name.is_empty() {
                (self.log)(&format!("try {tries} failed: {error}"));
            }
            thread::sleep(wait);
            wait = (wait * 2).min(self.wait_max);
        };
        cancel();
        last
    }
}

/// A breaker that counts what calls do, behind a mutex.
pub struct Breaker {
    name: String,
    probes: u64,
    interval: Duration,
    rest: Duration,
    trips: Box<dyn Fn(&Counts) -> bool + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub struct Counts {
    requests: u64,
    successes: u64,
    failures: u64,
    successes_in_a_row: u64,
}

struct Inner {
    state: State,
    generation: u64,
    counts: Counts,
    expires: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    HalfOpen,
    Open,
}

impl Breaker {
    pub fn new(name: &str) -> Breaker {
        let interval = Duration::from_secs(60);
        let inner = Inner {
            state: State::Closed,
            generation: 0,
            counts: Counts::default(),
            expires: Instant::now() + interval,
        };
        Breaker {
            name: name.to_owned(),
            probes: 10,
            interval,
            rest: Duration::from_secs(60),
            trips: Box::new(|counts| counts.requests >= 5 && counts.failures * 2 > counts.requests),
            inner: Mutex::new(inner),
        }
    }

    /// Calls if the breaker lets it: a lock and a reading of the clock before, and both after.
    pub fn execute(&self, call: impl FnOnce() -> Reply) -> Result<Reply, &str> {
        let generation = self.before().ok_or(&*self.name)?;
        let reply = call();
        self.after(generation, reply.is_ok());
        Ok(reply)
    }

    fn before(&self) -> Option<u64> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.current(&mut inner, Instant::now());
        let full = inner.state == State::HalfOpen && inner.counts.requests >= self.probes;
        if inner.state == State::Open || full {
            return None;
        }
        inner.counts.requests += 1;
        Some(generation)
    }

    fn after(&self, generation: u64, is_ok: bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if self.current(&mut inner, now) != generation {
            return;
        }
        let counts = &mut inner.counts;
        if is_ok {
            counts.successes += 1;
            counts.successes_in_a_row += 1;
            if inner.state == State::HalfOpen && inner.counts.successes_in_a_row >= self.probes {
                self.become_(&mut inner, State::Closed, now);
            }
        } else {
            counts.failures += 1;
            counts.successes_in_a_row = 0;
            if inner.state == State::HalfOpen || (self.trips)(&inner.counts) {
                self.become_(&mut inner, State::Open, now);
            }
        }
    }

    fn current(&self, inner: &mut Inner, now: Instant) -> u64 {
        if inner.expires < now {
            match inner.state {
                State::Closed => self.become_(inner, State::Closed, now),
                State::Open => self.become_(inner, State::HalfOpen, now),
                State::HalfOpen => {}
            }
        }
        inner.generation
    }

    fn become_(&self, inner: &mut Inner, state: State, now: Instant) {
        inner.state = state;
        inner.generation += 1;
        inner.counts = Counts::default();
        inner.expires = now + if state == State::Open { self.rest } else { self.interval };
    }
}

/// A service's client, not connected.
pub struct Client {
    pub address: String,
    pub timeout: Duration,
    pub breaker: Breaker,
    pub retrier: Retrier,
}

/// All clients, behind a lock for readers and writers.
pub struct Manager(RwLock<Vec<Arc<Client>>>);

impl Manager {
    pub fn new(services: &[&str]) -> Manager {
        let client = |name: &&str| {
            Arc::new(Client {
                address: format!("{name}:50051"),
                timeout: Duration::from_secs(10),
                breaker: Breaker::new(name),
                retrier: Retrier::new(name, Duration::from_millis(100)),
            })
        };
        Manager(RwLock::new(services.iter().map(client).collect()))
    }

    /// A pointer to a client, read under the lock.
    pub fn client(&self, index: usize) -> *const Client {
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::as_ptr(&clients[index])
    }
}

/// A method's settings in a map behind a lock.
pub struct Methods(RwLock<HashMap<String, Duration>>);

impl Methods {
    pub fn new(names: &[&str]) -> Methods {
        let timeout = Duration::from_secs(10);
        Methods(RwLock::new(names.iter().map(|name| ((*name).to_owned(), timeout)).collect()))
    }

    pub fn timeout(&self, name: &str) -> Option<Duration> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

/// The names of a service's settings in the environment, and their defaults in seconds or as a number.
const SETTINGS: [(&str, &str); 10] = [
    ("ADDRESS", "localhost:50051"),
    ("TIMEOUT", "10"),
    ("RETRIES", "3"),
    ("RETRY_DELAY", "0.1"),
    ("RETRY_FACTOR", "2.0"),
    ("RETRY_DELAY_MAX", "5"),
    ("BREAKER_REQUESTS", "10"),
    ("BREAKER_INTERVAL", "60"),
    ("BREAKER_TIMEOUT", "60"),
    ("KEEPALIVE", "10"),
];

/// The names of 41 variables, made once: ten for each service, and the port.
pub fn variables(services: &[&str]) -> Vec<(String, &'static str)> {
    let mut names = vec![("GATEWAY_PORT".to_owned(), "8080")];
    for service in services {
        for (setting, default) in SETTINGS {
            names.push((format!("{}_{setting}", service.to_uppercase()), default));
        }
    }
    names
}

/// Looks all of them up in the environment and parses what is a number; the sum of these.
pub fn load(variables: &[(String, &'static str)]) -> f64 {
    let number = |(name, default): &(String, &'static str)| {
        let value = std::env::var(name);
        value.as_deref().unwrap_or(default).parse::<f64>().unwrap_or(0.0)
    };
    variables.iter().map(number).sum()
}
