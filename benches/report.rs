//! Eleven parts of a call, like for like beside another gateway: `cargo bench --bench report`.
//!
//! The work of each row is beside it. `support/original.rs` does the original's on this machine, in turn with ours, and the
//! bounds of a row are multiples of that. The original's own figures, in nanoseconds, are of an Apple M1 Pro, and stand
//! beside for the record: its report shows iteration counts as rates. The two rows with many threads show the throughput of
//! all threads together.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod support;

use http::HeaderMap;
use ringway::config::{self, Config, Retry, RetryBudget};
use ringway::http2::{Heads, Memory};
use ringway::metrics::{Ending, Layout, Shard};
use ringway::net::IoContext;
use ringway::policy::breaker::{LocalBreaker, SharedBreaker};
use ringway::policy::budget::{Budget, SharedBudget};
use ringway::policy::deadline::Deadline;
use ringway::policy::limit::SharedLimit;
use ringway::policy::outcome::Outcome;
use ringway::policy::retry::{Attempt, AttemptOutcome, Next, Pushback, Retries, Ruling, rule};
use ringway::policy::route::{Pseudo, Question, Routes};
use ringway::policy::shared_cluster::SharedClusterState;
use ringway::policy::status::Code;
use ringway::random::Random;
use ringway::time::Moment;
use ringway::time::timers::Timers;
use ringway::upstream::{Cluster, ClusterInputs};
use ringway::worker;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use support::original::{self, Manager, Retrier, Status};
use support::turns::alone;
use support::{Bound, Original, Rows, SERVICES, four_clusters};

#[global_allocator]
static ALLOCATOR: ringway::alloc::CountingOver<mimalloc::MiMalloc> =
    ringway::alloc::CountingOver(mimalloc::MiMalloc);

const PATH: &str = "/ringway.demo.employee.v1.EmployeeService/GetEmployee";
const NOW: Moment = Moment::from_nanos(1_000_000_000);

fn main() {
    let mut criterion = support::criterion();
    let mut rows = Rows::new(&mut criterion, "report");
    creation(&mut rows);
    retrieval(&mut rows);
    retries(&mut rows);
    failures(&mut rows);
    breaker(&mut rows);
    configuration(&mut rows);
    timeout(&mut rows);
    concurrent_retrieval(&mut rows);
    errors(&mut rows);
    metrics(&mut rows);
    concurrent_metrics(&mut rows);
    rows.show();
    rows.hold(&bounds());
    criterion.final_summary();
}

/// The bounds: times are multiples of what the original's work takes on this machine. A miss ends the bench with
/// exit code 1. Below 1 stand the rows that are slower, with room for hosts on which memory is slow.
fn bounds() -> Vec<Bound> {
    let times = |row, times, allocations| Bound { row, times: Some(times), allocations, nanos: None };
    let free = |row| Bound { row, allocations: Some(0.0), ..Bound::default() };
    vec![
        times("client retrieval", 10.0, Some(0.0)),
        times("circuit breaker", 4.0, Some(0.0)),
        times("metrics collection", 4.0, Some(0.0)),
        times("retry logic execution", 4.0, Some(0.0)),
        times("error handling", 4.0, Some(0.0)),
        times("timeout context creation", 4.0, Some(0.0)),
        times("gRPC client creation", 0.05, None),
        times("configuration loading", 0.0005, None),
        times("configuration of a method", 1.0, Some(0.0)),
        free("retry with failures, decisions only"),
        free("client retrieval, from the path"),
    ]
}

/// A row of the original: its figures on its own machine, and its work for this one.
fn original<'a, O>(nanos: f64, allocations: &'static str, work: impl FnMut() -> O + 'a) -> Original<'a> {
    Original { known: Some((nanos, allocations)), work: alone(work), because: None }
}

/// Everything that one worker owns for four clusters, no connection dialled: the index of routes, and for each
/// cluster its endpoints, its balance, its limit, its breaker and its budget.
fn creation(rows: &mut Rows<'_>) {
    let config = four_clusters();
    let parts = Service::of(&config);
    let because = "it makes all that a worker owns for a service, with the index of routes and the look-up of methods, not four \
                   breakers and four retriers; once for each configuration, never for a call";
    let theirs = original(758.0, "18", || Manager::new(&SERVICES));
    rows.row("gRPC client creation", Original { because: Some(because), ..theirs }, || {
        (Routes::new(&config.routes), parts.clusters(&config))
    });
}

/// The clusters' state that workers share, and the means of one worker.
struct Service {
    shard: Arc<Shard>,
    local: Rc<IoContext>,
    limits: Vec<Arc<SharedLimit>>,
    shares: Vec<Arc<SharedClusterState>>,
}

impl Service {
    fn of(config: &Config) -> Service {
        let shard = Shard::new(&worker::layout(config));
        let clusters = || config.clusters.iter();
        Service {
            local: IoContext::new(Arc::clone(&shard.worker), NOW),
            limits: clusters().map(|cluster| SharedLimit::new(cluster.max_requests, 1)).collect(),
            shares: clusters().map(|cluster| SharedClusterState::new(cluster, 1, 1)).collect(),
            shard,
        }
    }

    fn clusters(&self, config: &Config) -> Vec<Rc<Cluster>> {
        (0..config.clusters.len()).map(|index| self.cluster(config, index)).collect()
    }

    fn cluster(&self, config: &Config, index: usize) -> Rc<Cluster> {
        let address: SocketAddr = ([127, 0, 0, 1], 50051).into();
        let parts = ClusterInputs {
            worker: 0,
            addresses: &[address.into()],
            counts: Arc::clone(&self.shard.clusters[index]),
            limit: Arc::clone(&self.limits[index]),
            shares: &self.shares[index],
            memory: &Memory::new(&Heads::new()),
            tls: None,
            before: None,
        };
        Cluster::new(config.clusters[index].clone(), parts, &self.local, 1)
    }
}

/// From the position of a service, which a call's route has told, to what the worker owns of it; what the original
/// does is a read lock and a pointer. And all of a call's way there, from its path on.
fn retrieval(rows: &mut Rows<'_>) {
    let config = four_clusters();
    let clusters = Service::of(&config).clusters(&config);
    let manager = Manager::new(&SERVICES);
    let theirs = original(14.5, "0", || manager.client(black_box(2)));
    rows.row("client retrieval", theirs, || &clusters[black_box(2)]);
    let (routes, headers) = (Routes::new(&config.routes), HeaderMap::new());
    let mut random = Random::seeded(1);
    rows.extra("client retrieval, from the path", || find(&config, &routes, &headers, &mut random));
}

fn find<'a>(
    config: &'a Config,
    routes: &Routes,
    headers: &HeaderMap,
    random: &mut Random,
) -> &'a config::Cluster {
    let (path, host) = (black_box(PATH).as_bytes(), black_box("gateway").as_bytes());
    let found = routes.find(&Question { path, came: Pseudo::default(), host, headers, draw: 0 });
    let route = found.expect("there is a route").route;
    let choice = routes.choose(route, random);
    &config.clusters[config.routes[route].clusters[choice].cluster]
}

/// The deadline, the budget and the retry decision around a call that succeeds at once.
fn retries(rows: &mut Rows<'_>) {
    let (policy, budget) = (Retry::default(), budget(20));
    let mut random = Random::seeded(1);
    let (timers, retrier) = (original::Timers::default(), Retrier::new("auth", Duration::from_millis(100)));
    let theirs = original(383.0, "5", || retrier.execute(&timers, Box::new(|_| black_box(Ok(())))).is_ok());
    rows.row("retry logic execution", theirs, || {
        let deadline = Deadline::new(black_box(NOW), None, Some(Duration::from_secs(5)));
        budget.earn(NOW);
        let mut retries = Retries::default();
        let next = retries.next(
            ended(AttemptOutcome::Answered),
            &policy,
            &budget,
            deadline.left(NOW),
            &mut random,
            NOW,
        );
        budget.succeeded();
        next
    });
}

/// A call that answers UNAVAILABLE three times: two waits of about 1 ms and 2 ms between them. On a clock that is only
/// counted, and with the waits slept.
fn failures(rows: &mut Rows<'_>) {
    let policy = Retry { initial_backoff: Duration::from_millis(1), ..Retry::default() };
    let budget = budget(1000);
    let mut random = Random::seeded(1);
    let mut call = |wait: &mut dyn FnMut(Duration)| {
        let mut now = NOW;
        let deadline = Deadline::new(now, None, Some(Duration::from_secs(5)));
        budget.earn(now);
        let mut retries = Retries::default();
        loop {
            let failed = ended(AttemptOutcome::Status(Code::Unavailable));
            match retries.next(failed, &policy, &budget, deadline.left(now), &mut random, now) {
                Next::Again { wait: time, .. } => {
                    now = now.plus(time);
                    wait(time);
                }
                Next::Stop(why) => return (why, retries.previous()),
            }
        }
    };
    assert_eq!(call(&mut |_| ()).1, 2, "two retries");
    let (timers, retrier) = (original::Timers::default(), Retrier::new("auth", policy.initial_backoff));
    let theirs = original(4_150_806.0, "36", || {
        let fails = |_: &_| Err(Box::new(Status { code: 14, text: "no connection" }));
        retrier.execute(&timers, Box::new(fails)).is_ok()
    });
    rows.row("retry with failures", theirs, || call(&mut |time| thread::sleep(time)));
    rows.extra("retry with failures, decisions only", || call(&mut |_| ()));
}

fn ended(outcome: AttemptOutcome) -> Attempt {
    black_box(Attempt { outcome, pushback: Pushback::None, idempotent: false, kept: true })
}

fn budget(percent: u32) -> Budget {
    Budget::new(&SharedBudget::new(RetryBudget { percent, min_retries: 100 }), None)
}

/// A closed breaker around a call that succeeds. A worker reads its clock for the call, not for the breaker; the second
/// row has the original's two readings of the clock for itself.
fn breaker(rows: &mut Rows<'_>) {
    let breaker = LocalBreaker::new(SharedBreaker::new(config::Breaker::default(), 1), 0);
    let mut random = Random::seeded(1);
    let clock = quanta::Clock::new();
    let start = clock.raw();
    let now = || Moment::from_nanos(clock.delta_as_nanos(start, clock.raw()));
    let call = |before: Moment, after: Moment, random: &mut Random| {
        let permit = breaker.admit(before, random).expect("it is closed");
        permit.record(black_box(Outcome::Success), after);
    };
    let theirs = original::Breaker::new("auth");
    let theirs =
        original(222.0, "0", || theirs.execute(|| black_box(Ok(()))).is_ok_and(|reply| reply.is_ok()));
    rows.row("circuit breaker", theirs, || call(black_box(NOW), NOW, &mut random));
    rows.extra("circuit breaker, with two readings of the clock", || call(now(), now(), &mut random));
}

/// The example configuration from text to checked types; and what a call pays: the look-up of its method's settings.
fn configuration(rows: &mut Rows<'_>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ringway.toml");
    let text = std::fs::read_to_string(&path).expect("the example is there");
    let because = "it parses and checks a whole file that sets every key, and keeps line and column for what is wrong, where \
                   the original looks up 41 variables; once for each start and reload, never for a call";
    let variables = original::variables(&SERVICES);
    let theirs = original(920.0, "1", || original::load(black_box(&variables)));
    rows.row("configuration loading", Original { because: Some(because), ..theirs }, || {
        config::parse(black_box(&text), &path).expect("it is good")
    });
    let config = config::parse(&text, &path).expect("it is good");
    let cluster = Service::of(&config).cluster(&config, 0);
    let methods = original::Methods::new(&["/bench.v1.Echo/Unary", "/bench.v1.Echo/Stream"]);
    let theirs = alone(|| methods.timeout(black_box("/bench.v1.Echo/Unary")));
    let theirs = Original { known: None, work: theirs, because: None };
    rows.row("configuration of a method", theirs, || {
        cluster.method(black_box("/bench.v1.Echo/Unary")).timeout
    });
}

/// A timer armed and cancelled in the worker's wheel.
fn timeout(rows: &mut Rows<'_>) {
    let timers = Timers::new(NOW);
    let mut later = 0;
    let contexts = original::Timers::default();
    let theirs = original(381.0, "4", || {
        let (context, cancel) = contexts.context(Duration::from_secs(1));
        black_box(context);
        cancel();
    });
    rows.row("timeout context creation", theirs, || {
        later = (later + 1) % 1000;
        let timer = timers.timer();
        timer.arm(NOW.plus(Duration::from_micros(1_000_000 + later)), Waker::noop());
    });
}

/// Client retrieval by 1, 2, ... threads at once, each with what its worker would own.
fn concurrent_retrieval(rows: &mut Rows<'_>) {
    let manager = Manager::new(&SERVICES);
    let ours = || {
        let config = four_clusters();
        let clusters = Service::of(&config).clusters(&config);
        move || {
            black_box(&clusters[black_box(2)]);
        }
    };
    let theirs = || {
        let manager = &manager;
        move || {
            black_box(manager.client(black_box(2)));
        }
    };
    rows.threads("concurrent client access", (82.5, "0"), ours, theirs);
}

/// Is a call that ended with INTERNAL sent again?
fn errors(rows: &mut Rows<'_>) {
    let codes = Retry::default().retryable_status_codes;
    let attempt = || ended(AttemptOutcome::Status(Code::Internal));
    assert!(matches!(rule(attempt(), false, codes), Ruling::Never(_)));
    let error = Status { code: 13, text: "the service failed" };
    assert!(!original::is_retryable(&error));
    let theirs = original(418.0, "6", || original::is_retryable(black_box(&error)));
    rows.row("error handling", theirs, || rule(attempt(), false, black_box(codes)));
}

/// A count and a sum, as the original has them: here sends, and the bytes in them. And a call counted as calls are: its
/// code, and its duration in a histogram.
fn metrics(rows: &mut Rows<'_>) {
    let shard = shard();
    let metrics = original::Metrics::default();
    let theirs = original(15.1, "0", || metrics.record(black_box(Duration::from_micros(150))));
    rows.row("metrics collection", theirs, || count(&shard));
    rows.extra("metrics collection, a call", || {
        shard.unrouted().ended(Ending {
            protocol: 0,
            code: black_box(0),
            is_stream: false,
            took: black_box(Duration::from_micros(150)),
        });
    });
}

/// Counts by 1, 2, ... threads, each with the shard its worker would own.
fn concurrent_metrics(rows: &mut Rows<'_>) {
    let metrics = original::Metrics::default();
    let ours = || {
        let shard = shard();
        move || count(&shard)
    };
    let theirs = || {
        let metrics = &metrics;
        move || metrics.record(black_box(Duration::from_micros(150)))
    };
    rows.threads("concurrent metrics", (106.0, "0"), ours, theirs);
}

fn shard() -> Arc<Shard> {
    Shard::new(&Layout::new(SERVICES.map(str::to_owned).to_vec(), Vec::new()))
}

fn count(shard: &Shard) {
    shard.worker.sends.add(1);
    shard.worker.bytes_sent.add(black_box(150));
}
