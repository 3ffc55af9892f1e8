//! An upstream that does not read: the gateway holds a bounded part of what a client wants to send. The gateway is a
//! process of its own, whose memory is measured.

use crate::support::gateway::{BACKENDS, gateway_config};
use crate::support::process::Process;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::within;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

const BYTES: usize = 64 << 20;
/// A window of a stream, what may wait to be sent, and sockets' buffers are a few megabytes.
const HELD_BYTES_MAX: usize = 12 << 20;

/// Takes one call, and reads its body only when told to: then all of it, and answers.
async fn reluctant(reads: Arc<Notify>, read: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("descriptors are enough");
        let mut connection = h2::server::handshake(stream).await.expect("it speaks HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (reads, read) = (Arc::clone(&reads), Arc::clone(&read));
            tokio::spawn(async move {
                reads.notified().await;
                let mut body = request.into_body();
                while let Some(piece) = body.data().await {
                    let piece = piece.expect("all of it comes");
                    read.fetch_add(piece.len(), Ordering::Relaxed);
                    body.flow_control().release_capacity(piece.len()).expect("bytes that came");
                }
                let head = http::Response::builder().header("content-type", "application/grpc");
                let head = head.header("grpc-status", "0").body(()).expect("valid");
                respond.send_response(head, true).expect("somebody waits for it");
            });
        }
    });
    address
}

/// Waits until the gateway has received nothing more for a while.
async fn stalled(gateway: &Process) -> u64 {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let look = async {
        let (mut before, mut same) = (0, 0);
        while same < 6 {
            looks.tick().await;
            let now = gateway.metric("ringway_received_bytes_total").await;
            same = if now == before && now > 0 { same + 1 } else { 0 };
            before = now;
        }
        before
    };
    within(Duration::from_secs(20), "the upload stalls", look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_as_fast_as_it_is_read() {
    for backend in BACKENDS {
        let (reads, read) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let upstream = reluctant(Arc::clone(&reads), Arc::clone(&read)).await;
        let gateway = Process::start(&gateway_config(&[upstream], backend, "")).await;
        let mut client = RawClient::connect(gateway.listener).await;
        let before = gateway.memory("VmRSS");
        gateway.forget_peak();

        let mut call = client.open(EMPTY_CALL, &[]).await;
        let frame = raw::message(0, &vec![7; BYTES]);
        let sends = tokio::spawn(async move {
            let mut left = frame;
            while !left.is_empty() {
                let some = call.room(left.len()).await.min(left.len());
                let piece = left.split_to(some);
                call.send(piece, left.is_empty());
            }
            call.reply().await
        });
        let taken = usize::try_from(stalled(&gateway).await).expect("64 bits");
        assert!((1 << 14..HELD_BYTES_MAX).contains(&taken), "{backend}: {taken} bytes taken from the client");
        assert_eq!(read.load(Ordering::Relaxed), 0, "{backend}: the upstream has read nothing");
        let grown = gateway.memory("VmHWM").saturating_sub(before);
        println!("{backend}: {taken} bytes taken, memory grown by {grown}");
        assert!(grown < HELD_BYTES_MAX, "{backend}: {grown} bytes");

        // Nothing of it is lost once it reads, and no more was held on the way.
        reads.notify_one();
        let reply = within(Duration::from_secs(60), "all of the upload", sends).await.expect("no panic");
        assert_eq!(reply.grpc_status(), Some("0"), "{backend}: {reply:?}");
        assert_eq!(read.load(Ordering::Relaxed), BYTES + 5, "{backend}");
        let grown = gateway.memory("VmHWM").saturating_sub(before);
        println!("{backend}: memory grown by {grown} in all");
        assert!(grown < HELD_BYTES_MAX, "{backend}: {grown} bytes");
    }
}
