//! Host options that a configuration names: each is in use, or refused with a reason; none is left out in silence.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::disallowed_methods, reason = "a test waits for the kernel, with an end")]

use crate::support::callers::Callers;
use crate::support::gateway::{GatewayBuilder, metric, start};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::seccomp::{ALLOWED, Filter, fails};
use ringway::config::{Backend, Io, OnUnavailable};
use ringway::net::ring;
use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const OPTIONS: [&str; 3] =
    ["sqpoll_idle = \"20ms\"", "busy_poll = \"50us\"", "sqpoll_idle = \"20ms\"\nbusy_poll = \"50us\""];

/// A gateway's configuration with these keys in `[io]`, for so few connections that a submission thread may serve them.
fn config(server: &InteropServer, options: &str) -> String {
    let config = GatewayBuilder::new(&[server.address()], "io_uring")
        .set("io.on_unavailable", "fallback")
        .set("listeners.max_connections", 1000);
    let options = options.lines().filter_map(|line| line.split_once(" = "));
    options.fold(config, |config, (key, value)| config.set_toml(&format!("io.{key}"), value)).text()
}

/// Whether this kernel can give what is asked for.
fn can(options: &str) -> bool {
    let io = Io {
        backend: Backend::IoUring,
        entries: 4096,
        on_unavailable: OnUnavailable::Fail,
        sqpoll_idle: options.contains("sqpoll").then(|| Duration::from_millis(20)),
        busy_poll: options.contains("busy").then(|| Duration::from_micros(50)),
    };
    ring::probe(&io).is_ok()
}

/// The number of rings made since `before` that a thread of the kernel submits for.
fn submission_threads(before: &BTreeSet<i32>) -> usize {
    let new: Vec<i32> = ring::descriptors().difference(before).copied().collect();
    new.into_iter().filter(|ring| submission_thread(*ring) > 0).count()
}

/// The thread that submits for this ring, -1 for none.
///
/// The kernel leaves the line out while the ring is locked, and a submission thread locks it at work: then ask again.
fn submission_thread(ring: i32) -> i32 {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{ring}")).expect("the ring is open");
        if let Some(thread) = text.lines().find_map(|line| line.strip_prefix("SqThread:")) {
            return thread.trim().parse().expect("a number");
        }
        std::thread::yield_now();
    }
    panic!("the kernel did not tell the submission thread of ring {ring} in 10 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_the_ring_is_used_for_calls() {
    let _alone = crate::alone();
    let server = InteropServer::start();
    for options in OPTIONS.into_iter().filter(|options| can(options)) {
        let before = ring::descriptors();
        let gateway = start(&config(&server, options));
        assert_eq!(gateway.backend().name(), "io_uring", "{options}");
        let by_thread = options.contains("sqpoll");
        assert_eq!(gateway.backend().flags().contains("SQPOLL"), by_thread, "{options}");
        // Connections come and go, so that all that the ring is used for is used.
        let callers = Callers::start(gateway.listeners()[0], 4, 5);
        callers.progress(400).await;
        let threads = if by_thread { gateway.workers() } else { 0 };
        assert_eq!(submission_threads(&before), threads, "{options}");
        assert!(callers.stop().await >= 40, "{options}");
        // The kernel's thread has gone to sleep, and has to be woken.
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        for _ in 0..3 {
            tokio::time::timeout(Duration::from_millis(60), std::future::pending::<()>()).await.unwrap_err();
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{options}: {reply:?}");
        }
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{options}");
        assert!(metric(&gateway, "ringway_calls_started_total") >= 403, "{options}");
    }
}

/// The program with these arguments, and a filter around it that the kernel of another host might be.
fn ringway(arguments: &[&str], config: &str, filter: Option<&Filter>) -> Output {
    let path = std::env::temp_dir().join(format!(
        "ringway-host-{}-{:?}.toml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, config).expect("the folder for temporary files takes one");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).arg("--config").arg(&path).env_remove("RINGWAY_LOG");
    if let Some(filter) = filter {
        filter.around(&mut command);
    }
    let output = command.output().expect("the program starts");
    let _ = std::fs::remove_file(&path);
    output
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_that_the_kernel_lacks_is_refused_by_check_and_at_start() {
    let _alone = crate::alone();
    const REGISTER_NAPI: u32 = 27;
    let server = InteropServer::start();
    let no_napi =
        Filter::new(ALLOWED).call_with(libc::SYS_io_uring_register, 1, REGISTER_NAPI, fails(libc::EINVAL));
    let no_rings = Filter::new(ALLOWED).call(libc::SYS_io_uring_setup, fails(libc::EPERM));
    for (options, filter, key, reason) in [
        (OPTIONS[1], &no_napi, "io.busy_poll = \"50us\"", "Linux 6.9"),
        (OPTIONS[0], &no_rings, "io.sqpoll_idle = \"20ms\"", "kernel.io_uring_disabled"),
        (OPTIONS[1], &no_rings, "io.busy_poll = \"50us\"", "seccomp"),
    ] {
        let config = config(&server, options);
        let line = config.lines().position(|line| line == options).expect("it is there") + 1;
        let column = options.find('"').expect("its value is text") + 1;
        let checked = ringway(&["check"], &config, Some(filter));
        let text = errors(&checked);
        assert_eq!(checked.status.code(), Some(1), "{text}");
        for part in [&format!(":{line}:{column}: {key}: "), reason] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let started = ringway(&["run"], &config, Some(filter));
        assert_eq!(started.status.code(), Some(78), "{}", errors(&started));
        assert!(errors(&started).contains(reason), "{}", errors(&started));
    }
    for options in OPTIONS.into_iter().filter(|options| can(options)) {
        let checked = ringway(&["check"], &config(&server, options), None);
        assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_options_a_host_without_rings_has_epoll() {
    let _alone = crate::alone();
    let server = InteropServer::start();
    let no_rings = Filter::new(ALLOWED).call(libc::SYS_io_uring_setup, fails(libc::EPERM));
    let checked = ringway(&["check"], &config(&server, ""), Some(&no_rings));
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_node_that_is_not_there_is_refused() {
    let _alone = crate::alone();
    let server = InteropServer::start();
    let config = format!("cpu_policy = \"numa_node:999\"\n{}", config(&server, ""));
    let checked = ringway(&["check"], &config, None);
    assert_eq!(checked.status.code(), Some(1));
    let text = errors(&checked);
    assert!(
        text.contains(":1:14: cpu_policy = \"numa_node:999\": ") && text.contains("no such node"),
        "{text}"
    );
    let started = ringway(&["run"], &config, None);
    assert_eq!(started.status.code(), Some(1));
    assert!(errors(&started).contains("no such node"), "{}", errors(&started));
}
