//! Access log, traces and tap that change while the gateway runs: each record goes to one sink, under the right names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::callers::{Callers, open_call};
use crate::support::collector::Collector;
use crate::support::gateway::{
    self, BACKENDS, GatewayBuilder, asked, gateway_config, metric, metric_becomes,
};
use crate::support::interop_server::InteropServer;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::within;
use ringway::config;
use ringway::supervisor::{Gateway, ReloadError};
use std::time::Duration;

/// Calls of each part of a test.
const CALLS: usize = 40;

fn reload(gateway: &mut Gateway, text: &str) -> Result<(), ReloadError> {
    let config = config::parse(text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    gateway.reload(config).map(drop)
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringway-sinks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder for temporary files takes one");
        Folder(path)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// `[access_log]` with this file and this field of requests.
    fn table(&self, name: &str, header: &str) -> String {
        let path = self.0.join(name);
        format!("[access_log]\npath = {path:?}\nsample = 1.0\nrequest_headers = [\"{header}\"]\n")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn call(client: &mut RawClient) {
    let reply = client.call(EMPTY_CALL, &[("x-a", "1"), ("x-b", "2")], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_goes_to_the_file_of_its_time_and_names_its_own_fields() {
    for backend in BACKENDS {
        let folder = Folder::new(backend);
        let server = InteropServer::start();
        let text = |extra: &str| gateway_config(&[server.address()], backend, extra);
        let mut gateway = gateway::start(&text(&folder.table("one", "x-a")));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        for _ in 0..CALLS {
            call(&mut client).await;
        }
        let mut long = open_call(&mut client, &server).await;
        reload(&mut gateway, &text(&folder.table("two", "x-b"))).expect("it is taken");
        let is_old = |line: &&String| line.contains("\"request_headers\":{\"x-a\":\"1\"}");
        let is_new = |line: &&String| line.contains("\"request_headers\":{\"x-b\":\"2\"}");
        let before = folder.lines("one");
        assert_eq!(before.iter().filter(is_old).count(), CALLS, "{backend}: {before:?}");

        // A worker takes the new settings at its next turn.
        let mut after = 0;
        while folder.lines("two").iter().filter(is_new).count() == 0 {
            call(&mut client).await;
            after += 1;
            metric_becomes(&gateway, "ringway_access_log_lines_total", (CALLS + after) as u64).await;
        }
        for _ in 0..CALLS {
            call(&mut client).await;
        }
        // A call that began before ends in the file in use.
        long.send(raw::message(0, b""), true);
        assert_eq!(long.reply().await.grpc_status(), Some("0"));
        let all = CALLS + after + CALLS + 1;
        metric_becomes(&gateway, "ringway_access_log_lines_total", all as u64).await;
        let two = folder.lines("two");
        assert_eq!((folder.lines("one").len(), two.len()), (CALLS, all - CALLS), "{backend}");
        assert!(two.iter().filter(is_new).count() > CALLS, "{backend}: {two:?}");

        // A file that cannot be opened is refused with its place, and nothing changes.
        let refused =
            reload(&mut gateway, &text(&folder.table("no/where", "x-a"))).expect_err("no such folder");
        let line = text("").lines().count() + 1;
        let wanted = format!("test.toml:{line}:8: cannot open the access log ");
        assert!(refused.to_string().starts_with(&wanted), "{refused}");
        call(&mut client).await;
        metric_becomes(&gateway, "ringway_access_log_lines_total", all as u64 + 1).await;

        // Off, and on again: counters go on.
        reload(&mut gateway, &text("[access_log]\nerrors = false\n")).expect("it is taken");
        reload(&mut gateway, &text(&folder.table("one", "x-a"))).expect("it is taken");
        while folder.lines("one").iter().filter(is_old).count() == CALLS {
            call(&mut client).await;
        }
        assert!(metric(&gateway, "ringway_access_log_lines_total") > all as u64 + 1, "{backend}");
        assert_eq!(metric(&gateway, "ringway_access_log_failed_total"), 0, "{backend}");
    }
}

/// Method: callers call without a pause while the log goes from one file to the other and back. Both files together have
/// a line for each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_lost_while_files_change_under_load() {
    let folder = Folder::new("load");
    let server = InteropServer::start();
    let text = |name: &str| gateway_config(&[server.address()], BACKENDS[0], &folder.table(name, "x-a"));
    let mut gateway = gateway::start(&text("one"));
    let callers = Callers::start(gateway.listeners()[0], 4, 1_000_000);
    for round in 0..40 {
        callers.progress(10).await;
        reload(&mut gateway, &text(["two", "one"][round % 2])).expect("it is taken");
    }
    callers.progress(100).await;
    assert_eq!(callers.stop().await, 4, "no client was told to dial again");
    metric_becomes(&gateway, "ringway_calls_active", 0).await;
    let calls = metric(&gateway, "ringway_calls_total");
    let written = metric(&gateway, "ringway_access_log_dropped_total");
    metric_becomes(&gateway, "ringway_access_log_lines_total", calls - written).await;
    let [one, two] = ["one", "two"].map(|name| folder.lines(name).len() as u64);
    assert!(one > 0 && two > 0, "{one}, {two}");
    assert_eq!((one + two, metric(&gateway, "ringway_access_log_failed_total")), (calls - written, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_to_the_collector_in_use_and_none_is_lost() {
    for backend in BACKENDS {
        let collectors = [Collector::start().await, Collector::start().await];
        let server = InteropServer::start();
        let text = |extra: &str| gateway_config(&[server.address()], backend, extra);
        let of =
            |at: usize, settings: &str| text(&collectors[at].table(&format!("sample = 1.0\n{settings}")));
        let mut gateway = gateway::start(&text(""));
        let mut client = RawClient::connect(gateway.listeners()[0]).await;
        call(&mut client).await;
        let total = metric(&gateway, "ringway_calls_total");

        reload(&mut gateway, &of(0, "queue_spans = 8192")).expect("it is taken");
        assert_eq!(metric(&gateway, "ringway_calls_total"), total, "exemplars cost no count");
        while metric(&gateway, "ringway_spans_exported_total") == 0 {
            call(&mut client).await;
            tokio::task::yield_now().await;
        }
        reload(&mut gateway, &of(1, "queue_spans = 16384\nservice_name = \"other\"")).expect("it is taken");
        let known = || collectors[1].spans().len();
        let arrive = async {
            while known() == 0 {
                call(&mut client).await;
                tokio::task::yield_now().await;
            }
        };
        within(Duration::from_secs(10), "spans at the other collector", arrive).await;
        assert!(collectors[1].spans().iter().all(|seen| seen.service == "other"));

        // Each call that is recorded has two spans, and each is at one of the two.
        let exported = metric(&gateway, "ringway_spans_exported_total");
        assert_eq!(metric(&gateway, "ringway_spans_failed_total"), 0);
        assert_eq!(metric(&gateway, "ringway_spans_dropped_total"), 0);
        assert!(exported > 0);

        reload(&mut gateway, &text("")).expect("it is taken");
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let passes = async {
            loop {
                let before = server.calls().len();
                client.call(EMPTY_CALL, &[("traceparent", parent)], b"").await;
                let last = server.calls().remove(before);
                if last.headers.get("traceparent").is_some_and(|value| value == parent) {
                    return;
                }
            }
        };
        within(Duration::from_secs(10), "a traceparent passes untouched", passes).await;
        // The last spans may be on their way still, so both sides are asked until they agree.
        let arrived = || {
            let ids: BTreeSet<_> =
                collectors.iter().flat_map(Collector::spans).map(|seen| seen.id()).collect();
            ids.len() as u64
        };
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let agree = async {
            while arrived() != metric(&gateway, "ringway_spans_exported_total") {
                looks.tick().await;
            }
        };
        within(Duration::from_secs(10), "each exported span is at a collector, once", agree).await;
        assert_eq!(metric(&gateway, "ringway_spans_failed_total"), 0);
        assert_eq!(metric(&gateway, "ringway_spans_dropped_total"), 0);
    }
}

#[tokio::test]
async fn the_tap_is_forbidden_and_allowed_by_reload() {
    let text = |tap: bool| {
        let config = GatewayBuilder::new(&[([127, 0, 0, 1], 9).into()], BACKENDS[1]);
        config.set("admin.tap", tap).text()
    };
    let mut gateway = gateway::start(&text(true));
    let status = async |gateway: &Gateway| asked(gateway.admin(), "/tap?seconds=0.1").await;
    assert_eq!(status(&gateway).await, "HTTP/1.1 200 OK");
    reload(&mut gateway, &text(false)).expect("it is taken");
    assert_eq!(status(&gateway).await, "HTTP/1.1 403 Forbidden");
    reload(&mut gateway, &text(true)).expect("it is taken");
    assert_eq!(status(&gateway).await, "HTTP/1.1 200 OK");
}
