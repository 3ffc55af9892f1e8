//! Parts of a call that pass from a caller of gRPC-Web to the service and back as they are: formats, encodings,
//! metadata of failed calls.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::support::gateway::{BACKENDS, GatewayBuilder};
use crate::support::http1::Http1Answer;
use crate::support::raw::{RawClient, message};
use crate::support::speaker::{Answer, Fields, Speaker};
use crate::support::web::{Caller, VERSIONS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ringway::supervisor::Gateway;

const UNARY: &str = "POST /test.web.v1.Anything/Unary";
const GRPC: Fields = &[("content-type", "application/grpc")];

fn before(service: &Speaker, backend: &str, listener: &str, extra: &str) -> (Gateway, SocketAddr) {
    let gateway = GatewayBuilder::new(&[service.address()], backend)
        .set("routes.cluster", "c")
        .set("clusters.name", "c")
        .listener(listener)
        .extra(extra)
        .start();
    let address = gateway.listeners()[0];
    (gateway, address)
}

/// The binary form of a body, whichever form it has.
fn binary(answer: &Http1Answer) -> Vec<u8> {
    if !answer.field("content-type").is_some_and(|value| value.starts_with("application/grpc-web-text")) {
        return answer.body.clone();
    }
    let groups = answer.body.chunks(4);
    groups.flat_map(|group| STANDARD.decode(group).expect("base64")).collect()
}

/// The lines of the only frame of a body: its trailers.
fn trailers_alone(answer: &Http1Answer) -> BTreeSet<String> {
    let body = binary(answer);
    let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
    assert_eq!((body[0], length), (0x80, body.len() - 5), "{answer:?}");
    let text = String::from_utf8(body[5..].to_vec()).expect("fields are text");
    text.trim_end().split("\r\n").map(str::to_owned).collect()
}

fn encoded(content_type: &str, body: &[u8]) -> Vec<u8> {
    if content_type.contains("-text") { STANDARD.encode(body).into_bytes() } else { body.to_vec() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// connectrpc/conformance sends a compressed message of nothing; a service that is not told so takes the flag for a fault.
#[tokio::test]
async fn messages_and_their_encodings_pass_as_they_are() {
    const ENCODED: Fields = &[
        ("content-type", "application/grpc"),
        ("grpc-encoding", "br"),
        ("grpc-accept-encoding", "br,gzip"),
        ("trailer", "grpc-status"),
    ];
    for backend in BACKENDS {
        let service = Speaker::start(|_| Answer::whole(ENCODED, message(1, b"as good as br"))).await;
        let (_gateway, address) = before(&service, backend, "", "");
        for (version, form) in VERSIONS.into_iter().flat_map(|version| {
            ["application/grpc-web+proto", "application/grpc-web-text"].map(|form| (version, form))
        }) {
            let sent = message(1, &gzip(b""));
            let headers =
                [("content-type", form), ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,br,zstd")];
            let answer =
                Caller::connect(version, address).await.ask(UNARY, &headers, &encoded(form, &sent)).await;
            let asked = service.take_asked().pop().expect("the service was asked");
            assert_eq!(asked.body, sent, "{version:?} {form}");
            assert_eq!(asked.field("grpc-encoding"), Some("gzip"), "{version:?} {form}");
            assert_eq!(asked.field("grpc-accept-encoding"), Some("gzip,br,zstd"), "{version:?} {form}");
            assert_eq!(answer.field("grpc-encoding"), Some("br"), "{answer:?}");
            assert_eq!(answer.field("grpc-accept-encoding"), Some("br,gzip"), "{answer:?}");
            assert_eq!(answer.field("trailer"), None, "they are in the body: {answer:?}");
            let wanted = [&message(1, b"as good as br")[..], b"\x80\0\0\0\x10grpc-status: 0\r\n"].concat();
            assert_eq!(binary(&answer), wanted, "{version:?} {form}");
        }
    }
}

/// The caller's type, the one that the service gets, its answer's, and the one that the caller gets.
const FORMATS: &[(&str, &str, Fields, &str)] = &[
    ("application/grpc-web", "application/grpc", GRPC, "application/grpc-web+proto"),
    ("application/grpc-web+proto", "application/grpc+proto", GRPC, "application/grpc-web+proto"),
    ("application/grpc-web+json", "application/grpc+json", GRPC, "application/grpc-web+json"),
    (
        "application/grpc-web+json",
        "application/grpc+json",
        &[("content-type", "application/grpc+json")],
        "application/grpc-web+json",
    ),
    (
        "application/grpc-web",
        "application/grpc",
        &[("content-type", "application/grpc+thrift")],
        "application/grpc-web+thrift",
    ),
    (
        "application/grpc-web-text+json; charset=utf-8",
        "application/grpc+json",
        &[("content-type", "application/grpc+json;a=b")],
        "application/grpc-web-text+json",
    ),
    ("application/grpc-web-text", "application/grpc", GRPC, "application/grpc-web-text+proto"),
    ("application/grpc-web+foo", "application/grpc+foo", GRPC, "application/grpc-web+foo"),
];

#[tokio::test]
async fn the_format_of_messages_passes_both_ways() {
    for backend in BACKENDS {
        let service = Speaker::start(|head| {
            let row = head.headers["x-row"].to_str().expect("a number").parse::<usize>().expect("a number");
            Answer::whole(FORMATS[row].2, message(0, b"{}"))
        })
        .await;
        let (_gateway, address) = before(&service, backend, "", "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, address).await;
            for (row, (content_type, seen, _, wanted)) in FORMATS.iter().enumerate() {
                let row = row.to_string();
                let headers = [("content-type", *content_type), ("x-row", &row)];
                let body = encoded(content_type, &message(0, b"{}"));
                let answer = caller.ask(UNARY, &headers, &body).await;
                let asked = service.take_asked().pop().expect("the service was asked");
                assert_eq!(asked.field("content-type"), Some(*seen), "{version:?} {content_type}");
                assert_eq!(answer.field("content-type"), Some(*wanted), "{version:?} {content_type}");
                assert!(binary(&answer).starts_with(b"\0\0\0\0\x02{}\x80"), "{answer:?}");
            }
        }
    }
}

/// Some clients, connect-go's among them, take no answer in another format than theirs, not even a failure.
#[tokio::test]
async fn failures_of_the_gateway_are_in_the_format_of_their_caller() {
    for backend in BACKENDS {
        let service = Speaker::start(|_| Answer { status: 503, head: &[], ..Answer::default() }).await;
        let (_gateway, address) = before(&service, backend, "", "");
        let asks = [
            (UNARY, &[][..], "14"),                     // the service's answer is not gRPC
            (UNARY, &[("grpc-timeout", "x")][..], "3"), // refused before the head is that of a call
            ("POST /no-method", &[][..], "12"),
        ];
        for (line, more, code) in asks {
            for (content_type, wanted) in [
                ("application/grpc-web", "application/grpc-web+proto"),
                ("application/grpc-web+json", "application/grpc-web+json"),
                ("application/grpc-web-text+json", "application/grpc-web-text+json"),
            ] {
                let headers = [&[("content-type", content_type)], more].concat();
                for version in VERSIONS {
                    let mut caller = Caller::connect(version, address).await;
                    let answer = caller.ask(line, &headers, &encoded(content_type, &message(0, b""))).await;
                    assert_eq!(answer.field("content-type"), Some(wanted), "{line}: {answer:?}");
                    let status = format!("grpc-status: {code}");
                    assert!(trailers_alone(&answer).contains(&status), "{line}: {answer:?}");
                }
            }
            for content_type in ["application/grpc", "application/grpc+proto", "application/grpc+json"] {
                let mut client = RawClient::connect(address).await;
                let mut head = http::Request::post(format!("http://x{}", &line[5..]));
                for (name, value) in [&[("content-type", content_type)], more].concat() {
                    head = head.header(name, value);
                }
                let mut call = client.send(head.body(()).expect("a valid head"), false).await;
                call.send(message(0, b""), true);
                let reply = call.reply().await;
                assert_eq!(reply.grpc_status(), Some(code), "{line}: {reply:?}");
                assert_eq!(reply.headers["content-type"], content_type, "{line}: {reply:?}");
            }
        }
    }
}

/// A page of another origin reads the body, and of the head nothing that is not exposed to it by name.
#[tokio::test]
async fn all_of_a_trailers_only_answer_is_in_the_body() {
    const FAILED: Fields = &[
        ("content-type", "application/grpc"),
        ("date", "Mon, 01 Jan 2029 00:00:00 GMT"),
        ("server", "its-own"),
        ("grpc-status", "5"),
        ("grpc-message", "no%20such"),
        ("x-err", "1"),
        ("www-authenticate", "Bearer"),
        ("x-more-bin", "AAEC"),
    ];
    for backend in BACKENDS {
        let service = Speaker::start(|_| Answer::head_alone(FAILED)).await;
        let config = GatewayBuilder::new(&[service.address()], backend);
        let gateway = config.set_toml("listeners.cors.allow_origins", "[\"*\"]").start();
        for (version, form) in VERSIONS.into_iter().flat_map(|version| {
            ["application/grpc-web+proto", "application/grpc-web-text"].map(|form| (version, form))
        }) {
            let headers = [("content-type", form), ("origin", "https://a.example")];
            let mut caller = Caller::connect(version, gateway.listeners()[0]).await;
            let answer = caller.ask(UNARY, &headers, &encoded(form, &message(0, b""))).await;
            let wanted = [
                "grpc-status: 5",
                "grpc-message: no%20such",
                "x-err: 1",
                "www-authenticate: Bearer",
                "x-more-bin: AAEC",
            ];
            assert_eq!(trailers_alone(&answer), wanted.map(str::to_owned).into(), "{answer:?}");
            for name in ["grpc-status", "grpc-message", "x-err", "www-authenticate", "x-more-bin"] {
                assert_eq!(answer.field(name), None, "{version:?} {form}");
            }
            // HTTP's own fields are no metadata of the call.
            assert_eq!(answer.field("date"), Some("Mon, 01 Jan 2029 00:00:00 GMT"), "{answer:?}");
            assert_eq!(answer.field("server"), Some("its-own"), "{answer:?}");
            assert_eq!(answer.field("access-control-allow-origin"), Some("https://a.example"), "{answer:?}");
        }
    }
}

/// The answer is the same over both versions, and whoever speaks gRPC-Web can read it.
#[tokio::test]
async fn a_type_that_is_no_protocol_is_refused_alike_over_both_versions() {
    const DESCRIBED: &str = "[transcoding]\nprotos = [\"tests/protos/library.proto\"]\n\
                             proto_paths = [\"tests/protos\", \"proto\"]\n";
    for backend in BACKENDS {
        let service = Speaker::start(|_| Answer::head_alone(GRPC)).await;
        for (extra, content_type, status, format) in [
            ("", "application/grpc-webx", 415, "application/grpc"),
            ("", "application/grpc-webx+json", 415, "application/grpc+json"),
            ("", "application/grpcx", 415, "application/grpc"),
            ("", "image/jpeg", 415, "application/grpc"),
            (DESCRIBED, "application/grpc-webx", 415, "application/grpc"),
            (DESCRIBED, "application/grpcx", 415, "application/grpc"),
            (DESCRIBED, "image/jpeg", 404, "application/json"),
        ] {
            let (_gateway, address) = before(&service, backend, "", extra);
            for version in VERSIONS {
                let mut caller = Caller::connect(version, address).await;
                let answer = caller.ask(UNARY, &[("content-type", content_type)], b"12345678").await;
                let place = format!("{version:?} {content_type} {extra}: {answer:?}");
                assert_eq!((answer.status, answer.field("content-type")), (status, Some(format)), "{place}");
                let code = (status == 415).then_some("3");
                assert_eq!(answer.field("grpc-status"), code, "{place}");
            }
        }
        let (_gateway, address) = before(&service, backend, "", "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, address).await;
            let headers = [("content-type", "application/grpc-web")];
            let answer = caller.ask(&UNARY.replace("POST", "DELETE"), &headers, &Bytes::new()).await;
            assert_eq!((answer.status, answer.field("allow")), (405, Some("POST")), "{version:?}");
        }
        assert_eq!(service.take_asked().len(), 0, "the service is asked nothing of this");
    }
}
