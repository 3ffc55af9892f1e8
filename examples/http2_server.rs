//! A server of our HTTP/2 engine alone, over blocking sockets: `h2spec --strict -p 18080` judges it.
#![allow(clippy::disallowed_methods, reason = "no worker whose clock could be read")]

use ringway::buffer::{Output, Slice};
use ringway::http2::{Bounds, Connection, Ending, Heads, Memory, Name};
use ringway::time::Moment;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:18080".to_owned());
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        std::thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// Answers each request once it has come whole.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let (heads, mut out, start) = (Heads::new(), Output::default(), Instant::now());
    let mut connection = Connection::server(Rc::new(Bounds::default()), Memory::new(&heads), &mut out);
    let mut open = Vec::new();
    let mut bytes = [0; 16_384];
    loop {
        let sent = out.parts(0).collect::<Vec<_>>().concat();
        out.clear();
        stream.write_all(&sent)?;
        if connection.is_done() {
            return Ok(());
        }
        let now = Moment::from_nanos(start.elapsed().as_nanos() as u64);
        connection.wake_waiting(now, &mut out);
        if !out.is_empty() {
            continue;
        }
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        let mut input = Slice::copy_of(&bytes[..n]);
        while !input.is_empty() {
            connection.receive(&mut input, now, &mut out);
        }
        while let Some(incoming) = connection.accept() {
            open.push(incoming.key);
        }
        open.retain(|key| !answer(&mut connection, *key, &heads, now, &mut out));
    }
}

/// Reads what came; whether the request was whole and is answered, or is over.
fn answer(connection: &mut Connection, key: u32, heads: &Rc<Heads>, now: Moment, out: &mut Output) -> bool {
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let is_whole = loop {
        match connection.poll_data(key, &cx) {
            std::task::Poll::Ready(Ok(Some(data))) => connection.release(key, data.len(), out),
            std::task::Poll::Ready(Ok(None)) => break true,
            std::task::Poll::Ready(Err(_)) => break false,
            std::task::Poll::Pending => return false,
        }
    };
    let mut head = heads.head();
    head.set_status(200);
    head.push(Name::CONTENT_TYPE, b"text/plain");
    if is_whole && connection.send_head(key, &head, false, out).is_ok() {
        connection.finish(key, Slice::copy_of(b"It works.\n"), Ending::EndStream, now, out);
    }
    connection.let_go(key, now, out);
    true
}
