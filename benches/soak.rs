//! Does the gateway's memory stay where it is? `scripts/soak.sh 30` runs mixed load for half an hour and fits a line.
//!
//! The program runs as a process of its own before the demo's services: gRPC and JSON calls on connections that are
//! renewed all the time, calls that are cancelled at random moments, streams that are left open, and connections that
//! say nothing, nonsense, or half of something, while the pages for operators are read. The gateway's memory is read
//! from `/proc` every second. The slope is fitted to the means of minutes after a warm-up, and holds if it is below 1 MiB
//! in ten minutes with twice its error added. Without `--bench`, as under `cargo test`, it only looks whether all of it works.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "support/process.rs"]
#[allow(unreachable_pub, reason = "a bench binary has no public side")]
mod process;

use bytes::Bytes;
use http::Method;
use process::{PROGRAM, Process};
use ringway::demo;
use ringway::tools::load::{self, Load, Pace, Request, Target};
use ringway::tools::show::units;
use serde_json::json;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HELP: &str = "\
--minutes N         how long (30); a sixth of it is warm-up
--rate N            calls per second of each kind (100)
--program FILE      another build of ringway
--json              print JSON";

/// The bound of the slope, in bytes per second: 1 MiB in ten minutes.
const SLOPE_MAX: f64 = 1_048_576.0 / 600.0;
/// Readings in a row whose mean is one point of the fit.
const BLOCK: Duration = Duration::from_secs(60);
/// How often progress is told.
const TELL: Duration = Duration::from_secs(30);

struct Options {
    full: bool,
    span: Duration,
    rate: f64,
    program: PathBuf,
    json: bool,
}

/// Counts of the load so far.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    calls: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    connects: AtomicU64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse()?;
    let demo = demo::start()?;
    let gateway = Process::start(&options.program, &demo.config("127.0.0.1:0", "127.0.0.1:0"))?;
    let counts = Arc::new(Counts::default());
    let loads = start_loads(&gateway, &options, &counts)?;
    let readings = watch(&gateway, &options, &counts);
    counts.stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.join().map_err(|_| "a thread of the load panicked")??;
    }
    gateway.end()?;
    report(&options, &readings?, &counts)
}

impl Options {
    fn parse() -> Result<Options, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let mut options = Options {
            full: false,
            span: Duration::from_secs(1800),
            rate: 100.0,
            program: PROGRAM.into(),
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.full = true,
                "--json" => options.json = true,
                "--minutes" => options.span = Duration::from_secs_f64(60.0 * value()?.parse::<f64>()?),
                "--rate" => options.rate = value()?.parse()?,
                "--program" => options.program = value()?.into(),
                "--help" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                // Arguments of `cargo test` and of other benches' harnesses.
                _ => {}
            }
        }
        if !options.full {
            options.span = Duration::from_secs(2);
        }
        Ok(options)
    }
}

// === What is done to it ===

type Abuse = fn(SocketAddr, &Counts) -> Result<(), String>;
type Running = Vec<thread::JoinHandle<Result<(), String>>>;

fn start_loads(gateway: &Process, options: &Options, counts: &Arc<Counts>) -> std::io::Result<Running> {
    let address = gateway.listener;
    let employee = Bytes::from_static(&[8, 1]); // field 1, employee_id = 1
    let path = "/ringway.demo.employee.v1.EmployeeService/GetEmployee".to_owned();
    let grpc = Request::Grpc { path, message: employee, headers: Vec::new() };
    let get = |path: &str| Request::Json { method: Method::GET, path: path.to_owned(), body: Bytes::new() };
    let mut running = Vec::new();
    for (name, request) in [
        ("grpc", grpc),
        ("json", get("/v1/employees/1")),
        ("json-stream", get("/v1/chats/chat-1/events?events_max=1&after_message_id=0")),
        ("json-error", get("/v1/employees/0")),
    ] {
        let (counts, rate) = (Arc::clone(counts), options.rate);
        let expected = name != "json-error";
        let span = Duration::from_secs(if options.full { 7 } else { 1 });
        let body = move || calls(Target { address, request }, rate, span, expected, &counts);
        running.push(thread::Builder::new().name(name.to_owned()).spawn(body)?);
    }
    for (name, body, address) in [
        ("cancels", cancels as Abuse, address),
        ("connects", connects, address),
        ("operator", operator, gateway.admin),
    ] {
        let counts = Arc::clone(counts);
        running.push(thread::Builder::new().name(name.to_owned()).spawn(move || body(address, &counts))?);
    }
    Ok(running)
}

/// Calls at a rate, on new connections every few seconds.
fn calls(target: Target, rate: f64, span: Duration, expected: bool, counts: &Counts) -> Result<(), String> {
    while !counts.stop.load(Ordering::Relaxed) {
        let mut load = Load::new(target.clone(), Pace::Schedule { rate, span });
        (load.connections, load.warm_up) = (4, 0);
        let round = load::run_alone(&load).map_err(|error| error.to_string())?;
        counts.calls.fetch_add(round.tally.calls(), Ordering::Relaxed);
        if expected {
            counts.failed.fetch_add(round.tally.errors(), Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Calls and streams that are given up after a while, on connections that are dropped with some of them open.
fn cancels(address: SocketAddr, counts: &Counts) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut random = fastrand::Rng::with_seed(6);
    while !counts.stop.load(Ordering::Relaxed) {
        let _ = runtime.block_on(cancel_some(address, &mut random, counts));
    }
    Ok(())
}

async fn cancel_some(
    address: SocketAddr,
    random: &mut fastrand::Rng,
    counts: &Counts,
) -> Result<(), Box<dyn Error>> {
    const PATHS: [(&str, &[u8]); 2] = [
        // A stream of one chat's events that never ends by itself: field 1, chat_id.
        ("/ringway.demo.chat.v1.ChatService/Subscribe", b"\0\0\0\0\x08\x0a\x06chat-1"),
        ("/ringway.demo.employee.v1.EmployeeService/GetEmployee", b"\0\0\0\0\x02\x08\x01"),
    ];
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (client, connection) = h2::client::handshake(stream).await?;
    counts.connects.fetch_add(1, Ordering::Relaxed);
    let connection = tokio::spawn(connection);
    let mut left_open = Vec::new();
    for number in 0..40 {
        let (path, message) = PATHS[number % PATHS.len()];
        let mut ready = client.clone().ready().await?;
        let head = http::Request::post(format!("http://{address}{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(())?;
        let (response, mut body) = ready.send_request(head, false)?;
        body.send_data(Bytes::from_static(message), random.bool())?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..40))).await;
        if random.u8(0..4) == 0 {
            left_open.push((response, body));
        } else {
            body.send_reset(h2::Reason::CANCEL);
        }
        counts.cancelled.fetch_add(1, Ordering::Relaxed);
    }
    // Gone without a goodbye.
    connection.abort();
    Ok(())
}

/// Connections that come to nothing.
fn connects(address: SocketAddr, counts: &Counts) -> Result<(), String> {
    let first: [&[u8]; 5] = [
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HT",
        b"GET /v1/employees/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"\x16\x03\x01 nonsense",
    ];
    for bytes in first.into_iter().cycle() {
        if counts.stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        counts.connects.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(bytes).is_ok() && bytes.starts_with(b"GET") {
            let _ = stream.read_to_end(&mut Vec::new());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Reads the pages that Prometheus and the dashboard read, every second.
fn operator(admin: SocketAddr, counts: &Counts) -> Result<(), String> {
    for page in ["/metrics", "/workers", "/clusters", "/breakers"].into_iter().cycle() {
        if counts.stop.load(Ordering::Relaxed) {
            break;
        }
        let read = || {
            let mut stream = TcpStream::connect(admin)?;
            write!(stream, "GET {page} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
            stream.read_to_end(&mut Vec::new())
        };
        read().map_err(|error| format!("{page}: {error}"))?;
        thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

// === What comes of it ===

/// Seconds since the beginning, and bytes held.
type Reading = (f64, f64);

fn watch(gateway: &Process, options: &Options, counts: &Counts) -> Result<Vec<Reading>, Box<dyn Error>> {
    let side = gateway.side();
    let (began, mut told) = (Instant::now(), Duration::ZERO);
    let mut readings = Vec::new();
    while began.elapsed() < options.span {
        thread::sleep(Duration::from_secs(1));
        let at = began.elapsed();
        let memory = side.usage().and_then(|usage| usage.memory).ok_or("the gateway has ended")?;
        readings.push((at.as_secs_f64(), memory as f64));
        if told + TELL <= at {
            told = at;
            let get = |count: &AtomicU64| units::count(count.load(Ordering::Relaxed) as f64);
            eprintln!(
                "{:3}:{:02}  {}  {} calls, {} failed, {} cancelled, {} connects",
                at.as_secs() / 60,
                at.as_secs() % 60,
                units::bytes(memory as f64),
                get(&counts.calls),
                get(&counts.failed),
                get(&counts.cancelled),
                get(&counts.connects),
            );
        }
    }
    Ok(readings)
}

/// The means of blocks after the warm-up.
fn blocks(readings: &[Reading], warm_up: f64) -> Vec<Reading> {
    let mean = |block: &[Reading]| {
        let sum = block.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        (sum.0 / block.len() as f64, sum.1 / block.len() as f64)
    };
    let kept: Vec<Reading> = readings.iter().copied().filter(|(at, _)| *at >= warm_up).collect();
    kept.chunk_by(|a, b| (a.0 / BLOCK.as_secs_f64()) as u64 == (b.0 / BLOCK.as_secs_f64()) as u64)
        .map(mean)
        .collect()
}

/// The slope of the line through these points with the least squares, and its standard error.
fn slope(points: &[Reading]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |of: fn(&Reading) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_at, mean_bytes) = (mean(|it| it.0), mean(|it| it.1));
    let spread: f64 = points.iter().map(|it| (it.0 - mean_at).powi(2)).sum();
    let slope = points.iter().map(|it| (it.0 - mean_at) * (it.1 - mean_bytes)).sum::<f64>() / spread;
    let rest = points.iter().map(|it| (it.1 - mean_bytes - slope * (it.0 - mean_at)).powi(2)).sum::<f64>();
    Some((slope, (rest / (count - 2.0) / spread).sqrt()))
}

fn report(options: &Options, readings: &[Reading], counts: &Counts) -> Result<ExitCode, Box<dyn Error>> {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (calls, failed) = (get(&counts.calls), get(&counts.failed));
    if !options.full {
        let done = calls > 0 && failed == 0 && get(&counts.cancelled) > 0 && !readings.is_empty();
        return if done { Ok(ExitCode::SUCCESS) } else { Err("some of the load did not work".into()) };
    }
    let warm_up = options.span.as_secs_f64() / 6.0;
    let points = blocks(readings, warm_up);
    let (slope, error) = slope(&points).ok_or("too short for a fit: at least four minutes are needed")?;
    let holds = slope + 2.0 * error < SLOPE_MAX && failed == 0;
    let per_ten_minutes = |slope: f64| slope * 600.0 / 1_048_576.0;
    if options.json {
        let result = json!({
            "minutes": options.span.as_secs_f64() / 60.0,
            "warm_up_minutes": warm_up / 60.0,
            "calls": calls, "failed": failed,
            "cancelled": get(&counts.cancelled), "connects": get(&counts.connects),
            "memory_bytes": points,
            "slope_mib_per_10_minutes": per_ten_minutes(slope),
            "error_mib_per_10_minutes": per_ten_minutes(error),
            "pass": holds,
        });
        println!("{result:#}");
    } else {
        let at = |point: Option<&Reading>| units::bytes(point.map_or(0.0, |point| point.1));
        println!("memory after the warm-up {}, at the end {}", at(points.first()), at(points.last()));
        println!(
            "{calls} calls, {failed} failed, {} cancelled, {} connects",
            get(&counts.cancelled),
            get(&counts.connects)
        );
        println!(
            "{} {:.3} ± {:.3} MiB in 10 minutes (wanted: below 1 with twice the error added)",
            if holds { "PASS" } else { "FAIL" },
            per_ten_minutes(slope),
            per_ten_minutes(error)
        );
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
