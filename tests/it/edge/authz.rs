//! A service that says who may call: it allows, denies, changes heads, is slow, and is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use prost::Message as _;
use ringway::supervisor::Gateway;
use ringway::wire::authz::{
    BoolValue, CheckRequest, CheckResponse, DeniedResponse, HeaderValue, HeaderValueOption, HttpStatus,
    OkResponse, Status,
};

use super::routed;
use crate::support::gateway::{BACKENDS, metric};
use crate::support::http1::Http1;
use crate::support::library::{Library, Source, front_with};
use crate::support::raw::{EMPTY_CALL, RawClient, RawReply, message};
use crate::support::service::{Act, Service};
use crate::support::speaker::{Answer, Fields, Speaker};
use tokio::sync::watch;

const HEAD: Fields = &[("content-type", "application/grpc")];

/// A gateway whose route asks the service at this address.
fn asking(service: &Service, authz: SocketAddr, backend: &str, settings: &str) -> (Gateway, SocketAddr) {
    let cluster = format!(
        "[[clusters]]\nname = \"authz\"\nendpoints = [\"{authz}\"]\n[clusters.breaker]\nenabled = false\n"
    );
    routed(service, backend, &format!("[routes.ext_authz]\ncluster = \"authz\"\n{settings}\n"), &cluster)
}

async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

/// A service that gives whatever answer was set last.
async fn speaker() -> (Speaker, Arc<watch::Sender<CheckResponse>>) {
    let answer = Arc::new(watch::Sender::new(CheckResponse::default()));
    let said = Arc::clone(&answer);
    let speaker = Speaker::start(move |_| {
        let response = said.borrow().encode_to_vec();
        Answer::whole(HEAD, message(0, &response))
    });
    (speaker.await, answer)
}

fn field(key: &str, value: &str, append: Option<bool>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() }),
        append: append.map(|value| BoolValue { value }),
        append_action: 0,
    }
}

fn denied(status: Option<i32>, headers: Vec<HeaderValueOption>, body: &str) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: 7 }),
        denied_response: Some(DeniedResponse {
            status: status.map(|code| HttpStatus { code }),
            headers,
            body: body.to_owned(),
        }),
        ok_response: None,
    }
}

async fn call(client: &mut RawClient, headers: &[(&str, &str)]) -> RawReply {
    client.call(EMPTY_CALL, headers, b"").await
}

#[tokio::test]
async fn it_is_asked_and_its_changes_are_made() {
    for backend in BACKENDS {
        let (service, (authz, answer)) = (service().await, speaker().await);
        let (gateway, address) = asking(&service, authz.address(), backend, "");
        let mut client = RawClient::connect(address).await;
        let sent = [("x-a", "1"), ("x-b", "1"), ("x-gone", "1"), ("authorization", "Bearer t"), ("x-b", "2")];
        assert_eq!(call(&mut client, &sent).await.grpc_status(), Some("0"));
        let asked = authz.take_asked().pop().expect("it was asked");
        assert_eq!(asked.head.uri.path(), "/envoy.service.auth.v3.Authorization/Check");
        assert!(asked.field("grpc-timeout").is_some());
        let request = CheckRequest::decode(&asked.body[5..]).expect("a question");
        let attributes = request.attributes.expect("attributes");
        let http = attributes.request.and_then(|request| request.http).expect("HTTP");
        assert_eq!(
            (http.method.as_str(), http.path.as_str(), http.host.as_str()),
            ("POST", EMPTY_CALL, "ringway.test")
        );
        assert_eq!((http.scheme.as_str(), http.protocol.as_str(), http.size), ("http", "HTTP/2", -1));
        assert_eq!(
            (http.headers["x-b"].as_str(), http.headers["authorization"].as_str()),
            ("1,2", "Bearer t")
        );
        assert_eq!(http.headers[":path"], EMPTY_CALL);
        let source = attributes.source.and_then(|peer| peer.address?.socket_address).expect("an address");
        assert_eq!(source.address, "127.0.0.1");
        assert!(source.port_value > 0);

        answer.send_replace(CheckResponse {
            status: Some(Status { code: 0 }),
            ok_response: Some(OkResponse {
                headers: vec![
                    field("x-a", "2", None),
                    field("X-B", "3", Some(true)),
                    field("x-user", "ann", Some(false)),
                    field(":path", "/admin", None),
                    field("host", "evil", None),
                    field("te", "gzip", None),
                    field("x-bad", "a\r\nb", None),
                ],
                headers_to_remove: vec!["x-gone".to_owned(), "te".to_owned(), ":authority".to_owned()],
            }),
            denied_response: None,
        });
        assert_eq!(call(&mut client, &sent).await.grpc_status(), Some("0"));
        let asked = service.asked().pop().expect("the service was asked");
        let all = |name: &str| {
            asked.headers.get_all(name).iter().map(|it| it.to_str().expect("text")).collect::<Vec<_>>()
        };
        assert_eq!((all("x-a"), all("x-b"), all("x-user")), (vec!["2"], vec!["1", "2", "3"], vec!["ann"]));
        assert_eq!((all("x-gone"), all("te"), all("x-bad")), (vec![], vec!["trailers"], vec![]));
        assert_eq!(metric(&gateway, "ringway_ext_authz_total"), 2);
    }
}

#[tokio::test]
async fn a_denial_is_told_and_reaches_no_service() {
    for backend in BACKENDS {
        let (service, (authz, answer)) = (service().await, speaker().await);
        let (_gateway, address) = asking(&service, authz.address(), backend, "failure_mode_allow = true");
        let mut client = RawClient::connect(address).await;
        for (status, wanted) in [
            (None, "7"),
            (Some(403), "7"),
            (Some(401), "16"),
            (Some(200), "7"),
            (Some(429), "14"),
            (Some(302), "7"),
        ] {
            let headers = vec![field("x-why", "because", None), field("content-length", "5", None)];
            answer.send_replace(denied(status, headers, "go away"));
            let reply = call(&mut client, &[]).await;
            assert_eq!(reply.grpc_status(), Some(wanted), "{status:?}: {reply:?}");
            assert_eq!(reply.field("x-why"), Some("because"));
            assert!(reply.field("content-length").is_none());
        }
        assert_eq!(service.count(), 0);
    }
}

#[tokio::test]
async fn callers_of_json_get_its_body() {
    let library = Library::start();
    let (authz, answer) = speaker().await;
    let address = authz.address();
    let front = front_with(library.address(), "io_uring", Source::DescriptorSet, "", |config| {
        let config = config.set("routes.ext_authz.cluster", "authz");
        let config = config.set("routes.ext_authz.max_denied_response_body_bytes", 8);
        config.extra(&format!("[[clusters]]\nname = \"authz\"\nendpoints = [\"{address}\"]"))
    });
    let mut client = Http1::connect(front.address).await;
    let headers = vec![field("content-type", "text/html", None), field("www-authenticate", "Basic", None)];
    answer.send_replace(denied(Some(401), headers, "<p>go away</p>"));
    let answered = client.ask("GET /v1/shelves/a/books/b", &[], b"").await;
    assert_eq!((answered.status, answered.text()), (401, "<p>go aw"), "{answered:?}");
    assert_eq!(answered.field("content-type"), Some("text/html"));
    assert_eq!(answered.field("www-authenticate"), Some("Basic"));
    answer.send_replace(denied(None, Vec::new(), ""));
    let answered = client.ask("GET /v1/shelves/a/books/b", &[], b"").await;
    assert_eq!(
        (answered.status, answered.field("content-type")),
        (403, Some("application/json")),
        "{answered:?}"
    );
}

/// Whatever its trouble is, a call passes only where the operator says so.
#[tokio::test]
async fn trouble_fails_closed_unless_it_may_not() {
    let troubles: [(&str, Act); 6] = [
        ("silence", Act::Silence),
        ("late", Act::AnswerAfter(Duration::from_secs(5))),
        ("a status", Act::Status(14, None)),
        ("a status after a head", Act::LateStatus(13)),
        ("a reset", Act::Reset(Reason::INTERNAL_ERROR)),
        ("refused each time", Act::Reset(Reason::REFUSED_STREAM)),
    ];
    for backend in BACKENDS {
        for (name, act) in troubles {
            let authz = Service::start(move |_, _| act).await;
            for (allows, wanted) in [(false, "14"), (true, "0")] {
                let service = service().await;
                let (gateway, address) =
                    asking(&service, authz.address(), backend, &format!("failure_mode_allow = {allows}"));
                let mut client = RawClient::connect(address).await;
                assert_eq!(call(&mut client, &[]).await.grpc_status(), Some(wanted), "{name}");
                assert_eq!(service.count(), usize::from(allows), "{name}");
                assert_eq!(metric(&gateway, "ringway_ext_authz_total"), 1, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_there_and_nonsense_fail_closed() {
    let nobody: SocketAddr = ([127, 0, 0, 1], 9).into();
    let nonsense = Speaker::start(|_| Answer::whole(HEAD, message(0, b"\xff\xff\xff"))).await;
    let nothing = Speaker::start(|_| Answer::whole(HEAD, Bytes::new())).await;
    for address in [nobody, nonsense.address(), nothing.address()] {
        let service = service().await;
        let (_gateway, front) = asking(&service, address, "io_uring", "timeout = \"500ms\"");
        let mut client = RawClient::connect(front).await;
        assert_eq!(call(&mut client, &[]).await.grpc_status(), Some("14"), "{address}");
        assert_eq!(service.count(), 0);
    }
}

#[tokio::test]
async fn a_question_that_was_refused_unseen_is_asked_again() {
    let authz = Service::start(
        |number, _| if number == 0 { Act::Reset(Reason::REFUSED_STREAM) } else { Act::Answer },
    )
    .await;
    let service = service().await;
    let (_gateway, address) = asking(&service, authz.address(), "epoll", "");
    let mut client = RawClient::connect(address).await;
    assert_eq!(call(&mut client, &[]).await.grpc_status(), Some("0"));
    assert_eq!((authz.count(), service.count()), (2, 1));
}

/// This service takes heads of any size; an answer above 256 KiB is none.
#[tokio::test]
async fn very_much_to_add_passes_up_to_a_bound() {
    let (service, (authz, answer)) = (service().await, speaker().await);
    let (_gateway, address) = asking(&service, authz.address(), "io_uring", "timeout = \"5s\"");
    let mut client = RawClient::connect(address).await;
    for (bytes, wanted) in [(8 * 1024, Some("0")), (64 * 1024, Some("0")), (300 * 1024, Some("14"))] {
        answer.send_replace(CheckResponse {
            ok_response: Some(OkResponse {
                headers: vec![field("x-much", &"x".repeat(bytes), None)],
                headers_to_remove: Vec::new(),
            }),
            ..CheckResponse::default()
        });
        assert_eq!(call(&mut client, &[]).await.grpc_status(), wanted, "{bytes} bytes");
    }
    assert_eq!(call(&mut client, &[]).await.grpc_status(), Some("14"), "the connection goes on");
}
