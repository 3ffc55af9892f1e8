//! Who may call, and what is done to the calls of a route.

use std::path::PathBuf;
use std::time::Duration;

use super::rbac::Rbac;
use super::tls::ClusterTls;

/// Changes to the calls of a route besides passing them on. By default none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePolicies {
    /// Changes to the head of a request.
    pub request_headers: HeaderMutation,
    /// Changes to the head of a response.
    pub response_headers: HeaderMutation,
    /// The tokens that callers need; others get UNAUTHENTICATED. `None` where it is not set.
    pub jwt: Option<JwtRequirement>,
    /// The keys that callers need; others get UNAUTHENTICATED. `None` where it is not set.
    pub api_keys: Option<ApiKeys>,
    /// Who may call (Envoy's RBAC); others get PERMISSION_DENIED. `None` where it is not set.
    pub rbac: Option<Rbac>,
    /// A service that says who may call: `envoy.service.auth.v3.Authorization/Check`, asked after all of the above.
    /// `None` where it is not set.
    pub ext_authz: Option<ExtAuthz>,
    /// Faults that are injected on purpose. `None` where it is not set.
    pub fault: Option<Fault>,
    /// Rate limits by caller, exact over all workers; refused with RESOURCE_EXHAUSTED above them.
    pub rate_limits: Vec<KeyedRateLimit>,
    /// Clusters that get copies of calls.
    pub mirrors: Vec<Mirror>,
}

/// Changes to a head: removals first, then additions in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMutation {
    /// Names of fields that are removed.
    pub remove: Vec<String>,
    /// Fields that are added.
    pub add: Vec<HeaderToAdd>,
}

impl HeaderMutation {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// A field that is added to a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderToAdd {
    /// The field.
    pub key: String,
    /// Its value.
    pub value: HeaderValue,
    /// The treatment of fields of this name that are there already.
    pub append_action: AppendAction,
}

/// The value of a field that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// This text.
    Text(String),
    /// The caller's address.
    Caller,
}

/// The treatment of fields that are there already (Envoy's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// They stay, and one more is added.
    AppendIfExistsOrAdd,
    /// They stay, and none is added.
    AddIfAbsent,
    /// They are replaced.
    OverwriteIfExistsOrAdd,
    /// They are replaced; if there are none, none is added.
    OverwriteIfExists,
}

/// The tokens that callers of a route need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRequirement {
    /// Positions in `Config::jwt_providers`; a token of any of them will do.
    pub requires_any: Vec<usize>,
    /// Whether a call without a token passes.
    pub allow_missing: bool,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtProvider {
    /// Its name in `routes.jwt` and in rules.
    pub name: String,
    /// The value that `iss` of a token has to have.
    pub issuer: String,
    /// One of these has to be in `aud`; where there are none, `aud` is not read.
    pub audiences: Vec<String>,
    /// A file with the issuer's public keys (JWKS). `None` where it is not set.
    pub local_jwks: Option<(PathBuf, String)>,
    /// Where the issuer publishes its keys. `None` where it is not set.
    pub remote_jwks: Option<RemoteJwks>,
    /// The field that has the token; "authorization" by default.
    pub header: String,
    /// The text before the token in its field; "Bearer " by default.
    pub value_prefix: String,
    /// Whether services get the token.
    pub forward: bool,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
    /// By how much the issuer's clock may differ.
    pub clock_skew: Duration,
    /// Tokens that one worker remembers as good, until they expire or keys change.
    pub jwt_cache_size: u32,
    /// A longer token is refused.
    pub jwt_max_token_size: u32,
    /// Fields that services get, and the claims in them: `{ "x-user" = "sub" }`.
    pub claim_to_headers: Vec<(String, String)>,
}

/// Where the keys of an issuer are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteJwks {
    /// Host and port.
    pub authority: String,
    /// TLS towards the issuer, for a URI of `https`; none of it is needed. `None` where it is not set.
    pub tls: Option<ClusterTls>,
    /// The path, with its slash.
    pub path: String,
    /// Keys are fetched again after this time.
    pub cache_duration: Duration,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// A token with an unknown key has the keys fetched at once, but no sooner than this after the last fetch, whoever
    /// sends it.
    pub cooldown: Duration,
    /// While fetches fail, keys are used for this long after `cache_duration`; then all calls are refused with
    /// UNAVAILABLE.
    pub max_stale: Duration,
    /// How long a call whose key is unknown waits for a fetch.
    pub unknown_key_wait: Duration,
    /// Calls of one worker that may wait for a fetch; others are refused at once.
    pub max_waiting: u32,
}

/// The keys that callers of a route need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// The field that has the key; "x-api-key" by default.
    pub header: String,
    /// The field that tells services the client of the key; by default none.
    pub forward_header: Option<String>,
    /// Whether services do not get the key.
    pub hide_credentials: bool,
    /// The SHA-256 of each key, and the name of its client. Sorted.
    pub keys: Vec<([u8; 32], String)>,
    /// A TOML file with a line for each key, its SHA-256 in hex and its client: `"9f86..." = "partner-a"`.
    ///
    /// The path of the file.
    pub file: PathBuf,
}

/// Faults that are injected into the calls of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// How long calls are delayed, and which share of them in percent.
    pub delay: Option<(Duration, f64)>,
    /// The number of the gRPC code that calls end with, and which share of them in percent.
    pub abort: Option<(u8, f64)>,
    /// Calls of one worker that may be delayed at once; further ones are not.
    pub max_active_faults: u32,
}

/// A service that says who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtAuthz {
    /// Position in `Config::clusters`.
    pub cluster: usize,
    /// How long the service may take, connecting included.
    pub timeout: Duration,
    /// Whether calls pass that the service does not answer for; else they get UNAVAILABLE.
    pub failure_mode_allow: bool,
    /// Whether the service gets the caller's certificate.
    pub include_peer_certificate: bool,
    /// Bytes of the body of a refusal that a caller of plain HTTP gets.
    pub max_denied_response_body_bytes: u32,
}

/// A rate limit by caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRateLimit {
    /// The property that tells callers apart.
    pub key: RateKey,
    /// Calls of one caller at once: a full bucket.
    pub max_tokens: u32,
    /// Calls that each `fill_interval` adds, spread evenly, as far as they fit.
    pub tokens_per_fill: u32,
    /// The time in which `tokens_per_fill` calls are added.
    pub fill_interval: Duration,
    /// Callers that are told apart at once, 16 bytes each, rounded up to a power of two.
    pub max_keys: u32,
}

/// The property that tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// The caller's address.
    RemoteAddress,
    /// The client of the API key.
    ApiKey,
    /// A claim of the token.
    Claim(String),
    /// A header field.
    Header(String),
}

/// A cluster that gets copies of calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// Position in `Config::clusters`.
    pub cluster: usize,
    /// The share of calls that are copied.
    pub percentage: f64,
    /// Copies of one worker under way at once; calls above it are not copied.
    pub max_active: u32,
    /// Bytes of one stream that may wait for the mirror; a mirror that is further behind gets no more of it.
    pub max_buffered_bytes: u32,
    /// How long a copy may take, once its request is whole.
    pub timeout: Duration,
}
