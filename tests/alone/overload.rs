//! A worker that is asked for more than it can do: it refuses early, and does what it can. Times are held where they are
//! virtual, and so is a loop that is late: `src/worker/simulation/load.rs`.

use crate::support::gateway::{self, BACKENDS, GatewayBuilder, asked, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::raw::{self, EMPTY_CALL, RawClient, RawReply};
use crate::support::service::{Act, Service};
use crate::support::within;
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

const TOO_MANY: &str = "ringway_overload_active_calls_refused_total";
const TOO_LATE: &str = "ringway_overload_loop_delay_refused_total";

/// A gateway of one worker.
fn start(service: &Service, backend: &str, overload: &str, extra: &str) -> (Gateway, SocketAddr) {
    let config = GatewayBuilder::new(&[service.address()], backend).set("workers", 1).extra(extra);
    let gateway = gateway::start(&format!("{}[overload]\n{overload}\n", config.text()));
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// Sends a call of a client; its answer comes in its own task.
async fn begin(client: &mut RawClient, calls: &mut JoinSet<RawReply>) {
    let mut call = client.open(EMPTY_CALL, &[]).await;
    call.send(raw::message(0, b""), true);
    calls.spawn(call.reply());
}

/// Operators get their answers, whatever the workers do.
async fn operators_are_answered(gateway: &Gateway, what: &str) {
    for path in ["/ready", "/metrics"] {
        let answer = asked(gateway.admin(), path);
        assert_eq!(within(Duration::from_secs(10), path, answer).await, "HTTP/1.1 200 OK", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_above_the_limit_are_refused_in_every_language_before_they_are_read() {
    let _alone = crate::alone();
    const MAX: usize = 4;
    const JSON: [(&str, &str); 2] = [("content-type", "application/json"), ("content-length", "4000000")];
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/grpc/testing/test.proto");
    let transcoding = format!("[transcoding]\nproto_paths = [{proto:?}]\nprotos = [{file:?}]\n");
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Silence).await;
        let (gateway, address) = start(&service, backend, &format!("max_active_calls = {MAX}"), &transcoding);
        let mut client = RawClient::connect(address).await;
        let mut calls = JoinSet::new();
        for _ in 0..MAX {
            begin(&mut client, &mut calls).await;
        }
        service.wait_until("as many as it may", |asked| asked.len() == MAX).await;

        for _ in 0..20 {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            assert_eq!((reply.status, reply.grpc_status()), (200, Some("14")), "{backend}: {reply:?}");
        }
        let web = [("content-type", "application/grpc-web+proto")];
        let mut http1 = Http1::connect(address).await;
        let answer = http1.ask(&format!("POST {EMPTY_CALL}"), &web, &[0; 5]).await;
        let trailers = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 200 && trailers.contains("grpc-status: 14"), "{backend}: {answer:?}");
        // Of a body that is announced nothing has come.
        let mut http1 = Http1::connect(address).await;
        let answer = http1.ask(&format!("POST {EMPTY_CALL}"), &JSON, b"").await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{backend}: {answer:?}");
        assert_eq!(answer.json()["code"], 14, "{backend}");

        assert_eq!((metric(&gateway, TOO_MANY), metric(&gateway, TOO_LATE)), (22, 0), "{backend}");
        assert_eq!(service.count(), MAX, "{backend}");
        operators_are_answered(&gateway, backend).await;

        // As soon as one has ended, there is room for one.
        drop(calls);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        let mut another = JoinSet::new();
        begin(&mut client, &mut another).await;
        service.wait_until("another one", |asked| asked.len() == MAX + 1).await;
    }
}

/// Method: a gateway that takes 16 calls at once, each of which takes the service 50 ms: 320 a second at most. Three times as
/// many come, whether or not those before have ended. How many get through, and how quick a refusal is, is held where time
/// is virtual: `src/worker/simulation/load.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_than_it_can_do_each_call_has_one_outcome_and_none_that_is_refused_is_sent() {
    let _alone = crate::alone();
    const CALLS: usize = 1_920;
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::AnswerAfter(Duration::from_millis(50))).await;
        let (gateway, address) = start(&service, backend, "max_active_calls = 16", "");
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(RawClient::connect(address).await);
        }
        let offer = async {
            let mut calls = JoinSet::new();
            let mut beats = tokio::time::interval(Duration::from_millis(5));
            for sent in 0..CALLS {
                if sent % 5 == 0 {
                    beats.tick().await;
                }
                begin(&mut clients[sent % 4], &mut calls).await;
            }
            calls.join_all().await
        };
        let (ended, ()) = tokio::join!(offer, operators_are_answered(&gateway, backend));
        let with = |code: &str| ended.iter().filter(|reply| reply.grpc_status() == Some(code)).count();
        let (ok, refused) = (with("0"), with("14"));
        println!("{backend}: {ok} answered, {refused} refused");
        assert_eq!(ok + refused, CALLS, "{backend}: {ended:?}");
        assert!(ok >= 16 && refused > 0, "{backend}: {ok} answered, {refused} refused");
        assert_eq!(
            (metric(&gateway, TOO_MANY), metric(&gateway, TOO_LATE)),
            (refused as u64, 0),
            "{backend}"
        );
        // No service ever sees a call that is refused.
        assert_eq!(service.count(), ok, "{backend}");
        assert_eq!(metric(&gateway, "ringway_upstream_calls_total"), ok as u64, "{backend}");
    }
}
