//! The program on a host that refuses io_uring: it says so once, and all workers use epoll; or it does not start.

use crate::support::gateway::GatewayBuilder;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::raw_server::{RawServer, Step};
use crate::support::seccomp::{ALLOWED, Filter, fails};

const WORKERS: usize = 3;

/// Filters as the seccomp profiles of containers have them, which refuse all of io_uring or parts of it. They need no
/// privilege.
fn filters() -> Vec<Filter> {
    let refuses = |call| Filter::new(ALLOWED).call(call, fails(libc::EPERM));
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register].map(refuses).into()
}

fn config(server: &RawServer, backend: &str, on_unavailable: &str) -> String {
    let config = GatewayBuilder::new(&[server.address()], backend).set("workers", WORKERS);
    config.set("io.on_unavailable", on_unavailable).text()
}

#[tokio::test]
async fn refused_io_uring_all_workers_use_epoll_and_it_says_so_once() {
    let server = RawServer::start(&[Step::Answer]).await;
    for (backend, filter) in ["auto", "io_uring"]
        .iter()
        .flat_map(|backend| filters().into_iter().map(move |filter| (backend, filter)))
    {
        let mut process =
            Process::begin(&config(&server, backend, "fallback"), |command| filter.spawn(command));
        process.ready().await;
        let page = process.page("/metrics").await;
        let shown: Vec<_> = page.lines().filter(|line| line.starts_with("ringway_io_backend{")).collect();
        let [line] = shown[..] else { panic!("all have the same one: {shown:?}") };
        assert!(line.contains("backend=\"epoll\"") && line.ends_with(" 1"), "{line}");
        assert!(line.contains("Operation not permitted"), "it says why: {line}");
        let epoll = |page: &str| page.matches("epoll").count();
        let workers = process.page("/workers?format=json").await;
        assert!(epoll(&workers) >= 1 && !workers.contains("io_uring"), "{workers}");
        // Connections enough that each worker has some, and each serves.
        for _ in 0..4 * WORKERS {
            let reply = RawClient::connect(process.listener).await.call(EMPTY_CALL, &[], b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        }
        process.signal("TERM");
        let log = process.log().await;
        let warnings: Vec<_> = log.iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warnings.len(), 1, "{backend}: one warning for all workers:\n{}", log.join("\n"));
        for word in ["io_uring is not available", "all workers use epoll", "errno=1", "seccomp"] {
            assert!(warnings[0].contains(word), "{backend}: {word:?} is not in {}", warnings[0]);
        }
        assert_eq!(process.ended().await.code(), Some(0), "{backend}");
    }
}

#[tokio::test]
async fn refused_io_uring_it_does_not_start_where_that_is_wanted() {
    let server = RawServer::start(&[Step::Answer]).await;
    for filter in filters() {
        let mut process =
            Process::begin(&config(&server, "io_uring", "fail"), |command| filter.spawn(command));
        let log = process.log().await;
        assert_eq!(process.ended().await.code(), Some(78), "{}", log.join("\n"));
        let said = log.iter().filter(|line| line.contains("io_uring is not available")).count();
        assert_eq!(said, 1, "{}", log.join("\n"));
        assert!(log.iter().all(|line| !line.contains("panicked")), "{}", log.join("\n"));
    }
}
