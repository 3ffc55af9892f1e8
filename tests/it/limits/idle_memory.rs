//! The memory of a client connection while nothing is going on. The gateway is a process of its own, with the program's
//! allocator, and the system reports its use.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::interop_server::InteropServer;
use crate::support::process::Process;
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::tunnel::{self, client_config};
use crate::support::within;
use crate::tls::{NAME, Site};

/// Connections, and how many there are before anything is measured: what the first ones cost, and what each needs only for
/// its call, is not a cost of each.
const CONNECTIONS: usize = 400;
const BEFORE: usize = 400;
/// Bytes of one, by back-end: with epoll each has futures of its own that receive and send. First as they are asked for,
/// and then by pages, which also have what the library for ciphers asks of the system, and vary by up to a KiB.
const MOST: [[usize; 2]; 2] = [[1800, 3 << 10], [3300, 5 << 10]];
/// More bytes of one over TLS.
const MORE: [usize; 2] = [2600, 4 << 10];

/// So many connections, each after one call.
async fn connect(process: &Process, secure: Option<&Arc<ClientConfig>>, count: usize) -> Vec<RawClient> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = match secure {
            None => RawClient::connect(process.listener).await,
            Some(settings) => {
                let stream =
                    tunnel::connect(process.listener, settings, NAME).await.expect("it shakes hands");
                RawClient::over(stream).await.expect("it speaks HTTP/2")
            }
        };
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

/// Bytes of one more idle connection at a fresh gateway: as they were asked for, and by pages.
async fn measure(config: &GatewayBuilder, secure: Option<&Arc<ClientConfig>>) -> [usize; 2] {
    let process = Process::start(&config.text()).await;
    let held = async || {
        let heap = process.metric("ringway_heap_live_bytes").await;
        [usize::try_from(heap).expect("a number of bytes"), process.memory("VmRSS")]
    };
    let _first = connect(&process, secure, BEFORE).await;
    at_rest(&process).await;
    let before = held().await;
    let _idle = connect(&process, secure, CONNECTIONS).await;
    at_rest(&process).await;
    let after = held().await;
    [0, 1].map(|kind| after[kind].saturating_sub(before[kind]) / CONNECTIONS)
}

#[tokio::test]
async fn an_idle_connection_holds_little_memory() {
    let site = Site::new();
    let client = Arc::new(client_config(&site.ca_pem(), &["h2"], None));
    for (backend, most) in BACKENDS.into_iter().zip(MOST) {
        let server = InteropServer::start();
        let config = GatewayBuilder::new(&[server.address()], backend).set("workers", 1);
        let with_tls = config.clone().listener(&site.listener(""));
        let (plain, secure) = tokio::join!(measure(&config, None), measure(&with_tls, Some(&client)));
        println!("{backend}: {plain:?} bytes, {secure:?} over TLS");
        for (kind, counted) in ["asked for", "by pages"].into_iter().enumerate() {
            let (plain, more) = (plain[kind], secure[kind].saturating_sub(plain[kind]));
            assert!(0 < plain && plain <= most[kind], "{backend}: {plain} bytes {counted}");
            assert!(0 < more && more <= MORE[kind], "{backend}: {more} more bytes over TLS, {counted}");
        }
    }
}
