//! Windows of streams and connections.

use super::super::frame::{ErrorCode, flag, kind};
use super::super::send::Sent;
use super::super::settings::{Bounds, DEFAULT_WINDOW, MAX_WINDOW};
use super::super::state::Ending;
use super::pair::Pair;
use super::raw::Raw;
use super::{bytes, ms, trailers};
use crate::buffer::Slice;

fn small(stream: u32) -> Bounds {
    Bounds { stream_window: stream, max_stream_window: stream, ..Bounds::default() }
}

#[test]
fn a_body_stops_at_its_window_and_goes_on_when_it_is_read() {
    for window in [1, 3, 1000, 20_000] {
        for cut in [1, 13, usize::MAX] {
            let mut pair = Pair::with(small(window), Bounds::default()).cut(cut);
            let (client, server) = pair.stream();
            let body = bytes(window as usize * 5 + 1);
            let mut rest = Slice::copy_of(&body);
            let mut read = Vec::new();
            loop {
                let end = &mut pair.server;
                let sent = end.connection.send_data(server, &mut rest, true, pair.now, &mut end.out);
                pair.settle();
                assert!(pair.client.connection.held_bytes() <= window);
                read.extend(pair.client.reads(client).0);
                pair.settle();
                if sent == Sent::All {
                    break;
                }
            }
            assert_eq!(read, body);
            pair.ends(&[client], &[server]);
        }
    }
}

#[test]
fn a_tail_leaves_by_itself_as_its_peer_reads() {
    for window in [1, 100, 30_000] {
        let mut pair = Pair::with(small(window), Bounds::default());
        let (client, server) = pair.stream();
        let body = bytes(window as usize * 4);
        let ending = Ending::Trailers(trailers(&pair.heads));
        pair.server_finishes(server, &body, ending);
        assert!(pair.server.connection.has_tail(server));
        assert_eq!(pair.server.connection.stalled_since(server), Some(pair.now));
        assert_eq!(pair.server_sends(server, b"late", false), Sent::Gone, "its end is decided");
        pair.server.connection.let_go(server, pair.now, &mut pair.server.out);
        let mut read = Vec::new();
        loop {
            let (bytes, end) = pair.client.reads(client);
            read.extend(bytes);
            pair.settle();
            if end.is_some() {
                break;
            }
        }
        assert_eq!(read, body);
        assert!(pair.client.connection.take_trailers(client).is_some());
        assert_eq!(pair.server.connection.streams(), 0);
        pair.ends(&[client], &[]);
    }
}

#[test]
fn streams_share_the_window_of_the_connection_in_turn() {
    let bounds = Bounds { connection_window: DEFAULT_WINDOW, ..Bounds::default() };
    let mut pair = Pair::with(bounds, Bounds::default());
    let streams = [pair.stream(), pair.stream(), pair.stream()];
    let body = bytes(200_000);
    for (_, server) in streams {
        pair.server_finishes(server, &body, Ending::EndStream);
    }
    let mut read = [const { Vec::new() }; 3];
    for _ in 0..60 {
        assert!(pair.client.connection.held_bytes() <= DEFAULT_WINDOW);
        for (at, (client, _)) in streams.into_iter().enumerate() {
            read[at].extend(pair.client.reads(client).0);
            pair.settle();
        }
    }
    assert!(read.iter().all(|read| *read == body), "{:?}", read.map(|read| read.len()));
    let (clients, servers): (Vec<u32>, Vec<u32>) = streams.into_iter().unzip();
    pair.ends(&clients, &servers);
}

#[test]
fn a_tail_that_waits_for_the_connection_may_be_reset() {
    for by_client in [true, false] {
        let bounds = Bounds { connection_window: DEFAULT_WINDOW, ..Bounds::default() };
        let mut pair = Pair::with(bounds, Bounds::default());
        let (first, second) = (pair.stream(), pair.stream());
        pair.server_finishes(first.1, &bytes(70_000), Ending::EndStream);
        pair.server_finishes(second.1, &bytes(70_000), Ending::EndStream);
        for (_, server) in [first, second] {
            pair.server.connection.let_go(server, pair.now, &mut pair.server.out);
        }
        assert_eq!(pair.server.connection.streams(), 2);
        if by_client {
            pair.client.connection.reset(first.0, ErrorCode::CANCEL, &mut pair.client.out);
        } else {
            pair.server.connection.end_stalled(pair.now, pair.now, &mut pair.server.out);
        }
        pair.settle();
        assert_eq!(pair.server.connection.streams(), usize::from(by_client));
        pair.client.reads(first.0);
        pair.client.reads(second.0);
        pair.settle();
        pair.client.reads(second.0);
        pair.settle();
        pair.ends(&[first.0, second.0], &[]);
    }
}

#[test]
fn a_window_grows_for_a_peer_that_it_holds_up() {
    let bounds = Bounds { stream_window: 10_000, max_stream_window: 35_000, ..Bounds::default() };
    let mut pair = Pair::with(bounds, Bounds::default());
    let (client, server) = pair.stream();
    let mut largest = 0;
    for _ in 0..20 {
        pair.server_sends(server, &bytes(50_000), false);
        let held = pair.client.connection.held_bytes();
        largest = largest.max(held);
        pair.client.reads(client);
        pair.settle();
    }
    assert_eq!(largest, 35_000);
    pair.ends(&[client], &[server]);
}

#[test]
fn a_smaller_window_leaves_less_than_nothing_until_enough_is_read() {
    let mut raw = Raw::server(Bounds::default());
    let key = raw.accepted(1, true);
    let mut data = Slice::copy_of(&bytes(40_000));
    assert_eq!(raw.connection.send_data(key, &mut data, false, raw.now, &mut raw.out), Sent::All);
    raw.sent();
    raw.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100]);
    raw.connection.finish(key, Slice::copy_of(&bytes(50)), Ending::EndStream, raw.now, &mut raw.out);
    let data = |raw: &mut Raw| -> Vec<usize> {
        let sent = raw.sent().into_iter();
        sent.filter(|frame| frame.head.kind == kind::DATA).map(|frame| frame.payload.len()).collect()
    };
    assert_eq!(data(&mut raw), [0; 0]);
    // 40,000 bytes were sent of a window that is 100: 39,900 more have to be allowed, then 20, then the rest.
    raw.frame(kind::WINDOW_UPDATE, 0, 1, &39_900_u32.to_be_bytes());
    assert_eq!(data(&mut raw), [0; 0]);
    raw.frame(kind::WINDOW_UPDATE, 0, 1, &20_u32.to_be_bytes());
    assert_eq!(data(&mut raw), [20]);
    raw.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 130]);
    assert_eq!(data(&mut raw), [30]);
    raw.let_go(key);
    assert_eq!(raw.connection.streams(), 0);
}

#[test]
fn windows_above_the_largest_are_refused() {
    let mut raw = Raw::server(Bounds::default());
    let (first, second) = (raw.accepted(1, false), raw.accepted(3, false));
    raw.frame(kind::WINDOW_UPDATE, 0, 1, &MAX_WINDOW.to_be_bytes());
    assert_eq!(raw.resets(), [(1, ErrorCode::FLOW_CONTROL_ERROR)]);
    raw.frame(kind::WINDOW_UPDATE, 0, 3, &(MAX_WINDOW - DEFAULT_WINDOW).to_be_bytes());
    assert_eq!(raw.resets(), []);
    raw.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    assert_eq!(raw.failed(), Some(ErrorCode::FLOW_CONTROL_ERROR));
    raw.let_go(first);
    raw.let_go(second);

    let mut raw = Raw::server(Bounds::default());
    raw.frame(kind::WINDOW_UPDATE, 0, 0, &MAX_WINDOW.to_be_bytes());
    assert_eq!(raw.failed(), Some(ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn a_peer_may_not_send_more_than_its_windows() {
    let mut raw = Raw::server(small(100_000));
    let key = raw.accepted(1, false);
    for _ in 0..6 {
        raw.frame(kind::DATA, 0, 1, &[0; 16_384]);
    }
    raw.frame(kind::DATA, 0, 1, &[0; 2_000]);
    assert_eq!(raw.resets(), [(1, ErrorCode::FLOW_CONTROL_ERROR)]);
    raw.let_go(key);
    assert_eq!(raw.connection.held_bytes(), 0);

    let bounds = Bounds { connection_window: DEFAULT_WINDOW, ..Bounds::default() };
    let mut raw = Raw::server(bounds);
    raw.accepted(1, false);
    for _ in 0..3 {
        raw.frame(kind::DATA, 0, 1, &[0; 16_384]);
    }
    raw.frame(kind::DATA, 0, 1, &[0; 16_384]);
    assert_eq!(raw.failed(), Some(ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn a_client_may_use_the_usual_window_before_it_knows_ours() {
    let heads = super::Heads::new();
    let mut out = crate::buffer::Output::default();
    let bounds = std::rc::Rc::new(small(1_000));
    let mut connection =
        super::Connection::server(bounds, super::super::memory::Memory::new(&heads), &mut out);
    let mut wire = super::super::frame::PREFACE.to_vec();
    super::super::frame::write(&mut wire, kind::SETTINGS, 0, 0, &[]);
    let at = wire.len();
    wire.extend_from_slice(&[0; 9]);
    super::super::hpack::Encoder::new().encode(&super::request(&heads, "/"), &mut wire);
    super::super::frame::finish_headers(&mut wire, at, 1, false, 16_384);
    super::super::frame::write(&mut wire, kind::DATA, 0, 1, &[7; 16_000]);
    connection.receive(&mut Slice::from(wire), ms(0), &mut out);
    connection.check();
    assert_eq!((connection.failed(), connection.held_bytes()), (None, 16_000));
}

#[test]
fn padding_counts_in_windows_and_is_given_back() {
    for held in [true, false] {
        let mut raw = Raw::server(small(2_000));
        let key = raw.accepted(1, false);
        raw.connection.finish(key, Slice::copy_of(&[0; 70_000]), Ending::EndStream, raw.now, &mut raw.out);
        if !held {
            raw.let_go(key);
        }
        raw.sent();
        let mut padded = vec![250];
        padded.extend_from_slice(&[0; 250]);
        let mut given = 0;
        for _ in 0..7 {
            raw.frame(kind::DATA, 0x8, 1, &padded);
            let sent = raw.sent();
            let updates = sent.iter().filter(|frame| frame.head.stream == 1);
            given += updates
                .map(|frame| u32::from_be_bytes(frame.payload[..].try_into().expect("4")))
                .sum::<u32>();
        }
        // Nobody takes anything of the second, whose client should read what it was sent.
        assert_eq!(given > 0, held);
        assert_eq!((raw.connection.failed(), raw.connection.held_bytes()), (None, 0));
    }
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_is_stalled() {
    let bounds = Bounds { min_send_rate: 10, ..Bounds::default() };
    for (taken, ends) in [(1_u32, true), (100, false)] {
        let mut raw = Raw::server(bounds.clone());
        raw.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let key = raw.accepted(1, true);
        raw.connection.finish(key, Slice::copy_of(&bytes(10_000)), Ending::EndStream, raw.now, &mut raw.out);
        raw.let_go(key);
        for second in (0..60).step_by(2) {
            raw.now = ms(second * 1_000);
            raw.frame(kind::WINDOW_UPDATE, 0, 1, &taken.to_be_bytes());
            if second >= 20 {
                raw.connection.end_stalled(ms((second - 20) * 1_000), raw.now, &mut raw.out);
            }
        }
        let reset = raw.resets();
        assert_eq!(reset, if ends { vec![(1, ErrorCode::CANCEL)] } else { vec![] });
        assert_eq!(raw.connection.streams(), usize::from(!ends));
    }
}

#[test]
fn a_stream_that_is_not_read_does_not_hold_the_others_up() {
    // As many unread downloads as a connection carries by default.
    let bounds = Bounds { stream_window: 64 << 10, connection_window: 4 << 20, ..Bounds::default() };
    let mut pair = Pair::with(bounds, Bounds::default());
    let (client, server) = pair.stream();
    let unread: Vec<(u32, u32)> = (0..60).map(|_| pair.stream()).collect();
    for (_, server) in &unread {
        pair.server_finishes(*server, &bytes(1 << 20), Ending::EndStream);
    }
    pair.settle();
    for _ in 0..20 {
        assert_eq!(pair.server_sends(server, &bytes(60_000), false), Sent::All);
        assert_eq!(pair.client.reads(client).0, bytes(60_000));
        pair.settle();
    }
    let (mut clients, mut servers): (Vec<u32>, Vec<u32>) = unread.into_iter().unzip();
    clients.push(client);
    servers.push(server);
    pair.ends(&clients, &servers);
}

#[test]
fn ends_that_both_do_not_read_their_payload_read_on() {
    // Both have staged all the payload that they may; what they send besides still gets over.
    let bounds = Bounds { max_send_buffer_size: 40_000, ..Bounds::default() };
    let mut pair = Pair::with(bounds.clone(), bounds);
    let (client, server) = pair.stream();
    assert_eq!(pair.client.connection.streams(), 1);
    let mut up = Slice::copy_of(&bytes(100_000));
    let mut down = up.clone();
    let (now, client_end, server_end) = (pair.now, &mut pair.client, &mut pair.server);
    client_end.connection.send_data(client, &mut up, true, now, &mut client_end.out);
    server_end.connection.send_data(server, &mut down, true, now, &mut server_end.out);
    assert!(
        client_end.connection.takes_input(&client_end.out)
            && server_end.connection.takes_input(&server_end.out)
    );
    assert!(up.len() >= 70_000 && down.len() >= 70_000);
    // Nor do heads stop them, of which there are as many as streams.
    let mut head = super::response(&pair.heads);
    head.push_named(b"x-large", &[b'~'; 15_000]);
    for _ in 0..3 {
        let another = pair.server.connection.send_head(server, &head, false, &mut pair.server.out);
        assert_eq!(another, Ok(()));
    }
    assert!(pair.server.out.len() > 40_000 && pair.server.connection.takes_input(&pair.server.out));
    pair.server.out.clear();
    pair.client.out.clear();
    for end in [&mut pair.client, &mut pair.server] {
        end.connection.end();
    }
}

#[test]
fn what_both_have_staged_gets_over() {
    let bounds = Bounds { max_send_buffer_size: 40_000, ..Bounds::default() };
    let mut pair = Pair::with(bounds.clone(), bounds);
    let (client, server) = pair.stream();
    let (now, mut up, mut down) = (pair.now, Slice::copy_of(&bytes(60_000)), Slice::copy_of(&bytes(60_000)));
    let (client_end, server_end) = (&mut pair.client, &mut pair.server);
    client_end.connection.send_data(client, &mut up, true, now, &mut client_end.out);
    server_end.connection.send_data(server, &mut down, true, now, &mut server_end.out);
    pair.settle();
    pair.ends(&[client], &[server]);
}

#[test]
fn bodies_that_are_kept_whole_get_their_windows_as_there_is_room() {
    const BODY: usize = 40_000;
    let bounds = Bounds { connection_window: 70_000, ..small(1_000) };
    let mut raw = Raw::server(bounds);
    let keys = [1, 3, 5].map(|stream| raw.accepted(stream, false));
    raw.sent();
    let granted = |raw: &mut Raw| -> Vec<u32> {
        let updates = raw.sent().into_iter().filter(|frame| frame.head.kind == kind::WINDOW_UPDATE);
        updates.map(|frame| frame.head.stream).filter(|stream| *stream > 0).collect()
    };
    // As long as a body may end within its window nothing more is asked for.
    raw.frame(kind::DATA, 0, 1, &[0; 100]);
    assert!(raw.connection.keep_whole(keys[0], BODY, &mut raw.out));
    assert!(granted(&mut raw).is_empty());
    for (key, stream, wanted) in [(keys[0], 1, &[1][..]), (keys[1], 3, &[][..]), (keys[2], 5, &[][..])] {
        raw.frame(kind::DATA, 0, stream, &[0; 500]);
        assert!(raw.connection.keep_whole(key, BODY, &mut raw.out));
        assert_eq!(granted(&mut raw), wanted, "the others wait, for all together would be too much");
    }
    assert!(!raw.connection.keep_whole(keys[1], 70_001, &mut raw.out), "no window is as large");
    for _ in 0..2 {
        raw.frame(kind::DATA, 0, 1, &[0; 16_384]);
    }
    raw.frame(kind::DATA, flag::END_STREAM, 1, &[0; BODY - 600 - 2 * 16_384]);
    assert_eq!((raw.failed(), raw.connection.held_bytes()), (None, 41_000));
    // Whole is not enough: its bytes are held until they are out of the way.
    assert!(granted(&mut raw).is_empty());
    raw.connection.release(keys[0], BODY, &mut raw.out);
    assert_eq!((granted(&mut raw), raw.connection.held_bytes()), (vec![3], 1_000));
    // A stream that ends before its time makes room, too.
    raw.let_go(keys[1]);
    assert_eq!(granted(&mut raw), [5]);
    raw.let_go(keys[2]);
    raw.let_go(keys[0]);
    assert_eq!(raw.connection.held_bytes(), 0);
}
