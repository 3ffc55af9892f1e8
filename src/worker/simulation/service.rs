//! A scripted service: does with each attempt what the call's plan says.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use super::client::send;
use super::ledger::{Behaviour, Ledger, request_message, response_message};
use super::peer::{Far, Peer, Peers, serve};
use crate::buffer::Slice;
use crate::http2::{Bounds, ErrorCode, Head, Name, Stream, frame};

/// Serves an address; its connections, as they come.
pub(super) fn start(far: &Rc<Far>, ledger: &Rc<Ledger>, address: SocketAddr, bounds: Bounds) -> Peers {
    let (own, ledger) = (Rc::clone(far), Rc::clone(ledger));
    serve(far, address, bounds, move |peer, stream, head| {
        let call = head.get_named(b"x-call").expect("each call has a number");
        let call: usize = std::str::from_utf8(call).expect("digits").parse().expect("digits");
        let (number, behaviour) = ledger.attempt(call, address, own.memory.now());
        let id = stream.number();
        if behaviour == Behaviour::GoAway && peer.covers.get() == u32::MAX {
            let last = id.saturating_sub(2);
            peer.covers.set(last);
            peer.session.with(|_, out, _| frame::goaway(out.bytes(), last, ErrorCode::NO_ERROR, ""));
        }
        if peer.covers.get() < id {
            return ledger.with_attempt(call, number, |attempt| attempt.is_unseen = true);
        }
        let script = Script { far: Rc::clone(&own), ledger: Rc::clone(&ledger), call, number };
        own.spawn(script.run(Rc::clone(peer), stream, behaviour));
    })
}

struct Script {
    far: Rc<Far>,
    ledger: Rc<Ledger>,
    call: usize,
    number: usize,
}

impl Script {
    async fn run(self, peer: Rc<Peer>, stream: Stream, behaviour: Behaviour) {
        match behaviour {
            Behaviour::Answer { after, messages, code } => {
                if !self.read(&stream).await {
                    return;
                }
                self.far.memory.pause(after).await;
                if self.messages(&stream, &messages).await {
                    let _ = stream.send_head(&self.trailers(code), true);
                }
            }
            Behaviour::Status { after, code } => {
                self.far.memory.pause(after).await;
                let mut head = self.head();
                head.push(Name::GRPC_STATUS, code.to_string().as_bytes());
                let _ = stream.send_head(&head, true);
                // Some read on.
                self.read(&stream).await;
            }
            Behaviour::Reset { after, code } => {
                self.far.memory.pause(after).await;
                stream.reset_at_once(code);
            }
            Behaviour::BreakOff { messages, code } => {
                if self.messages(&stream, &messages).await {
                    stream.reset_at_once(code);
                }
            }
            Behaviour::Hang { reads } => {
                if !reads || self.read(&stream).await {
                    poll_fn(|cx| stream.poll_error(cx)).await;
                }
                let now = self.far.memory.now();
                self.ledger.with_attempt(self.call, self.number, |attempt| attempt.given_up = Some(now));
            }
            Behaviour::Leave => {
                peer.finish();
                if self.read(&stream).await && self.messages(&stream, &[20]).await {
                    let _ = stream.send_head(&self.trailers(0), true);
                }
            }
            Behaviour::Cut { after } => {
                self.far.memory.pause(after).await;
                peer.cut();
                // To let go of it would reset it.
                poll_fn(|cx| stream.poll_error(cx)).await;
            }
            Behaviour::Close { after } => {
                self.far.memory.pause(after).await;
                peer.close();
                poll_fn(|cx| stream.poll_error(cx)).await;
            }
            Behaviour::GoAway => unreachable!("not seen"),
        }
    }

    fn head(&self) -> Head {
        let mut head = self.far.heads.head();
        head.set_status(200);
        head.push(Name::CONTENT_TYPE, b"application/grpc");
        head
    }

    fn trailers(&self, code: u8) -> Head {
        let mut head = self.far.heads.head();
        head.push(Name::GRPC_STATUS, code.to_string().as_bytes());
        head
    }

    async fn messages(&self, stream: &Stream, sizes: &[usize]) -> bool {
        if stream.send_head(&self.head(), false).is_err() {
            return false;
        }
        for (index, size) in sizes.iter().enumerate() {
            let message = response_message(self.call, self.number, index, *size);
            if !send(stream, Slice::from(message), false).await {
                return false;
            }
        }
        true
    }

    /// Reads the request to its end, each byte of which is known; false if it breaks off.
    async fn read(&self, stream: &Stream) -> bool {
        loop {
            match poll_fn(|cx| stream.poll_data(cx)).await {
                Ok(Some(data)) => {
                    self.note(&data);
                    let n = data.len();
                    drop(data);
                    stream.release(n);
                }
                Ok(None) => {
                    self.ledger.with_attempt(self.call, self.number, |attempt| attempt.is_whole = true);
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    fn note(&self, data: &[u8]) {
        let plan = Rc::clone(&self.ledger.0.borrow()[self.call].plan);
        self.ledger.with_attempt(self.call, self.number, |attempt| {
            let (mut at, mut whole) = (0, Vec::new());
            for size in &plan.messages {
                if at + 5 + size > attempt.received && at < attempt.received + data.len() {
                    let message = request_message(self.call, at, *size);
                    let from = attempt.received.saturating_sub(at);
                    whole.extend_from_slice(&message[from..]);
                }
                at += 5 + size;
            }
            assert!(whole.starts_with(data), "these are not the request's bytes");
            attempt.received += data.len();
        });
    }
}
