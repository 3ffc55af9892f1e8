//! Who may call, and what is done to the calls of a route.

use std::path::PathBuf;
use std::time::Duration;

use super::rbac::Rbac;

/// Changes to the calls of a route besides passing them on. By default none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePolicies {
    /// Changes to the head of a request.
    pub request_headers: HeaderMutation,
    /// Changes to the head of an answer.
    pub response_headers: HeaderMutation,
    /// The tokens that callers need. `None` by default.
    pub jwt: Option<JwtRequirement>,
    /// The keys that callers need. `None` by default.
    pub api_keys: Option<ApiKeys>,
    /// Who may call. `None` by default.
    pub rbac: Option<Rbac>,
    /// The service that says who may call. `None` by default.
    pub ext_authz: Option<ExtAuthz>,
    /// Faults that are injected. `None` by default.
    pub fault: Option<Fault>,
    /// Rate limits by caller.
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
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: HeaderValue,
    /// The treatment of fields that are there already.
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
    /// A call without a token passes; one with a bad token never does.
    pub allow_missing: bool,
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtProvider {
    /// Its name in routes and rules.
    pub name: String,
    /// The value that `iss` has to have.
    pub issuer: String,
    /// One of these has to be in `aud`; if there are none, `aud` is not read.
    pub audiences: Vec<String>,
    /// A file of keys, and its text.
    pub local_jwks: Option<(PathBuf, String)>,
    /// Where the keys are fetched.
    pub remote_jwks: Option<RemoteJwks>,
    /// The field that has the token.
    pub header: String,
    /// The text before the token there.
    pub value_prefix: String,
    /// Whether services get the token.
    pub forward: bool,
    /// Whether a token has to say when it expires.
    pub require_expiration: bool,
    /// How much the clocks of the issuer and of the gateway may differ.
    pub clock_skew: Duration,
    /// Tokens that one worker remembers.
    pub jwt_cache_size: u32,
    /// The longest token that is read.
    pub jwt_max_token_size: u32,
    /// Fields that services get, and the claims in them.
    pub claim_to_headers: Vec<(String, String)>,
}

/// Where the keys of an issuer are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteJwks {
    /// Host and port.
    pub authority: String,
    /// The path, with its slash.
    pub path: String,
    /// How long keys are used before they are fetched again.
    pub cache_duration: Duration,
    /// The time for one fetch.
    pub timeout: Duration,
    /// The time between two fetches because of unknown keys.
    pub cooldown: Duration,
    /// How long keys are used although they cannot be fetched again.
    pub max_stale: Duration,
    /// How long a call with an unknown key waits for a fetch.
    pub unknown_key_wait: Duration,
    /// Calls of one worker that may wait so.
    pub max_waiting: u32,
}

/// The keys that callers of a route need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// The field that has the key.
    pub header: String,
    /// The field that tells services the client of the key, if they are told.
    pub forward_header: Option<String>,
    /// Whether services do not get the key.
    pub hide_credentials: bool,
    /// The SHA-256 of each key, and the name of its client. Sorted.
    pub keys: Vec<([u8; 32], String)>,
    /// The file they are in.
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
    /// The time for its answer.
    pub timeout: Duration,
    /// Whether calls pass that it does not answer for.
    pub failure_mode_allow: bool,
    /// Whether it gets the caller's certificate.
    pub include_peer_certificate: bool,
    /// Bytes of its answer's body that a caller gets.
    pub max_denied_response_body_bytes: u32,
}

/// A rate limit by caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRateLimit {
    /// The property that tells callers apart.
    pub key: RateKey,
    /// Calls at once.
    pub max_tokens: u32,
    /// So many more at each `fill_interval`.
    pub tokens_per_fill: u32,
    /// See `tokens_per_fill`.
    pub fill_interval: Duration,
    /// Callers that are told apart at once.
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
    /// The share of calls in percent.
    pub percentage: f64,
    /// Copies of one worker that may be under way at once.
    pub max_active: u32,
    /// Bytes of a copy that may wait for the mirror while the body is still coming.
    pub max_buffered_bytes: u32,
    /// The time for one.
    pub timeout: Duration,
}
