//! Descriptors that change while the gateway runs: every worker takes the new API over, no request fails, and what is
//! bad changes nothing.
#![allow(clippy::disallowed_methods, reason = "a test measures how long a change takes")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use crate::support::library::{Library, Scratch, numbered};
use crate::support::process::Process;
use crate::support::web::{Caller, VERSIONS, Version};
use crate::support::within;
use ringway::supervisor::Gateway;
use tokio::task::JoinSet;

/// The promised time, and what a busy machine takes to get round to it.
const SOON: Duration = Duration::from_secs(3);
/// The time that a test waits on a machine that is busy with other things.
const AT_MOST: Duration = Duration::from_secs(30);
/// A caller makes a call so often: all the time there is one under way, and the machine has time for the reload.
const PAUSE: Duration = Duration::from_millis(5);
/// Connections that look at each change; both workers have some of them.
const LOOKERS: usize = 16;

/// Callers that never stop, of a method that is always there.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(address: std::net::SocketAddr) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for version in VERSIONS.into_iter().cycle().take(4) {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let mut caller = Caller::connect(version, address).await;
                let mut turns = tokio::time::interval(PAUSE);
                while !stop.load(Ordering::Relaxed) {
                    turns.tick().await;
                    let answer = caller.ask("GET /v1/shelves/a/books/b", &[], b"").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, done, tasks }
    }

    /// Ends it; tells how many calls there were. Panics if one failed.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        within(Duration::from_secs(5), "the callers stop", self.tasks.join_all()).await;
        self.done.load(Ordering::Relaxed)
    }
}

/// Waits until each of the callers reaches this number's path, and no longer that of another.
async fn all_see(callers: &mut [Caller], number: u32, not: u32) -> Duration {
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let see = async {
        for caller in callers {
            loop {
                let answer = caller.ask(&format!("REPORT /v1/reports/{number}"), &[], b"").await;
                if answer.status == 200 {
                    break;
                }
                assert_eq!(answer.status, 404, "{answer:?}");
                looks.tick().await;
            }
            assert_eq!(caller.ask(&format!("REPORT /v1/reports/{not}"), &[], b"").await.status, 404);
        }
    };
    within(AT_MOST, "all workers have the new API", see).await;
    began.elapsed()
}

fn start(library: &Library, backend: &str, path: &Path) -> Gateway {
    gateway::before(&[library.address()], backend, &format!("[transcoding]\ndescriptor_sets = [{path:?}]\n"))
        .0
}

fn link(to: &Path, at: &Path) {
    let aside = at.with_extension("new");
    std::os::unix::fs::symlink(to, &aside).expect("a link");
    fs::rename(&aside, at).expect("it is put in place of the other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_over_by_all_workers() {
    for backend in BACKENDS {
        let library = Library::start();
        let scratch = Scratch::new();
        // As config maps are mounted: the name is a link into a folder that is itself a link.
        for number in [1, 2] {
            fs::create_dir(scratch.0.join(format!("data-{number}"))).expect("a folder");
        }
        let (mounted, data) = (scratch.0.join("api.protoset"), scratch.0.join("data"));
        fs::write(scratch.0.join("data-1/api.protoset"), numbered(&scratch, 1)).expect("a file");
        link(Path::new("data-1"), &data);
        link(Path::new("data/api.protoset"), &mounted);
        let gateway = start(&library, backend, &mounted);
        let address = gateway.listeners()[0];
        let mut callers = Vec::new();
        for _ in 0..LOOKERS {
            callers.push(Caller::connect(Version::Http1, address).await);
        }
        all_see(&mut callers, 1, 2).await;
        let load = Load::start(address);

        // The link of the folder is swapped.
        fs::write(scratch.0.join("data-2/api.protoset"), numbered(&scratch, 2)).expect("a file");
        link(Path::new("data-2"), &data);
        let swapped = all_see(&mut callers, 2, 1).await;
        // The file is written in place.
        fs::write(scratch.0.join("data-2/api.protoset"), numbered(&scratch, 3)).expect("a file");
        let in_place = all_see(&mut callers, 3, 2).await;
        // Another is renamed over it.
        fs::write(scratch.0.join("next"), numbered(&scratch, 4)).expect("a file");
        fs::rename(scratch.0.join("next"), &mounted).expect("it is put in place of the link");
        let renamed = all_see(&mut callers, 4, 3).await;
        println!("{backend}: swapped {swapped:?}, in place {in_place:?}, renamed {renamed:?}");
        assert!(swapped.min(in_place).min(renamed) <= SOON, "{swapped:?} {in_place:?} {renamed:?}");

        let page = gateway.metrics();
        assert!(page.contains("ringway_transcoding_loads_total{result=\"ok\"} 4\n"), "{page}");
        assert!(page.contains("ringway_transcoding_loads_total{result=\"error\"} 0\n"), "{page}");
        let calls = load.stop().await;
        println!("{backend}: {calls} calls meanwhile, none failed");
        assert!(calls > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_and_is_told() {
    for backend in BACKENDS {
        let library = Library::start();
        let scratch = Scratch::new();
        let path = scratch.0.join("api.protoset");
        fs::write(&path, numbered(&scratch, 1)).expect("a file");
        let gateway = start(&library, backend, &path);
        let mut callers = vec![Caller::connect(Version::Http2, gateway.listeners()[0]).await];
        let load = Load::start(gateway.listeners()[0]);
        let errors = |gateway: &Gateway| {
            let page = gateway.metrics();
            let line = page
                .lines()
                .find(|line| line.starts_with("ringway_transcoding_loads_total{result=\"error\"}"));
            line.and_then(|line| line.rsplit_once(' ')).map(|(_, count)| count.to_owned()).expect("a line")
        };

        let good = numbered(&scratch, 2);
        // Junk, half of a file, and none at all.
        for (count, bad) in [Some(&b"junk"[..]), Some(&good[..good.len() / 2]), None].into_iter().enumerate()
        {
            match bad {
                Some(bytes) => fs::write(&path, bytes).expect("a file"),
                None => fs::remove_file(&path).expect("it is there"),
            }
            let mut looks = tokio::time::interval(Duration::from_millis(10));
            let told = async {
                while errors(&gateway) != (count + 1).to_string() {
                    looks.tick().await;
                }
            };
            within(AT_MOST, "the failure is counted", told).await;
            assert_eq!(metric(&gateway, "ringway_transcoding_descriptors_good"), 0);
            all_see(&mut callers, 1, 2).await;
        }
        fs::write(&path, good).expect("a file");
        all_see(&mut callers, 2, 1).await;
        metric_becomes(&gateway, "ringway_transcoding_descriptors_good", 1).await;
        assert!(load.stop().await > 0);
    }
}

/// Source files are compiled again when they change, those they import too; what is wrong is logged with its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_source_is_compiled_again_and_a_bad_one_is_told() {
    let library = Library::start();
    let scratch = Scratch::new();
    let text = fs::read_to_string("tests/protos/library.proto").expect("it is there");
    let text =
        text.replace("import \"google/api/httpbody", "import \"more.proto\";\nimport \"google/api/httpbody");
    let (source, more) = (scratch.0.join("library.proto"), scratch.0.join("more.proto"));
    let write = |number: u32| {
        let text = text.replace("\"/v1/reports\"", &format!("\"/v1/reports/{number}\""));
        fs::write(&source, text).expect("a file");
    };
    let more_of = |path: &str| {
        let head = "syntax = \"proto3\";\npackage test.web.v1;\nimport \"google/api/annotations.proto\";\n";
        let rule = format!("option (google.api.http) = {{ get: \"{path}\" }};");
        fs::write(
            &more,
            format!("{head}message M {{}}\nservice More {{ rpc Get(M) returns (M) {{ {rule} }} }}\n"),
        )
        .expect("a file");
    };
    write(1);
    more_of("/v1/more/1");
    let tables = format!("[transcoding]\nprotos = [{source:?}]\nproto_paths = [{:?}]\n", scratch.0);
    let mut process = Process::start(&gateway_config(&[library.address()], "epoll", &tables)).await;
    let mut callers = Vec::new();
    for _ in 0..LOOKERS {
        callers.push(Caller::connect(Version::Http1, process.listener).await);
    }
    all_see(&mut callers, 1, 2).await;
    write(2);
    println!("a source: {:?}", all_see(&mut callers, 2, 1).await);

    fs::write(&source, text.replace("rpc Get(Query)", "rpc Get(Nothing)")).expect("a file");
    let line = within(AT_MOST, "the problem", process.says("Nothing")).await;
    assert!(
        line.contains("ERROR") && line.contains("library.proto:15:11: name 'Nothing' is not defined"),
        "{line}"
    );
    within(AT_MOST, "what follows", process.says("descriptor reload failed, keeping the current API")).await;
    all_see(&mut callers, 2, 1).await;
    write(3);
    within(AT_MOST, "the source", process.says("new descriptors are in use")).await;
    all_see(&mut callers, 3, 2).await;

    // A file that is only imported.
    more_of("/v1/more/2");
    within(AT_MOST, "the import", process.says("new descriptors are in use")).await;
    // The service does not have it, but it is mapped.
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let see = async {
        while callers[0].ask("GET /v1/more/2", &[], b"").await.status != 501 {
            looks.tick().await;
        }
    };
    within(AT_MOST, "the import is served", see).await;
}
