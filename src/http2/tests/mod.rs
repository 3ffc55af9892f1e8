//! A client and a server of ours and bytes between them, or one of them and frames written by hand.

mod bounds;
mod exchange;
mod floods;
mod flow;
mod malformed;
mod pair;
mod random;
mod raw;
mod shutdown;

use std::task::{Context, Poll, Waker};

use super::connection::Connection;
use super::head::{Head, Heads};
use super::name::Name;
use super::state::StreamError;
use crate::time::Moment;
use std::rc::Rc;

/// So many milliseconds after the start.
fn ms(n: u64) -> Moment {
    Moment::from_nanos((n + 1_000) * 1_000_000)
}

/// Polls once; nobody is woken.
fn poll<T>(act: impl FnOnce(&Context<'_>) -> Poll<T>) -> Option<T> {
    match act(&Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The head of a gRPC request.
fn request(heads: &Rc<Heads>, path: &str) -> Head {
    let mut head = heads.head();
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_authority(b"test");
    head.set_path(path.as_bytes());
    head.push(Name::TE, b"trailers");
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    head
}

/// The head of a response.
fn response(heads: &Rc<Heads>) -> Head {
    let mut head = heads.head();
    head.set_status(200);
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    head
}

fn trailers(heads: &Rc<Heads>) -> Head {
    let mut head = heads.head();
    head.push(Name::GRPC_STATUS, b"0");
    head
}

/// All that can be read of a stream now: the bytes, and its end or why it has none, if that is there.
fn read(connection: &mut Connection, key: u32) -> (Vec<u8>, Option<Result<(), StreamError>>) {
    let mut bytes = Vec::new();
    loop {
        match poll(|cx| connection.poll_data(key, cx)) {
            Some(Ok(Some(data))) => bytes.extend_from_slice(&data),
            Some(Ok(None)) => return (bytes, Some(Ok(()))),
            Some(Err(error)) => return (bytes, Some(Err(error))),
            None => return (bytes, None),
        }
    }
}

/// Bytes that differ from their neighbours.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
