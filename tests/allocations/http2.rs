//! A unary exchange between a client and a server of our HTTP/2 engine costs no allocation once both are warm.

use ringway::buffer::{Output, Slice};
use ringway::http2::{Bounds, Connection, Ending, Heads, Memory, Name, Sent};
use ringway::time::Moment;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct End {
    connection: Connection,
    out: Output,
}

struct Pair {
    client: End,
    server: End,
    heads: Rc<Heads>,
    /// A single piece of memory that bytes pass through, as a socket's buffer.
    wire: Vec<u8>,
}

const NOW: Moment = Moment::from_nanos(1);

impl Pair {
    fn new() -> Pair {
        let heads = Heads::new();
        let memory = Memory::new(&heads);
        let end = |make: fn(Rc<Bounds>, Rc<Memory>, &mut Output) -> Connection| {
            let mut out = Output::default();
            let connection = make(Rc::new(Bounds::default()), Rc::clone(&memory), &mut out);
            End { connection, out }
        };
        let (client, server) = (end(Connection::client), end(Connection::server));
        Pair { client, server, heads, wire: Vec::new() }
    }
}

/// Delivers all staged bytes of one end to the other. A slice of the heap costs two allocations that are not the
/// engine's.
fn deliver(from: &mut End, to: &mut End, wire: &mut Vec<u8>) -> u64 {
    wire.clear();
    for part in from.out.parts(0) {
        wire.extend_from_slice(part);
    }
    from.out.clear();
    let before = ringway::alloc::allocations_of_this_thread();
    let mut input = Slice::copy_of(wire);
    // The first clone of bytes on the heap allocates its count of owners; those in a worker's pool have one.
    drop(input.clone());
    let ours = ringway::alloc::allocations_of_this_thread() - before;
    to.connection.receive(&mut input, NOW, &mut to.out);
    ours
}

/// A call; the allocations of the test itself.
fn call(pair: &mut Pair, message: &Slice) -> u64 {
    let Pair { client, server, heads, wire } = pair;
    let cx = Context::from_waker(Waker::noop());
    let mut own = 0;
    let mut head = heads.head();
    head.set_method(b"POST");
    head.set_scheme(b"http");
    head.set_authority(b"gateway.test");
    head.set_path(b"/ringway.test.Echo/Unary");
    head.push(Name::TE, b"trailers");
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    head.push(Name::USER_AGENT, b"grpc-rust/0.14");
    let key = client.connection.open(&head, false, NOW, &mut client.out).expect("it takes streams");
    drop(head);
    let sent = client.connection.send_data(key, &mut message.clone(), true, NOW, &mut client.out);
    assert_eq!(sent, Sent::All);
    own += deliver(client, server, wire);

    let incoming = server.connection.accept().expect("it came");
    read(server, incoming.key, message.len());
    let mut head = heads.head();
    head.set_status(200);
    head.push(Name::CONTENT_TYPE, b"application/grpc");
    server.connection.send_head(incoming.key, &head, false, &mut server.out).expect("it lives");
    let mut trailers = heads.head();
    trailers.push(Name::GRPC_STATUS, b"0");
    let ending = Ending::Trailers(trailers);
    server.connection.finish(incoming.key, message.clone(), ending, NOW, &mut server.out);
    server.connection.let_go(incoming.key, NOW, &mut server.out);
    own += deliver(server, client, wire);

    let Poll::Ready(Ok(head)) = client.connection.poll_head(key, &cx) else { panic!("no head") };
    assert_eq!(head.status(), Some(200));
    read(client, key, message.len());
    assert!(client.connection.take_trailers(key).is_some());
    client.connection.let_go(key, NOW, &mut client.out);
    assert_eq!((client.connection.streams(), server.connection.streams()), (0, 0));
    own
}

fn read(end: &mut End, key: u32, length: usize) {
    let cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(Some(data))) = end.connection.poll_data(key, &cx) else { panic!("no bytes") };
    assert_eq!(data.len(), length);
    end.connection.release(key, data.len(), &mut end.out);
    assert!(matches!(end.connection.poll_data(key, &cx), Poll::Ready(Ok(None))));
}

#[test]
fn a_unary_exchange_allocates_nothing() {
    for size in [21, 1_000, 8_000] {
        let mut pair = Pair::new();
        let message = Slice::copy_of(&vec![7; size]);
        deliver(&mut pair.client, &mut pair.server, &mut pair.wire);
        deliver(&mut pair.server, &mut pair.client, &mut pair.wire);
        deliver(&mut pair.client, &mut pair.server, &mut pair.wire);
        for _ in 0..2_000 {
            call(&mut pair, &message);
        }
        let calls = std::env::var("RINGWAY_CALLS").map_or(20_000, |calls| calls.parse().expect("a number"));
        let before = ringway::alloc::allocations_of_this_thread();
        let own: u64 = (0..calls).map(|_| call(&mut pair, &message)).sum();
        let engine = ringway::alloc::allocations_of_this_thread() - before - own;
        assert!(own > 0, "the allocator does not count");
        assert_eq!(engine, 0, "{size} bytes");
    }
}
