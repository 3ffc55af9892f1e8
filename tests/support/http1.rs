//! An HTTP/1.1 client that says exactly what a test wants it to say, and reads answers strictly.

use super::within;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WAIT_MAX: Duration = Duration::from_secs(10);

/// An HTTP/1.1 connection.
pub struct Http1 {
    stream: TcpStream,
    /// Received and not yet taken.
    bytes: Vec<u8>,
}

/// An answer.
pub struct Http1Answer {
    pub status: u16,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to the end that its framing announced.
    pub is_whole: bool,
}

impl std::fmt::Debug for Http1Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (body, whole) = (String::from_utf8_lossy(&self.body), if self.is_whole { "" } else { ", cut" });
        write!(f, "{} {:?} {body:?}{whole}", self.status, self.headers)
    }
}

impl Http1Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within(WAIT_MAX, "connect", TcpStream::connect(address)).await.expect("it listens");
        Self::over(stream)
    }

    /// A client of a connection that was made otherwise.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, bytes: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // A peer that has closed is found when its answer is read.
        let _ = within(WAIT_MAX, "send", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Ends our side.
    pub async fn hang_up(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Sends a request with this body, and reads the answer.
    pub async fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Http1Answer {
        let mut head = format!("{line} HTTP/1.1\r\nhost: ringway\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.say(bytes).await;
        if line.starts_with("HEAD ") { self.answer_without_body().await } else { self.answer().await }
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Http1Answer {
        let mut answer = self.answer_without_body().await;
        if answer.status / 100 == 1 || answer.status == 204 || answer.status == 304 {
            return answer;
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            answer.is_whole = self.chunks(&mut answer.body).await;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a length");
            answer.is_whole = self.wait_for(length).await;
            let taken = length.min(self.bytes.len());
            answer.body = self.bytes.drain(..taken).collect();
        } else {
            panic!("an answer without a length: {answer:?}");
        }
        answer
    }

    /// The head of the next answer.
    pub async fn answer_without_body(&mut self) -> Http1Answer {
        let head = self.until(b"\r\n\r\n").await.expect("an answer");
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a first line");
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        let status = status_line[9..12].parse().expect("a status");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Http1Answer { status, headers: headers.collect(), body: Vec::new(), is_whole: true }
    }

    /// The next piece of a chunked body; none at its end. Panics if the peer cuts it.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().await.expect("the body is not cut")
    }

    async fn try_chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = String::from_utf8(self.until(b"\r\n").await?).expect("a size");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        if !self.wait_for(size + 2).await {
            return None;
        }
        let chunk: Vec<u8> = self.bytes.drain(..size + 2).take(size).collect();
        Some((size > 0).then_some(chunk))
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            match self.try_chunk().await {
                Some(Some(chunk)) => body.extend(chunk),
                Some(None) => return true,
                None => return false,
            }
        }
    }

    /// The next bytes, whatever they are.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        assert!(self.wait_for(count).await, "only {:?}", self.bytes);
        self.bytes.drain(..count).collect()
    }

    /// Whether the peer closes before it says anything more.
    pub async fn is_closed(&mut self) -> bool {
        !self.wait_for(1).await
    }

    /// All that the peer still says until it closes.
    pub async fn rest(mut self) -> Vec<u8> {
        while self.more().await {}
        self.bytes
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|window| window == end) {
                return Some(self.bytes.drain(..at + end.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn wait_for(&mut self, count: usize) -> bool {
        while self.bytes.len() < count {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// Reads some more; false once the peer has closed.
    async fn more(&mut self) -> bool {
        let read = within(WAIT_MAX, "an answer", self.stream.read_buf(&mut self.bytes)).await;
        matches!(read, Ok(n) if n > 0)
    }
}
