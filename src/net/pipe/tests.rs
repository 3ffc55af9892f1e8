//! When a pipe knows that nothing was sent.

use std::task::Waker;

use super::*;

fn staged(pipe: &Rc<Pipe>, bytes: &[u8]) {
    let written = Pin::new(&mut pipe.io()).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
}

/// Events of a connection, and whether it is then known that no byte has left since before them.
#[test]
fn what_was_not_written_is_known_once_the_connection_is_over() {
    type Events = fn(&Rc<Pipe>);
    const GONE: io::ErrorKind = io::ErrorKind::ConnectionReset;
    let table: [(&str, Events, bool); 8] = [
        ("it goes on", |_| (), false),
        ("reset while nothing was staged", |pipe| pipe.failed(&GONE.into()), true),
        ("closed while nothing was staged", |pipe| pipe.closed(), true),
        (
            "reset while it was staged",
            |pipe| {
                staged(pipe, b"head");
                pipe.failed(&GONE.into());
            },
            true,
        ),
        (
            "closed while it was staged: the peer may still take it",
            |pipe| {
                staged(pipe, b"head");
                pipe.closed();
            },
            false,
        ),
        (
            "the kernel takes nothing",
            |pipe| {
                staged(pipe, b"head");
                let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
                pipe.sent(Err(GONE.into()), stage);
            },
            true,
        ),
        (
            "the kernel has taken a part",
            |pipe| {
                staged(pipe, b"head");
                let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
                pipe.took(1);
                pipe.sent(Err(GONE.into()), stage);
            },
            false,
        ),
        (
            "cut while it was staged",
            |pipe| {
                staged(pipe, b"head");
                pipe.abort();
            },
            true,
        ),
    ];
    for (what, events, unwritten) in table {
        let pipe = Pipe::new(Rc::new(Buffers::new()), Moment::ZERO);
        staged(&pipe, b"of another call");
        let stage = pipe.take_stage(Moment::ZERO).expect("it is staged");
        pipe.took(stage.len());
        pipe.sent(Ok(()), stage);
        let before = pipe.outgoing();
        events(&pipe);
        assert_eq!(pipe.ended_at(before), unwritten, "{what}");
    }
}
