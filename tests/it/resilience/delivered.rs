//! A fault after a request was delivered whole: whoever got it may have acted on it, so it is done once, and its caller
//! gets one answer. For a process that is killed see `tests/alone/chaos.rs`.

use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::raw_server::{
    CANCEL, ENHANCE_YOUR_CALM, Fault, INTERNAL_ERROR, NO_ERROR, RawServer, Step,
};
use std::collections::HashMap;

/// All calls fail here, or many do: without what would keep them from being made at all.
const PATIENT: &str = "[clusters.breaker]\nenabled = false\n[clusters.outlier_detection]\nenabled = false\n";

const FAULTS: [(Fault, &str); 6] = [
    (Fault::Fin, "14"),
    (Fault::Rst, "14"),
    (Fault::Reset(INTERNAL_ERROR), "13"),
    (Fault::Reset(NO_ERROR), "13"),
    (Fault::Reset(CANCEL), "1"),
    (Fault::Reset(ENHANCE_YOUR_CALM), "8"),
];

/// How often each id was delivered, by what came as bodies: a message of the id.
fn delivered(server: &RawServer) -> HashMap<String, usize> {
    let mut all = HashMap::new();
    for body in server.record().bodies {
        let id = String::from_utf8(body[5..].to_vec()).expect("the test's own text");
        *all.entry(id).or_default() += 1;
    }
    all
}

/// Method: calls one after the other, so that no fault of one is the fate of another.
#[tokio::test]
async fn what_was_delivered_is_done_once_and_answered_once() {
    const CALLS: usize = 100;
    for (backend, (fault, status)) in
        BACKENDS.into_iter().flat_map(|backend| FAULTS.map(|fault| (backend, fault)))
    {
        let what = format!("{backend}, {fault:?}");
        let server = RawServer::start(&[Step::Fault(fault)]).await;
        let (gateway, address) = gateway::before(&[server.address()], backend, PATIENT);
        let mut client = RawClient::connect(address).await;
        for id in 0..CALLS {
            let reply = client.call(EMPTY_CALL, &[], id.to_string().as_bytes()).await;
            assert_eq!((reply.grpc_status(), reply.status), (Some(status), 200), "{what}: {reply:?}");
            assert!(reply.error.is_none() && reply.trailers.is_none(), "{what}: one answer: {reply:?}");
        }
        let wanted: HashMap<String, usize> = (0..CALLS).map(|id| (id.to_string(), 1)).collect();
        assert_eq!(delivered(&server), wanted, "{what}");
        assert_eq!(metric(&gateway, "ringway_calls_total"), CALLS as u64, "{what}");
        assert_eq!(metric(&gateway, "ringway_upstream_calls_total"), CALLS as u64, "{what}");
    }
}

/// Method: many at once on shared connections, of which every third meets a fault. A connection takes those with it that
/// it carries; they may have been delivered or not, but never twice. A stream takes nobody with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_none_is_done_twice() {
    const CALLERS: usize = 8;
    const CALLS: usize = 60;
    for (backend, (fault, _)) in BACKENDS.into_iter().flat_map(|backend| FAULTS.map(|fault| (backend, fault)))
    {
        let what = format!("{backend}, {fault:?}");
        let steps: Vec<Step> = (0..CALLERS * CALLS)
            .map(|at| if at % 3 == 2 { Step::Fault(fault) } else { Step::Answer })
            .collect();
        let server = RawServer::start(&steps).await;
        let (gateway, address) = gateway::before(&[server.address()], backend, PATIENT);
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(async move {
                let mut client = RawClient::connect(address).await;
                let mut ends = Vec::new();
                for call in 0..CALLS {
                    let id = format!("{caller}-{call}");
                    let reply = client.call(EMPTY_CALL, &[], id.as_bytes()).await;
                    assert!(reply.error.is_none() && reply.status == 200, "one answer: {reply:?}");
                    ends.push((id, reply.grpc_status() == Some("0")));
                }
                ends
            });
        }
        let ends = callers.join_all().await.concat();
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        let delivered = delivered(&server);
        assert!(delivered.values().all(|times| *times == 1), "{what}: {delivered:?}");
        for (id, ok) in &ends {
            assert!(!ok || delivered.contains_key(id), "{what}: {id} succeeded and was never delivered");
        }
        let failed = ends.iter().filter(|(_, ok)| !ok).count();
        assert!(failed >= CALLERS * CALLS / 4, "{what}: the faults are met: {failed}");
        if let Fault::Reset(_) = fault {
            assert_eq!((failed, delivered.len()), (CALLERS * CALLS / 3, CALLERS * CALLS), "{what}");
        }
        assert_eq!(metric(&gateway, "ringway_calls_total"), ends.len() as u64, "{what}");
    }
}
