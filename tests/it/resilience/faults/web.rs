//! Faults of gRPC-Web.

use std::path::Path;
use std::time::Duration;

use super::{Replies, yes_or_no};
use crate::support::gateway::gateway_config;
use crate::support::http1::{Http1, Http1Answer};
use crate::support::process::Process;
use crate::support::raw::message;
use crate::support::speaker::{Answer, Fields, Speaker};
use bytes::Bytes;

const CALL: &str = "POST /test.web.v1.Library/Sum";
const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
const REFUSAL: Fields = &[("content-type", "application/grpc"), ("grpc-status", "9"), ("x-err", "1")];

/// A program in front of a service that refuses each call, and a client of it.
async fn refused(program: &Path) -> (Speaker, Process, Http1) {
    let service = Speaker::start(|_| Answer::head_alone(REFUSAL)).await;
    let process = Process::start_program(program, &gateway_config(&[service.address()], "epoll", "")).await;
    let client = Http1::connect(process.listener).await;
    (service, process, client)
}

/// The field of a call to the service whose caller sends these fields.
async fn forwarded(program: &Path, fields: &[(&str, &str)], body: Bytes, field: &str) -> String {
    let (service, _process, mut client) = refused(program).await;
    client.ask(CALL, fields, &body).await;
    let asked = service.take_asked();
    asked.first().and_then(|asked| asked.field(field)).unwrap_or("none").to_owned()
}

pub(super) fn compressed(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        // An empty message in gzip.
        let packed: &[u8] = &[31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        forwarded(program, &[WEB, ("grpc-encoding", "gzip")], message(1, packed), "grpc-encoding").await
    })
}

pub(super) fn codec(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let json = [("content-type", "application/grpc-web+json")];
        forwarded(program, &json, message(0, b"{}"), "content-type").await
    })
}

pub(super) fn trailers_only(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (_service, _process, mut client) = refused(program).await;
        let Http1Answer { body, .. } = client.ask(CALL, &[WEB], &message(0, b"")).await;
        let is_told = String::from_utf8_lossy(&body).contains("x-err: 1");
        yes_or_no(is_told, "in the body", "in the head only")
    })
}

pub(super) fn unknown_type(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let (_service, _process, mut client) = refused(program).await;
        let unknown = [("content-type", "application/grpc-webster")];
        client.ask(CALL, &unknown, &message(0, b"")).await.status.to_string()
    })
}

/// An answer whose head goes before its end comes before the last chunk of the request, a millisecond before it.
pub(super) fn unread_body(program: &Path) -> Replies<'_> {
    Box::pin(async move {
        let service = Speaker::start(|_| Answer::whole(&REFUSAL[..1], message(0, &[0; 300_000]))).await;
        let config = gateway_config(&[service.address()], "epoll", "");
        let process = Process::start_program(program, &config).await;
        let head = format!(
            "{CALL} HTTP/1.1\r\nhost: x\r\n{}: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            WEB.0, WEB.1
        );
        let chunk = [b"5\r\n", &message(0, b"")[..], b"\r\n"].concat();
        for _ in 0..30 {
            let mut client = Http1::connect(process.listener).await;
            client.say(&head).await;
            client.say(&chunk).await;
            let announced = client.answer().await.field("connection").is_some();
            let later = tokio::time::Instant::now() + Duration::from_millis(1);
            tokio::time::interval_at(later, Duration::from_secs(1)).tick().await;
            client.say("0\r\n\r\n").await;
            // A connection that is kept says nothing before the rest has come.
            let is_closed = tokio::time::timeout(Duration::from_millis(20), client.is_closed()).await;
            if !announced && is_closed == Ok(true) {
                return "closed unannounced".to_owned();
            }
        }
        "kept or announced".to_owned()
    })
}
