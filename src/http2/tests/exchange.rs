//! Requests and responses, whole and in every order of their ends.

use super::super::frame::{ErrorCode, kind};
use super::super::name::Name;
use super::super::send::Sent;
use super::super::state::{Ending, StreamError};
use super::pair::Pair;
use super::{bytes, poll, request, response, trailers};
use crate::buffer::Slice;

#[test]
fn a_call_is_the_same_however_its_bytes_are_cut() {
    for cut in [1, 2, 3, 7, 8, 9, 10, 64, 1000, usize::MAX] {
        for size in [0, 1, 5, 16_384, 16_385, 60_000] {
            let mut pair = Pair::new().cut(cut);
            let sent = bytes(size);
            let (client, server) = pair.stream();
            pair.client_sends(client, &sent, true);
            assert_eq!(pair.server.reads(server), (sent.clone(), Some(Ok(()))));
            pair.server_sends(server, &sent, false);
            pair.server_finishes(server, b"last", Ending::Trailers(trailers(&pair.heads)));
            let head = poll(|cx| pair.client.connection.poll_head(client, cx))
                .expect("it came")
                .expect("it is good");
            assert_eq!(
                (head.status(), head.get(Name::CONTENT_TYPE)),
                (Some(200), Some(&b"application/grpc"[..]))
            );
            assert_eq!(pair.client.reads(client), ([&sent[..], b"last"].concat(), Some(Ok(()))));
            let trailers = pair.client.connection.take_trailers(client).expect("they came");
            assert_eq!(trailers.get(Name::GRPC_STATUS), Some(&b"0"[..]));
            assert!(pair.client.connection.is_end(client));
            pair.ends(&[client], &[server]);
            assert_eq!(pair.server.frames(kind::RST_STREAM) + pair.client.frames(kind::RST_STREAM), 0);
        }
    }
}

#[test]
fn a_response_of_trailers_alone_is_a_head_that_ends() {
    let mut pair = Pair::new();
    let client = pair.open(true);
    let server = pair.accept();
    assert_eq!(server.head.path(), Some(&b"/a.B/C"[..]));
    let mut head = response(&pair.heads);
    head.push(Name::GRPC_STATUS, b"5");
    pair.respond(server.key, &head, true);
    let came = poll(|cx| pair.client.connection.poll_head(client, cx)).expect("it came").expect("it is good");
    assert_eq!(came.get(Name::GRPC_STATUS), Some(&b"5"[..]));
    assert_eq!(pair.client.reads(client), (vec![], Some(Ok(()))));
    assert!(pair.client.connection.take_trailers(client).is_none());
    drop(server.head);
    pair.ends(&[client], &[server.key]);
}

#[test]
fn trailers_of_a_request_arrive() {
    let mut pair = Pair::new();
    let client = pair.open(false);
    let server = pair.accept().key;
    pair.client_sends(client, b"body", false);
    let trailers = trailers(&pair.heads);
    let out = &mut pair.client.out;
    assert_eq!(pair.client.connection.send_head(client, &trailers, true, out), Ok(()));
    assert!(pair.client.connection.send_head(client, &trailers, true, out).is_err(), "it has ended");
    pair.settle();
    assert_eq!(pair.server.reads(server), (b"body".to_vec(), Some(Ok(()))));
    assert!(pair.server.connection.take_trailers(server).is_some());
    pair.ends(&[client], &[server]);
}

#[test]
fn interim_responses_are_passed_over() {
    let mut pair = Pair::new();
    let client = pair.open(true);
    let server = pair.accept().key;
    for status in [100, 103, 199] {
        let mut head = pair.heads.head();
        head.set_status(status);
        pair.respond(server, &head, false);
        assert!(poll(|cx| pair.client.connection.poll_head(client, cx)).is_none());
    }
    let head = response(&pair.heads);
    pair.respond(server, &head, true);
    let head = poll(|cx| pair.client.connection.poll_head(client, cx)).expect("it came").expect("it is good");
    assert_eq!(head.status(), Some(200));
    pair.ends(&[client], &[server]);
}

/// The steps of one call, each of an end: E ends its side, R resets, L lets go.
#[test]
fn ends_may_come_in_any_order() {
    let steps = ["cE", "cR", "cL", "sE", "sR", "sL"];
    for first in 0..6 {
        for second in 0..6 {
            for third in 0..6 {
                let order = [steps[first], steps[second], steps[third]];
                for settled in 0..8 {
                    in_order(order, settled);
                }
            }
        }
    }
}

/// `settled` says in its bits after which steps the bytes go over.
fn in_order(order: [&str; 3], settled: u32) {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    pair.client_sends(client, b"up", false);
    pair.server_sends(server, b"down", false);
    let mut let_go = [false; 2];
    for (number, step) in order.into_iter().enumerate() {
        let is_client = step.starts_with('c');
        let (end, key, gone) = match is_client {
            true => (&mut pair.client, client, &mut let_go[0]),
            false => (&mut pair.server, server, &mut let_go[1]),
        };
        if *gone {
            continue;
        }
        match &step[1..] {
            "E" => {
                let sent = end.connection.send_data(key, &mut Slice::default(), true, pair.now, &mut end.out);
                assert_ne!(sent, Sent::Blocked);
            }
            "R" => end.connection.reset(key, ErrorCode::CANCEL, &mut end.out),
            _ => {
                end.connection.let_go(key, pair.now, &mut end.out);
                *gone = true;
            }
        }
        end.connection.check();
        if settled & (1 << number) != 0 {
            pair.settle();
        }
    }
    pair.settle();
    let left = |gone: bool, key| if gone { vec![] } else { vec![key] };
    pair.ends(&left(let_go[0], client), &left(let_go[1], server));
}

#[test]
fn each_code_arrives_as_it_was_sent() {
    for code in (0..15).chain([0xffff_ffff]).map(ErrorCode) {
        let mut pair = Pair::new();
        let (client, server) = pair.stream();
        pair.server.connection.reset(server, code, &mut pair.server.out);
        pair.settle();
        let error = poll(|cx| pair.client.connection.poll_error(client, cx));
        assert_eq!(error, Some(StreamError::Reset(code)));
        assert_eq!(pair.client.reads(client).1, Some(Err(StreamError::Reset(code))));
        assert_eq!(pair.client_sends(client, b"x", false), Sent::Gone);
        pair.ends(&[client], &[server]);

        let mut pair = Pair::new();
        let (client, server) = pair.stream();
        pair.client.connection.cancel(client, code, pair.now, &mut pair.client.out);
        pair.settle();
        assert_eq!(pair.server.reads(server).1, Some(Err(StreamError::Reset(code))));
        pair.ends(&[client], &[server]);
    }
}

#[test]
fn a_response_that_came_whole_outlives_its_reset() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    pair.server_finishes(server, b"all", Ending::Trailers(trailers(&pair.heads)));
    // The request has not ended: the server wants no more of it.
    pair.server.connection.let_go(server, pair.now, &mut pair.server.out);
    pair.settle();
    assert_eq!(pair.client.frames.last().map(|head| head.kind), Some(kind::RST_STREAM));
    assert_eq!(pair.client_sends(client, b"more", false), Sent::Gone);
    assert_eq!(pair.client.reads(client), (b"all".to_vec(), Some(Ok(()))));
    assert!(pair.client.connection.take_trailers(client).is_some());
    pair.ends(&[client], &[]);
}

#[test]
fn a_cut_response_says_so() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    pair.server_finishes(server, b"part", Ending::Reset(ErrorCode::INTERNAL_ERROR));
    let expected = Err(StreamError::Reset(ErrorCode::INTERNAL_ERROR));
    assert_eq!(pair.client.reads(client), (b"part".to_vec(), Some(expected)));
    pair.ends(&[client], &[server]);
}

#[test]
fn several_may_hold_a_stream() {
    let mut pair = Pair::new();
    let (client, server) = pair.stream();
    pair.client.connection.hold(client);
    pair.client.connection.let_go(client, pair.now, &mut pair.client.out);
    pair.settle();
    pair.server_sends(server, b"x", true);
    assert_eq!(pair.client.reads(client), (b"x".to_vec(), Some(Ok(()))));
    pair.client_sends(client, b"", true);
    pair.ends(&[client], &[server]);
}

#[test]
fn streams_have_their_own_heads_and_bodies() {
    let mut pair = Pair::new();
    let calls: Vec<(u32, Vec<u8>)> =
        (0..200).map(|number| (pair.open(false), vec![number as u8; 700])).collect();
    for (key, body) in &calls {
        pair.client_sends(*key, body, true);
    }
    let mut server = Vec::new();
    for number in 0..200 {
        let accepted = pair.accept().key;
        assert_eq!(pair.server.reads(accepted), (vec![number as u8; 700], Some(Ok(()))));
        let head = request(&pair.heads, "/ignored");
        drop(head);
        let head = response(&pair.heads);
        pair.respond(accepted, &head, true);
        server.push(accepted);
    }
    let keys: Vec<u32> = calls.iter().map(|(key, _)| *key).collect();
    pair.ends(&keys, &server);
}
