//! Scripted calls.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::ledger::{Ledger, Outcome, Plan, request_message};
use super::peer::{Far, Peer};
use crate::buffer::Slice;
use crate::http2::{ErrorCode, Head, Heads, Name, Sent, Stream};

/// The head of a gRPC request for call number `call`.
pub(super) fn request(heads: &Rc<Heads>, path: &str, call: usize, timeout: Option<Duration>) -> Head {
    let mut head = heads.head();
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_authority(b"sim");
    head.set_path(path.as_bytes());
    head.push(Name::TE, b"trailers");
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    head.push_named(b"x-call", call.to_string().as_bytes());
    if let Some(timeout) = timeout {
        head.push(Name::GRPC_TIMEOUT, format!("{}u", timeout.as_micros()).as_bytes());
    }
    head
}

/// Begins a call, which goes on as tasks of its own. Its number; none if the connection takes no more.
pub(super) fn begin(far: &Rc<Far>, peer: &Rc<Peer>, ledger: &Rc<Ledger>, plan: &Rc<Plan>) -> Option<usize> {
    let call = ledger.0.borrow().len();
    let head = request(&far.heads, plan.path, call, plan.timeout);
    let stream = peer.session.open(&head, false).ok()?;
    assert_eq!(ledger.begin(plan, far.memory.now()), call);
    let writer = stream.clone();
    let is_over = Rc::new(Cell::new(false));
    if let Some(after) = plan.cancels_after {
        let (far, canceller) = (Rc::clone(far), stream.clone());
        let (ledger, is_over) = (Rc::clone(ledger), Rc::clone(&is_over));
        far.clone().spawn(async move {
            far.memory.pause(after).await;
            if !is_over.replace(true) {
                ledger.end(call, Outcome::Cancelled, far.memory.now());
                canceller.reset_at_once(ErrorCode::CANCEL);
            }
        });
    }
    // A single task does both, for a stream wakes only one.
    let writing = write(Rc::clone(far), writer, Rc::clone(plan), call);
    let reading = read(Rc::clone(far), Rc::clone(ledger), Rc::clone(plan), stream, call, is_over);
    far.spawn(both(writing, reading));
    Some(call)
}

/// Sends all of `data`; false if the stream is over.
pub(super) async fn send(stream: &Stream, mut data: Slice, end: bool) -> bool {
    poll_fn(|cx| match stream.send_data(cx, &mut data, end) {
        Sent::All => Poll::Ready(true),
        Sent::Gone => Poll::Ready(false),
        // The stream may end meanwhile.
        Sent::Blocked => stream.poll_error(cx).map(|_| false),
    })
    .await
}

async fn both(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_is_over, mut second_is_over) = (false, false);
    poll_fn(|cx| {
        first_is_over = first_is_over || first.as_mut().poll(cx).is_ready();
        second_is_over = second_is_over || second.as_mut().poll(cx).is_ready();
        if first_is_over && second_is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn write(far: Rc<Far>, stream: Stream, plan: Rc<Plan>, call: usize) {
    let mut at = 0;
    for size in &plan.messages {
        if !plan.pause.is_zero() {
            far.memory.pause(plan.pause).await;
        }
        let message = request_message(call, at, *size);
        at += message.len();
        if !send(&stream, message.into(), false).await {
            return;
        }
    }
    send(&stream, Slice::default(), true).await;
}

async fn read(
    far: Rc<Far>,
    ledger: Rc<Ledger>,
    plan: Rc<Plan>,
    stream: Stream,
    call: usize,
    is_over: Rc<Cell<bool>>,
) {
    let outcome = answer(&far, &ledger, &plan, &stream, call).await;
    if !is_over.replace(true) {
        ledger.end(call, outcome, far.memory.now());
    }
}

fn status(head: &Head) -> Option<u8> {
    std::str::from_utf8(head.get(Name::GRPC_STATUS)?).ok()?.parse().ok()
}

async fn answer(far: &Far, ledger: &Ledger, plan: &Plan, stream: &Stream, call: usize) -> Outcome {
    let head = match poll_fn(|cx| stream.poll_head(cx)).await {
        Ok(head) => head,
        Err(error) => return Outcome::Broken(error),
    };
    assert_eq!(head.status(), Some(200));
    if let Some(status) = status(&head) {
        assert!(stream.ended_with_head(), "more than a status");
        return Outcome::Status(status);
    }
    loop {
        match poll_fn(|cx| stream.poll_data(cx)).await {
            Ok(Some(data)) => {
                ledger.0.borrow_mut()[call].body.extend_from_slice(&data);
                let n = data.len();
                drop(data);
                if !plan.reads_slowly.is_zero() {
                    far.memory.pause(plan.reads_slowly).await;
                }
                stream.release(n);
            }
            Ok(None) => break,
            Err(error) => return Outcome::Broken(error),
        }
    }
    let trailers = stream.take_trailers().expect("an answer ends with trailers");
    Outcome::Status(status(&trailers).expect("trailers have a status"))
}
