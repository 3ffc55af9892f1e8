//! Faults that were found in the program, each with its smallest input over sockets: what came of it, and what has to.
//!
//! The program that was built for this test has to do what is right. With `RINGWAY_OLD` set to the program of commit
//! f4a7b0d, that one has to do what it did: so the inputs are those that found the faults.
#![allow(clippy::disallowed_methods, reason = "some faults are how long a thing takes")]

mod descriptors;
mod operation;
mod web;

use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::support::gateway::{GatewayBuilder, sum_of};
use crate::support::http1::Http1;
use crate::support::library::{Library, Scratch, descriptor_set};
use crate::support::process::Process;
use crate::support::raw::{self, EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The observation, in a word or two.
type Replies<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

/// A row: its name, how it is looked at, what came of it, what has to.
type Row = (&'static str, for<'a> fn(&'a Path) -> Replies<'a>, &'static str, &'static str);

const GET: &str = "GET /v1/shelves/a/books/b HTTP/1.1\r\n";
const POST: &str = "POST /v1/shelves/a/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

/// A library behind a program that knows its descriptors.
struct Front {
    library: Library,
    process: Process,
    _scratch: Scratch,
}

async fn front(program: &Path, change: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Front {
    let (library, scratch) = (Library::start(), Scratch::new());
    let path = scratch.0.join("library.protoset");
    std::fs::write(&path, descriptor_set()).expect("a folder for temporary files");
    let tables = format!("[transcoding]\ndescriptor_sets = [{path:?}]\n");
    let config = change(GatewayBuilder::new(&[library.address()], "epoll").extra(&tables));
    let process = Process::start_program(program, &config.text()).await;
    Front { library, process, _scratch: scratch }
}

/// The status of the answer to this.
async fn status(front: &Front, request: &str) -> String {
    let mut client = Http1::connect(front.process.listener).await;
    client.say(request).await;
    client.answer().await.status.to_string()
}

/// A program in front of a service, and a client of it.
async fn before(program: &Path, service: &Service, extra: &str) -> (Process, RawClient) {
    let config = GatewayBuilder::new(&[service.address()], "epoll").set("workers", 1).extra(extra);
    let process = Process::start_program(program, &config.text()).await;
    let client = RawClient::connect(process.listener).await;
    (process, client)
}

async fn calls(client: &mut RawClient, count: usize, headers: &[(&str, &str)]) {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut call = client.open(EMPTY_CALL, headers).await;
        call.send(raw::message(0, b""), true);
        all.push(call);
    }
    for call in all {
        call.reply().await;
    }
}

async fn counted(process: &Process, family: &str) -> u64 {
    sum_of(&process.page("/metrics").await, family)
}

fn yes_or_no(is_so: bool, yes: &str, no: &str) -> String {
    (if is_so { yes } else { no }).to_owned()
}

fn large_head(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Service::start(|_, _| Act::Answer).await;
        let (_process, mut client) = before(program, &service, "").await;
        let reply = client.call(EMPTY_CALL, &[("x-large", &"y".repeat(17_000))], b"").await;
        reply.grpc_status().unwrap_or("none").to_owned()
    })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A call that stays open, and 21 that are reset at once, in one write.
fn quick_resets(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Service::start(|_, _| Act::Silence).await;
        let (process, _client) = before(program, &service, "").await;
        let head = |stream: u32| frame(1, 0x4, stream, b"\x83\x86\x44\x02/x\x41\x01x");
        let mut bytes = [raw::PREFACE, &head(1)].concat();
        for stream in (1..=21).map(|number| 2 * number + 1) {
            bytes.extend(head(stream));
            bytes.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
        }
        bytes.extend(frame(6, 0, 0, b"are you?"));
        let mut stream = TcpStream::connect(process.listener).await.expect("it listens");
        stream.write_all(&bytes).await.expect("it reads");
        let mut heard = Vec::new();
        let answered = frame(6, 1, 0, b"are you?");
        let asked = async {
            while !heard.windows(answered.len()).any(|some| some == answered) {
                if !matches!(stream.read_buf(&mut heard).await, Ok(count) if count > 0) {
                    return false;
                }
            }
            true
        };
        yes_or_no(within(Duration::from_secs(5), "an answer", asked).await, "served", "ended")
    })
}

fn te(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        status(&front, &format!("{POST}te: gzip\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        let seen = front.library.take();
        seen.headers.get("te").map_or("none".to_owned(), |te| format!("{te:?}"))
    })
}

fn internal(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Service::start(|_, _| Act::Status(13, None)).await;
        let (process, mut client) = before(program, &service, "").await;
        calls(&mut client, 30, &[]).await;
        format!("opens {}", counted(&process, "ringway_breaker_opens_total").await)
    })
}

fn callers_deadlines(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let slow = Act::AnswerAfter(Duration::from_secs(3));
        let service = Service::start(move |_, _| slow).await;
        let (process, mut client) = before(program, &service, "").await;
        calls(&mut client, 60, &[("grpc-timeout", "1001m")]).await;
        format!("opens {}", counted(&process, "ringway_breaker_opens_total").await)
    })
}

/// A service that is half-open to its breaker answers UNAVAILABLE after a head.
fn probes(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Service::start(|_, _| Act::LateStatus(14)).await;
        let extra = "[clusters.retry]\nmax_attempts = 1\n[clusters.outlier_detection]\nenabled = false\n\
                     [clusters.breaker]\ntimeout = \"50ms\"\nramp = \"0s\"\nmax_requests = 1\n";
        let (process, mut client) = before(program, &service, extra).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            calls(&mut client, 10, &[]).await;
        }
        let closes = counted(&process, "ringway_breaker_closes_total").await;
        yes_or_no(closes > 0, "closes", "stays open")
    })
}

fn nobody_there(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let dead = closed.expect("a free port");
        let extra = "[clusters.breaker]\nenabled = false\n[clusters.reconnect]\ninitial_backoff = \"10s\"\n";
        let config = GatewayBuilder::new(&[dead], "epoll").set("workers", 1).extra(extra);
        let process = Process::start_program(program, &config.text()).await;
        let mut client = RawClient::connect(process.listener).await;
        calls(&mut client, 1, &[]).await;
        let begun = Instant::now();
        for _ in 0..10 {
            calls(&mut client, 1, &[]).await;
        }
        yes_or_no(begun.elapsed() < Duration::from_millis(400), "at once", "after a wait")
    })
}

fn oneof(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        status(&front, "GET /v1/choices/alice?email= HTTP/1.1\r\nhost: x\r\n\r\n").await
    })
}

fn empty_upload(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        status(&front, "POST /v1/parts/a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
        format!("{} messages", front.library.take().messages.len())
    })
}

fn empty_segment(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        status(&front, "POST /v1/parts/a//b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await
    })
}

fn values_without_lines(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let (head, body) = ("host: x\r\ncontent-type: application/json", "{\"number\":1}{\"number\":2}");
        let length = body.len();
        status(&front, &format!("POST /v1/sum HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"))
            .await
    })
}

fn no_host(program: &Path) -> Replies<'_> {
    Box::pin(async move { status(&front(program, |config| config).await, &format!("{GET}\r\n")).await })
}

fn two_hosts(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        status(&front(program, |config| config).await, &format!("{GET}host: x\r\nhost: y\r\n\r\n")).await
    })
}

fn user_in_host(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        status(&front(program, |config| config).await, &format!("{GET}host: me@x\r\n\r\n")).await
    })
}

fn absolute_form(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let only = "{ prefix = \"/\", host = \"a.example\" }";
        let front = front(program, |config| config.set_toml("routes.match", only)).await;
        let request = "GET http://a.example/v1/shelves/a/books/b HTTP/1.1\r\nhost: b.example\r\n\r\n";
        status(&front, request).await
    })
}

fn two_connections(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let fields = "host: x\r\nconnection: x-one\r\nconnection: x-two\r\nx-one: 1\r\nx-two: 2\r\n";
        status(&front, &format!("{GET}{fields}\r\n")).await;
        yes_or_no(front.library.take().headers.contains_key("x-two"), "sent on", "removed")
    })
}

fn bare_line_feed(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let mut client = Http1::connect(front.process.listener).await;
        let swallowed = format!("{GET}host: x\r\n\r\n");
        client
            .say(format!("{POST}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nx: y\n\n{swallowed}"))
            .await;
        client.answer().await.status.to_string()
    })
}

fn late_metadata(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let mut client = Http1::connect(front.process.listener).await;
        let line = "GET /v1/shelves/a/books/b?fail.code=16&fail.message=head%20first";
        client.say(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        client.answer().await.field("www-authenticate").unwrap_or("none").to_owned()
    })
}

fn heads_alone(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Service::start(|_, _| Act::Answer).await;
        let (process, mut client) = before(program, &service, "").await;
        let (mut rude, mut heads) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut client = RawClient::connect(process.listener).await;
            for _ in 0..250 {
                heads.push(client.open(EMPTY_CALL, &[]).await);
            }
            rude.push(client);
        }
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while counted(&process, "ringway_calls_started_total").await < 1_250 {
            looks.tick().await;
        }
        let begun = Instant::now();
        loop {
            let reply = client.call(EMPTY_CALL, &[], b"").await;
            if reply.grpc_status() == Some("0") {
                return "served".to_owned();
            }
            if begun.elapsed() > Duration::from_secs(4) {
                return "refused".to_owned();
            }
            looks.tick().await;
        }
    })
}

async fn admin(process: &Process, request: &str) -> String {
    let answer = raw::exchange(process.admin, request.as_bytes()).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("closed").to_owned()
}

fn foreign_host(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let host = "host: rebind.example\r\nconnection: close\r\n\r\n";
        admin(&front.process, &format!("GET /config HTTP/1.1\r\n{host}")).await
    })
}

fn cross_site(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let fields =
            "host: x\r\nsec-fetch-site: cross-site\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        admin(&front.process, &format!("POST /log_level?level=warn HTTP/1.1\r\n{fields}")).await
    })
}

fn idle_at_admin(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let front = front(program, |config| config).await;
        let mut idle = Vec::new();
        for _ in 0..80 {
            idle.push(TcpStream::connect(front.process.admin).await.expect("it listens"));
        }
        let begun = Instant::now();
        let mut probe = TcpStream::connect(front.process.admin).await.expect("it listens");
        probe.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
        probe.read_u8().await.expect("it answers");
        yes_or_no(begun.elapsed() < Duration::from_secs(2), "at once", "late")
    })
}

fn late_cancel(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let act = Act::ResetAfter(Duration::from_millis(148), Reason::CANCEL);
        let service = Service::start(move |_, _| act).await;
        let (_process, mut client) = before(program, &service, "").await;
        let mut codes = Vec::new();
        for _ in 0..10 {
            let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "150m")], b"").await;
            codes.push(reply.grpc_status().unwrap_or("none").to_owned());
        }
        yes_or_no(codes.iter().all(|code| code == "4"), "all late", "some cancelled")
    })
}

#[rustfmt::skip] // one row, one line
const ROWS: &[Row] = &[
    ("3: a head above the bound", large_head, "none", "8"),
    ("6: calls that are reset at once", quick_resets, "ended", "served"),
    ("8: a service that cancels when the caller's time is over", late_cancel, "some cancelled", "all late"),
    ("11: `te: gzip` of a JSON caller", te, "none", "\"trailers\""),
    ("12: 30 calls that end INTERNAL", internal, "opens 1", "opens 0"),
    ("13: a compressed message of gRPC-Web", web::compressed, "none", "gzip"),
    ("14: gRPC-Web of JSON", web::codec, "application/grpc", "application/grpc+json"),
    ("15: an answer of trailers alone", web::trailers_only, "in the head only", "in the body"),
    ("16: a type close to gRPC-Web", web::unknown_type, "404", "415"),
    ("17: a descriptor set of an unknown syntax", descriptors::unknown_syntax, "exit 101", "exit 1"),
    ("18: what reflection cannot describe", descriptors::half_described, "not served", "served"),
    ("19: two members of a oneof, from path and query", oneof, "200", "400"),
    ("20: an upload of nothing", empty_upload, "0 messages", "1 messages"),
    ("21: a key of a map that comes twice", descriptors::key_twice, r#"{"m":{"1":0,"1":1}}"#, r#"{"m":{"1":1}}"#),
    ("22: trailing metadata of a failure after a head", late_metadata, "none", "Bearer realm=\"x\""),
    ("24: an empty segment where any number may stand", empty_segment, "404", "200"),
    ("25: one rule that is not allowed", descriptors::one_bad_rule, "not served", "served"),
    ("26: an outage after a time of success", operation::outage, "opens late", "opens within 3 s"),
    ("27: all endpoints in backoff", nobody_there, "after a wait", "at once"),
    ("37: an answer before its request is whole", web::unread_body, "closed unannounced", "kept or announced"),
    ("38: values of a stream without lines between", values_without_lines, "400", "200"),
    ("48: probes that are answered UNAVAILABLE", probes, "closes", "stays open"),
    ("49: deadlines that the caller sets", callers_deadlines, "opens 1", "opens 0"),
    ("51: five clients that send heads alone", heads_alone, "refused", "served"),
    ("52a: no host", no_host, "200", "400"),
    ("52a: two hosts", two_hosts, "200", "400"),
    ("52b: an absolute form and another host", absolute_form, "404", "200"),
    ("52d: a user in the host", user_in_host, "200", "400"),
    ("52e: two fields `connection`", two_connections, "sent on", "removed"),
    ("52g: a bare LF in trailers", bare_line_feed, "200", "400"),
    ("56: a foreign host at the admin address", foreign_host, "200", "403"),
    ("56: a POST from another site", cross_site, "200", "403"),
    ("56: `/ready` beside 80 idle connections", idle_at_admin, "late", "at once"),
    ("58: no descriptors left", operation::no_descriptors, "many lines", "few lines"),
    ("59: 20,000 fields", descriptors::many_fields, "too long", "in time"),
];

/// The rows in which a program does not do as wanted.
async fn wrong(program: &Path, wanted: impl Fn(&Row) -> &'static str) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in ROWS {
        let (name, look, ..) = row;
        let (seen, wanted) = (look(program).await, wanted(row));
        println!("{name}: {seen}");
        if seen != wanted {
            wrong.push(format!("{name}: {seen}, not {wanted}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_wrong_is_right() {
    let program = Path::new(env!("CARGO_BIN_EXE_ringway"));
    assert_eq!(wrong(program, |row| row.3).await, [""; 0]);
    if let Some(old) = std::env::var_os("RINGWAY_OLD") {
        assert_eq!(wrong(Path::new(&old), |row| row.2).await, [""; 0], "the program that had the faults");
    }
}
