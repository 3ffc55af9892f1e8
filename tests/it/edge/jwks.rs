//! Keys that an issuer publishes: rotated, unknown, and gone.

use std::time::Duration;

use super::routed;
use crate::support::gateway::BACKENDS;
use crate::support::idp::Idp;
use crate::support::issuer::{Issuer, payload};
use crate::support::raw::{EMPTY_CALL, RawClient};
use crate::support::service::{Act, Service};
use crate::support::within;

const NEEDS: &str = "[routes.jwt]\nrequires_any = [\"idp\"]\n";

fn provider(idp: &Idp, more: &str) -> String {
    format!(
        "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\n[jwt_providers.remote_jwks]\nuri = \"{}\"\n{more}\n",
        idp.uri()
    )
}

async fn status(client: &mut RawClient, token: &str) -> String {
    let value = format!("Bearer {token}");
    let reply = client.call(EMPTY_CALL, &[("authorization", &value)], b"").await;
    reply.grpc_status().expect("a status").to_owned()
}

/// Calls until the status is this one.
async fn becomes(client: &mut RawClient, token: &str, wanted: &str) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let calls = async {
        while status(client, token).await != wanted {
            looks.tick().await;
        }
    };
    within(Duration::from_secs(15), &format!("status {wanted}"), calls).await;
}

#[tokio::test]
async fn a_new_key_is_good_at_its_first_use() {
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (first, second) = (Issuer::new("k1"), Issuer::new("k2"));
        let idp = Idp::start(Some(first.jwks())).await;
        let (_gateway, address) = routed(&service, backend, NEEDS, &provider(&idp, ""));
        let mut client = RawClient::connect(address).await;
        becomes(&mut client, &first.token(""), "0").await;
        assert_eq!(idp.asked(), 1);
        idp.publish(Some(format!("{{\"keys\":[{},{}]}}", first.keys(), second.keys())));
        assert_eq!(status(&mut client, &second.token("")).await, "0", "the first call waits for the new key");
        assert_eq!(status(&mut client, &first.token("")).await, "0");
        assert_eq!(idp.asked(), 2);
        idp.publish(Some(second.jwks()));
        // Within the cooldown nobody can have them fetched again.
        let stranger = Issuer::new("k3");
        for _ in 0..50 {
            assert_eq!(status(&mut client, &stranger.token("")).await, "16");
        }
        assert_eq!(idp.asked(), 2, "50 calls with an unknown key");
    }
}

#[tokio::test]
async fn unknown_keys_ask_the_issuer_once_per_cooldown() {
    let service = Service::start(|_, _| Act::Answer).await;
    let issuer = Issuer::new("k1");
    let idp = Idp::start(Some(issuer.jwks())).await;
    let (_gateway, address) = routed(&service, "io_uring", NEEDS, &provider(&idp, "cooldown = \"30s\"\n"));
    let mut client = RawClient::connect(address).await;
    becomes(&mut client, &issuer.token(""), "0").await;
    let before = service.count();
    let calls = (0..300).map(|number| {
        let header = format!("{{\"alg\":\"ES256\",\"kid\":\"unknown-{number}\"}}");
        let token = issuer.sign(&header, &payload(""));
        async move {
            let mut client = RawClient::connect(address).await;
            assert_eq!(status(&mut client, &token).await, "16");
        }
    });
    let mut all = tokio::task::JoinSet::new();
    calls.for_each(|call| drop(all.spawn(call)));
    all.join_all().await;
    assert_eq!((idp.asked(), service.count()), (2, before));
    assert_eq!(status(&mut client, &issuer.token("")).await, "0", "good tokens go on");
}

#[tokio::test]
async fn keys_outlive_their_issuer_and_then_fail_closed() {
    let service = Service::start(|_, _| Act::Answer).await;
    let issuer = Issuer::new("k1");
    let idp = Idp::start(None).await;
    let settings = "cache_duration = \"1s\"\nmax_stale = \"1s\"\n";
    let (_gateway, address) = routed(&service, "epoll", NEEDS, &provider(&idp, settings));
    let mut client = RawClient::connect(address).await;
    assert_eq!(status(&mut client, &issuer.token("")).await, "14", "there are no keys yet");
    assert_eq!(service.count(), 0);
    idp.publish(Some(issuer.jwks()));
    becomes(&mut client, &issuer.token(""), "0").await;
    idp.publish(None);
    let asked = idp.asked();
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while idp.asked() == asked {
        assert_eq!(status(&mut client, &issuer.token("")).await, "0", "the keys of before are kept");
        looks.tick().await;
    }
    becomes(&mut client, &issuer.token(""), "14").await;
    let before = service.count();
    assert_eq!(status(&mut client, &issuer.token("")).await, "14", "it fails closed");
    assert_eq!(service.count(), before);
    idp.publish(Some(issuer.jwks()));
    becomes(&mut client, &issuer.token(""), "0").await;
}
