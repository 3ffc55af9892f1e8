//! Heads that are too large, streams that are too many, and resets that wait.

use super::super::exchange::OpenError;
use super::super::frame::{ErrorCode, kind};
use super::super::head::Head;
use super::super::settings::Bounds;
use super::super::state::{Ending, StreamError};
use super::pair::Pair;
use super::raw::Raw;
use super::{ms, poll, read, request, response, trailers};
use crate::buffer::Slice;

fn padded(mut head: Head, bytes: usize) -> Head {
    head.push_named(b"x-pad", &vec![b'~'; bytes]);
    head.push_named(b"x-after", b"1");
    head
}

/// Row 3.
#[test]
fn a_request_whose_head_is_too_large_can_be_answered() {
    for (bytes, fields) in [(17_000, 0), (40_000, 0), (0, 101)] {
        let mut pair = Pair::new();
        let mut head = padded(request(&pair.heads, "/a.B/C"), bytes);
        for _ in 0..fields {
            head.push_named(b"x", b"y");
        }
        pair.settle();
        // A client of ours does not send it.
        let client = &mut pair.client;
        let opened = client.connection.open(&head, false, pair.now, &mut client.out);
        assert_eq!(opened.is_err(), bytes > 0);
        let mut raw = Raw::server(Bounds::default());
        raw.head(1, &head, false);
        let incoming = raw.connection.accept().expect("it is there to be answered");
        assert!(incoming.is_too_large);
        assert_eq!(incoming.head.path(), Some(&b"/a.B/C"[..]));
        raw.frame(kind::DATA, 0, 1, b"body");
        let answer = response(&raw.heads);
        raw.connection.send_head(incoming.key, &answer, true, &mut raw.out).expect("it lives");
        raw.let_go(incoming.key);
        assert_eq!(raw.resets(), [(1, ErrorCode::NO_ERROR)]);
        assert_eq!((raw.connection.take_notes().heads_too_large, raw.connection.held_bytes()), (1, 0));
        raw.request(3, true);
        assert!(!raw.connection.accept().expect("the connection lives").is_too_large);
    }
}

/// Rows 1 and 2.
#[test]
fn trailers_that_are_too_large_end_their_stream_with_a_word() {
    for bytes in [17_000, 66_000, 400_000] {
        for first in [true, false] {
            let mut raw = Raw::client(Bounds::default());
            let (other, key) = (raw.answered(1), raw.answered(3));
            raw.frame(kind::DATA, 0, 3, b"body");
            let mut large = raw.heads.head();
            if first {
                large = padded(large, bytes);
            }
            large.append_from(&trailers(&raw.heads));
            if !first {
                large = padded(large, bytes);
            }
            raw.sent();
            raw.head(3, &large, true);
            assert_eq!(raw.resets(), [(3, ErrorCode::CANCEL)]);
            assert_eq!(
                read(&mut raw.connection, key),
                (b"body".to_vec(), Some(Err(StreamError::HeadTooLarge)))
            );
            raw.let_go(key);
            // Others go on, and the table holds what it should.
            raw.frame(kind::DATA, 0, 1, b"fine");
            let last = trailers(&raw.heads);
            raw.head(1, &last, true);
            assert_eq!(read(&mut raw.connection, other), (b"fine".to_vec(), Some(Ok(()))));
            raw.let_go(other);
            assert_eq!((raw.connection.failed(), raw.connection.streams()), (None, 0));
        }
    }
}

#[test]
fn a_response_whose_head_is_too_large_ends_its_stream() {
    let mut raw = Raw::client(Bounds::default());
    let key = raw.opened();
    raw.sent();
    let head = padded(response(&raw.heads), 20_000);
    raw.head(1, &head, false);
    assert_eq!(raw.resets(), [(1, ErrorCode::CANCEL)]);
    let error = poll(|cx| raw.connection.poll_head(key, cx).map_ok(drop));
    assert_eq!(error, Some(Err(StreamError::HeadTooLarge)));
    raw.let_go(key);
}

/// Row 50.
#[test]
fn heads_that_the_peer_does_not_take_are_not_sent() {
    let mut raw = Raw::client(Bounds::default());
    raw.frame(kind::SETTINGS, 0, 0, &[0, 6, 0, 0, 0x20, 0]);
    let head = padded(request(&raw.heads, "/"), 12_317);
    assert_eq!(raw.connection.open(&head, true, raw.now, &mut raw.out), Err(OpenError::HeadTooLarge));
    assert_eq!((raw.connection.takes_head(&head), raw.connection.streams()), (false, 0));
    let head = padded(request(&raw.heads, "/"), 7_000);
    assert!(raw.connection.open(&head, true, raw.now, &mut raw.out).is_ok());
}

#[test]
fn streams_above_the_bound_are_refused_until_others_end() {
    let bounds = Bounds { max_concurrent_streams: 2, ..Bounds::default() };
    let mut raw = Raw::server(bounds);
    let (first, second) = (raw.accepted(1, true), raw.accepted(3, false));
    raw.request(5, true);
    raw.frame(kind::DATA, 0, 5, b"late");
    assert_eq!(raw.resets(), [(5, ErrorCode::REFUSED_STREAM)]);
    // A stream that both sides have ended is over, though it is held.
    let head = response(&raw.heads);
    raw.connection.send_head(first, &head, true, &mut raw.out).expect("it lives");
    let third = raw.accepted(7, true);
    // A stream that the client has reset is not over while it is held: work for it may still go on.
    raw.frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8]);
    raw.request(9, true);
    assert_eq!(raw.resets(), [(9, ErrorCode::REFUSED_STREAM)]);
    raw.let_go(second);
    let fourth = raw.accepted(11, true);
    assert_eq!(raw.connection.take_notes().refused_streams, 2);
    for key in [first, third, fourth] {
        raw.let_go(key);
    }
}

#[test]
fn a_client_opens_no_more_than_its_service_takes() {
    let bounds = Bounds { max_concurrent_streams: 2, ..Bounds::default() };
    let mut pair = Pair::with(Bounds::default(), bounds);
    let (first, second) = (pair.stream(), pair.stream());
    assert!(!pair.client.connection.can_open() && pair.client.connection.takes_streams());
    let head = request(&pair.heads, "/");
    let client = &mut pair.client;
    assert_eq!(client.connection.open(&head, true, pair.now, &mut client.out), Err(OpenError::Full));
    // A response that is whole, and that nobody has read, is no stream of the service any more.
    pair.client_sends(first.0, b"", true);
    pair.server_finishes(first.1, b"unread", Ending::EndStream);
    assert!(pair.client.connection.can_open());
    let third = pair.stream();
    assert_eq!(pair.server.frames(kind::RST_STREAM) + pair.client.frames(kind::RST_STREAM), 0);
    pair.ends(&[first.0, second.0, third.0], &[first.1, second.1, third.1]);
}

/// Row 43.
#[test]
fn a_stream_that_has_just_begun_is_reset_a_little_later() {
    let bounds = Bounds { max_concurrent_streams: 3, ..Bounds::default() };
    let mut pair = Pair::with(Bounds::default(), bounds);
    let (dropped, reset, cut) = (pair.open(false), pair.open(false), pair.open(false));
    let out = &mut pair.client.out;
    let connection = &mut pair.client.connection;
    connection.let_go(dropped, pair.now, out);
    connection.cancel(reset, ErrorCode::INTERNAL_ERROR, pair.now, out);
    connection.finish(cut, Slice::copy_of(b"x"), Ending::Reset(ErrorCode::CANCEL), pair.now, out);
    connection.check();
    pair.settle();
    assert_eq!(pair.server.frames(kind::RST_STREAM), 0);
    // The service counts them still.
    assert!(!pair.client.connection.can_open());
    assert_eq!(pair.client.connection.next_due(), Some(ms(20)));
    assert_eq!(pair.client.connection.take_notes().held_resets, 3);
    let answered = pair.accept().key;
    let head = response(&pair.heads);
    pair.respond(answered, &head, true);
    for (at, resets) in [(19, 0), (20, 3)] {
        pair.client.connection.send_due(ms(at), &mut pair.client.out);
        pair.settle();
        assert_eq!(pair.server.frames(kind::RST_STREAM), resets);
    }
    assert!(pair.client.connection.can_open() && pair.client.connection.next_due().is_none());
    let mut keys = vec![answered];
    keys.extend(std::iter::from_fn(|| pair.server.connection.accept()).map(|incoming| incoming.key));
    assert_eq!(keys.len(), 1, "those that were reset are not offered");
    // A stream that is older, or that was answered, is reset at once.
    pair.now = ms(100);
    let (old, young) = (pair.open(false), pair.stream());
    pair.now = ms(120);
    pair.client.connection.let_go(old, pair.now, &mut pair.client.out);
    pair.client.connection.let_go(young.0, pair.now, &mut pair.client.out);
    pair.settle();
    assert_eq!(pair.server.frames(kind::RST_STREAM), 2);
    keys.push(young.1);
    pair.ends(&[reset, cut], &keys);
}

/// Row 43, with a service that is slow to accept.
#[test]
fn few_streams_are_reset_that_the_service_may_not_have_accepted() {
    let mut raw = Raw::client(Bounds { max_concurrent_streams: 1_000, ..Bounds::default() });
    let keys: Vec<u32> = (0..40).map(|_| raw.opened()).collect();
    raw.now = ms(50);
    keys.iter().for_each(|key| raw.let_go(*key));
    assert_eq!(raw.resets().len(), 10);
    // An answer on a later stream says that the service has accepted all of them.
    raw.answered(81);
    raw.connection.send_due(ms(70), &mut raw.out);
    assert_eq!(raw.resets().len(), 30);
}

#[test]
fn a_shrunken_connection_works_on() {
    let mut pair = Pair::new();
    for _ in 0..3 {
        let (client, server) = pair.stream();
        pair.client.connection.shrink();
        pair.client_sends(client, b"x", true);
        pair.server_finishes(server, b"y", Ending::EndStream);
        pair.ends(&[client], &[server]);
        pair.client.connection.shrink();
        pair.server.connection.shrink();
    }
}

#[test]
fn a_settings_frame_may_shrink_the_table_for_a_moment() {
    let mut raw = Raw::server(Bounds::default());
    let mut decoder = super::super::hpack::Decoder::new(4096);
    for round in 0..4 {
        if round == 2 {
            raw.frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0x10, 0]);
        }
        let key = raw.accepted(round * 2 + 1, true);
        let mut head = response(&raw.heads);
        head.push_named(b"x-again", b"a value for the table");
        raw.connection.send_head(key, &head, true, &mut raw.out).expect("it lives");
        raw.let_go(key);
        let sent = raw.sent();
        let frame = sent.iter().find(|frame| frame.head.kind == kind::HEADERS).expect("it was sent");
        // The table is empty: the next block has to begin with that.
        assert_eq!(frame.payload[0] == 0x20, round == 2, "{:?}", frame.payload);
        let limits = super::super::hpack::Limits { list_size: 10_000, fields: 100 };
        let mut head = raw.heads.head();
        let verdict = decoder.decode(&frame.payload, super::super::hpack::Kind::Response, limits, &mut head);
        assert_eq!(verdict, Ok(super::super::hpack::Verdict::Good));
    }
}
