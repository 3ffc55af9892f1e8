//! Budgets of a peer: some frames it may send only so often, and others as often as it likes.

use super::super::frame::{ErrorCode, flag, kind};
use super::super::guard::{Budgets, Flood};
use super::super::settings::Bounds;
use super::super::state::StreamError;
use super::pair::Pair;
use super::raw::{Raw, block};
use super::{bytes, poll};

fn tight() -> Bounds {
    let budgets =
        Budgets { resets: 5, pings: 5, settings: 5, empty_frames: 5, window_updates: 5, priorities: 5 };
    Bounds { budgets, ..Bounds::default() }
}

/// How often `act` can be done before the connection ends, and why it does.
fn taken(mut raw: Raw, mut act: impl FnMut(&mut Raw, u32)) -> (u32, Option<Flood>) {
    for number in 0..100 {
        act(&mut raw, number);
        if let Some(error) = raw.connection.failed() {
            assert_eq!(raw.failed(), Some(ErrorCode::ENHANCE_YOUR_CALM));
            return (number, error.flood);
        }
    }
    (100, None)
}

#[test]
fn each_flood_of_a_client_ends_its_connection() {
    let priority = |raw: &mut Raw, _| raw.frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
    let update = |raw: &mut Raw, _| raw.frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let settings = |raw: &mut Raw, _| raw.frame(kind::SETTINGS, 0, 0, &[]);
    let ping = |raw: &mut Raw, _| raw.frame(kind::PING, 0, 0, b"12345678");
    let unknown = |raw: &mut Raw, _| raw.frame(200, 0, 0, b"?");
    let pong = |raw: &mut Raw, _| raw.frame(kind::PING, flag::ACK, 0, b"12345678");
    let goodbye = |raw: &mut Raw, _| raw.frame(kind::GOAWAY, 0, 0, &[0; 8]);
    let reset = |raw: &mut Raw, number| {
        raw.request(number * 2 + 1, false);
        raw.frame(kind::RST_STREAM, 0, number * 2 + 1, &[0, 0, 0, 8]);
    };
    type Act = fn(&mut Raw, u32);
    let floods: [(Act, Flood, u32); 8] = [
        (priority, Flood::Priorities, 10),
        (unknown, Flood::Priorities, 10),
        (update, Flood::WindowUpdates, 10),
        // The connection's beginning took one of these.
        (settings, Flood::Settings, 9),
        (ping, Flood::Pings, 10),
        (pong, Flood::Pings, 10),
        // The first one says something.
        (goodbye, Flood::Priorities, 11),
        (reset, Flood::Resets, 10),
    ];
    for (act, flood, allowed) in floods {
        assert_eq!(taken(Raw::server(tight()), act), (allowed, Some(flood)));
    }
}

#[test]
fn frames_that_carry_nothing_end_a_clients_connection() {
    for padding in [false, true] {
        let mut raw = Raw::server(tight());
        raw.accepted(1, false);
        let (flags, payload) = if padding { (flag::PADDED, &[2, 0, 0][..]) } else { (0, &[][..]) };
        let result = taken(raw, |raw, _| raw.frame(kind::DATA, flags, 1, payload));
        assert_eq!(result, (10, Some(Flood::EmptyFrames)));
    }
}

#[test]
fn frames_that_carry_nothing_end_a_services_stream_alone() {
    let mut raw = Raw::client(tight());
    let (first, second) = (raw.answered(1), raw.answered(3));
    for _ in 0..11 {
        raw.frame(kind::DATA, 0, 1, &[]);
    }
    assert_eq!(raw.resets(), [(1, ErrorCode::ENHANCE_YOUR_CALM)]);
    raw.frame(kind::DATA, flag::END_STREAM, 3, b"fine");
    assert_eq!(super::read(&mut raw.connection, second), (b"fine".to_vec(), Some(Ok(()))));
    raw.let_go(first);
    raw.let_go(second);
}

/// CVE-2025-8671: frames that make us reset streams, of which each costs its client nothing.
#[test]
fn resets_that_a_client_provokes_count_as_its_own() {
    let overflow = |raw: &mut Raw, id| raw.frame(kind::WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]);
    let nothing = |raw: &mut Raw, id| raw.frame(kind::WINDOW_UPDATE, 0, id, &[0; 4]);
    let itself = |raw: &mut Raw, id: u32| {
        let payload = [&id.to_be_bytes()[..], &[0]].concat();
        raw.frame(kind::PRIORITY, 0, id, &payload);
    };
    let short = |raw: &mut Raw, id| raw.frame(kind::PRIORITY, 0, id, &[0; 4]);
    let head_late = |raw: &mut Raw, id| raw.request(id, true);
    let data_late = |raw: &mut Raw, id| raw.frame(kind::DATA, 0, id, b"late");
    let large = |raw: &mut Raw, id| {
        let field = block(&[("x-large", &[b'x'; 17_000])]);
        raw.frame(kind::HEADERS, 0, id, &field[..16_000]);
        raw.frame(kind::CONTINUATION, flag::END_HEADERS, id, &field[16_000..]);
    };
    let malformed = |raw: &mut Raw, id| {
        raw.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, id, &block(&[(":path", b"/")]));
    };
    type Act = fn(&mut Raw, u32);
    let ways: [(Act, bool); 8] = [
        (overflow, false),
        (nothing, false),
        (itself, false),
        (short, false),
        (head_late, true),
        (data_late, true),
        (large, false),
        (malformed, false),
    ];
    for (at, (act, ended)) in ways.into_iter().enumerate() {
        let mut bounds = tight();
        bounds.budgets = Budgets { resets: 5, ..Budgets::default() };
        let result = taken(Raw::server(bounds), |raw, number| {
            let id = number * 2 + 1;
            let key = raw.accepted(id, ended);
            act(raw, id);
            assert!(
                raw.connection.failed().is_some() || poll(|cx| raw.connection.poll_error(key, cx)).is_some()
            );
            raw.let_go(key);
        });
        assert_eq!(result, (10, Some(Flood::Resets)), "way {at}");
    }
}

#[test]
fn malformed_and_refused_requests_count_as_resets() {
    let malformed = taken(Raw::server(tight()), |raw, number| {
        let payload = block(&[(":method", b"GET")]);
        raw.frame(kind::HEADERS, flag::END_HEADERS, number * 2 + 1, &payload);
    });
    assert_eq!(malformed, (10, Some(Flood::Resets)));
    let bounds = Bounds { max_concurrent_streams: 1, ..tight() };
    let refused = taken(Raw::server(bounds), |raw, number| raw.request(number * 2 + 1, false));
    assert_eq!(refused, (11, Some(Flood::Resets)));
}

#[test]
fn a_head_has_so_many_continuations_and_bytes() {
    let bounds = Bounds { max_continuations: 4, ..Bounds::default() };
    let mut raw = Raw::server(bounds.clone());
    raw.frame(kind::HEADERS, 0, 1, &[]);
    for _ in 0..4 {
        raw.frame(kind::CONTINUATION, 0, 1, &[]);
    }
    assert_eq!(raw.failed(), None);
    raw.frame(kind::CONTINUATION, 0, 1, &[]);
    assert_eq!(raw.failed(), Some(ErrorCode::ENHANCE_YOUR_CALM));
    assert_eq!(raw.connection.failed().and_then(|error| error.flood), Some(Flood::Continuations));

    let mut raw = Raw::server(Bounds { max_continuations: 1_000, ..bounds });
    raw.frame(kind::HEADERS, 0, 1, &[0; 16_000]);
    let mut frames = 0;
    while raw.connection.failed().is_none() {
        raw.frame(kind::CONTINUATION, 0, 1, &[0; 16_000]);
        frames += 1;
    }
    assert_eq!(frames, 3);
}

#[test]
fn interim_responses_of_a_service_end_their_stream() {
    let mut raw = Raw::client(Bounds::default());
    let (key, other) = (raw.opened(), raw.answered(3));
    let mut interim = raw.heads.head();
    interim.set_status(103);
    for _ in 0..1_000 {
        raw.head(1, &interim, false);
    }
    assert_eq!(raw.resets(), [(1, ErrorCode::ENHANCE_YOUR_CALM)]);
    let expected = StreamError::Malformed("too_many_interim_responses");
    assert_eq!(poll(|cx| raw.connection.poll_error(key, cx)), Some(expected));
    raw.frame(kind::DATA, flag::END_STREAM, 3, b"fine");
    assert_eq!(super::read(&mut raw.connection, other), (b"fine".to_vec(), Some(Ok(()))));
    raw.let_go(key);
    raw.let_go(other);
}

/// Row 6: one write with an open call and 21 that are reset at once.
#[test]
fn calls_that_are_reset_at_once_are_served_as_documented() {
    let mut raw = Raw::server(Bounds::default());
    raw.request(1, false);
    for number in 1..=1_990_u32 {
        raw.request(number * 2 + 1, false);
        raw.frame(kind::DATA, 0, number * 2 + 1, b"some");
        raw.frame(kind::RST_STREAM, 0, number * 2 + 1, &[0, 0, 0, 8]);
    }
    raw.request(4_001, true);
    assert_eq!(raw.resets(), []);
    // Nobody need look at those that are over before they were accepted.
    let keys: Vec<u32> =
        std::iter::from_fn(|| raw.connection.accept()).map(|incoming| incoming.key).collect();
    assert_eq!((keys.len(), raw.connection.streams(), raw.connection.held_bytes()), (2, 2, 0));
    for key in keys {
        raw.let_go(key);
    }
}

/// Rows 40, 41 and 46: frames that the windows allow are taken, however small, and are not kept one by one.
#[test]
fn bytes_may_come_one_by_one() {
    let mut raw = Raw::client(Bounds { stream_window: 1 << 20, ..Bounds::default() });
    let (tiny, other) = (raw.answered(1), raw.answered(3));
    for _ in 0..200_000 {
        raw.connection.receive(
            &mut crate::buffer::Slice::copy_of(&[0, 0, 5, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5]),
            raw.now,
            &mut raw.out,
        );
    }
    raw.connection.check();
    assert_eq!((raw.connection.failed(), raw.connection.held_bytes()), (None, 1_000_000));
    let mut pieces = 0;
    while let Some(Ok(Some(data))) = poll(|cx| raw.connection.poll_data(tiny, cx)) {
        pieces += 1;
        raw.connection.release(tiny, data.len(), &mut raw.out);
    }
    assert!(pieces < 100, "{pieces}");
    raw.frame(kind::DATA, flag::END_STREAM, 3, b"fine");
    assert_eq!(super::read(&mut raw.connection, other), (b"fine".to_vec(), Some(Ok(()))));
    raw.let_go(tiny);
    raw.let_go(other);
    assert_eq!(raw.connection.held_bytes(), 0);
}

/// gRPC sends a ping with the first bytes of each round trip to measure the bandwidth.
#[test]
fn pings_and_updates_that_payload_brings_are_no_flood() {
    let mut pair = Pair::with(Bounds::default(), tight());
    let (client, server) = pair.stream();
    for _ in 0..1_000 {
        pair.server_sends(server, &bytes(100), false);
        pair.client.reads(client);
        super::super::frame::ping(pair.client.out.bytes(), false, *b"measure!");
        super::super::frame::window_update(pair.client.out.bytes(), 0, 1);
        super::super::frame::window_update(pair.client.out.bytes(), 1, 1);
        pair.settle();
    }
    pair.ends(&[client], &[server]);
}

/// Row 54: answers to frames of a client that does not read are bounded.
#[test]
fn frames_that_ask_for_answers_are_left_while_nothing_is_read() {
    let bounds = Bounds { max_send_buffer_size: 10_000, ..Bounds::default() };
    let mut raw = Raw::server(Bounds { budgets: Budgets { pings: 1 << 20, ..Budgets::default() }, ..bounds });
    let mut pings = Vec::new();
    for _ in 0..3_000 {
        super::super::frame::ping(&mut pings, false, *b"12345678");
    }
    let mut input = crate::buffer::Slice::from(pings);
    raw.connection.receive(&mut input, raw.now, &mut raw.out);
    assert!(raw.out.len() < 10_100 && raw.connection.failed().is_none());
    assert!(!raw.connection.takes_input(&raw.out) && raw.connection.wants_room(&raw.out));
    let mut answered = raw.sent().len();
    while !input.is_empty() {
        raw.connection.receive(&mut input, raw.now, &mut raw.out);
        answered += raw.sent().len();
    }
    assert_eq!(answered, 3_000);
}

#[test]
fn a_service_that_sends_heads_without_end_loses_its_connection() {
    // Whether the call that was reset holds its stream still, or has let go of it.
    for holds in [true, false] {
        let mut raw = Raw::client(Bounds::default());
        let key = raw.opened();
        let interim = block(&[(":status", b"103")]);
        let send = |raw: &mut Raw| raw.frame(kind::HEADERS, flag::END_HEADERS, 1, &interim);
        (0..9_000).for_each(|_| send(&mut raw));
        assert_eq!(raw.resets(), [(1, ErrorCode::ENHANCE_YOUR_CALM)], "its stream ends, and that alone");
        if !holds {
            raw.let_go(key);
        }
        (0..11_000).for_each(|_| send(&mut raw));
        assert_eq!(raw.failed(), Some(ErrorCode::ENHANCE_YOUR_CALM), "{holds}");
    }
}
