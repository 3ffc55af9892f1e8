//! Tokens: good ones pass, and no other reaches a service.

use super::routed;
use crate::support::gateway::{BACKENDS, metric};
use crate::support::http1::Http1;
use crate::support::issuer::{Issuer, TempFile, base64, now, payload};
use crate::support::raw::{EMPTY_CALL, RawClient, message};
use crate::support::service::{Act, Service};

/// The provider, with more of its keys, and a route that needs it.
fn provider(keys: &TempFile, more: &str) -> String {
    format!(
        "[[jwt_providers]]\nname = \"idp\"\nissuer = \"https://idp.test/\"\naudiences = [\"orders\"]\n\
         local_jwks = \"{}\"\nclock_skew = \"10s\"\n{more}\n",
        keys.path()
    )
}

const NEEDS: &str = "[routes.jwt]\nrequires_any = [\"idp\"]\n";

fn hmac(secret: &[u8], header: &str, payload: &str) -> String {
    let text = format!("{}.{}", base64(header), base64(payload));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    format!("{text}.{}", base64(aws_lc_rs::hmac::sign(&key, text.as_bytes())))
}

/// Tokens as attackers make them, each with its name.
type Hostile = Vec<(&'static str, String)>;

fn hostile(issuer: &Issuer, stranger: &Issuer) -> Hostile {
    [signatures(issuer, stranger), forms(issuer), headers(issuer, stranger), claims(issuer)].concat()
}

fn signatures(issuer: &Issuer, stranger: &Issuer) -> Hostile {
    let (good, id) = (issuer.token(""), issuer.id);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims) = (issuer.header(), payload(""));
    let hs256 = format!(r#"{{"alg":"HS256","kid":"{id}"}}"#);
    let hs256_rsa = format!(r#"{{"alg":"HS256","kid":"{id}-rsa"}}"#);
    let rs256 = format!(r#"{{"alg":"RS256","kid":"{id}"}}"#);
    let ps256 = format!(r#"{{"alg":"PS256","kid":"{id}-rsa"}}"#);
    let es384 = format!(r#"{{"alg":"ES384","kid":"{id}"}}"#);
    let unsigned = |alg: &str| format!("{}.{}.", base64(format!(r#"{{"alg":"{alg}"}}"#)), base64(&claims));
    let other = |signature: &str| format!("{}.{}.{signature}", parts[0], parts[1]);
    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 30;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let foreign = format!("{}.{}.{}", parts[0], base64(payload(",\"admin\":true")), parts[2]);
    vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg nOnE with a signature", unsigned("nOnE") + parts[2]),
        ("no alg", issuer.sign(r#"{"typ":"JWT"}"#, &claims)),
        ("HS256 with the modulus of the RSA key", hmac(&issuer.rsa_modulus(), &hs256_rsa, &claims)),
        ("HS256 with the key on P-256", hmac(&issuer.ec_public(), &hs256, &claims)),
        ("HS256 with an empty key", hmac(b"", &hs256, &claims)),
        ("the key of a stranger", stranger.sign(&header, &claims)),
        ("a signature of other claims", foreign),
        ("one character of the signature", String::from_utf8(flipped).expect("ASCII")),
        ("a short signature", good[..good.len() - 8].to_owned()),
        ("no signature", other("")),
        ("a signature of zeros", other(&base64([0; 64]))),
        ("a signature of ones", other(&base64([0xff; 64]))),
        ("a signature in ASN.1", issuer.sign_asn1(&header, &claims)),
        ("ES384 with a key on P-256", issuer.sign(&es384, &claims)),
        ("RS256 with a key on P-256", issuer.sign_rsa(&rs256, &claims, false)),
        ("PS256 with a key for RS256", issuer.sign_rsa(&ps256, &claims, true)),
    ]
}

fn forms(issuer: &Issuer) -> Hostile {
    let good = issuer.token("");
    let parts: Vec<&str> = good.split('.').collect();
    vec![
        ("four parts", format!("{good}.x")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("one part", parts[0].to_owned()),
        ("dots alone", "..".to_owned()),
        ("a header that is no JSON", issuer.sign("x", &payload(""))),
        ("claims that are no JSON", issuer.sign(&issuer.header(), "x")),
        ("claims that are a list", issuer.sign(&issuer.header(), "[1]")),
        ("claims that are text", issuer.sign(&issuer.header(), "\"iss\"")),
        ("a token with padding", good.replace('.', "=.")),
        ("a token with a space in it", good.replacen('.', ". ", 1)),
        ("a token above the bound", issuer.token(&format!(",\"x\":\"{}\"", "y".repeat(5000)))),
    ]
}

fn headers(issuer: &Issuer, stranger: &Issuer) -> Hostile {
    let (id, claims) = (issuer.id, payload(""));
    let headed = |header: &str| issuer.sign(header, &payload(""));
    let point = stranger.ec_public();
    let (x, y) = (base64(&point[..32]), base64(&point[32..]));
    let own_key = format!(r#"{{"alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}"#);
    vec![
        ("an unknown crit", headed(&format!(r#"{{"alg":"ES256","kid":"{id}","crit":["x"],"x":1}}"#))),
        ("b64 false", headed(&format!(r#"{{"alg":"ES256","kid":"{id}","crit":["b64"],"b64":false}}"#))),
        ("an unknown kid", headed(r#"{"alg":"ES256","kid":"other"}"#)),
        ("a kid that is a path", headed(r#"{"alg":"ES256","kid":"../../dev/null"}"#)),
        ("a kid that is a number", headed(r#"{"alg":"ES256","kid":7}"#)),
        ("a key of its own", stranger.sign(&own_key, &claims)),
        ("a jku of its own", stranger.sign(r#"{"alg":"ES256","jku":"http://evil.test/keys"}"#, &claims)),
        ("an x5u of its own", stranger.sign(r#"{"alg":"ES256","x5u":"http://evil.test/c"}"#, &claims)),
    ]
}

fn claims(issuer: &Issuer) -> Hostile {
    let later = now() + 3600;
    let with = |claims: &str| issuer.sign(&issuer.header(), claims);
    let exp = |value: &str| with(&format!(r#"{{"iss":"https://idp.test/","aud":"orders","exp":{value}}}"#));
    let iss = |value: &str| with(&format!(r#"{{"iss":{value},"aud":"orders","exp":{later}}}"#));
    let aud = |value: &str| with(&format!(r#"{{"iss":"https://idp.test/","aud":{value},"exp":{later}}}"#));
    vec![
        ("expired", exp(&(now() - 11).to_string())),
        ("exp as text", exp("\"9999999999\"")),
        ("a negative exp", exp("-1")),
        ("exp beyond all numbers", exp("1e308")),
        ("exp null", exp("null")),
        ("exp a list", exp("[9999999999]")),
        ("two exp", with(&payload(",\"exp\":9999999999"))),
        ("no exp", with(r#"{"iss":"https://idp.test/","aud":"orders"}"#)),
        ("nbf in an hour", with(&payload(&format!(",\"nbf\":{later}")))),
        ("nbf as text", with(&payload(",\"nbf\":\"0\""))),
        ("another issuer", iss("\"https://evil.test/\"")),
        ("the issuer without its slash", iss("\"https://idp.test\"")),
        ("the issuer in capitals", iss("\"HTTPS://IDP.TEST/\"")),
        ("a list of issuers", iss("[\"https://idp.test/\"]")),
        ("no issuer", with(&format!(r#"{{"aud":"orders","exp":{later}}}"#))),
        ("another audience", aud("\"users\"")),
        ("an audience that begins so", aud("\"orders2\"")),
        ("an audience that is an object", aud("{\"orders\":1}")),
        ("no audience", with(&format!(r#"{{"iss":"https://idp.test/","exp":{later}}}"#))),
    ]
}

#[tokio::test]
async fn no_hostile_token_reaches_a_service() {
    let (issuer, stranger) = (Issuer::new("k1"), Issuer::new("k1"));
    let keys = TempFile::new(&issuer.jwks());
    for backend in BACKENDS {
        let service = Service::start(|_, _| Act::Answer).await;
        let (gateway, address) = routed(&service, backend, NEEDS, &provider(&keys, ""));
        let mut client = RawClient::connect(address).await;
        let all = hostile(&issuer, &stranger);
        assert!(all.len() >= 40, "{}", all.len());
        for (name, token) in &all {
            let value = format!("Bearer {token}");
            let reply = client.call(EMPTY_CALL, &[("authorization", &value)], b"").await;
            assert_eq!(reply.grpc_status(), Some("16"), "{name}: {reply:?}");
        }
        for value in ["Bearer", "Basic YTpi", "bearer"] {
            let reply = client.call(EMPTY_CALL, &[("authorization", value)], b"").await;
            assert_eq!(reply.grpc_status(), Some("16"), "{value:?}");
        }
        assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("16"));
        assert_eq!(service.count(), 0, "nothing reached the service");
        assert_eq!(metric(&gateway, "ringway_jwt_failures_total"), all.len() as u64);
    }
}

#[tokio::test]
async fn good_tokens_pass_and_become_fields() {
    let issuer = Issuer::new("k1");
    let keys = TempFile::new(&issuer.jwks());
    let claims =
        "claim_to_headers = { \"x-user\" = \"sub\", \"x-groups\" = \"groups\", \"x-none\" = \"none\" }";
    for (backend, forward) in BACKENDS.into_iter().flat_map(|backend| [(backend, false), (backend, true)]) {
        let service = Service::start(|_, _| Act::Answer).await;
        let more = format!("forward = {forward}\n{claims}");
        let (_gateway, address) = routed(&service, backend, NEEDS, &provider(&keys, &more));
        let mut client = RawClient::connect(address).await;
        let rs256 = format!(r#"{{"alg":"RS256","kid":"{}-rsa"}}"#, issuer.id);
        let groups = ",\"groups\":[\"a\",\"b\"]";
        let tokens = [
            issuer.token(groups),
            issuer.token(groups),
            issuer.sign_rsa(&rs256, &payload(groups), false),
            issuer.sign(r#"{"alg":"ES256"}"#, &payload(groups)),
            issuer.sign(&issuer.header(), &payload(groups).replace("\"orders\"", "[\"x\",\"orders\"]")),
            issuer.sign(
                &issuer.header(),
                &payload(groups).replace(&(now() + 3600).to_string(), &format!("{}.5", now() - 5)),
            ),
        ];
        for token in tokens.iter().chain(&tokens) {
            let value = format!("Bearer {token}");
            let forged = [("x-user", "root"), ("x-none", "root"), ("x-plain", "p")];
            let headers = [&forged[..], &[("authorization", &value)]].concat();
            let reply = client.call(EMPTY_CALL, &headers, b"").await;
            assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
            let asked = service.asked().pop().expect("the service was asked");
            let users: Vec<_> = asked.headers.get_all("x-user").iter().collect();
            assert_eq!(users, ["ann"]);
            assert_eq!((asked.header("x-groups"), asked.header("x-none")), (Some("a,b"), None));
            assert_eq!(asked.header("authorization"), forward.then_some(&value[..]));
            assert_eq!(asked.header("x-plain"), Some("p"));
        }
    }
}

#[tokio::test]
async fn callers_are_told_in_their_language() {
    let issuer = Issuer::new("k1");
    let keys = TempFile::new(&issuer.jwks());
    let service = Service::start(|_, _| Act::Answer).await;
    let (_gateway, address) = routed(&service, "io_uring", NEEDS, &provider(&keys, ""));
    let mut client = Http1::connect(address).await;
    let web = ("content-type", "application/grpc-web+proto");
    let answer = client.ask(&format!("POST {EMPTY_CALL}"), &[web], &message(0, b"")).await;
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("grpc-status: 16\r\n"), "{answer:?}");
    assert_eq!(service.count(), 0);

    let optional = "[routes.jwt]\nrequires_any = [\"idp\"]\nallow_missing = true\n";
    let (_gateway, address) = routed(&service, "epoll", optional, &provider(&keys, ""));
    let mut client = RawClient::connect(address).await;
    assert_eq!(client.call(EMPTY_CALL, &[], b"").await.grpc_status(), Some("0"));
    let bad = [("authorization", "Bearer x.y.z")];
    assert_eq!(client.call(EMPTY_CALL, &bad, b"").await.grpc_status(), Some("16"));
}
