//! Over TLS the library allocates once for each record that comes, and once for each that goes. Nothing else does.

use super::calls::{connect, echo, run};
use crate::at_rest;
use crate::support::gateway::GatewayBuilder;
use crate::support::pki::{Authority, Folder, names};
use crate::support::tunnel::{Tunnel, client_config};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const WARM_UP: usize = 1_000;
const CALLS: usize = 4_000;
/// Lists and pools may grow once more.
const SLACK: u64 = CALLS as u64 / 100;

#[test]
fn a_call_over_tls_allocates_for_its_records_alone() {
    let _alone = crate::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the client and the upstream");
    let upstream = runtime.block_on(echo());
    let (folder, ca) = (Folder::new("allocations"), Authority::new("root"));
    let identity = ca.issue(&names(&["api.example.org"]));
    let tls = format!(
        "[[listeners.tls.tls_certificates]]\ncertificate_chain = \"{}\"\nprivate_key = \"{}\"\n",
        folder.write("server.crt", &identity.chain),
        folder.write("server.key", &identity.key)
    );
    for backend in ["io_uring", "epoll"] {
        let gateway = GatewayBuilder::new(&[upstream], backend).set("workers", 1).listener(&tls).start();
        let records = Arc::<[AtomicU64; 2]>::default();
        let counted = runtime.block_on(count_records(gateway.listeners()[0], Arc::clone(&records)));
        let client = client_config(&ca.pem(), &["h2"], None);
        let tunnel = runtime.block_on(Tunnel::to_tls(counted, client, "api.example.org"));
        let client = runtime.block_on(connect(tunnel.address));
        // First calls that share records, and then calls that do not.
        for lanes in [20, 1] {
            run(&runtime, &client, WARM_UP, lanes, "none");
            let now = || records.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
            let (before, records_before) = (runtime.block_on(at_rest(&gateway)), now());
            run(&runtime, &client, CALLS, lanes, "none");
            let allocations = runtime.block_on(at_rest(&gateway)) - before;
            let [came, went] = [0, 1].map(|way| now()[way] - records_before[way]);
            println!(
                "{backend}, {lanes} at once: {allocations} allocations for {came} records in, {went} out"
            );
            assert!(0 < came && 0 < went && allocations <= came + went + SLACK);
        }
        drop((client, gateway));
    }
}

/// A port that forwards to this one, and counts the records that pass to it and back.
async fn count_records(to: SocketAddr, records: Arc<[AtomicU64; 2]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.expect("the gateway listens");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a socket takes its options");
            }
            let (near, far) = (near.into_split(), far.into_split());
            tokio::spawn(forward(near.0, far.1, Arc::clone(&records), 0));
            tokio::spawn(forward(far.0, near.1, Arc::clone(&records), 1));
        }
    });
    address
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, records: Arc<[AtomicU64; 2]>, way: usize) {
    let mut waiting = Vec::new();
    let mut bytes = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut bytes).await
        && length > 0
    {
        waiting.extend_from_slice(&bytes[..length]);
        let mut at = 0;
        while let Some([_, _, _, high, low]) = waiting.get(at..at + 5) {
            let end = at + 5 + usize::from(u16::from_be_bytes([*high, *low]));
            if waiting.len() < end {
                break;
            }
            at = end;
            records[way].fetch_add(1, Ordering::Relaxed);
        }
        waiting.drain(..at);
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
