//! The gateway under `tuning/seccomp.json`, as the kernel applies it in a container.
#![cfg(target_arch = "x86_64")]

use crate::support::gateway::{BACKENDS, GatewayBuilder, asked, gateway_config};
use crate::support::interop_server::InteropServer;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::seccomp::{ALLOWED, Filter, fails, number};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The profile's rules, in its order, as a filter; `left_out` are calls that another profile does not allow.
fn profile(left_out: &[&str]) -> Filter {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/seccomp.json");
    let text = std::fs::read_to_string(path).expect("a file of tuning/");
    let profile: Value = serde_json::from_str(&text).expect("it is JSON");
    let errno = |rule: &Value, key: &str| {
        let errno = rule[key].as_i64().unwrap_or(libc::EPERM.into());
        fails(i32::try_from(errno).expect("an errno is small"))
    };
    let mut filter = Filter::new(errno(&profile, "defaultErrnoRet"));
    for rule in profile["syscalls"].as_array().expect("a list of rules") {
        let how = match rule["action"].as_str() {
            Some("SCMP_ACT_ALLOW") => ALLOWED,
            Some("SCMP_ACT_ERRNO") => errno(rule, "errnoRet"),
            other => panic!("{other:?}"),
        };
        for name in rule["names"].as_array().expect("a list of names") {
            let name = name.as_str().expect("a name");
            let Some(number) = number(name).filter(|_| !left_out.contains(&name)) else { continue };
            filter = match rule["args"].as_array().map(Vec::as_slice) {
                None => filter.call(number, how),
                Some([condition]) if condition["op"] == "SCMP_CMP_MASKED_EQ" => {
                    let field =
                        |key: &str| condition[key].as_u64().and_then(|it| u32::try_from(it).ok()).expect(key);
                    filter.call_masked(number, field("index"), (field("value"), field("valueTwo")), how)
                }
                Some(conditions) => panic!("{name}: {conditions:?}"),
            };
        }
    }
    filter
}

/// Calls, new connections, a reload, a drain: all of a gateway's life.
async fn live(filter: &Filter, backend: &str, expected: &str) {
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], backend).set("io.on_unavailable", "fallback");
    static LOGS: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), LOGS.fetch_add(1, Ordering::Relaxed));
    let log = std::env::temp_dir().join(format!("ringway-sandbox-{process}-{number}.log"));
    let config = config.extra(&format!("[access_log]\npath = {log:?}\nsample = 1.0")).text();
    let mut process = Process::start_with(&config, |command| filter.around(command)).await;
    for round in 0..20 {
        let mut client = RawClient::connect(process.listener).await;
        let reply = client.call(EMPTY_CALL, &[], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}, {round}: {reply:?}");
    }
    assert_eq!(asked(process.admin, "/metrics").await, "HTTP/1.1 200 OK", "{backend}");
    process.signal("HUP");
    process.says("new configuration").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    assert!(status.contains("Seccomp:\t2\n"), "a filter is in force");
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0), "{backend} expected {expected}");
    let lines = std::fs::read_to_string(&log).expect("the gateway made it").lines().count();
    let _ = std::fs::remove_file(&log);
    assert_eq!(lines, 20, "{backend}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_profile_all_of_it_works_on_both_back_ends() {
    for backend in BACKENDS {
        tokio::time::timeout(Duration::from_secs(20), live(&profile(&[]), backend, backend))
            .await
            .expect("it does not take so long");
    }
}

/// Without the calls that receive and send on sockets that do not block. The control plane's threads say so only once, to
/// the socket, and so are left alone.
fn without_socket_calls() -> Filter {
    let dontwait = (libc::MSG_DONTWAIT.cast_unsigned(), libc::MSG_DONTWAIT.cast_unsigned());
    let calls =
        [(libc::SYS_recvfrom, 3), (libc::SYS_sendto, 3), (libc::SYS_recvmsg, 2), (libc::SYS_sendmsg, 2)];
    calls.into_iter().fold(Filter::new(ALLOWED), |filter, (call, flags)| {
        filter.call_masked(call, flags, dontwait, fails(libc::EPERM))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_touch_their_sockets_through_the_ring_alone() {
    let filter = without_socket_calls();
    let alive = live(&filter, "io_uring", "io_uring");
    tokio::time::timeout(Duration::from_secs(20), alive).await.expect("it does not take so long");
}

/// Shows that the filter of the test before this one is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_socket_calls_epoll_serves_nobody() {
    let server = InteropServer::start();
    let config = gateway_config(&[server.address()], "epoll", "");
    let filter = without_socket_calls();
    let process = Process::start_with(&config, |command| filter.around(command)).await;
    // The gateway takes the connection and can say nothing on it.
    let mut client = RawClient::connect(process.listener).await;
    let reply = client.try_call(EMPTY_CALL, b"").await;
    assert!(reply.as_ref().is_none_or(|reply| reply.grpc_status() != Some("0")), "{reply:?}");
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}

/// The default profiles of Docker and containerd leave these out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_profile_without_rings_it_falls_back_to_epoll() {
    let docker = profile(&["io_uring_setup", "io_uring_enter", "io_uring_register"]);
    let server = InteropServer::start();
    let config = GatewayBuilder::new(&[server.address()], "auto").set("io.on_unavailable", "fallback");
    let process = Process::start_with(&config.text(), |command| docker.around(command)).await;
    let mut client = RawClient::connect(process.listener).await;
    assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    let rings = std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("it runs").flatten();
    let rings = rings.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    assert_eq!(rings.filter(|to| to.as_os_str() == "anon_inode:[io_uring]").count(), 0);
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
}
