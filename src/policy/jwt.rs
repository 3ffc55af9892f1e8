//! Tokens: JWTs that an issuer has signed, and the keys that prove it.
//!
//! The algorithm is pinned by the key, never chosen by the token. Times are compared with a `now` that is given.

mod cache;
mod shared;

use std::fmt::{self, Write as _};
use std::rc::Rc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Number, Value};

pub use cache::Cache;
pub use shared::SharedKeys;

use crate::config::JwtProvider;

/// Keys of one type that a token without `kid` is tried with.
const KEYS_TRIED_MAX: usize = 8;

/// Keys of one set that are kept.
const KEYS_MAX: usize = 256;

/// The public keys of an issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is too long, or no token at all.
    Malformed,
    /// No key has its `kid`, or its type.
    UnknownKey,
    /// Its algorithm is not one of the key's, or its signature is wrong.
    BadSignature,
    /// It is of another issuer.
    WrongIssuer,
    /// It is for others.
    WrongAudience,
    /// It has expired, or does not say when it does.
    Expired,
    /// It is not valid yet.
    NotYet,
}

/// A field and its value.
pub type Field = (Box<[u8]>, Box<[u8]>);

/// A token that was verified.
pub struct Verified {
    /// The name of its issuer in the configuration.
    pub provider: Rc<str>,
    /// Fields for services.
    pub headers: Vec<Field>,
    /// It is good before this Unix time in seconds.
    expires: u64,
    claims: Map<String, Value>,
}

impl KeySet {
    /// Reads a JWKS. Keys that cannot verify signatures are left out.
    ///
    /// # Errors
    /// If the text is not a JWKS.
    pub fn parse(text: &str) -> Result<KeySet, String> {
        let set: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("there is no list of keys")?;
        Ok(KeySet { keys: keys.iter().filter_map(Key::read).take(KEYS_MAX).collect() })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys for a token of this algorithm, and of this id if it has one.
    fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let has_id = move |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let has_type = move |key: &&Key| key.algorithms.contains(&algorithm);
        self.keys.iter().filter(has_id).filter(has_type).take(KEYS_TRIED_MAX)
    }

    fn knows(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)))
    }
}

impl Key {
    fn read(value: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let common = &jwk.common;
        let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let algorithms = algorithms(&jwk).filter(|_| is_for_signatures)?;
        Some(Key { id: common.key_id.clone(), algorithms, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

/// The algorithms that a key is for: its own, or those of its type. A secret is not published, so `oct` is none.
fn algorithms(jwk: &Jwk) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let of_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => return None,
    };
    let own: &[Algorithm] = match jwk.common.key_algorithm {
        None => return Some(of_type),
        Some(KeyAlgorithm::RS256) => &[RS256],
        Some(KeyAlgorithm::RS384) => &[RS384],
        Some(KeyAlgorithm::RS512) => &[RS512],
        Some(KeyAlgorithm::PS256) => &[PS256],
        Some(KeyAlgorithm::PS384) => &[PS384],
        Some(KeyAlgorithm::PS512) => &[PS512],
        Some(KeyAlgorithm::ES256) => &[ES256],
        Some(KeyAlgorithm::ES384) => &[ES384],
        Some(KeyAlgorithm::EdDSA) => &[EdDSA],
        Some(_) => return None,
    };
    own.iter().all(|algorithm| of_type.contains(algorithm)).then_some(own)
}

/// Verifies a token of this provider. `now` is Unix time in seconds.
///
/// # Errors
/// The fault of the token.
pub fn verify(
    provider: &JwtProvider,
    name: &Rc<str>,
    keys: &KeySet,
    token: &[u8],
    now: u64,
) -> Result<Verified, Problem> {
    if token.len() > provider.jwt_max_token_size as usize || !token.is_ascii() {
        return Err(Problem::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Problem::Malformed)?;
    let id = header.kid.as_deref();
    if !keys.knows(id) {
        return Err(Problem::UnknownKey);
    }
    let mut problem = Problem::BadSignature;
    for key in keys.candidates(id, header.alg) {
        let mut validation = Validation::new(header.alg);
        // Claims are compared below, for there the time is given.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
            Ok(decoded) => return accept(provider, name, decoded.claims, now),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::InvalidSignature) => {}
            Err(_) => problem = Problem::Malformed,
        }
    }
    Err(problem)
}

/// Reads the claims of a token whose signature is right.
fn accept(
    provider: &JwtProvider,
    name: &Rc<str>,
    claims: Map<String, Value>,
    now: u64,
) -> Result<Verified, Problem> {
    if claims.get("iss").and_then(Value::as_str) != Some(&provider.issuer) {
        return Err(Problem::WrongIssuer);
    }
    if !provider.audiences.is_empty() && !is_for(&provider.audiences, claims.get("aud")) {
        return Err(Problem::WrongAudience);
    }
    let skew = provider.clock_skew.as_secs();
    let expires = match (claims.get("exp"), provider.require_expiration) {
        (None, true) => return Err(Problem::Expired),
        (None, false) => u64::MAX,
        (Some(value), _) => seconds(value).ok_or(Problem::Malformed)?.saturating_add(skew),
    };
    let begins = claims.get("nbf").map_or(Some(0), seconds).ok_or(Problem::Malformed)?;
    if begins > now.saturating_add(skew) {
        return Err(Problem::NotYet);
    }
    let headers = provider.claim_to_headers.iter().filter_map(|(field, claim)| {
        let value = text_of(claim_at(&claims, claim)?)?;
        Some((field.as_bytes().into(), value.into_bytes().into()))
    });
    let headers = headers.collect();
    let verified = Verified { provider: Rc::clone(name), headers, expires, claims };
    if verified.is_good(now) { Ok(verified) } else { Err(Problem::Expired) }
}

/// A time in seconds. It may have a fraction (RFC 7519 section 2), but it is not negative, nor beyond all clocks.
fn seconds(value: &Value) -> Option<u64> {
    const MAX: f64 = 1e15;
    value.as_u64().or_else(|| {
        let seconds = value.as_f64()?;
        (0.0..MAX).contains(&seconds).then_some(seconds as u64)
    })
}

fn is_for(audiences: &[String], claim: Option<&Value>) -> bool {
    let is_one = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|one| one == text));
    match claim {
        Some(Value::Array(all)) => all.iter().any(is_one),
        Some(value) => is_one(value),
        None => false,
    }
}

/// The claim of this name, or where dots lead to.
fn claim_at<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    claim_at(claims.get(first)?.as_object()?, rest)
}

/// A claim as the value of a field: text, numbers and truth values as they are, lists joined with commas. `None` if it
/// cannot be one.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(all) => {
            let parts = all.iter().map(|part| if part.is_array() { None } else { text_of(part) });
            parts.collect::<Option<Vec<_>>>()?.join(",")
        }
        Value::Null | Value::Object(_) => return None,
    };
    let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    (text.bytes().all(is_visible) && text.trim() == text).then_some(text)
}

impl Verified {
    /// A token of these claims that never expires.
    #[cfg(test)]
    pub(crate) fn of_claims(provider: &str, claims: &str) -> Verified {
        let claims = serde_json::from_str(claims).expect("an object");
        Verified { provider: provider.into(), headers: Vec::new(), expires: u64::MAX, claims }
    }

    /// Whether it has not expired at this Unix time in seconds.
    pub fn is_good(&self, now: u64) -> bool {
        now < self.expires
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        claim_at(&self.claims, name)?.as_str()
    }

    /// Whether a claim, or one of its parts if it is a list, meets the condition. A claim of several words, as `scope` is,
    /// is a list of them, too.
    pub fn claim_matches(&self, name: &str, wanted: impl Fn(&str) -> bool) -> bool {
        let of_text = |text: &str| wanted(text) || (text.contains(' ') && text.split(' ').any(&wanted));
        match claim_at(&self.claims, name) {
            Some(Value::String(text)) => of_text(text),
            Some(Value::Array(all)) => all.iter().any(|part| part.as_str().is_some_and(&wanted)),
            Some(Value::Bool(flag)) => wanted(if *flag { "true" } else { "false" }),
            Some(Value::Number(number)) => wanted(Digits::of(number).as_str()),
            _ => false,
        }
    }
}

/// A number as text, in place: calls are compared with it, and nothing is allocated for them.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    length: usize,
}

/// Far more than the longest number of JSON has that is kept as one: a sign, seventeen digits, a dot, an exponent.
const DIGITS_MAX: usize = 40;

impl Digits {
    fn of(number: &Number) -> Digits {
        let mut digits = Digits { bytes: [0; DIGITS_MAX], length: 0 };
        // All numbers fit.
        let _ = write!(digits, "{number}");
        digits
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl fmt::Debug for Verified {
    /// Without its claims, which may be nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
