//! Records that come in pieces, many in one piece, and empty ones.

use super::{NAME, Site, config};
use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::interop_client as cases;
use crate::support::interop_server::InteropServer;
use crate::support::raw::RawClient;
use crate::support::tunnel::{Tunnel, client_config, connect};
use crate::support::within;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CASE_MAX: Duration = Duration::from_secs(60);

/// A port that forwards to another one, in pieces of at most `cut` bytes, each of which is a packet of its own.
async fn cutting(address: SocketAddr, cut: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let near = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(address).await.expect("it listens");
            far.set_nodelay(true).expect("a socket");
            near.set_nodelay(true).expect("a socket");
            let (mut near_in, near_out) = near.into_split();
            let (mut far_in, far_out) = far.into_split();
            tokio::spawn(async move { forward(&mut near_in, far_out, cut).await });
            tokio::spawn(async move { forward(&mut far_in, near_out, cut).await });
        }
    });
    near
}

async fn forward(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: usize,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        for piece in bytes[..n].chunks(cut) {
            to.write_all(piece).await?;
            tokio::task::yield_now().await;
        }
    }
}

/// A port that forwards single bytes.
pub(crate) async fn single_bytes(address: SocketAddr) -> SocketAddr {
    cutting(address, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_may_be_cut_anywhere_on_the_way() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        for cut in [97, 1_021, 16_405, 40_000] {
            let far = cutting(gateway.listeners()[0], cut).await;
            let tunnel = Tunnel::to_tls(far, client_config(&site.ca.pem(), &["h2"], None), NAME).await;
            let channel = within(CASE_MAX, "connect", cases::connect(tunnel.address)).await;
            within(CASE_MAX, "large_unary", cases::large_unary(&channel)).await;
            within(CASE_MAX, "client_streaming", cases::client_streaming(&channel)).await;
            within(CASE_MAX, "server_streaming", cases::server_streaming(&channel)).await;
            within(CASE_MAX, "concurrent", cases::concurrent_large_unary(&channel, 10)).await;
        }
        assert_eq!(metric(&gateway, "ringway_tls_errors_total"), 0, "{backend}");
    }
}

/// The beginning of HTTP/2, a ping, and its answer, in records of one byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_one_byte_are_as_good_as_one_record() {
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0ringway!";
    let site = Site::new();
    for backend in BACKENDS {
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
        let mut stream = connect(gateway.listeners()[0], &client, NAME).await.expect("it listens");
        let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut pings = 0;
        for round in 0..40 {
            let bytes = if round == 0 { &greeting[..] } else { PING };
            for byte in bytes {
                // Each write is a record.
                stream.write_all(std::slice::from_ref(byte)).await.expect("it takes it");
            }
            stream.flush().await.expect("it takes them");
            pings += usize::from(round > 0);
        }
        let mut got = Vec::new();
        let answers = async {
            while got.windows(8).filter(|bytes| bytes == b"ringway!").count() < pings {
                let mut bytes = [0; 1024];
                let n = stream.read(&mut bytes).await.expect("it goes on");
                assert!(n > 0, "the end, after {} bytes", got.len());
                got.extend_from_slice(&bytes[..n]);
            }
        };
        within(CASE_MAX, "the answers", answers).await;
        assert_eq!(metric(&gateway, "ringway_tls_errors_total"), 0, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_record_ends_the_connection_with_an_alert() {
    let site = Site::new();
    for backend in BACKENDS {
        let gateway = gateway::start(&config(&[([127, 0, 0, 1], 9).into()], backend, &site.listener(""), ""));
        let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
        let mut stream = connect(gateway.listeners()[0], &client, NAME).await.expect("it listens");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it takes it");
        stream.read_exact(&mut [0; 9]).await.expect("its settings");
        let (socket, _) = stream.get_mut();
        socket.write_all(&[23, 3, 3, 0, 40]).await.expect("it takes it");
        socket.write_all(&[7; 40]).await.expect("it takes it");
        let mut rest = Vec::new();
        let error = within(CASE_MAX, "the end", stream.read_to_end(&mut rest)).await.expect_err("an alert");
        assert!(error.to_string().contains("BadRecordMac"), "{backend}: {error}");
        gateway::metric_becomes(&gateway, "ringway_tls_errors_total", 1).await;
        assert!(gateway.metrics().contains("ringway_tls_errors_total{reason=\"malformed\"} 1"));
        // Others are as before.
        let tunnel = Tunnel::to_tls(gateway.listeners()[0], (*client).clone(), NAME).await;
        drop(RawClient::connect(tunnel.address).await);
    }
}

/// A port that forwards to another one over TLS, in records of at most `cut` bytes. After each `refresh` of them the keys
/// are new, and new ones are asked for.
async fn in_records(address: SocketAddr, site: &Site, cut: usize, refresh: Option<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let near = listener.local_addr().expect("it is bound");
    let client = Arc::new(client_config(&site.ca.pem(), &["h2"], None));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = connect(address, &client, NAME).await.expect("it shakes hands");
            near.set_nodelay(true).expect("a socket");
            tokio::spawn(relay(near, far, cut, refresh));
        }
    });
    near
}

async fn relay(
    near: TcpStream,
    mut far: tokio_rustls::client::TlsStream<TcpStream>,
    cut: usize,
    refresh: Option<usize>,
) -> std::io::Result<()> {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut records = 0;
    loop {
        tokio::select! {
            biased;
            n = far.read(&mut down) => match n? {
                0 => return near_out.shutdown().await,
                n => near_out.write_all(&down[..n]).await?,
            },
            n = near_in.read(&mut up) => {
                let n = n?;
                if n == 0 {
                    return far.shutdown().await;
                }
                for piece in up[..n].chunks(cut) {
                    // Each write is a record.
                    far.write_all(piece).await?;
                    records += 1;
                    if refresh.is_some_and(|each| records % each == 0) {
                        far.get_mut().1.refresh_traffic_keys().expect("it is TLS 1.3");
                    }
                }
                far.flush().await?;
            }
        }
    }
}

/// Some 270,000 records of one byte in one direction; and keys that are new after each ten records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_come_in_tiny_records_and_keys_may_change() {
    let site = Site::new();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&config(&[server.address()], backend, &site.listener(""), ""));
        for (cut, refresh) in [(1, None), (1_000, Some(10))] {
            let address = in_records(gateway.listeners()[0], &site, cut, refresh).await;
            let channel = within(CASE_MAX, "connect", cases::connect(address)).await;
            within(CASE_MAX, "large_unary", cases::large_unary(&channel)).await;
            within(CASE_MAX, "ping_pong", cases::ping_pong(&channel)).await;
            within(CASE_MAX, "server_streaming", cases::server_streaming(&channel)).await;
        }
        assert_eq!(metric(&gateway, "ringway_tls_errors_total"), 0, "{backend}");
    }
}
