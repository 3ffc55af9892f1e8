//! A client that does not read: the gateway holds a bounded part of what it is to get. It measures the memory
//! of its own process.

use crate::support::gateway::{self, BACKENDS, metric};
use crate::support::interop::{ResponseParameters, StreamingOutputCallRequest};
use crate::support::interop_server::{Ended, InteropServer};
use crate::support::raw::{self, RawClient};
use crate::support::within;
use prost::Message;
use std::time::Duration;

const MESSAGES: usize = 128;
const MESSAGE_BYTES: usize = 1 << 20;
/// Windows of a stream towards both sides and sockets' buffers are some megabytes; all of it would be 128 MiB.
const HELD_BYTES_MAX: usize = 24 << 20;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has it");
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB");
    kilobytes << 10
}

/// Waits until the gateway has received nothing more for a tenth of a second.
async fn stalled(gateway: &ringway::supervisor::Gateway) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let look = async {
        let (mut before, mut same) = (0, 0);
        while same < 10 {
            looks.tick().await;
            let now = metric(gateway, "ringway_received_bytes_total");
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
    };
    within(Duration::from_secs(20), "the stream stalls", look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_costs_bounded_memory() {
    let _alone = crate::alone();
    for backend in BACKENDS {
        let server = InteropServer::start();
        let (gateway, address) = gateway::before(&[server.address()], backend, "");
        let mut client = RawClient::connect(address).await;
        let before = resident_bytes();

        let size = i32::try_from(MESSAGE_BYTES).expect("1 MiB");
        let wanted = ResponseParameters { size, ..ResponseParameters::default() };
        let response_parameters = vec![wanted; MESSAGES];
        let request = StreamingOutputCallRequest { response_parameters, ..Default::default() };
        let mut call = client.open("/grpc.testing.TestService/StreamingOutputCall", &[]).await;
        call.send(raw::message(0, &request.encode_to_vec()), true);
        let mut answers = call.head().await.expect("a head").into_body();
        let first = answers.data().await.expect("some bytes").expect("some bytes");
        stalled(&gateway).await;

        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < HELD_BYTES_MAX, "{backend}: {grown} bytes");
        let call = server.calls()[0].clone();
        assert_eq!(call.ended, Ended::Running, "{backend}");
        assert!(call.response_flags.len() < 16, "{backend}: {} messages sent", call.response_flags.len());

        // Nothing of it is lost, once the client reads.
        let mut bytes = first.len();
        answers.flow_control().release_capacity(first.len()).expect("bytes that came");
        let rest = async {
            while let Some(piece) = answers.data().await {
                let piece = piece.expect("all bytes come");
                bytes += piece.len();
                answers.flow_control().release_capacity(piece.len()).expect("bytes that came");
            }
            answers.trailers().await.expect("an end").expect("trailers")
        };
        let trailers = within(Duration::from_secs(60), "all of the stream", rest).await;
        assert_eq!(trailers["grpc-status"], "0", "{backend}");
        assert!(MESSAGES * MESSAGE_BYTES < bytes, "{backend}: {bytes} bytes");
    }
}
