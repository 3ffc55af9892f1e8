//! When a connection knows that nothing was sent.

use std::task::Waker;

use super::*;

fn staged(conn: &Rc<BufferedConn>, bytes: &[u8]) {
    let written = Pin::new(&mut conn.io()).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()));
}

/// Events of a connection, and whether it is then known that no byte has left since before them.
#[test]
fn what_was_not_written_is_known_once_the_connection_is_over() {
    type Events = fn(&Rc<BufferedConn>);
    const GONE: io::ErrorKind = io::ErrorKind::ConnectionReset;
    let table: [(&str, Events, bool); 8] = [
        ("it goes on", |_| (), false),
        ("reset while nothing was staged", |conn| conn.failed(&GONE.into()), true),
        ("closed while nothing was staged", |conn| conn.closed(), true),
        (
            "reset while it was staged",
            |conn| {
                staged(conn, b"head");
                conn.failed(&GONE.into());
            },
            true,
        ),
        (
            "closed while it was staged: the peer may still take it",
            |conn| {
                staged(conn, b"head");
                conn.closed();
            },
            false,
        ),
        (
            "the kernel takes nothing",
            |conn| {
                staged(conn, b"head");
                let stage = conn.take_write_buf(Moment::ZERO).expect("it is staged");
                conn.sent(Err(GONE.into()), stage);
            },
            true,
        ),
        (
            "the kernel has taken a part",
            |conn| {
                staged(conn, b"head");
                let stage = conn.take_write_buf(Moment::ZERO).expect("it is staged");
                conn.took(1);
                conn.sent(Err(GONE.into()), stage);
            },
            false,
        ),
        (
            "cut while it was staged",
            |conn| {
                staged(conn, b"head");
                conn.abort();
            },
            true,
        ),
    ];
    for (what, events, unwritten) in table {
        let conn = BufferedConn::new(Rc::new(Buffers::new()), Moment::ZERO);
        staged(&conn, b"of another call");
        let stage = conn.take_write_buf(Moment::ZERO).expect("it is staged");
        conn.took(stage.len());
        conn.sent(Ok(()), stage);
        let before = conn.outgoing();
        events(&conn);
        assert_eq!(conn.ended_at(before), unwritten, "{what}");
    }
}
