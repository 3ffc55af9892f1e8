//! A unary call makes no heap allocation on a worker, on either back-end, whatever looks at it.

use crate::at_rest;
use crate::support::gateway::GatewayBuilder;
use crate::support::issuer::{Issuer, TempFile};
use crate::support::within;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use ringway::supervisor::Gateway;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const WARM_UP: usize = 5_000;
const CALLS: usize = 20_000;
/// Calls in flight at once.
const CONCURRENCY: usize = 20;
/// Less than one call in a hundred: lists and pools may grow once more.
const PER_CALL_MAX: f64 = 0.005;

/// A gRPC frame around a message of 16 bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x10sixteen bytes!!!";

#[test]
fn a_unary_call_allocates_nothing() {
    let _alone = crate::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the client and the upstream");
    let upstream = runtime.block_on(echo());
    // Calls that access log and tracing look at and leave out are told to services, and allocate no more.
    let issuer = Issuer::new("k1");
    let keys = TempFile::new(&issuer.jwks());
    let authorization = format!("Bearer {}", issuer.token(",\"group\":[\"staff\"]"));
    for (backend, tables, is_guarded) in [
        ("io_uring", ROUTES, false),
        ("epoll", ROUTES, false),
        ("io_uring", "", false),
        ("epoll", "", false),
        ("io_uring", UNRECORDED, false),
        ("io_uring", POLICIES, false),
        ("epoll", POLICIES, false),
        ("io_uring", "", true),
        ("epoll", "", true),
    ] {
        let gateway = match is_guarded {
            true => guarded(upstream, backend, &keys),
            false if tables == ROUTES => routed(upstream, backend),
            false => gateway(upstream, backend, tables),
        };
        let client = runtime.block_on(connect(gateway.listeners()[0]));
        let per_call = per_call(&runtime, &gateway, &client, &authorization);
        assert!(
            per_call <= PER_CALL_MAX,
            "{per_call:.4} allocations per call on {backend} with {tables:?}, {is_guarded}"
        );
        drop((client, gateway));
    }
}

/// The counter that the test above believes sees a worker's allocations.
#[test]
fn the_counter_sees_what_a_worker_allocates() {
    let _alone = crate::alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime for the client and the upstream");
    let upstream = runtime.block_on(echo());
    let gateway = gateway(upstream, "io_uring", "");
    let before = runtime.block_on(at_rest(&gateway));
    let client = runtime.block_on(connect(gateway.listeners()[0]));
    run(&runtime, &client, CONCURRENCY, CONCURRENCY, "none");
    assert!(runtime.block_on(at_rest(&gateway)) > before, "a new connection needs memory");
}

/// Routes that each call is looked up among anew, for chance has a say. The last one takes it, and gives the service
/// another path.
const ROUTES: &str = r#"
[[routes]]
match = { safe_regex = "/(?:[a-z]+\\.)+[A-Z][a-z]+/Get.*", runtime_fraction = 50.0 }
cluster = "interop"

[[routes]]
match = { service = "ringway.test.Echo", runtime_fraction = 0.0 }
cluster = "interop"

[[routes]]
match = { safe_regex = "/ringway\\.[a-z]+\\..*", header_matchers = [{ name = "user-agent", safe_regex = "grpc-go/.*" }], query_parameters = [{ name = "x" }] }
cluster = "interop"

[[routes]]
match = { safe_regex = "/ringway\\.[a-z]+\\..*", header_matchers = [{ name = "user-agent", safe_regex = "grpc-[a-z]+/[0-9.]+" }, { name = "authorization", contains = "e" }] }
cluster = "interop"
regex_rewrite = { pattern = "^/ringway\\.([a-z]+)", substitution = "/other.\\1" }
retry = { max_attempts = 2 }
breaker = { min_requests = 10 }
"#;

/// A gateway with these routes.
fn routed(upstream: SocketAddr, backend: &str) -> Gateway {
    GatewayBuilder::new(&[upstream], backend).set("workers", 1).routes_before(ROUTES).start()
}

/// All policies that look at each call.
const POLICIES: &str = "[clusters.breaker]\n[clusters.retry]\nmax_attempts = 2\n[clusters.outlier_detection]\n\
                        consecutive_gateway_failure = 5\n[clusters.adaptive_timeout]\n";

/// An access log and tracing that leave every good call out. Nobody is at the collector's address.
const UNRECORDED: &str = "[access_log]\npath = \"/dev/null\"\nsample = 0.0\n\
                          [tracing]\nendpoint = \"http://127.0.0.1:9\"\nsample = 0.0\n";

/// A gateway that tells services who called, and whose route asks for a token, has sixty rules and changes fields.
fn guarded(upstream: SocketAddr, backend: &str, keys: &TempFile) -> Gateway {
    let policy = |number: usize, service: &str| {
        format!(
            "[[routes.rbac.policies]]\nname = \"{number}\"\npermissions = [\"path:/{service}/*\"]\n\
             principals = [\"jwt:idp:group=staff && !remote_ip:10.0.0.0/8\"]\n"
        )
    };
    let others: String = (1..60).map(|number| policy(number, &format!("other{number}.v1.Service"))).collect();
    let route = format!(
        "[[routes.request_headers_to_add]]\nkey = \"x-caller\"\n\
         value = \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\"\n[[routes.response_headers_to_add]]\nkey = \"x-by\"\n\
         value = \"ringway\"\n[routes.jwt]\nrequires_any = [\"idp\"]\n[routes.rbac]\n{others}{}",
        policy(60, "ringway.test.Echo")
    );
    let provider = format!(
        "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\nlocal_jwks = \"{}\"\n\
         claim_to_headers = {{ \"x-user\" = \"sub\" }}\n",
        keys.path()
    );
    GatewayBuilder::new(&[upstream], backend)
        .set("workers", 1)
        .set("listeners.use_remote_address", true)
        .set("listeners.forwarded", true)
        .set("listeners.generate_request_id", true)
        .route(&route)
        .extra(&provider)
        .start()
}

/// A gateway with one worker.
fn gateway(upstream: SocketAddr, backend: &str, tables: &str) -> Gateway {
    GatewayBuilder::new(&[upstream], backend).set("workers", 1).extra(tables).start()
}

/// Allocations of its worker for each call, once it is warm.
fn per_call(runtime: &Runtime, gateway: &Gateway, client: &SendRequest<Bytes>, authorization: &str) -> f64 {
    run(runtime, client, WARM_UP, CONCURRENCY, authorization);
    let before = runtime.block_on(at_rest(gateway));
    run(runtime, client, CALLS, CONCURRENCY, authorization);
    let per_call = (runtime.block_on(at_rest(gateway)) - before) as f64 / CALLS as f64;
    println!("{per_call:.3} allocations per call on {:?}", gateway.backend());
    per_call
}

/// Makes `calls` calls, so many at once.
pub(super) fn run(
    runtime: &Runtime,
    client: &SendRequest<Bytes>,
    calls: usize,
    at_once: usize,
    authorization: &str,
) {
    let all = async {
        let mut lanes = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let (client, authorization) = (client.clone(), authorization.to_owned());
            lanes.spawn(async move {
                for _ in 0..calls / at_once {
                    call(&client, &authorization).await;
                }
            });
        }
        lanes.join_all().await;
    };
    assert_eq!(calls % at_once, 0, "every lane makes the same number of calls");
    runtime.block_on(within(Duration::from_secs(120), "the calls", all));
}

pub(super) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the gateway listens");
    stream.set_nodelay(true).expect("a socket takes its options");
    let (client, connection) = h2::client::handshake(stream).await.expect("the gateway speaks HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// A unary call with the headers of a usual client.
async fn call(client: &SendRequest<Bytes>, authorization: &str) {
    let request = Request::post("http://gateway.test/ringway.test.Echo/Unary")
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", "grpc-rust/0.14")
        .header("authorization", authorization)
        .body(())
        .expect("a request of constants");
    let mut client = client.clone().ready().await.expect("the connection lives");
    let (response, mut body) = client.send_request(request, false).expect("the connection lives");
    body.send_data(Bytes::from_static(MESSAGE), true).expect("the stream is open");
    let mut answer = response.await.expect("an answer").into_body();
    let mut bytes = 0;
    while let Some(piece) = answer.data().await {
        let piece = piece.expect("a whole answer");
        bytes += piece.len();
        answer.flow_control().release_capacity(piece.len()).expect("it was taken");
    }
    assert_eq!(bytes, MESSAGE.len());
    let trailers = answer.trailers().await.expect("a whole answer").expect("an answer has trailers");
    assert_eq!(trailers["grpc-status"], "0");
}

/// An upstream that answers every call with its own message.
pub(super) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket takes its options");
    let mut connection = h2::server::handshake(stream).await.expect("the gateway speaks HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                message.extend_from_slice(&piece);
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let head = Response::builder().header("content-type", "application/grpc").body(());
            let sent = respond.send_response(head.expect("a response of constants"), false);
            let Ok(mut answer) = sent else { return };
            let _ = answer.send_data(message.into(), false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let _ = answer.send_trailers(trailers);
        });
    }
}
