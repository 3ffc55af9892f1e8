//! Bytes of a stranger for our HTTP/2 engine. The targets below fuzz/ run these with bytes that they choose.

use ringway::buffer::{Output, Slice};
use ringway::http2::hpack::{Decoder, Kind, Limits};
use ringway::http2::{Bounds, Connection, Ending, ErrorCode, Heads, Memory, Sent};
use ringway::time::Moment;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn bounds() -> Rc<Bounds> {
    Rc::new(Bounds { max_send_buffer_size: 20_000, max_concurrent_streams: 20, ..Bounds::default() })
}

/// An end of ours whose peer sends `bytes`. The first ones choose our acts meanwhile, and the cuts of the bytes.
struct Run<'a> {
    connection: Connection,
    out: Output,
    heads: Rc<Heads>,
    choices: &'a [u8],
    at: usize,
    now: Moment,
    keys: Vec<u32>,
}

impl Run<'_> {
    fn choice(&mut self) -> u8 {
        self.at += 1;
        self.choices.get(self.at % self.choices.len().max(1)).copied().unwrap_or(0)
    }

    /// Bytes come; we act between their pieces.
    fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = usize::from(self.choice());
            let n = if cut < 100 { cut + 1 } else { cut * cut * 2 }.min(rest.len());
            let mut input = Slice::copy_of(&rest[..n]);
            rest = &rest[n..];
            while !input.is_empty() {
                let before = input.len();
                self.connection.receive(&mut input, self.now, &mut self.out);
                assert!(self.out.len() < 1 << 21, "answers pile up");
                if input.len() == before || self.choice() > 200 {
                    // All staged bytes have been sent.
                    self.out.clear();
                    self.connection.wake_waiting(self.now, &mut self.out);
                }
            }
            self.act();
        }
        assert!(self.connection.held_bytes() <= 16 << 20);
        for key in std::mem::take(&mut self.keys) {
            self.connection.let_go(key, self.now, &mut self.out);
        }
        self.connection.end();
        while let Some(incoming) = self.connection.accept() {
            self.connection.let_go(incoming.key, self.now, &mut self.out);
        }
        assert_eq!((self.connection.streams(), self.connection.held_bytes()), (0, 0));
    }

    fn act(&mut self) {
        while let Some(incoming) = self.connection.accept() {
            self.keys.push(incoming.key);
        }
        self.now = self.now.plus(Duration::from_millis(self.choice().into()));
        let (choice, which) = (self.choice() % 16, usize::from(self.choice()));
        let Some(key) = self.keys.get(which % self.keys.len().max(1)).copied() else { return };
        let Run { connection, out, heads, now, .. } = self;
        let cx = Context::from_waker(Waker::noop());
        match choice {
            0..6 => {
                if let Poll::Ready(Ok(Some(data))) = connection.poll_data(key, &cx) {
                    connection.release(key, data.len(), out);
                }
            }
            6 => {
                let mut head = heads.head();
                head.set_status(200);
                let _ = connection.send_head(key, &head, false, out);
            }
            7 => {
                let mut data = Slice::copy_of(&[7; 30_000]);
                if connection.send_data(key, &mut data, false, *now, out) == Sent::Blocked {
                    connection.wait(key, &cx);
                }
            }
            8 => connection.finish(key, Slice::copy_of(&[7; 70_000]), Ending::EndStream, *now, out),
            9 => connection.finish(key, Slice::default(), Ending::Trailers(heads.head()), *now, out),
            10 => connection.cancel(key, ErrorCode::CANCEL, *now, out),
            11 => {
                self.keys.retain(|kept| *kept != key);
                connection.let_go(key, *now, out);
            }
            12 => connection.send_due(*now, out),
            13 if which < 20 => connection.shut_down(out),
            _ => drop(connection.poll_head(key, &cx)),
        }
    }
}

/// A client's bytes, behind its preface and settings.
pub(crate) fn server(bytes: &[u8]) {
    let (choices, bytes) = bytes.split_at(bytes.len().min(16));
    let (heads, mut out) = (Heads::new(), Output::default());
    let connection = Connection::server(bounds(), Memory::new(&heads), &mut out);
    let mut run = Run { connection, out, heads, choices, at: 0, now: Moment::from_nanos(1), keys: vec![] };
    let mut start = Slice::copy_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    run.connection.receive(&mut start, run.now, &mut run.out);
    run.bytes(bytes);
}

/// A service's bytes, behind its settings; we have opened some streams.
pub(crate) fn client(bytes: &[u8]) {
    let (choices, bytes) = bytes.split_at(bytes.len().min(16));
    let (heads, mut out) = (Heads::new(), Output::default());
    let connection = Connection::client(bounds(), Memory::new(&heads), &mut out);
    let mut run = Run { connection, out, heads, choices, at: 0, now: Moment::from_nanos(1), keys: vec![] };
    let mut start = Slice::copy_of(b"\0\0\0\x04\0\0\0\0\0");
    run.connection.receive(&mut start, run.now, &mut run.out);
    for _ in 0..4 {
        let mut head = run.heads.head();
        head.set_method(b"POST");
        head.set_path(b"/");
        run.keys.push(run.connection.open(&head, false, run.now, &mut run.out).expect("it is open"));
    }
    run.bytes(bytes);
}

/// Header blocks one after the other; the byte before each says how long it is.
pub(crate) fn hpack(bytes: &[u8]) {
    let (heads, mut decoder) = (Heads::new(), Decoder::new(4096));
    let kinds = [Kind::Request, Kind::Response, Kind::Trailers];
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(after.len().min(usize::from(*length)));
        let mut head = heads.head();
        let limits = Limits { list_size: 1_000, fields: 20 };
        if decoder.decode(block, kinds[usize::from(*length) % 3], limits, &mut head).is_err() {
            return;
        }
        assert!(head.list_size() <= 2_000 && head.len() <= 20);
        rest = after;
    }
}
