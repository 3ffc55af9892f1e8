//! The memory of a client connection while nothing is going on. The gateway is a process of its own, with the program's
//! allocator, and the system reports its use.

use std::time::Duration;

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::interop_server::InteropServer;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::within;

/// Connections, and how many there are before anything is measured: what the first ones cost, and what each needs only for
/// its call, is not a cost of each.
const CONNECTIONS: usize = 400;
const BEFORE: usize = 400;
/// Bytes of one, by back-end: with epoll each has futures of its own that receive and send.
const MOST: [usize; 2] = [2560, 5 << 10];

/// So many connections, each after one call.
async fn connect(process: &Process, count: usize) -> Vec<RawClient> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = RawClient::connect(process.listener).await;
        let reply = client.call(EMPTY_CALL, &[("x-tenant", "a name to remember")], b"").await;
        assert_eq!(reply.grpc_status(), Some("0"));
        clients.push(client);
    }
    clients
}

/// Waits until what connections need only for calls is free: nothing was freed for two seconds, and they are looked at each
/// second.
async fn at_rest(process: &Process) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let rest = async {
        let (mut least, mut same) = (u64::MAX, 0);
        while same < 20 {
            looks.tick().await;
            let now = process.metric("ringway_heap_live_bytes").await;
            same = if now + CONNECTIONS as u64 > least { same + 1 } else { 0 };
            least = least.min(now);
        }
    };
    within(Duration::from_secs(20), "the connections rest", rest).await;
}

#[tokio::test]
async fn an_idle_connection_holds_little_memory() {
    for (backend, most) in BACKENDS.into_iter().zip(MOST) {
        let server = InteropServer::start();
        let config = GatewayBuilder::new(&[server.address()], backend).set("workers", 1);
        let process = Process::start(&config.text()).await;
        let _first = connect(&process, BEFORE).await;
        at_rest(&process).await;
        let before = process.memory("VmRSS");
        let _idle = connect(&process, CONNECTIONS).await;
        at_rest(&process).await;
        let each = process.memory("VmRSS").saturating_sub(before) / CONNECTIONS;
        println!("{backend}: {each} bytes");
        assert!(0 < each && each <= most, "{backend}: {each} bytes for each idle connection");
    }
}
