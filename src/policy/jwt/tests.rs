//! Tokens that are remembered, and claims as fields. Hostile tokens are in `tests/it/edge/`.

use super::*;

fn token(number: usize) -> Vec<u8> {
    // The difference stands where signatures do.
    format!("header.payload.{number:0>40}====").into_bytes()
}

fn verified(expires: u64) -> Rc<Verified> {
    Rc::new(Verified { expires, ..Verified::of_claims("idp", "{}") })
}

#[test]
fn a_token_is_remembered_until_it_expires_or_keys_change() {
    let mut cache = Cache::new(10);
    assert!(cache.find(&token(1), 1, 0).is_none());
    cache.insert(&token(1), verified(100));
    assert!(cache.find(&token(1), 1, 99).is_some());
    assert!(cache.find(&token(1), 1, 100).is_none(), "it has expired");
    let mut other = token(1);
    other[0] ^= 1;
    assert!(cache.find(&other, 1, 0).is_none(), "one signature under two tokens");
    assert!(cache.find(&token(1), 2, 0).is_none(), "other keys");
    assert!(cache.is_empty());
}

#[test]
fn the_tokens_used_last_stay() {
    let mut cache = Cache::new(10);
    assert!(cache.find(&token(0), 1, 0).is_none());
    for number in 0..1000 {
        cache.insert(&token(number), verified(u64::MAX));
        assert!(cache.len() <= 10, "{}", cache.len());
        assert!(
            cache.find(&token(0), 1, 0).is_some(),
            "it is used all the time, and {number} have come since"
        );
        assert!(cache.find(&token(number), 1, 0).is_some());
    }
    assert!(cache.find(&token(500), 1, 0).is_none());
}

#[test]
fn claims_become_fields_where_they_can() {
    let claims: Map<String, Value> = serde_json::from_str(
        r#"{"sub":"ann","n":7,"f":true,"list":["a","b"],"deep":{"er":"x"},"a.b":"dotted","nested":[["x"]],
            "null":null,"bad":"a\nb","umlaut":"ä","space":" a"}"#,
    )
    .expect("an object");
    for (name, wanted) in [
        ("sub", Some("ann")),
        ("n", Some("7")),
        ("f", Some("true")),
        ("list", Some("a,b")),
        ("deep.er", Some("x")),
        ("a.b", Some("dotted")),
        ("deep", None),
        ("nested", None),
        ("null", None),
        ("bad", None),
        ("umlaut", None),
        ("space", None),
        ("none", None),
        ("sub.x", None),
    ] {
        assert_eq!(claim_at(&claims, name).and_then(text_of).as_deref(), wanted, "{name}");
    }
}

#[test]
fn keys_that_cannot_verify_are_left_out() {
    let ec = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    for (key, wanted) in [
        (format!("{{{ec}}}"), 1),
        (format!("{{{ec},\"alg\":\"ES256\",\"use\":\"sig\"}}"), 1),
        (format!("{{{ec},\"use\":\"enc\"}}"), 0),
        (format!("{{{ec},\"key_ops\":[\"sign\"]}}"), 0),
        (format!("{{{ec},\"alg\":\"HS256\"}}"), 0),
        (format!("{{{ec},\"alg\":\"RS256\"}}"), 0),
        (r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned(), 0),
        (r#"{"kty":"EC","crv":"P-521","x":"","y":""}"#.to_owned(), 0),
        (r#"{"kty":"new"}"#.to_owned(), 0),
        ("7".to_owned(), 0),
    ] {
        let set = KeySet::parse(&format!("{{\"keys\":[{key}]}}"));
        assert_eq!(set.map(|set| set.len()), Ok(wanted), "{key}");
    }
    for text in ["", "[]", "{}", "{\"keys\":{}}"] {
        assert!(KeySet::parse(text).is_err(), "{text}");
    }
}
