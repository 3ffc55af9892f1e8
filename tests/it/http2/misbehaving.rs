//! Peers that misbehave: first that the kit of `tests/support` misbehaves as it says, without a gateway.

use crate::support::interop::Empty;
use crate::support::interop::test_service_client::TestServiceClient;
use crate::support::interop_client as cases;
use crate::support::interop_server::InteropServer;
use crate::support::raw::{self, RawClient, RawReply};
use crate::support::raw_server::{CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM, RawServer, Stage, Step};
use crate::support::within;
use h2::Reason;
use std::time::Duration;
use tonic::Code;

const EMPTY_CALL: &str = "/grpc.testing.TestService/EmptyCall";

/// The server with this one step, and what a call to it comes to.
async fn called(step: Step) -> (RawServer, RawReply) {
    let server = RawServer::start(&[step]).await;
    let mut client = RawClient::connect(server.address()).await;
    let reply = client.call(EMPTY_CALL, &[], b"").await;
    (server, reply)
}

#[tokio::test]
async fn answers_come_as_the_script_says() {
    for step in [Step::Answer, Step::Drip, Step::PingThenAnswer, Step::GoawayThenAnswer] {
        let (server, reply) = called(step.clone()).await;
        assert_eq!(
            (reply.status, reply.grpc_status(), &reply.body[..]),
            (200, Some("0"), &[0; 5][..]),
            "{step:?}"
        );
        assert!(reply.error.is_none(), "{step:?}: {reply:?}");
        let record = server.record();
        assert_eq!((record.connections, record.requests_whole, record.body_bytes), (1, 1, 5), "{step:?}");
        if step == Step::PingThenAnswer {
            server.wait_until("the ping is answered", |record| record.pongs == 1).await;
        }
    }
    let (_server, reply) = called(Step::Status(5, "gone%20away")).await;
    assert_eq!((reply.grpc_status(), reply.field("grpc-message")), (Some("5"), Some("gone%20away")));
    let (_server, reply) = called(Step::Http(503)).await;
    assert_eq!((reply.status, reply.grpc_status()), (503, None));
    let (_server, reply) = called(Step::NoStatus).await;
    assert_eq!((reply.status, reply.grpc_status(), reply.body.len()), (200, None, 5));
}

#[tokio::test]
async fn resets_and_closes_come_where_the_script_says() {
    let stages = [
        (Stage::Nothing, 0, 0),
        (Stage::Head, 200, 0),
        (Stage::HalfMessage, 200, 3),
        (Stage::Message, 200, 5),
    ];
    for (stage, status, bytes) in stages {
        let (_server, reply) = called(Step::Reset(stage, INTERNAL_ERROR)).await;
        assert_eq!(reply.reset(), Some(Reason::INTERNAL_ERROR), "{stage:?}: {reply:?}");
        let _ = (status, bytes); // h2 may drop what came just before a reset

        let (_server, reply) = called(Step::Close(stage)).await;
        assert!(reply.error.is_some() && reply.reset().is_none(), "{stage:?}: {reply:?}");
        assert_eq!((reply.status, reply.body.len()), (status, bytes), "{stage:?}: {reply:?}");
    }
    let (_server, reply) = called(Step::GoawayUnseen).await;
    assert!(reply.error.is_some(), "{reply:?}");
}

#[tokio::test]
async fn the_steps_follow_the_script() {
    let steps = [Step::Reset(Stage::Nothing, REFUSED_STREAM), Step::Never, Step::Answer];
    let server = RawServer::start(&steps).await;
    let mut client = RawClient::connect(server.address()).await;
    let refused = client.call(EMPTY_CALL, &[], b"").await;
    assert_eq!(refused.reset(), Some(Reason::REFUSED_STREAM));

    let mut unanswered = client.open(EMPTY_CALL, &[]).await;
    server.wait_until("the second request comes", |record| record.requests == 2).await;
    unanswered.reset(Reason::CANCEL);
    server.wait_until("the cancel comes", |record| record.resets == [CANCEL]).await;

    for _ in 0..2 {
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    }
    drop(client);
    let record = server.wait_until("the connection ends", |record| record.connections_closed == 1).await;
    assert_eq!((record.connections, record.requests, record.most_open), (1, 4, 1));
}

/// The three resets of the gRPC interop set against servers: none may look like success.
#[tokio::test]
async fn a_reset_is_never_taken_for_success() {
    for stage in [Stage::Head, Stage::HalfMessage, Stage::Message] {
        let server = RawServer::start(&[Step::Reset(stage, NO_ERROR)]).await;
        let channel = cases::connect(server.address()).await;
        let mut client = TestServiceClient::new(channel);
        let call = client.empty_call(Empty {});
        let status =
            within(Duration::from_secs(5), "a call that is reset", call).await.expect_err("no success");
        assert_ne!(status.code(), Code::Ok, "{stage:?}");
    }
}

#[tokio::test]
async fn one_stream_at_a_time_is_enough_for_ten_calls() {
    let server = RawServer::with_max_streams(&[Step::Answer], 1).await;
    let channel = cases::connect(server.address()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut client = TestServiceClient::new(channel.clone());
        calls.spawn(async move { client.empty_call(Empty {}).await });
    }
    let all = within(Duration::from_secs(5), "ten calls", calls.join_all()).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(server.record().requests_whole, 10);
}

#[tokio::test]
async fn a_server_takes_garbage_for_what_it_is() {
    let server = InteropServer::start();
    let bad_frame = [raw::PREFACE, b"\xff\xff\xff\x00\x00\x00\x00\x00\x00"].concat();
    for bytes in [&b"\x17\x03\x01 not a preface, and long enough to tell"[..], &bad_frame] {
        raw::exchange(server.address(), bytes).await;
    }
    let mut client = RawClient::connect(server.address()).await;
    let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "5S")], b"").await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
    assert_eq!(server.calls()[0].timeout.as_deref(), Some("5S"));
}
