//! The files that go with the table of knobs: the documentation, the examples, the one of the measurements.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::{self as config, Backend, Workers, knobs};
use super::parsed;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_documentation_is_the_table_of_knobs() {
    let path = in_repository("docs/CONFIG.md");
    let wanted = knobs::markdown();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == wanted, "docs/CONFIG.md is out of date: run UPDATE=1 cargo test --lib config");
}

#[test]
fn the_examples_parse_and_show_the_defaults() {
    let minimal = config::load(&in_repository("examples/minimal.toml")).unwrap();
    let full = config::load(&in_repository("examples/ringway.toml")).unwrap();
    assert_eq!(full.workers, minimal.workers);
    assert_eq!(full.io, minimal.io);
    assert_eq!(full.admin, minimal.admin);
    assert_eq!(full.drain_timeout, minimal.drain_timeout);
    assert_eq!(full.dns, minimal.dns);
    assert!(minimal.files.is_empty() && full.files.len() == 3, "{:?}", full.files);
    assert!(full.files.iter().all(|file| file.is_file()), "{:?}", full.files);
    let mut listeners = full.listeners.clone();
    listeners[0].cors = minimal.listeners[0].cors.clone();
    // It is off where it is not written down.
    assert!(listeners[0].proxy_protocol.take().is_some());
    let unix = listeners.pop().expect("a second listener");
    assert_eq!((unix.address.to_string().as_str(), unix.mode), ("unix:///tmp/ringway.sock", Some(0o660)));
    assert_eq!(listeners, minimal.listeners);
    let service = full.routes.iter().find(|route| route.name == "service:bench.v1.Echo").unwrap();
    assert_eq!(service.timeout, minimal.routes[0].timeout);
    assert_eq!(service.idle_timeout, minimal.routes[0].idle_timeout);
    assert_eq!(service.max_stream_duration, minimal.routes[0].max_stream_duration);
    let mut echo = full.clusters[0].clone();
    echo.endpoints.truncate(1);
    echo.methods.clear();
    echo.route_breakers.clear();
    // These are off where they are not written down.
    assert!(echo.service_config.take().is_some_and(|config| config.methods.len() == 2));
    assert!(echo.adaptive_timeout.take().is_some() && echo.health_checks.take().is_some());
    assert_eq!(echo.timeout.take(), minimal.routes[0].timeout);
    assert_eq!(echo, minimal.clusters[0]);
}

#[test]
fn the_full_example_sets_every_key() {
    let text =
        ["ringway", "tls"].map(|name| fs::read_to_string(in_repository(&format!("examples/{name}.toml"))));
    let text = text.map(Result::unwrap).concat();
    for knob in knobs::KNOBS.iter().filter(|knob| !matches!(knob.kind, knobs::Kind::Later { .. })) {
        let name = knob.name();
        let forms = [format!("\n{name} = "), format!(" {name} = "), format!("[{}]", knob.key)];
        assert!(
            forms.iter().any(|form| text.contains(form)),
            "{} is not in examples/ringway.toml or tls.toml",
            knob.key
        );
    }
}

#[test]
fn the_file_of_the_measurements_parses() {
    // measure/ringway.sh writes this.
    let text = r#"
workers = 1
[io]
backend = "epoll"
[admin]
address = "127.0.0.1:9901"
[[listeners]]
address = "127.0.0.1:18080"
[listeners.http2]
max_concurrent_streams = 1024
[[routes]]
match = { prefix = "/" }
cluster = "echo"
[[clusters]]
name = "echo"
endpoints = ["127.0.0.1:50051"]
max_requests = 100000
max_pending_requests = 100000
[clusters.pool]
max_streams_per_connection = 10000
"#;
    let config = parsed(text);
    assert_eq!(config.workers, Workers::Count(1));
    assert_eq!(config.io.backend, Backend::Epoll);
    assert_eq!(config.listeners[0].http2.max_concurrent_streams, 1024);
    assert_eq!(config.clusters[0].max_requests, 100_000);
    assert_eq!(config.clusters[0].pool.max_streams_per_connection, 10_000);

    let with_descriptors = format!("{text}[transcoding]\ndescriptor_sets = [\"bench.protoset\"]\n");
    assert_eq!(parsed(&with_descriptors).transcoding.descriptor_sets, [PathBuf::from("bench.protoset")]);
}

/// A file that is there until the value is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("ringway-{}-{name}.toml", std::process::id()));
        fs::write(&path, bytes)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_like_others() {
    let missing = config::load(Path::new("/nowhere/ringway.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/ringway.toml: cannot be read: No such file"), "{missing}");

    let latin = Scratch::new("latin", b"# one\nworkers = 1 # \xfcber\n").unwrap();
    let error = config::load(&latin.0).unwrap_err().to_string();
    assert!(error.ends_with(":2:15: not valid TOML: not UTF-8 (save the file as UTF-8)"), "{error}");

    let endless = config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(endless, "/dev/zero: too large: must be at most 16MiB");
}
