//! Violations of RFC 9113: each ends its stream if it can, and the connection if it must.

use super::super::frame::{ErrorCode, flag, kind};
use super::super::head::Heads;
use super::super::memory::Memory;
use super::super::settings::Bounds;
use super::super::state::StreamError;
use super::raw::{Raw, block, literal};
use super::{poll, read, request, response, trailers};

const REQUEST: [(&str, &[u8]); 4] =
    [(":method", b"POST"), (":scheme", b"http"), (":path", b"/a.B/C"), (":authority", b"test")];

/// Fields that no head or trailers may have (rows 4 and 5).
const FORBIDDEN: [(&str, &[u8]); 14] = [
    ("grpc-message", b"line one\nline two"),
    ("grpc-message", b"nul\0"),
    ("grpc-message", b"cr\r"),
    ("grpc-message", b"del\x7f"),
    ("Upper", b"case"),
    ("with space", b"x"),
    ("with:colon", b"x"),
    ("", b"no name"),
    (":unknown", b"pseudo"),
    ("connection", b"close"),
    ("keep-alive", b"1"),
    ("transfer-encoding", b"chunked"),
    ("upgrade", b"h2c"),
    ("te", b"gzip"),
];

/// A stream beside the one that is wrong still works, and the table is still right.
fn server_lives(raw: &mut Raw, other: u32, next: u32) {
    raw.frame(kind::DATA, flag::END_STREAM, 1, b"fine");
    assert_eq!(read(&mut raw.connection, other), (b"fine".to_vec(), Some(Ok(()))));
    let mut head = request(&raw.heads, "/next");
    head.push_named(b"x-again", b"in the table");
    raw.head(next, &head, true);
    let accepted = raw.connection.accept().expect("it is served");
    assert_eq!(accepted.head.get_named(b"x-again"), Some(&b"in the table"[..]));
    raw.let_go(accepted.key);
    raw.let_go(other);
    assert_eq!((raw.connection.failed(), raw.connection.streams()), (None, 0));
}

fn client_lives(raw: &mut Raw, other: u32) {
    raw.frame(kind::DATA, 0, 1, b"fine");
    let trailers = trailers(&raw.heads);
    raw.head(1, &trailers, true);
    assert_eq!(read(&mut raw.connection, other), (b"fine".to_vec(), Some(Ok(()))));
    assert!(raw.connection.take_trailers(other).is_some());
    raw.let_go(other);
    assert_eq!((raw.connection.failed(), raw.connection.streams()), (None, 0));
}

#[test]
fn a_malformed_request_ends_alone() {
    let mut wrong: Vec<Vec<(&str, &[u8])>> =
        FORBIDDEN.iter().map(|field| [&REQUEST[..], &[*field]].concat()).collect();
    for missing in 0..3 {
        wrong.push(
            REQUEST.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect(),
        );
    }
    let replaced = |name: &str, value: &'static [u8]| -> Vec<(&'static str, &'static [u8])> {
        REQUEST.iter().map(|field| if field.0 == name { (field.0, value) } else { *field }).collect()
    };
    // Rows 52c and 52d.
    wrong.push([&REQUEST[..], &[("host", b"other")]].concat());
    wrong.push(replaced(":authority", b"user@test"));
    wrong.push(replaced(":authority", b"te st"));
    wrong.push(replaced(":path", b""));
    wrong.push(replaced(":path", b"no/slash"));
    wrong.push([&REQUEST[..], &[(":path", b"/twice")]].concat());
    wrong.push([&[("x-first", &b"1"[..])], &REQUEST[..]].concat());
    wrong.push([&REQUEST[..], &[(":status", b"200")]].concat());
    wrong.push([&REQUEST[..], &[("content-length", b"1"), ("content-length", b"2")]].concat());
    wrong.push([&REQUEST[..], &[("content-length", b"x")]].concat());
    for fields in wrong {
        let mut raw = Raw::server(Bounds::default());
        let other = raw.accepted(1, false);
        raw.frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&fields));
        assert_eq!(raw.resets(), [(3, ErrorCode::PROTOCOL_ERROR)], "{fields:?}");
        assert!(raw.connection.accept().is_none());
        raw.frame(kind::DATA, flag::END_STREAM, 3, b"it comes all the same");
        assert_eq!((raw.connection.held_bytes(), raw.connection.take_notes().malformed), (0, 1));
        server_lives(&mut raw, other, 5);
    }
}

#[test]
fn an_authority_is_passed_unread() {
    // Row 7.
    for authority in ["127.0.0.1:1,127.0.0.1:2", "%2Ftmp%2Fx.sock", "a%2Cb", "[::1]:80", "a:b:c", "test"] {
        let mut raw = Raw::server(Bounds::default());
        let fields = [REQUEST[0], REQUEST[1], REQUEST[2], (":authority", authority.as_bytes())];
        raw.frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&fields));
        let incoming = raw.connection.accept().unwrap_or_else(|| panic!("{authority}"));
        assert_eq!(incoming.head.authority(), Some(authority.as_bytes()));
    }
}

#[test]
fn malformed_trailers_of_a_request_end_it_alone() {
    // Row 52f, and fields as in heads.
    for field in FORBIDDEN.into_iter().chain([(":path", &b"/"[..])]) {
        let mut raw = Raw::server(Bounds::default());
        let other = raw.accepted(1, false);
        let key = raw.accepted(3, false);
        raw.frame(
            kind::HEADERS,
            flag::END_HEADERS | flag::END_STREAM,
            3,
            &literal(field.0.as_bytes(), field.1),
        );
        assert_eq!(raw.resets(), [(3, ErrorCode::PROTOCOL_ERROR)], "{field:?}");
        assert!(matches!(read(&mut raw.connection, key).1, Some(Err(StreamError::Malformed(_)))));
        raw.let_go(key);
        server_lives(&mut raw, other, 5);
    }
}

#[test]
fn trailers_have_to_end_their_stream() {
    let mut raw = Raw::server(Bounds::default());
    let other = raw.accepted(1, false);
    let key = raw.accepted(3, false);
    let trailers = trailers(&raw.heads);
    raw.head(3, &trailers, false);
    assert_eq!(raw.resets(), [(3, ErrorCode::PROTOCOL_ERROR)]);
    raw.let_go(key);
    server_lives(&mut raw, other, 5);
}

#[test]
fn a_malformed_response_ends_alone() {
    let mut wrong: Vec<Vec<u8>> =
        FORBIDDEN.iter().map(|field| block(&[(":status", b"200"), *field])).collect();
    wrong.push(block(&[]));
    wrong.push(block(&[("x-no", b"status")]));
    for status in [&b"20"[..], b"2000", b"abc", b"", b"101"] {
        wrong.push(block(&[(":status", status)]));
    }
    wrong.push(block(&[(":status", b"200"), (":path", b"/")]));
    for payload in wrong {
        let mut raw = Raw::client(Bounds::default());
        let (other, key) = (raw.answered(1), raw.opened());
        raw.sent();
        raw.frame(kind::HEADERS, flag::END_HEADERS, 3, &payload);
        assert_eq!(raw.resets(), [(3, ErrorCode::PROTOCOL_ERROR)], "{}", payload.escape_ascii());
        let error = poll(|cx| raw.connection.poll_head(key, cx).map_ok(drop));
        assert!(matches!(error, Some(Err(StreamError::Malformed(_)))), "{error:?}");
        raw.let_go(key);
        client_lives(&mut raw, other);
    }
}

#[test]
fn malformed_trailers_of_a_response_end_it_alone() {
    for field in FORBIDDEN.into_iter().chain([(":status", &b"200"[..])]) {
        let mut raw = Raw::client(Bounds::default());
        let (other, key) = (raw.answered(1), raw.answered(3));
        raw.sent();
        raw.frame(kind::DATA, 0, 3, b"body");
        raw.frame(
            kind::HEADERS,
            flag::END_HEADERS | flag::END_STREAM,
            3,
            &literal(field.0.as_bytes(), field.1),
        );
        assert_eq!(raw.resets(), [(3, ErrorCode::PROTOCOL_ERROR)], "{field:?}");
        let (body, end) = read(&mut raw.connection, key);
        assert!(body == b"body" && matches!(end, Some(Err(StreamError::Malformed(_)))));
        assert!(raw.connection.take_trailers(key).is_none());
        raw.let_go(key);
        client_lives(&mut raw, other);
    }
}

#[test]
fn a_body_is_as_long_as_its_head_says() {
    // The length that is said, the pieces, whether the stream ends, and whether all is well.
    let cases: [(&[u8], &[usize], bool, bool); 8] = [
        (b"5", &[5], true, true),
        (b"5", &[2, 3], true, true),
        (b"5", &[6], false, false),
        (b"5", &[5, 1], false, false),
        (b"5", &[4], true, false),
        (b"5", &[4], false, true),
        (b"0", &[0], true, true),
        (b"1", &[0], true, false),
    ];
    for (length, pieces, end, good) in cases {
        let mut raw = Raw::server(Bounds::default());
        let other = raw.accepted(1, false);
        let fields = [&REQUEST[..], &[("content-length", length)]].concat();
        raw.frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&fields));
        let key = raw.connection.accept().expect("its head is good").key;
        for (at, piece) in pieces.iter().enumerate() {
            let end = end && at + 1 == pieces.len();
            raw.frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, 3, &vec![0; *piece]);
        }
        let expected = if good { vec![] } else { vec![(3, ErrorCode::PROTOCOL_ERROR)] };
        assert_eq!(raw.resets(), expected, "{length:?} {pieces:?}");
        raw.let_go(key);
        raw.sent();
        server_lives(&mut raw, other, 5);

        let mut raw = Raw::client(Bounds::default());
        let (other, key) = (raw.answered(1), raw.opened());
        raw.sent();
        let fields = [(":status", &b"200"[..]), ("content-length", length)];
        raw.frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&fields));
        for (at, piece) in pieces.iter().enumerate() {
            let end = end && at + 1 == pieces.len();
            raw.frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, 3, &vec![0; *piece]);
        }
        assert_eq!(raw.resets(), expected, "{length:?} {pieces:?}");
        raw.let_go(key);
        client_lives(&mut raw, other);
    }
    // A request that ends with its head, and announces a body, is not served.
    let mut raw = Raw::server(Bounds::default());
    let fields = [&REQUEST[..], &[("content-length", b"5")]].concat();
    raw.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &block(&fields));
    assert_eq!(
        (raw.resets(), raw.connection.accept().is_none()),
        (vec![(1, ErrorCode::PROTOCOL_ERROR)], true)
    );
}

/// Row 10.
#[test]
fn frames_after_the_end_are_judged_by_the_state_of_their_stream() {
    for (late, payload) in [(kind::DATA, b"late".to_vec()), (kind::HEADERS, literal(b"x", b"y"))] {
        let flags = if late == kind::HEADERS { flag::END_HEADERS | flag::END_STREAM } else { 0 };
        // Our side is open: the stream.
        let mut raw = Raw::server(Bounds::default());
        let (other, key) = (raw.accepted(1, false), raw.accepted(3, true));
        raw.frame(late, flags, 3, &payload);
        assert_eq!(raw.resets(), [(3, ErrorCode::STREAM_CLOSED)]);
        raw.let_go(key);
        // We have reset it: nothing, but what it carries counts.
        let key = raw.accepted(5, false);
        raw.connection.reset(key, ErrorCode::CANCEL, &mut raw.out);
        for _ in 0..3 {
            raw.frame(late, flags, 5, &payload);
        }
        assert_eq!((raw.failed(), raw.connection.held_bytes()), (None, 0));
        raw.let_go(key);
        raw.frame(late, flags, 5, &payload);
        server_lives(&mut raw, other, 7);
        // Both have ended it: the connection of a client.
        let mut raw = Raw::server(Bounds::default());
        let key = raw.accepted(1, true);
        let head = response(&raw.heads);
        raw.connection.send_head(key, &head, true, &mut raw.out).expect("it lives");
        raw.let_go(key);
        raw.frame(late, flags, 1, &payload);
        assert_eq!(raw.failed(), Some(ErrorCode::STREAM_CLOSED));

        // A service's is only counted.
        let mut raw = Raw::client(Bounds::default());
        let (other, key) = (raw.answered(1), raw.answered(3));
        raw.sent();
        raw.frame(kind::DATA, flag::END_STREAM, 3, b"");
        raw.frame(late, flags, 3, &payload);
        assert_eq!(raw.resets(), [(3, ErrorCode::STREAM_CLOSED)]);
        assert_eq!(read(&mut raw.connection, key), (vec![], Some(Ok(()))), "its response was whole");
        raw.let_go(key);
        let key = raw.opened();
        raw.connection.finish(
            key,
            Default::default(),
            super::super::Ending::EndStream,
            raw.now,
            &mut raw.out,
        );
        let head = response(&raw.heads);
        raw.head(5, &head, true);
        raw.let_go(key);
        raw.connection.take_notes();
        raw.frame(late, flags, 5, &payload);
        assert_eq!(raw.connection.take_notes().late_frames, 1);
        client_lives(&mut raw, other);
    }
}

/// RFC 9113 section 5.1: what a client sends before it knows of our reset is ignored, and nothing may follow its own.
#[test]
fn nothing_follows_a_clients_own_reset() {
    let late = |raw: &mut Raw, is_data: bool| match is_data {
        true => raw.frame(kind::DATA, flag::END_STREAM, 3, b"late"),
        false => {
            let trailers = trailers(&raw.heads);
            raw.head(3, &trailers, true);
        }
    };
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum LetGo {
        BeforeReset,
        AfterReset,
        Last,
    }
    use LetGo::{AfterReset, BeforeReset, Last};
    for (is_data, we_reset, peer_resets, let_go) in
        (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)).flat_map(|(is_data, we, peer)| {
            [BeforeReset, AfterReset, Last].map(|let_go| (is_data, we, peer, let_go))
        })
    {
        let mut raw = Raw::server(Bounds::default());
        let other = raw.accepted(1, false);
        let key = raw.accepted(3, false);
        if we_reset {
            raw.connection.reset(key, ErrorCode::NO_ERROR, &mut raw.out);
        }
        if let_go == BeforeReset {
            raw.let_go(key);
        }
        if peer_resets {
            raw.frame(kind::RST_STREAM, 0, 3, &ErrorCode::CANCEL.0.to_be_bytes());
        }
        if let_go == AfterReset {
            raw.let_go(key);
        }
        late(&mut raw, is_data);
        let expected = peer_resets.then_some(ErrorCode::STREAM_CLOSED);
        assert_eq!(raw.failed(), expected, "{is_data} {we_reset} {peer_resets} {let_go:?}");
        if let_go == Last {
            raw.let_go(key);
        }
        if !peer_resets {
            server_lives(&mut raw, other, 5);
        }
    }
}

#[test]
fn what_cannot_be_put_right_ends_the_connection() {
    use ErrorCode as E;
    let too_large = vec![0; 16_385];
    // A kind, flags, a stream, a payload, and the code for a server and for a client of ours.
    type Case<'a> = (u8, u8, u32, &'a [u8], E, E);
    let cases: [Case<'_>; 27] = [
        (kind::DATA, 0, 0, b"x", E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::DATA, 0, 9, b"x", E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::DATA, 0, 2, b"x", E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::DATA, 8, 1, &[1], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::DATA, 8, 1, &[], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::DATA, 0, 1, &too_large, E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::HEADERS, 4, 0, &[], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::HEADERS, 4, 2, &[], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::HEADERS, 4 | 8, 1, &[1], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::HEADERS, 4 | 8, 1, &[], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::HEADERS, 4 | 32, 1, &[0; 4], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::HEADERS, 4, 1, &[0x80], E::COMPRESSION_ERROR, E::COMPRESSION_ERROR),
        (kind::HEADERS, 4, 1, &[0xff, 0xff], E::COMPRESSION_ERROR, E::COMPRESSION_ERROR),
        (kind::CONTINUATION, 4, 1, &[], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::PRIORITY, 0, 0, &[0; 5], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::RST_STREAM, 0, 0, &[0; 4], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::RST_STREAM, 0, 9, &[0; 4], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::RST_STREAM, 0, 1, &[0; 3], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::SETTINGS, 0, 1, &[], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::SETTINGS, 0, 0, &[0; 5], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::SETTINGS, 1, 0, &[0; 6], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::PUSH_PROMISE, 4, 1, &[0; 4], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::PING, 0, 1, &[0; 8], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::PING, 0, 0, &[0; 7], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::GOAWAY, 0, 1, &[0; 8], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
        (kind::GOAWAY, 0, 0, &[0; 7], E::FRAME_SIZE_ERROR, E::FRAME_SIZE_ERROR),
        (kind::WINDOW_UPDATE, 0, 0, &[0; 4], E::PROTOCOL_ERROR, E::PROTOCOL_ERROR),
    ];
    for (kind, flags, stream, payload, server, client) in cases {
        let mut raw = Raw::server(Bounds::default());
        let key = raw.accepted(1, false);
        raw.frame(kind, flags, stream, payload);
        assert_eq!(raw.failed(), Some(server), "{kind} {flags} {stream} {payload:?}");
        assert_eq!(read(&mut raw.connection, key).1, Some(Err(StreamError::ConnectionEnded)));
        raw.bytes(b"more");
        raw.let_go(key);

        let mut raw = Raw::client(Bounds::default());
        raw.answered(1);
        raw.frame(kind, flags, stream, payload);
        assert_eq!(raw.failed(), Some(client), "{kind} {flags} {stream} {payload:?}");
    }
}

#[test]
fn a_head_goes_on_in_its_own_continuations_alone() {
    for (kind, stream) in
        [(kind::PING, 0), (kind::CONTINUATION, 3), (kind::DATA, 1), (200, 1), (kind::HEADERS, 1)]
    {
        let mut raw = Raw::server(Bounds::default());
        raw.frame(kind::HEADERS, 0, 1, &[]);
        raw.frame(kind, 0, stream, &[0; 8]);
        assert_eq!(raw.failed(), Some(ErrorCode::PROTOCOL_ERROR), "{kind}");
    }
}

#[test]
fn a_connection_begins_with_a_preface_and_settings() {
    use super::super::Connection;
    use crate::buffer::{Output, Slice};
    let starts: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\x01\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\x06\0\0\0\0\0",
    ];
    for start in starts {
        for cut in [1, usize::MAX] {
            let mut out = Output::default();
            let memory = Memory::new(&Heads::new());
            let mut connection = Connection::server(Default::default(), memory, &mut out);
            for piece in start.chunks(cut) {
                connection.receive(&mut Slice::copy_of(piece), super::ms(0), &mut out);
            }
            assert_eq!(connection.failed().map(|error| error.code), Some(ErrorCode::PROTOCOL_ERROR));
        }
    }
}

#[test]
fn numbers_of_streams_only_grow() {
    let mut raw = Raw::server(Bounds::default());
    raw.accepted(5, true);
    raw.request(3, true);
    assert_eq!(raw.failed(), Some(ErrorCode::PROTOCOL_ERROR));
}

#[test]
fn priorities_and_unknown_frames_change_nothing() {
    let mut raw = Raw::server(Bounds::default());
    let other = raw.accepted(1, false);
    for stream in [1, 2, 3, 9] {
        raw.frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 1]);
        raw.frame(99, 0xff, stream, b"anything");
    }
    let head = request(&raw.heads, "/p");
    let mut payload = vec![3, 0, 0, 0, 0, 7];
    raw.encoder.encode(&head, &mut payload);
    payload.extend_from_slice(&[0; 3]);
    raw.frame(
        kind::HEADERS,
        flag::END_HEADERS | flag::PADDED | flag::PRIORITY | flag::END_STREAM,
        9,
        &payload,
    );
    let incoming = raw.connection.accept().expect("it is served");
    assert_eq!(incoming.head.path(), Some(&b"/p"[..]));
    raw.let_go(incoming.key);
    server_lives(&mut raw, other, 11);
}
