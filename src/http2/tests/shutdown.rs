//! GOAWAY, of both ends.

use super::super::exchange::OpenError;
use super::super::frame::{ErrorCode, kind};
use super::super::settings::{Bounds, MAX_WINDOW};
use super::super::state::{Ending, StreamError};
use super::pair::Pair;
use super::raw::{Frame, Raw};
use super::{bytes, ms, poll, request, response};
use crate::buffer::Slice;

fn goaway(raw: &mut Raw, last: u32, code: u32, debug: &[u8]) {
    let payload = [&last.to_be_bytes()[..], &code.to_be_bytes(), debug].concat();
    raw.frame(kind::GOAWAY, 0, 0, &payload);
}

fn goaways(raw: &mut Raw) -> Vec<(u32, ErrorCode)> {
    let sent = raw.sent().into_iter().filter(|frame| frame.head.kind == kind::GOAWAY);
    sent.map(|frame: Frame| (super::super::frame::number(&frame.payload), frame.code())).collect()
}

#[test]
fn a_client_is_told_in_two_steps() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    // A stream that the client opens before it knows.
    pair.server.connection.shut_down(&mut pair.server.out);
    let head = request(&pair.heads, "/late");
    let late =
        pair.client.connection.open(&head, true, pair.now, &mut pair.client.out).expect("it does not know");
    pair.settle();
    assert!(!pair.client.connection.takes_streams());
    assert_eq!(pair.client.frames(kind::GOAWAY), 2);
    assert_eq!(pair.client.connection.goaway().map(|goaway| goaway.last_stream), Some(3));
    assert!(!pair.server.connection.is_done());
    let accepted = pair.accept().key;
    let head = response(&pair.heads);
    pair.respond(accepted, &head, true);
    assert!(poll(|cx| pair.client.connection.poll_head(late, cx)).is_some_and(|head| head.is_ok()));
    pair.client_sends(client, b"", true);
    pair.server_finishes(server, b"x", Ending::EndStream);
    assert_eq!(pair.client.reads(client), (b"x".to_vec(), Some(Ok(()))));
    pair.ends(&[client, late], &[server, accepted]);
    assert!(pair.server.connection.is_done() && pair.client.connection.is_done());
}

#[test]
fn streams_after_the_last_word_are_disregarded() {
    let mut raw = Raw::server(Bounds::default());
    let key = raw.accepted(1, true);
    raw.connection.shut_down(&mut raw.out);
    assert_eq!(goaways(&mut raw), [(MAX_WINDOW, ErrorCode::NO_ERROR)]);
    raw.connection.finish_shutdown(&mut raw.out);
    assert_eq!(goaways(&mut raw), [(1, ErrorCode::NO_ERROR)]);
    // All that comes of a later stream is passed over; its bytes count and its fields go into the table.
    raw.request(3, false);
    raw.frame(kind::DATA, 0, 3, &[1; 100]);
    raw.frame(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]);
    raw.frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8]);
    raw.frame(kind::DATA, 1, 5, &[1; 100]);
    raw.request(7, true);
    assert_eq!((raw.connection.failed(), raw.connection.streams()), (None, 1));
    assert_eq!((raw.connection.held_bytes(), raw.connection.accept().is_none()), (0, true));
    // The GOAWAY that ends the connection still names stream 1 as the last that was taken.
    raw.frame(kind::DATA, 0, 0, &[]);
    assert_eq!(goaways(&mut raw), [(1, ErrorCode::PROTOCOL_ERROR)]);
    raw.let_go(key);
    assert!(raw.connection.is_done());
}

#[test]
fn streams_that_a_goaway_leaves_out_were_not_seen() {
    let mut raw = Raw::client(Bounds::default());
    let keys = [raw.opened(), raw.opened(), raw.opened()];
    // The last one has a tail, and nobody holds it.
    raw.connection.finish(keys[2], Slice::copy_of(&bytes(100_000)), Ending::EndStream, raw.now, &mut raw.out);
    raw.let_go(keys[2]);
    goaway(&mut raw, MAX_WINDOW, 0, b"");
    assert_eq!(raw.connection.streams(), 3);
    goaway(&mut raw, 3, 0, b"");
    assert_eq!(raw.connection.streams(), 2);
    goaway(&mut raw, 1, 11, b"too_many_pings");
    // A GOAWAY with a higher stream than the one before brings back none of those given up.
    goaway(&mut raw, 5, 0, b"");
    let error = |raw: &mut Raw, key| poll(|cx| raw.connection.poll_error(key, cx));
    assert_eq!((error(&mut raw, keys[0]), error(&mut raw, keys[1])), (None, Some(StreamError::Unprocessed)));
    assert_eq!(raw.connection.goaway().map(|goaway| goaway.last_stream), Some(1));
    assert_eq!(raw.connection.take_notes().goaways, 4);
    let head = request(&raw.heads, "/");
    let refused = raw.connection.open(&head, true, raw.now, &mut raw.out);
    assert_eq!(refused, Err(OpenError::Closed));
    let head = response(&raw.heads);
    raw.head(1, &head, true);
    assert!(!raw.connection.is_done());
    raw.let_go(keys[0]);
    raw.let_go(keys[1]);
    assert!(raw.connection.is_done() && raw.connection.failed().is_none());
}

#[test]
fn too_many_pings_is_heard() {
    for (debug, expected) in [(&b"too_many_pings"[..], true), (b"other", false)] {
        let mut raw = Raw::client(Bounds::default());
        goaway(&mut raw, 0, 11, debug);
        let heard = raw.connection.goaway().map(|goaway| (goaway.code, goaway.too_many_pings));
        assert_eq!(heard, Some((ErrorCode::ENHANCE_YOUR_CALM, expected)));
    }
}

#[test]
fn the_end_of_the_connection_is_that_of_its_streams() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    let (_, waits) = pair.stream();
    pair.server_sends(server, b"came", false);
    pair.server_finishes(waits, &bytes(1_000_000), Ending::EndStream);
    pair.server.connection.let_go(waits, pair.now, &mut pair.server.out);
    let late = pair.open(false);
    for end in [&mut pair.client, &mut pair.server] {
        end.connection.end();
        end.connection.check();
        assert!(end.connection.is_done());
    }
    // Bytes that came can still be read; a request that nobody has accepted is not offered.
    assert_eq!(pair.client.reads(client), (b"came".to_vec(), Some(Err(StreamError::ConnectionEnded))));
    assert!(pair.server.connection.accept().is_none());
    assert_eq!(pair.server.connection.streams(), 1);
    pair.server.connection.let_go(server, pair.now, &mut pair.server.out);
    pair.client.connection.let_go(late, pair.now, &mut pair.client.out);
    assert_eq!(pair.server.connection.streams(), 0);
}

#[test]
fn a_ping_is_answered_and_its_answer_is_seen() {
    let mut pair = Pair::new();
    pair.settle();
    pair.client.connection.ping(ms(5), &mut pair.client.out);
    pair.client.connection.ping(ms(6), &mut pair.client.out);
    assert_eq!(pair.client.connection.ping_sent(), Some(ms(5)));
    pair.settle();
    assert_eq!(pair.client.connection.ping_sent(), None);
    assert_eq!((pair.server.frames(kind::PING), pair.client.frames(kind::PING)), (1, 1));
}

#[test]
fn a_client_of_ours_that_shuts_down_finishes_its_streams() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    pair.client.connection.shut_down(&mut pair.client.out);
    pair.settle();
    assert!(!pair.client.connection.takes_streams() && !pair.client.connection.is_done());
    pair.client_sends(client, b"up", true);
    assert_eq!(pair.server.reads(server), (b"up".to_vec(), Some(Ok(()))));
    pair.server_finishes(server, b"", Ending::EndStream);
    pair.ends(&[client], &[server]);
    assert!(pair.client.connection.is_done());
}
