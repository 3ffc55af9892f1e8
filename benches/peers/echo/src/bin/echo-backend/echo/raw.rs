//! The service on frames alone. Heads of requests are not read, as there is one method; windows of the peer are respected.

use std::collections::{HashMap, VecDeque};
use std::error::Error;

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Count;

const PREFACE: usize = 24;
const FRAME_MAX: usize = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// No message here is larger, so no stream needs more.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// `:status: 200` of the static table, `content-type: application/grpc`; `grpc-status: 0`; both as literals.
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

#[derive(Default)]
struct Stream {
    body: BytesMut,
    /// Bytes that may be sent.
    window: i64,
}

struct Connection {
    streams: HashMap<u32, Stream>,
    /// Answers that wait for a window.
    waiting: VecDeque<u32>,
    window: i64,
    stream_window: i64,
    /// Received and not yet given back as window.
    taken: u32,
    out: BytesMut,
    count: Count,
}

/// Serves one connection.
pub async fn serve(mut socket: TcpStream, count: Count) -> Result<(), Box<dyn Error>> {
    let mut connection = Connection {
        streams: HashMap::new(),
        waiting: VecDeque::new(),
        window: 65_535,
        stream_window: 65_535,
        taken: 0,
        out: BytesMut::new(),
        count,
    };
    connection.begin();
    let mut input = BytesMut::with_capacity(1 << 20);
    while input.len() < PREFACE {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
    input.advance(PREFACE);
    loop {
        while input.len() >= 9 {
            let length = input[..3].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if input.len() < 9 + length {
                break;
            }
            let head = input.split_to(9);
            let id = (&head[5..]).get_u32() & 0x7fff_ffff;
            connection.frame(head[3], head[4], id, &input[..length]);
            input.advance(length);
        }
        if !connection.out.is_empty() {
            socket.write_all(&connection.out).await?;
            connection.out.clear();
        }
        input.reserve(256 << 10);
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

impl Connection {
    fn begin(&mut self) {
        self.head(12, SETTINGS, 0, 0);
        self.out.put_slice(&[0, 3, 0, 0, 0x10, 0]); // 4096 streams at once
        self.out.put_slice(&[0, 4]);
        self.out.put_u32(STREAM_WINDOW);
        self.head(4, WINDOW_UPDATE, 0, 0);
        self.out.put_u32(CONNECTION_WINDOW - 65_535);
    }

    fn head(&mut self, length: usize, kind: u8, flags: u8, id: u32) {
        self.out.put_uint(length as u64, 3);
        self.out.put_slice(&[kind, flags]);
        self.out.put_u32(id);
    }

    fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        match kind {
            DATA => {
                self.give_back(payload.len() as u32);
                let padding = if flags & PADDED != 0 { usize::from(payload[0]) + 1 } else { 0 };
                let data = if padding > 0 { &payload[1..payload.len() + 1 - padding] } else { payload };
                let Some(stream) = self.streams.get_mut(&id) else { return };
                stream.body.extend_from_slice(data);
            }
            HEADERS => {
                drop(self.streams.insert(id, Stream { window: self.stream_window, ..Stream::default() }))
            }
            RST_STREAM => drop(self.streams.remove(&id)),
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => {
                self.head(8, PING, ACK, 0);
                self.out.put_slice(payload);
            }
            WINDOW_UPDATE => {
                let more = i64::from((&payload[..4]).get_u32());
                match self.streams.get_mut(&id) {
                    Some(stream) => stream.window += more,
                    None if id == 0 => self.window += more,
                    None => {}
                }
                self.send_waiting();
            }
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.head(HEAD.len(), HEADERS, END_HEADERS, id);
            self.out.put_slice(HEAD);
            if !self.send(id) {
                self.waiting.push_back(id);
            }
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
            let window = i64::from((&setting[2..]).get_u32());
            let more = window - self.stream_window;
            self.stream_window = window;
            self.streams.values_mut().for_each(|stream| stream.window += more);
        }
        self.head(0, SETTINGS, ACK, 0);
        self.send_waiting();
    }

    fn give_back(&mut self, bytes: u32) {
        self.taken += bytes;
        if self.taken >= CONNECTION_WINDOW / 2 {
            self.head(4, WINDOW_UPDATE, 0, 0);
            self.out.put_u32(self.taken);
            self.taken = 0;
        }
    }

    fn send_waiting(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else { return };
            if !self.send(id) {
                self.waiting.push_back(id);
            }
        }
    }

    /// Sends what the windows let through. Whether that was all.
    fn send(&mut self, id: u32) -> bool {
        let Some(mut stream) = self.streams.remove(&id) else { return true };
        while !stream.body.is_empty() {
            let room = usize::try_from(stream.window.min(self.window)).unwrap_or(0);
            let length = room.min(stream.body.len()).min(FRAME_MAX);
            if length == 0 {
                self.streams.insert(id, stream);
                return false;
            }
            stream.window -= length as i64;
            self.window -= length as i64;
            self.head(length, DATA, 0, id);
            self.out.put_slice(&stream.body.split_to(length));
        }
        self.head(TRAILERS.len(), HEADERS, END_HEADERS | END_STREAM, id);
        self.out.put_slice(TRAILERS);
        self.count.set(self.count.get() + 1);
        true
    }
}
