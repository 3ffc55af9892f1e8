//! Listeners on Unix sockets: their files come and go with them, at a start, by reload and by drain.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listeners::{LISTENER, check, reload, with};
use crate::support::callers::open_call;
use crate::support::gateway::{self, BACKENDS, metric, metric_becomes};
use crate::support::http1::Http1;
use crate::support::interop_server::InteropServer;
use crate::support::pki::{Authority, Folder, names};
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::tunnel::{client_config, connect};
use crate::support::unix::{UnixDoor, free_path};
use ringway::supervisor::{Gateway, StartError};

fn at(path: &Path, keys: &str) -> String {
    format!("[[listeners]]\naddress = \"unix://{}\"\n{keys}\n", path.display())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the socket's file").permissions().mode() & 0o777
}

/// Why a gateway of this configuration does not start.
fn refused(text: &str) -> StartError {
    let config = ringway::config::parse(text, Path::new("test.toml")).expect("a good configuration");
    Gateway::start(config).expect_err("the address is taken")
}

#[tokio::test]
async fn json_is_served_over_a_unix_socket() {
    for backend in BACKENDS {
        let (demo, path) = (ringway::demo::start().expect("the demo services"), free_path());
        let listen = format!("unix://{}", path.display());
        let text = demo.config(&listen, "127.0.0.1:0");
        let text = format!("{text}\n[io]\nbackend = \"{backend}\"\non_unavailable = \"fail\"\n");
        let starting = tokio::task::spawn_blocking(move || gateway::start(&text));
        let gateway = starting.await.expect("no panic");
        let door = UnixDoor::start(&path).await;
        let answer = Http1::connect(door.address()).await.ask("GET /v1/employees/1", &[], b"").await;
        assert_eq!(answer.status, 200, "{backend}: {answer:?}");
        assert!(answer.json().get("employeeId").is_some(), "{backend}: {answer:?}");
        let mut admin = Http1::connect(gateway.admin()).await;
        let explained = admin.ask("GET /routes?explain=/a.A/B&client=10.0.0.1", &[], b"").await;
        assert!(explained.text().contains(&listen), "{explained:?}");
        let document = admin.ask("GET /openapi.json", &[], b"").await;
        assert_eq!(document.json()["servers"], serde_json::json!([]), "a Unix socket has no URL");
    }
}

#[tokio::test]
async fn the_file_has_its_mode_and_a_reload_changes_it() {
    for backend in BACKENDS {
        let (server, path) = (InteropServer::start(), free_path());
        let text = |keys: &str| with(&server, backend, &at(&path, keys));
        let mut gateway = gateway::start(&text("mode = \"0600\""));
        assert_eq!(mode(&path), 0o600);
        reload(&mut gateway, &text("mode = \"0660\"")).expect("it is taken");
        assert_eq!(mode(&path), 0o660);
        let door = UnixDoor::start(&path).await;
        check(&RawClient::connect(door.address()).await.call(EMPTY_CALL, &[], b"").await);
    }
}

#[tokio::test]
async fn a_dead_gateway_is_replaced_and_a_live_one_is_not() {
    for backend in BACKENDS {
        let (server, path) = (InteropServer::start(), free_path());
        let text = with(&server, backend, &at(&path, ""));
        // The file of a process that was killed.
        drop(UnixListener::bind(&path).expect("a free path"));
        assert!(path.exists());
        let gateway = gateway::start(&text);
        let error = refused(&text);
        assert!(
            matches!(&error, StartError::Bind(at, error)
                if at.to_string().starts_with("unix:///") && error.kind() == ErrorKind::AddrInUse),
            "{error}"
        );
        assert!(error.to_string().contains("another process listens there"), "{error}");
        let door = UnixDoor::start(&path).await;
        check(&RawClient::connect(door.address()).await.call(EMPTY_CALL, &[], b"").await);
        drop(gateway);

        fs::write(&path, "kept").expect("a file");
        let error = refused(&text).to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), "kept");
        fs::remove_file(&path).expect("the file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_opens_and_closes_one_and_its_calls_end_in_peace() {
    for backend in BACKENDS {
        let (server, path) = (InteropServer::start(), free_path());
        let (one, two) = (with(&server, backend, LISTENER), at(&path, ""));
        let both = with(&server, backend, &format!("{two}{LISTENER}"));
        let mut gateway = gateway::start(&one);
        for round in 0..3 {
            let said = reload(&mut gateway, &both).expect("it is taken");
            assert!(said.ends_with("; listeners: 1 added"), "{said}");
            let door = UnixDoor::start(&path).await;
            for _ in 0..8 {
                check(&RawClient::connect(door.address()).await.call(EMPTY_CALL, &[], b"").await);
            }
            let mut leaving = RawClient::connect(door.address()).await;
            let begun = open_call(&mut leaving, &server).await;
            // These may still wait to be accepted when their listener goes.
            let waiting: Vec<UnixStream> =
                (0..8).map(|_| UnixStream::connect(&path).expect("it listens")).collect();

            let said = reload(&mut gateway, &one).expect("it is taken");
            assert!(said.ends_with("; listeners: 1 removed"), "{said}");
            assert!(!path.exists(), "{backend}, round {round}");
            let mut call = begun;
            call.send(raw::message(0, b""), true);
            check(&call.reply().await);
            leaving.closed().await;
            drop(waiting);
            metric_becomes(&gateway, "ringway_connections_active", 0).await;
        }
        check(&RawClient::connect(gateway.listeners()[0]).await.call(EMPTY_CALL, &[], b"").await);
        assert_eq!(metric(&gateway, "ringway_accept_errors_total"), 0, "{backend}");
        assert_eq!(metric(&gateway, "ringway_panics_total"), 0, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_removes_the_file_and_ends_calls_in_peace() {
    for backend in BACKENDS {
        let (server, path) = (InteropServer::start(), free_path());
        let gateway = gateway::start(&with(&server, backend, &at(&path, "")));
        let door = UnixDoor::start(&path).await;
        let mut client = RawClient::connect(door.address()).await;
        let mut call = open_call(&mut client, &server).await;
        gateway.drain();
        assert!(!path.exists(), "{backend}");
        let refused = UnixStream::connect(&path).expect_err("it is gone");
        assert_eq!(refused.kind(), ErrorKind::NotFound, "{backend}");
        // A new gateway may have the path while this one drains.
        let next = gateway::start(&with(&server, backend, &at(&path, "")));
        call.send(raw::message(0, b""), true);
        check(&call.reply().await);
        client.closed().await;
        let ended = tokio::task::spawn_blocking(move || gateway.join()).await.expect("no panic");
        assert_eq!((ended.calls_cut, ended.workers_lost), (0, 0), "{backend}");
        assert!(path.exists(), "{backend}: it is the next one's");
        check(&RawClient::connect(door.address()).await.call(EMPTY_CALL, &[], b"").await);
        drop(next);
        assert!(!path.exists(), "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_over_a_unix_socket() {
    for backend in BACKENDS {
        let (folder, ca) = (Folder::new("unix"), Authority::new("root"));
        let identity = ca.issue(&names(&["one.example.org"]));
        let files: [PathBuf; 2] = ["crt", "key"].map(|end| folder.path().join(format!("one.{end}")));
        fs::write(&files[0], &identity.chain).expect("a file");
        fs::write(&files[1], &identity.key).expect("a file");
        let [chain, key] = &files;
        let tls = format!(
            "[listeners.tls]\n[[listeners.tls.tls_certificates]]\ncertificate_chain = {chain:?}\nprivate_key = {key:?}\n"
        );
        let (server, path) = (InteropServer::start(), free_path());
        let _gateway = gateway::start(&with(&server, backend, &at(&path, &tls)));
        let door = UnixDoor::start(&path).await;
        let client = Arc::new(client_config(&ca.pem(), &["h2"], None));
        assert!(connect(door.address(), &client, "one.example.org").await.is_ok(), "{backend}");
        assert!(connect(door.address(), &client, "two.example.org").await.is_err(), "{backend}");
    }
}
