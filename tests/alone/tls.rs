//! TLS under load: certificates that change, handshakes that are slow, and handshakes that are many. What calls notice of
//! it is bounded.
//!
//! Counts are small here, for the program is a debug build and the machine may be busy, and one back-end is asked;
//! `RINGWAY_FULL=1 cargo test --release --test alone tls::` asks both, and has 5,000 calls a second, 2,000 slow
//! handshakes, and 2,000 handshakes a second.
#![allow(clippy::disallowed_methods, reason = "a test measures how long something takes")]

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::gateway::GatewayBuilder;
use crate::support::interop_server::InteropServer;
use crate::support::open_loop::{OpenLoop, Outcome, latencies};
use crate::support::pki::{Authority, Folder, Identity, names};
use crate::support::process::Process;
use crate::support::tunnel::{Tunnel, client_config, connect};
use crate::support::within;
use crate::{backends, either};

const NAME: &str = "api.example.org";
const DEADLINE: Duration = Duration::from_secs(10);

/// More than twice or three times what calls took before is noise up to this, on a machine that others use.
const NOISE: Duration = Duration::from_millis(50);

/// Certificates as Kubernetes mounts them: the files are links into a folder that is a link.
struct Mounted {
    folder: Folder,
    ca: Authority,
}

impl Mounted {
    fn new() -> Mounted {
        let mounted = Mounted { folder: Folder::new("mounted"), ca: Authority::new("root") };
        mounted.swap("..1", &mounted.issue());
        for file in ["server.crt", "server.key"] {
            symlink(format!("..data/{file}"), mounted.path(file)).expect("a link");
        }
        mounted
    }

    fn issue(&self) -> Identity {
        self.ca.issue(&names(&[NAME]))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Makes another folder, and lets the link lead there at once.
    fn swap(&self, version: &str, identity: &Identity) {
        std::fs::create_dir(self.path(version)).expect("a folder");
        self.write(version, identity);
        symlink(version, self.path("..next")).expect("a link");
        std::fs::rename(self.path("..next"), self.path("..data")).expect("a link");
    }

    fn write(&self, to: &str, identity: &Identity) {
        std::fs::write(self.path(to).join("server.crt"), &identity.chain).expect("a file");
        std::fs::write(self.path(to).join("server.key"), &identity.key).expect("a file");
    }

    /// The tables of a listener.
    fn listener(&self) -> String {
        format!(
            "[listeners.tls]\n[[listeners.tls.tls_certificates]]\ncertificate_chain = {:?}\nprivate_key = {:?}\n",
            self.path("server.crt"),
            self.path("server.key")
        )
    }

    /// A client that shakes hands in full each time.
    fn client(&self) -> Arc<ClientConfig> {
        let mut settings = client_config(&self.ca.pem(), &["h2"], None);
        settings.resumption = Resumption::disabled();
        Arc::new(settings)
    }

    /// Calls over TLS.
    async fn load(&self, process: &Process, rate: u32) -> (Tunnel, OpenLoop) {
        let settings = client_config(&self.ca.pem(), &["h2"], None);
        let tunnel = Tunnel::to_tls(process.listener, settings, NAME).await;
        let load = OpenLoop::start(tunnel.address, rate, DEADLINE).await;
        (tunnel, load)
    }
}

#[track_caller]
fn all_are_ok(outcomes: &[Outcome]) {
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_ok()).collect();
    assert!(failed.is_empty(), "{} of {} calls failed: {:?}", failed.len(), outcomes.len(), failed[0]);
}

/// The time within which 99 of 100 of these calls had ended.
fn p99<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Duration {
    let took = latencies(outcomes);
    took[took.len() * 99 / 100]
}

/// Waits until new connections get this certificate at every worker; gives how long any got another.
async fn becomes(process: &Process, client: &Arc<ClientConfig>, wanted: &Identity) -> Duration {
    let wanted = CertificateDer::from_pem_slice(wanted.chain.as_bytes()).expect("PEM");
    let (begun, mut last, mut in_a_row) = (Instant::now(), Duration::ZERO, 0);
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let look = async {
        while in_a_row < 16 {
            looks.tick().await;
            let asked = begun.elapsed();
            let stream = connect(process.listener, client, NAME).await.expect("it shakes hands");
            let chain = stream.get_ref().1.peer_certificates().expect("it has one");
            if chain[0] == wanted {
                in_a_row += 1;
            } else {
                (in_a_row, last) = (0, asked);
            }
        }
    };
    within(Duration::from_secs(20), "another certificate", look).await;
    last
}

async fn metric_is(process: &Process, family: &str, wanted: u64) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let look = async {
        while process.metric(family).await != wanted {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(10), family, look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_within_two_seconds_and_no_call_fails() {
    let _alone = crate::alone();
    for backend in backends() {
        let (mounted, server) = (Mounted::new(), InteropServer::start());
        let config = GatewayBuilder::new(&[server.address()], backend).listener(&mounted.listener());
        let process = Process::start(&config.set("overload.max_loop_delay", "0s").text()).await;
        let (_tunnel, load) = mounted.load(&process, either(200, 5_000)).await;
        let client = mounted.client();
        let mut times = Vec::new();

        let in_place = mounted.issue();
        mounted.write("..data", &in_place);
        times.push(becomes(&process, &client, &in_place).await);

        let renamed = mounted.issue();
        std::fs::create_dir(mounted.path("next")).expect("a folder");
        mounted.write("next", &renamed);
        for file in ["server.crt", "server.key"] {
            let to = mounted.path("..data").join(file);
            std::fs::rename(mounted.path("next").join(file), to).expect("it is there");
        }
        times.push(becomes(&process, &client, &renamed).await);

        let swapped = mounted.issue();
        mounted.swap("..2", &swapped);
        times.push(becomes(&process, &client, &swapped).await);

        // The key of another certificate, half a certificate, and none at all.
        let (data, other) = (mounted.path("..data"), mounted.issue());
        std::fs::write(data.join("server.key"), &other.key).expect("a file");
        metric_is(&process, "ringway_certificate_good", 0).await;
        assert_eq!(becomes(&process, &client, &swapped).await, Duration::ZERO, "{backend}: it stays");
        mounted.write("..data", &swapped);
        metric_is(&process, "ringway_certificate_good", 1).await;
        std::fs::write(data.join("server.crt"), &swapped.chain[..200]).expect("a file");
        metric_is(&process, "ringway_certificate_good", 0).await;
        std::fs::remove_file(data.join("server.crt")).expect("a file");
        metric_is(&process, "ringway_config_files_missing", 1).await;
        assert_eq!(becomes(&process, &client, &swapped).await, Duration::ZERO, "{backend}: it stays");
        let last = mounted.issue();
        mounted.write("..data", &last);
        times.push(becomes(&process, &client, &last).await);
        metric_is(&process, "ringway_certificate_good", 1).await;
        metric_is(&process, "ringway_config_files_missing", 0).await;

        let outcomes = load.stop().await;
        println!("{backend}: {} calls; the old one was served for {times:?}", outcomes.len());
        all_are_ok(&outcomes);
        // Two seconds, and what a busy machine takes to get round to it.
        assert!(times.iter().all(|time| *time < Duration::from_millis(2_500)), "{backend}: {times:?}");
    }
}

/// Sends the beginning of a ClientHello byte by byte, one a second. Gives how long it was let.
async fn slow_handshake(process: std::net::SocketAddr) -> Duration {
    const HELLO: [u8; 48] = {
        let mut hello = [7; 48];
        let head = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        let mut at = 0;
        while at < head.len() {
            hello[at] = head[at];
            at += 1;
        }
        hello
    };
    let mut stream = TcpStream::connect(process).await.expect("it listens");
    let begun = Instant::now();
    let mut answer = [0; 64];
    for byte in HELLO {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            break;
        }
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_are_cut_and_cost_little() {
    let _alone = crate::alone();
    let (slow, rate) = (either(300, 2_000), either(100, 2_000));
    let timeout = Duration::from_secs(3);
    for backend in backends() {
        let (mounted, server) = (Mounted::new(), InteropServer::start());
        let config = GatewayBuilder::new(&[server.address()], backend)
            .set("listeners.handshake_timeout", "3s")
            .set("overload.max_loop_delay", "0s")
            .listener(&mounted.listener());
        let process = Process::start(&config.text()).await;
        let (_tunnel, load) = mounted.load(&process, rate).await;
        load.go_on(Duration::from_secs(2)).await;
        let (begun, before) = (load.elapsed(), process.memory("VmRSS"));
        let (mut all, mut ticks) = (JoinSet::new(), tokio::time::interval(Duration::from_secs(1) / slow));
        for _ in 0..slow {
            ticks.tick().await;
            all.spawn(slow_handshake(process.listener));
        }
        load.go_on(Duration::from_secs(1)).await;
        let each = process.memory("VmRSS").saturating_sub(before) / slow as usize;
        let times = all.join_all().await;
        let ended = load.elapsed();
        let outcomes = load.stop().await;
        all_are_ok(&outcomes);
        let (calm, busy) = (
            p99(outcomes.iter().filter(|outcome| outcome.at < begun)),
            p99(outcomes.iter().filter(|outcome| (begun..ended).contains(&outcome.at))),
        );
        let longest = times.iter().max().expect("there are some");
        let shortest = times.iter().min().expect("there are some");
        println!(
            "{backend}: {slow} of {each} bytes, {shortest:?} to {longest:?}; p99 {calm:?}, then {busy:?}"
        );
        assert!(
            timeout - Duration::from_secs(1) <= *shortest && *longest <= timeout + Duration::from_secs(2)
        );
        assert!(each < 20 << 10, "{backend}: {each} bytes");
        assert!(busy <= calm * 2 + NOISE, "{backend}: {calm:?}, then {busy:?}");
        assert_eq!(process.metric("ringway_handshake_timeouts_total").await, u64::from(slow));

        // A ClientHello of 16 KiB is a good one.
        let protocols: Vec<String> = (0..63).map(|number| format!("{number:0>250}")).collect();
        let mut offered: Vec<&str> = protocols.iter().map(String::as_str).collect();
        offered.push("h2");
        let large = Arc::new(client_config(&mounted.ca.pem(), &offered, None));
        let stream = connect(process.listener, &large, NAME).await.expect("it shakes hands");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_fails_no_call() {
    let _alone = crate::alone();
    let (storm, rate, span) = (either(50, 2_000), either(200, 2_000), Duration::from_secs(2));
    for backend in backends() {
        let (mounted, server) = (Mounted::new(), InteropServer::start());
        let config = GatewayBuilder::new(&[server.address()], backend)
            .set("workers", 1)
            .set("overload.max_loop_delay", "0s")
            .listener(&mounted.listener());
        let process = Process::start(&config.text()).await;
        let (_tunnel, load) = mounted.load(&process, rate).await;
        load.go_on(span).await;
        let (begun, client) = (load.elapsed(), mounted.client());
        let mut shaking = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / storm);
        while load.elapsed() < begun + span {
            ticks.tick().await;
            let (listener, client) = (process.listener, Arc::clone(&client));
            shaking.spawn(async move { connect(listener, &client, NAME).await.map(drop) });
        }
        let ended = load.elapsed();
        let made = shaking.len();
        let results = shaking.join_all().await;
        let outcomes = load.stop().await;
        all_are_ok(&outcomes);
        assert!(results.iter().all(Result::is_ok), "{backend}: {results:?}");
        let (calm, busy) = (
            p99(outcomes.iter().filter(|outcome| outcome.at < begun)),
            p99(outcomes.iter().filter(|outcome| (begun..ended).contains(&outcome.at))),
        );
        println!("{backend}: {made} handshakes in {span:?}; p99 {calm:?}, then {busy:?}");
        assert!(busy <= calm * 3 + NOISE, "{backend}: {calm:?}, then {busy:?}");
    }
}
