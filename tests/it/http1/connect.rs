//! The Connect protocol over HTTP/1.1 and HTTP/2. `tests/partners/connect.sh` runs a suite of others.

use prost::Message as _;
use serde_json::{Value, json};

use crate::support::gateway::{self, BACKENDS, gateway_config, metric, metric_becomes};
use crate::support::interop::{
    EchoStatus, ResponseParameters, SimpleRequest, SimpleResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use crate::support::interop_server::InteropServer;
use crate::support::library::{Library, Source, front};
use crate::support::raw::message;
use crate::support::web::{Caller, VERSIONS};

const UNARY: &str = "POST /grpc.testing.TestService/UnaryCall";
const STREAM: &str = "POST /grpc.testing.TestService/StreamingOutputCall";
const PROTO: (&str, &str) = ("content-type", "application/proto");
const FRAMES: (&str, &str) = ("content-type", "application/connect+proto");
const VERSION: (&str, &str) = ("connect-protocol-version", "1");
const ECHO: (&str, &str) = ("x-grpc-test-echo-initial", "hello");
const ECHO_TRAILING: (&str, &str) = ("x-grpc-test-echo-trailing-bin", "q6ur");

fn unary(size: i32, status: Option<EchoStatus>) -> Vec<u8> {
    SimpleRequest { response_size: size, response_status: status, ..Default::default() }.encode_to_vec()
}

fn stream(sizes: &[i32], status: Option<EchoStatus>) -> Vec<u8> {
    let parameters = sizes.iter().map(|size| ResponseParameters { size: *size, ..Default::default() });
    let call = StreamingOutputCallRequest {
        response_parameters: parameters.collect(),
        response_status: status,
        ..Default::default()
    };
    message(0, &call.encode_to_vec()).to_vec()
}

fn not_found() -> Option<EchoStatus> {
    Some(EchoStatus { code: 5, message: "no \"such\" thing".to_owned() })
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// The lengths of a stream's messages, and its last frame.
fn frames(mut body: &[u8]) -> (Vec<usize>, Value) {
    let mut messages = Vec::new();
    loop {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
        let (frame, rest) = body[5..].split_at(length);
        if body[0] == 2 {
            assert!(rest.is_empty(), "the end is the last frame");
            return (messages, json(frame));
        }
        let message = StreamingOutputCallResponse::decode(frame).expect("the message");
        messages.push(message.payload.expect("a payload").body.len());
        body = rest;
    }
}

#[tokio::test]
async fn a_unary_call_is_a_message_each_way() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&gateway_config(&[server.address()], backend, ""));
        for version in VERSIONS {
            let mut caller = Caller::connect(version, gateway.listeners()[0]).await;
            for headers in [&[PROTO, VERSION, ECHO, ECHO_TRAILING][..], &[PROTO, ECHO, ECHO_TRAILING]] {
                let answer = caller.ask(UNARY, headers, &unary(1000, None)).await;
                assert_eq!((answer.status, answer.field(PROTO.0)), (200, Some(PROTO.1)), "{answer:?}");
                let response = SimpleResponse::decode(&answer.body[..]).expect("the message");
                assert_eq!(response.payload.expect("a payload").body.len(), 1000);
                assert_eq!(answer.field(ECHO.0), Some(ECHO.1));
                assert_eq!(answer.field("trailer-x-grpc-test-echo-trailing-bin"), Some(ECHO_TRAILING.1));
                assert_eq!(answer.field("grpc-status"), None);
            }
            let answer = caller.ask(UNARY, &[PROTO, VERSION], &unary(0, not_found())).await;
            assert_eq!((answer.status, answer.field(PROTO.0)), (404, Some("application/json")));
            assert_eq!(json(&answer.body), json!({ "code": "not_found", "message": "no \"such\" thing" }));
            // An empty message is a message.
            let answer = caller.ask("POST /grpc.testing.TestService/EmptyCall", &[PROTO], b"").await;
            assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{backend} {answer:?}");
        }
        assert_eq!(metric(&gateway, "ringway_protocol_errors_total"), 0);
        metric_becomes(&gateway, "ringway_calls_active", 0).await;
        metric_becomes(&gateway, "ringway_buffered_bytes", 0).await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_a_frame_of_its_status() {
    let sizes = [1, 20_000, 3, 70_000];
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&gateway_config(&[server.address()], backend, ""));
        for version in VERSIONS {
            let mut caller = Caller::connect(version, gateway.listeners()[0]).await;
            let answer = caller.ask(STREAM, &[FRAMES, VERSION, ECHO_TRAILING], &stream(&sizes, None)).await;
            assert_eq!((answer.status, answer.field(FRAMES.0)), (200, Some(FRAMES.1)), "{answer:?}");
            let (messages, end) = frames(&answer.body);
            assert_eq!(messages, sizes.map(|size| size as usize));
            assert_eq!(end["metadata"][ECHO_TRAILING.0], json!([ECHO_TRAILING.1]), "{backend} {end}");
            assert_eq!(end.get("error"), None);
            let answer = caller.ask(STREAM, &[FRAMES, VERSION], &stream(&[5], not_found())).await;
            let (messages, end) = frames(&answer.body);
            assert_eq!((answer.status, messages), (200, Vec::new()));
            assert_eq!(end["error"], json!({ "code": "not_found", "message": "no \"such\" thing" }));
        }
    }
}

/// Line, headers and body; status and code.
type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

#[tokio::test]
async fn refusals_of_the_gateway_are_in_its_form() {
    for backend in BACKENDS {
        let server = InteropServer::start();
        let gateway = gateway::start(&gateway_config(
            &[server.address()],
            backend,
            "[transcoding]\nmax_request_body_size = \"2KiB\"\n",
        ));
        let late = ("connect-timeout-ms", "1e3");
        let soon = ("connect-timeout-ms", "0");
        let wrong = ("connect-protocol-version", "2");
        let big = vec![0; 5000];
        let table: &[Refusal<'_>] = &[
            (UNARY, &[PROTO, late], b"", 400, "invalid_argument"),
            (UNARY, &[PROTO, soon], b"", 504, "deadline_exceeded"),
            (UNARY, &[PROTO, wrong], b"", 400, "invalid_argument"),
            (UNARY, &[PROTO], &big, 413, "invalid_argument"),
            ("PUT /grpc.testing.TestService/UnaryCall", &[PROTO], b"", 405, "unknown"),
            ("POST /nowhere", &[PROTO], b"", 404, "unimplemented"),
        ];
        for version in VERSIONS {
            for (line, headers, body, status, code) in table {
                let mut caller = Caller::connect(version, gateway.listeners()[0]).await;
                let answer = caller.ask(line, headers, body).await;
                let context = format!("{backend} {version:?} {line} {headers:?}: {answer:?}");
                assert_eq!(answer.status, *status, "{context}");
                assert_eq!(json(&answer.body)["code"], json!(code), "{context}");
            }
            let mut caller = Caller::connect(version, gateway.listeners()[0]).await;
            let answer = caller.ask(STREAM, &[FRAMES, soon], &stream(&[1], None)).await;
            let (messages, end) = frames(&answer.body);
            assert_eq!((answer.status, messages), (200, Vec::new()));
            assert_eq!(end["error"]["code"], json!("deadline_exceeded"), "{end}");
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const JSON_FRAMES: (&str, &str) = ("content-type", "application/connect+json");

fn framed(value: &Value) -> Vec<u8> {
    message(0, value.to_string().as_bytes()).to_vec()
}

/// The values of a stream, and its last frame.
fn values(mut body: &[u8]) -> (Vec<Value>, Value) {
    let mut values = Vec::new();
    loop {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes")) as usize;
        let (frame, rest) = body[5..].split_at(length);
        if body[0] == 2 {
            assert!(rest.is_empty(), "the end is the last frame");
            return (values, json(frame));
        }
        values.push(json(frame));
        body = rest;
    }
}

#[tokio::test]
async fn json_becomes_protobuf_where_descriptors_know_the_method() {
    for backend in BACKENDS {
        let library = Library::start();
        let front = front(&library, backend, Source::DescriptorSet, "");
        for version in VERSIONS {
            let mut caller = Caller::connect(version, front.address).await;
            let create = "POST /test.web.v1.Library/Create";
            let asked = json!({ "name": "shelves/a", "size": 3 }).to_string();
            let answer = caller.ask(create, &[JSON, VERSION], asked.as_bytes()).await;
            assert_eq!((answer.status, &json(&answer.body)["text"]), (200, &json!("xxx")), "{answer:?}");
            assert_eq!(answer.field("trailer-x-last"), Some("yes"), "{answer:?}");
            let seen = library.take();
            assert_eq!(seen.headers.get("content-type").expect("there is one"), "application/grpc");
            assert_eq!(seen.messages[0]["name"], "shelves/a");

            let failing = json!({ "fail": { "code": 5, "message": "none" } }).to_string();
            let answer = caller.ask(create, &[JSON, VERSION], failing.as_bytes()).await;
            assert_eq!(answer.status, 404, "{answer:?}");
            assert_eq!(json(&answer.body), json!({ "code": "not_found", "message": "none" }));

            let bad = caller.ask(create, &[JSON, VERSION], b"{\"size\": \"much\"}").await;
            assert_eq!((bad.status, &json(&bad.body)["code"]), (400, &json!("invalid_argument")), "{bad:?}");

            let watch = "POST /test.web.v1.Library/Watch";
            let asked = framed(&json!({ "count": 2, "size": 1 }));
            let answer = caller.ask(watch, &[JSON_FRAMES], &asked).await;
            assert_eq!((answer.status, answer.field("content-type")), (200, Some(JSON_FRAMES.1)));
            let (events, end) = values(&answer.body);
            assert_eq!(
                events,
                [json!({ "number": "1", "text": "x" }), json!({ "number": "2", "text": "x" })]
            );
            assert_eq!(end, json!({ "metadata": { "x-last": ["yes"] } }));

            let asked = framed(&json!({ "count": 1, "fail": { "code": 9, "message": "no more" } }));
            let (events, end) = values(&caller.ask(watch, &[JSON_FRAMES], &asked).await.body);
            assert_eq!((events.len(), &end["error"]["code"]), (1, &json!("failed_precondition")), "{end}");

            let sum = [framed(&json!({ "number": "2" })), framed(&json!({ "number": "40" }))].concat();
            let answer = caller.ask("POST /test.web.v1.Library/Sum", &[JSON_FRAMES], &sum).await;
            assert_eq!(values(&answer.body).0, [json!({ "total": "42" })], "{answer:?}");

            let plain = "GET /test.web.v1.Library/Plain?connect=v1";
            for (query, size) in [
                ("encoding=json&message=%7B%22size%22%3A%202%7D", 2),
                ("encoding=json&message=eyJzaXplIjogMn0&base64=1", 2),
                ("encoding=json&message=%7B%7D", 0),
            ] {
                let answer = caller.ask(&format!("{plain}&{query}"), &[], b"").await;
                let text = json(&answer.body)["text"].as_str().map_or(0, str::len);
                assert_eq!((answer.status, text), (200, size), "{backend} {version:?} {query}: {answer:?}");
            }
            let answer = caller.ask(&format!("{plain}&encoding=proto&message="), &[], b"").await;
            assert_eq!((answer.status, answer.field("content-type")), (200, Some(PROTO.1)), "{answer:?}");
            let answer = caller.ask(&format!("{plain}&message=x"), &[], b"").await;
            assert_eq!((answer.status, &json(&answer.body)["code"]), (400, &json!("invalid_argument")));

            for (line, headers, status) in [
                (watch, &[JSON, VERSION], 415),
                (create, &[("content-type", "text/plain"), VERSION], 415),
                (
                    "GET /test.web.v1.Library/Create?connect=v1&encoding=json&message={}",
                    &[JSON, VERSION],
                    405,
                ),
            ] {
                let answer = caller.ask(line, headers, b"").await;
                assert_eq!(answer.status, status, "{backend} {version:?} {line}: {answer:?}");
            }
        }
    }
}
