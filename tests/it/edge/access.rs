//! API keys, rules, changed fields and injected faults of a route.

use super::routed;
use crate::support::gateway::{BACKENDS, metric};
use crate::support::issuer::{Issuer, TempFile};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};

async fn service() -> Service {
    Service::start(|_, _| Act::Answer).await
}

fn sha256(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn keys_are_known_by_their_hash() {
    let file = TempFile::new(&format!(
        "{:?} = \"partner-a\"\n{:?} = \"partner-b\"\n",
        sha256("s3cret"),
        sha256("other")
    ));
    for backend in BACKENDS {
        let service = service().await;
        let route = format!(
            "[routes.api_keys]\nfile = \"{}\"\nforward_header = \"x-client\"\n[routes.rbac]\n\
             [[routes.rbac.policies]]\nname = \"a\"\npermissions = [\"any\"]\nprincipals = [\"api_key:partner-a\"]\n",
            file.path()
        );
        let (gateway, address) = routed(&service, backend, &route, "");
        let mut client = RawClient::connect(address).await;
        for (headers, wanted) in [
            (&[("x-api-key", "s3cret"), ("x-client", "root")][..], "0"),
            (&[("x-api-key", "other")], "7"),
            (&[("x-api-key", "S3cret")], "16"),
            (&[("x-api-key", "")], "16"),
            (&[("x-client", "partner-a")], "16"),
        ] {
            let reply = client.call(EMPTY_CALL, headers, b"").await;
            assert_eq!(reply.grpc_status(), Some(wanted), "{headers:?}: {reply:?}");
        }
        let asked = service.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].header("x-client"), asked[0].header("x-api-key")), (Some("partner-a"), None));
        assert_eq!(asked[0].headers.get_all("x-client").iter().count(), 1);
        assert_eq!(metric(&gateway, "ringway_rbac_denied_total"), 1);
    }
}

#[tokio::test]
async fn rules_decide_and_shadow_rules_are_counted() {
    let issuer = Issuer::new("k1");
    let keys = TempFile::new(&issuer.jwks());
    let provider = format!(
        "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\nlocal_jwks = \"{}\"\n",
        keys.path()
    );
    let route = "[routes.jwt]\nrequires_any = [\"idp\"]\n[routes.rbac]\n[[routes.rbac.policies]]\nname = \"staff\"\n\
                 permissions = [\"path:/grpc.testing.TestService/*\"]\nprincipals = [\"jwt:idp:group=staff\"]\n\
                 [routes.rbac.shadow_rules]\naction = \"DENY\"\n[[routes.rbac.shadow_rules.policies]]\nname = \"local\"\n\
                 permissions = [\"any\"]\nprincipals = [\"remote_ip:127.0.0.0/8\"]\n";
    for backend in BACKENDS {
        let service = service().await;
        let (gateway, address) = routed(&service, backend, route, &provider);
        let mut client = RawClient::connect(address).await;
        for (claims, wanted) in [(",\"group\":[\"staff\"]", "0"), (",\"group\":[\"dev\"]", "7"), ("", "7")] {
            let value = format!("Bearer {}", issuer.token(claims));
            let reply = client.call(EMPTY_CALL, &[("authorization", &value)], b"").await;
            assert_eq!(reply.grpc_status(), Some(wanted), "{claims}");
        }
        assert_eq!(service.count(), 1);
        assert_eq!(metric(&gateway, "ringway_rbac_denied_total"), 2);
        assert_eq!(metric(&gateway, "ringway_rbac_shadow_denied_total"), 3);
    }
}

#[tokio::test]
async fn fields_are_changed_both_ways() {
    let route = "request_headers_to_remove = [\"x-gone\"]\nresponse_headers_to_remove = [\"x-none\"]\n\
                 [[routes.request_headers_to_add]]\nkey = \"x-added\"\nvalue = \"new\"\n\
                 [[routes.request_headers_to_add]]\nkey = \"x-caller\"\n\
                 value = \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\"\nappend_action = \"OVERWRITE_IF_EXISTS_OR_ADD\"\n\
                 [[routes.response_headers_to_add]]\nkey = \"x-served\"\nvalue = \"by ringway\"\n";
    for backend in BACKENDS {
        let service =
            Service::start(|number, _| if number == 0 { Act::Answer } else { Act::Status(5, None) }).await;
        let (_gateway, address) = routed(&service, backend, route, "");
        let mut client = RawClient::connect(address).await;
        let headers = [("x-gone", "1"), ("x-added", "old"), ("x-caller", "6.6.6.6")];
        for status in ["0", "5"] {
            let reply = client.call(EMPTY_CALL, &headers, b"").await;
            assert_eq!(reply.grpc_status(), Some(status));
            assert_eq!(reply.headers["x-served"], "by ringway");
            let asked = service.asked().pop().expect("the service was asked");
            let added: Vec<_> = asked.headers.get_all("x-added").iter().collect();
            assert_eq!(added, ["old", "new"]);
            assert_eq!((asked.header("x-gone"), asked.header("x-caller")), (None, Some("127.0.0.1")));
        }
    }
}

#[tokio::test]
async fn faults_are_injected_into_their_share_of_calls() {
    const CALLS: usize = 2000;
    let service = service().await;
    let route = "[routes.fault]\n[routes.fault.abort]\ngrpc_status = \"ABORTED\"\npercentage = 20.0\n";
    let (_gateway, address) = routed(&service, "io_uring", route, "");
    let mut client = RawClient::connect(address).await;
    let mut aborted = 0;
    for _ in 0..CALLS {
        match client.call(EMPTY_CALL, &[], b"").await.grpc_status() {
            Some("10") => aborted += 1,
            other => assert_eq!(other, Some("0")),
        }
    }
    assert_eq!(service.count(), CALLS - aborted);
    // 400 are expected; five standard deviations are 90.
    assert!((310..=490).contains(&aborted), "{aborted} of {CALLS}");

    let route = "[routes.fault.delay]\nfixed_delay = \"200ms\"\n";
    let (_gateway, address) = routed(&service, "epoll", route, "");
    let mut client = RawClient::connect(address).await;
    let began = tokio::time::Instant::now();
    let reply = client.call(EMPTY_CALL, &[("grpc-timeout", "50m")], b"").await;
    assert_eq!(reply.grpc_status(), Some("4"), "its deadline comes first");
    assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    assert!(began.elapsed() >= std::time::Duration::from_millis(200));
}
