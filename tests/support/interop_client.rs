//! The gRPC interop cases, as every implementation runs them (grpc/doc/interop-test-descriptions.md).
//!
//! Each is an async function that panics where the peer does not do what the case wants. They take a channel, so
//! they do not know whether a gateway stands between.

use super::interop::test_service_client::TestServiceClient;
use super::interop::unimplemented_service_client::UnimplementedServiceClient;
use super::interop::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingInputCallResponse, StreamingOutputCallRequest,
};
use super::interop_server::{Call, ECHO_INITIAL, ECHO_TRAILING, Ended, InteropServer};
use super::raw::{self, RawClient};
use super::watch::FlagChannel;
use prost::Message;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const LARGE_REQUEST: usize = 271_828;
const LARGE_ANSWER: usize = 314_159;
const REQUEST_SIZES: [usize; 4] = [27_182, 8, 1_828, 45_904];
const ANSWER_SIZES: [usize; 4] = [31_415, 9, 2_653, 58_979];

/// A channel of one HTTP/2 connection.
pub async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URI");
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
    endpoint.connect().await.expect("the peer listens")
}

pub async fn empty_unary(channel: &Channel) {
    try_empty_unary(channel).await.expect("empty_unary");
}

/// An empty call, which may fail.
pub async fn try_empty_unary(channel: &Channel) -> Result<(), Status> {
    client(channel).empty_call(Empty {}).await.map(drop)
}

pub async fn large_unary(channel: &Channel) {
    let answer = client(channel).unary_call(large_request()).await.expect("large_unary").into_inner();
    assert_eq!(size(answer.payload), LARGE_ANSWER);
}

pub async fn client_streaming(channel: &Channel) {
    let requests = REQUEST_SIZES.map(|size| StreamingInputCallRequest { payload: zeroes(size), ..default() });
    let reply = client(channel).streaming_input_call(tokio_stream::iter(requests)).await;
    let answer = reply.expect("client_streaming").into_inner();
    assert_eq!(answer.aggregated_payload_size, 74_922);
}

pub async fn server_streaming(channel: &Channel) {
    let response_parameters = ANSWER_SIZES.iter().map(|size| wanted(*size)).collect();
    let request = StreamingOutputCallRequest { response_parameters, ..default() };
    let reply = client(channel).streaming_output_call(request).await;
    let mut answers = reply.expect("server_streaming").into_inner();
    for expected in ANSWER_SIZES {
        let answer = answers.message().await.expect("server_streaming").expect("four answers");
        assert_eq!(size(answer.payload), expected);
    }
    assert!(answers.message().await.expect("status OK").is_none(), "more than four answers");
}

/// Each answer comes before the next request is sent: whoever holds messages back hangs here.
pub async fn ping_pong(channel: &Channel) {
    let (requests, receiver) = mpsc::channel(1);
    requests.send(ping(REQUEST_SIZES[0], ANSWER_SIZES[0])).await.expect("room for one");
    let reply = client(channel).full_duplex_call(ReceiverStream::new(receiver)).await;
    let mut answers = reply.expect("ping_pong").into_inner();
    for turn in 0..4 {
        let answer = answers.message().await.expect("ping_pong").expect("an answer per turn");
        assert_eq!(size(answer.payload), ANSWER_SIZES[turn]);
        if let Some(next) = REQUEST_SIZES.get(turn + 1) {
            requests.send(ping(*next, ANSWER_SIZES[turn + 1])).await.expect("the call goes on");
        }
    }
    drop(requests);
    assert!(answers.message().await.expect("status OK").is_none(), "more than four answers");
}

pub async fn empty_stream(channel: &Channel) {
    let reply = client(channel).full_duplex_call(tokio_stream::empty()).await;
    let mut answers = reply.expect("empty_stream").into_inner();
    assert!(answers.message().await.expect("status OK").is_none(), "an answer to nothing");
}

/// The server finds the compressed flag on the messages that were sent with it and on no others.
pub async fn client_compressed_unary(channel: &Channel) {
    let request = |expected| SimpleRequest { expect_compressed: yes(expected), ..large_request() };
    let refused = client(channel).unary_call(request(true)).await.expect_err("the flag is not set");
    assert_eq!(refused.code(), Code::InvalidArgument);

    let mut compressing = client(channel).send_compressed(CompressionEncoding::Gzip);
    let answer = compressing.unary_call(request(true)).await.expect("client_compressed_unary").into_inner();
    assert_eq!(size(answer.payload), LARGE_ANSWER);

    let answer =
        client(channel).unary_call(request(false)).await.expect("client_compressed_unary").into_inner();
    assert_eq!(size(answer.payload), LARGE_ANSWER);
}

/// A call with a compressed message and one that is not: the flag belongs to the message, not to the call. tonic cannot
/// mix them, so the messages are made by hand.
pub async fn client_compressed_streaming(address: SocketAddr) {
    let message = |size, compressed| {
        let expect_compressed = yes(compressed);
        let bytes = StreamingInputCallRequest { payload: zeroes(size), expect_compressed }.encode_to_vec();
        if compressed { raw::message(1, &gzip(&bytes)) } else { raw::message(0, &bytes) }
    };
    let mut client = RawClient::connect(address).await;
    let headers = [("grpc-encoding", "gzip")];
    let mut call = client.open("/grpc.testing.TestService/StreamingInputCall", &headers).await;
    call.send(message(27_182, true), false);
    call.send(message(45_904, false), true);
    let reply = call.reply().await;
    assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
    let answer = StreamingInputCallResponse::decode(&reply.body[5..]).expect("an answer");
    assert_eq!(answer.aggregated_payload_size, 73_086);
}

/// The client finds the compressed flag on the answers that were sent with it and on no others.
pub async fn server_compressed_unary(channel: &Channel) {
    let watched = FlagChannel::new(channel.clone());
    let mut client = TestServiceClient::new(watched.clone()).accept_compressed(CompressionEncoding::Gzip);
    for compressed in [true, false] {
        let request = SimpleRequest { response_compressed: yes(compressed), ..large_request() };
        let answer = client.unary_call(request).await.expect("server_compressed_unary").into_inner();
        assert_eq!(size(answer.payload), LARGE_ANSWER);
        assert_eq!(watched.take_flags(), [u8::from(compressed)]);
    }
}

pub async fn custom_metadata(channel: &Channel) {
    let reply = client(channel).unary_call(with_metadata(large_request())).await.expect("custom_metadata");
    check_initial(reply.metadata());
    check_trailing(reply.metadata());

    let requests = tokio_stream::iter([ping(LARGE_REQUEST, LARGE_ANSWER)]);
    let reply = client(channel).full_duplex_call(with_metadata(requests)).await.expect("custom_metadata");
    check_initial(reply.metadata());
    let mut answers = reply.into_inner();
    let answer = answers.message().await.expect("custom_metadata").expect("one answer");
    assert_eq!(size(answer.payload), LARGE_ANSWER);
    assert!(answers.message().await.expect("status OK").is_none(), "more than one answer");
    check_trailing(&answers.trailers().await.expect("trailers").expect("trailers"));
}

pub async fn status_code_and_message(channel: &Channel) {
    check_echoed_status(channel, "test status message").await;
}

/// White space, line ends and Unicode outside the basic plane survive the percent-encoding.
pub async fn special_status_message(channel: &Channel) {
    let message = "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";
    check_echoed_status(channel, message).await;
}

pub async fn unimplemented_method(channel: &Channel) {
    let status = client(channel).unimplemented_call(Empty {}).await.expect_err("no server has it");
    assert_eq!(status.code(), Code::Unimplemented);
}

pub async fn unimplemented_service(channel: &Channel) {
    let mut client = UnimplementedServiceClient::new(channel.clone());
    let status = client.unimplemented_call(Empty {}).await.expect_err("no server has it");
    assert_eq!(status.code(), Code::Unimplemented);
}

/// The call is given up before its first message; the server sees that.
pub async fn cancel_after_begin(channel: &Channel, server: &InteropServer) {
    let before = server.calls().len();
    let (requests, receiver) = mpsc::channel::<StreamingInputCallRequest>(1);
    let mut client = client(channel);
    let call = tokio::spawn(async move { client.streaming_input_call(ReceiverStream::new(receiver)).await });
    let begun = |calls: &[Call]| calls.len() > before;
    server.wait_until("cancel_after_begin: the call reaches the server", begun).await;
    call.abort();
    assert!(call.await.expect_err("aborted").is_cancelled());
    check_cancelled(server, before).await;
    drop(requests);
}

/// The call is given up with RST_STREAM(CANCEL) while both sides are open; the server sees that. tonic cannot do
/// this: it resets a stream only when its own side has ended too.
pub async fn cancel_after_first_response(address: SocketAddr, server: &InteropServer) {
    let before = server.calls().len();
    let mut client = RawClient::connect(address).await;
    let mut call = client.open("/grpc.testing.TestService/FullDuplexCall", &[]).await;
    call.send(raw::message(0, &ping(REQUEST_SIZES[0], ANSWER_SIZES[1]).encode_to_vec()), false);
    let mut answers = call.head().await.expect("a head").into_body();
    answers.data().await.expect("an answer").expect("an answer");
    call.reset(h2::Reason::CANCEL);
    check_cancelled(server, before).await;
}

/// A stream of answers is given up after the first; the server sees that and stops.
pub async fn cancel_of_server_streaming(channel: &Channel, server: &InteropServer) {
    let before = server.calls().len();
    let later = ResponseParameters { size: 1, interval_us: 60_000_000, compressed: None };
    let request = StreamingOutputCallRequest { response_parameters: vec![wanted(9), later], ..default() };
    let reply = client(channel).streaming_output_call(request).await;
    let mut answers = reply.expect("cancel_of_server_streaming").into_inner();
    let answer = answers.message().await.expect("an answer").expect("an answer");
    assert_eq!(size(answer.payload), 9);
    drop(answers);
    check_cancelled(server, before).await;
}

/// A millisecond for a call that is never answered. A gRPC client keeps its own deadline. tonic does so only up to the
/// head of the answer (and calls it CANCELLED), so the rest of it is kept here.
pub async fn timeout_on_sleeping_server(channel: &Channel) {
    const DEADLINE: Duration = Duration::from_millis(1);
    let (requests, receiver) = mpsc::channel(1);
    let request = StreamingOutputCallRequest { payload: zeroes(REQUEST_SIZES[0]), ..default() };
    requests.send(request).await.expect("room for one");
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.set_timeout(DEADLINE);
    let mut client = client(channel);
    let call = async { client.full_duplex_call(request).await?.into_inner().message().await };
    match tokio::time::timeout(DEADLINE, call).await {
        Err(_) => {}
        Ok(Err(ended)) => {
            assert!(matches!(ended.code(), Code::DeadlineExceeded | Code::Cancelled), "{ended:?}");
        }
        Ok(Ok(answer)) => panic!("no answer was asked for: {answer:?}"),
    }
    drop(requests);
}

/// The peer ends a call at the caller's deadline although the caller itself would wait, and the server sees it
/// cancelled and was told of at most `deadline`. Only a gateway (or a server with deadlines of its own) passes this.
pub async fn deadline_kept_by_the_peer(address: SocketAddr, server: &InteropServer, deadline: Duration) {
    let before = server.calls().len();
    let mut client = RawClient::connect(address).await;
    let asked = format!("{}m", deadline.as_millis());
    let mut call = client.open("/grpc.testing.TestService/FullDuplexCall", &[("grpc-timeout", &asked)]).await;
    call.send(raw::message(0, &[]), false);
    let reply = call.reply().await;
    assert_eq!(reply.grpc_status(), Some("4"), "{reply:?}");
    check_cancelled(server, before).await;
    let told = server.calls()[before].timeout.clone().expect("the deadline is handed on");
    let left = parse_timeout(&told);
    assert!(Duration::ZERO < left && left <= deadline, "grpc-timeout: {told} of {asked}");
}

/// `calls` large calls, one after the other; each must succeed within `each_max`.
pub async fn rpc_soak(channel: &Channel, calls: usize, each_max: Duration) {
    for call in 0..calls {
        super::within(each_max, &format!("rpc_soak, call {call}"), large_unary(channel)).await;
    }
}

/// `calls` large calls at once on one channel; all must succeed.
pub async fn concurrent_large_unary(channel: &Channel, calls: usize) {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let channel = channel.clone();
        running.spawn(async move { large_unary(&channel).await });
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("each call succeeds");
    }
}

fn client(channel: &Channel) -> TestServiceClient<Channel> {
    TestServiceClient::new(channel.clone())
}

fn default<T: Default>() -> T {
    T::default()
}

fn zeroes(size: usize) -> Option<Payload> {
    Some(Payload { r#type: 0, body: vec![0; size] })
}

fn yes(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to a Vec cannot fail")
}

fn size(payload: Option<Payload>) -> usize {
    payload.map_or(0, |payload| payload.body.len())
}

fn wanted(size: usize) -> ResponseParameters {
    ResponseParameters { size: i32::try_from(size).expect("sizes here are small"), ..default() }
}

fn ping(request: usize, answer: usize) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![wanted(answer)],
        payload: zeroes(request),
        ..default()
    }
}

fn large_request() -> SimpleRequest {
    SimpleRequest { response_size: wanted(LARGE_ANSWER).size, payload: zeroes(LARGE_REQUEST), ..default() }
}

/// The value of a grpc-timeout header.
pub fn parse_timeout(text: &str) -> Duration {
    let (digits, unit) = text.split_at(text.len().saturating_sub(1));
    let count: u32 = digits.parse().unwrap_or_else(|_| panic!("grpc-timeout: {text}"));
    let one = match unit {
        "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => panic!("grpc-timeout: {text}"),
    };
    one * count
}

const INITIAL_VALUE: &str = "test_initial_metadata_value";
const TRAILING_VALUE: &[u8] = &[0xab, 0xab, 0xab];

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(ECHO_INITIAL, MetadataValue::from_static(INITIAL_VALUE));
    request.metadata_mut().insert_bin(ECHO_TRAILING, MetadataValue::from_bytes(TRAILING_VALUE));
    request
}

fn check_initial(metadata: &MetadataMap) {
    assert_eq!(metadata.get(ECHO_INITIAL).expect("the initial metadata comes back"), INITIAL_VALUE);
}

fn check_trailing(metadata: &MetadataMap) {
    let value = metadata.get_bin(ECHO_TRAILING).expect("the trailing metadata comes back");
    assert_eq!(value.to_bytes().expect("base64"), TRAILING_VALUE);
}

/// The status asked for comes back, of a unary call and of a duplex one.
async fn check_echoed_status(channel: &Channel, message: &str) {
    let asked = Some(EchoStatus { code: Code::Unknown as i32, message: message.to_owned() });
    let check = |status: Status| assert_eq!((status.code(), status.message()), (Code::Unknown, message));

    let request = SimpleRequest { response_status: asked.clone(), ..default() };
    check(client(channel).unary_call(request).await.expect_err("a status was asked for"));

    let request = StreamingOutputCallRequest { response_status: asked, ..default() };
    let status = match client(channel).full_duplex_call(tokio_stream::iter([request])).await {
        Ok(reply) => reply.into_inner().message().await.expect_err("a status was asked for"),
        Err(status) => status,
    };
    check(status);
}

/// The server sees the call after the first `before` ones cancelled.
async fn check_cancelled(server: &InteropServer, before: usize) {
    let ended = |calls: &[Call]| calls.get(before).is_some_and(|call| call.ended != Ended::Running);
    let calls = server.wait_until("the cancel reaches the server", ended).await;
    assert_eq!(calls[before].ended, Ended::Cancelled, "{:?}", calls[before]);
}
