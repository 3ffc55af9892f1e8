//! A caller of plain HTTP over either version, so that one test is said once.

use super::http1::{Http1, Http1Answer};
use super::raw::{RawCall, RawClient};
use bytes::Bytes;
use std::net::SocketAddr;

pub const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// A client's connection, by either version of HTTP.
pub enum Caller {
    Http1(Http1),
    Http2(RawClient),
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

impl Caller {
    pub async fn connect(version: Version, address: SocketAddr) -> Self {
        match version {
            Version::Http1 => Self::Http1(Http1::connect(address).await),
            Version::Http2 => Self::Http2(RawClient::connect(address).await),
        }
    }

    /// Asks, such as `GET /v1/events`, and reads the whole answer.
    pub async fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Http1Answer {
        match self {
            Self::Http1(client) => client.ask(line, headers, body).await,
            Self::Http2(client) => {
                let mut call = open(client, line, headers, body.is_empty()).await;
                if !body.is_empty() {
                    call.send(Bytes::copy_from_slice(body), true);
                }
                answer(call).await
            }
        }
    }

    /// Asks with a body that comes in pieces, each on its own.
    pub async fn ask_in_pieces(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        pieces: &[&[u8]],
    ) -> Http1Answer {
        match self {
            Self::Http1(client) => {
                let mut head =
                    format!("{line} HTTP/1.1\r\nhost: ringway.test\r\ntransfer-encoding: chunked\r\n");
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                client.say(head + "\r\n").await;
                for piece in pieces {
                    client.say(format!("{:x}\r\n", piece.len())).await;
                    client.say(piece).await;
                    client.say("\r\n").await;
                }
                client.say("0\r\n\r\n").await;
                client.answer().await
            }
            Self::Http2(client) => {
                let mut call = open(client, line, headers, false).await;
                for piece in pieces {
                    call.send(Bytes::copy_from_slice(piece), false);
                    tokio::task::yield_now().await;
                }
                call.send(Bytes::new(), true);
                answer(call).await
            }
        }
    }
}

/// Sends the head of a request over HTTP/2.
pub async fn open(client: &mut RawClient, line: &str, headers: &[(&str, &str)], end: bool) -> RawCall {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let mut request = http::Request::builder().method(method).uri(format!("http://ringway.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(()).expect("the test's headers are valid"), end).await
}

/// The answer over HTTP/2, in the form of the other version.
pub async fn answer(call: RawCall) -> Http1Answer {
    let reply = call.reply().await;
    assert!(reply.trailers.is_none(), "{reply:?}");
    let headers = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("text").to_owned()));
    Http1Answer {
        status: reply.status,
        headers: headers.collect(),
        body: reply.body.to_vec(),
        is_whole: reply.error.is_none(),
    }
}
