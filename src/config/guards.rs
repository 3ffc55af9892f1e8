//! Text to checked types: who may call a route, and what is done to its calls.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::access::{
    ApiKeys, AppendAction, ExtAuthz, Fault, HeaderMutation, HeaderToAdd, HeaderValue, JwtProvider,
    JwtRequirement, KeyedRateLimit, Mirror, RateKey, RemoteJwks, RoutePolicies,
};
use super::checks::{position, refuse_second};
use super::rbac::{Action, Condition, Permission, Policy, Principal, Rbac, Rules};
use super::reader::{Table, Value};
use super::{Route, certificates, fields, forms, spelling, terms};

/// The largest file of keys that is read.
const KEYS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Providers by name.
pub(super) type Providers = HashMap<String, usize>;

/// All providers of tokens, and their positions. `None` in place of one only if something was reported.
pub(super) fn providers(root: &Table<'_>) -> (Vec<Option<JwtProvider>>, Providers) {
    let tables = root.tables("jwt_providers");
    let (mut names, mut lines) = (Providers::new(), HashMap::new());
    let all = tables.iter().enumerate().map(|(position, table)| {
        let provider = provider(table);
        if let Some((name, value)) = table.needed("name", forms::cluster_name) {
            refuse_second(&mut lines, &name, &value);
            names.entry(name.clone()).or_insert(position);
            return provider.map(|provider| JwtProvider { name, ..provider });
        }
        None
    });
    (all.collect(), names)
}

fn provider(table: &Table<'_>) -> Option<JwtProvider> {
    let issuer = table.needed("issuer", forms::reference);
    let local = table.text("local_jwks", forms::reference);
    let remote = table.table_if_set("remote_jwks");
    if local.is_some() == remote.is_some() {
        let hint = "a file, or where the issuer publishes them";
        table.refuse("local_jwks", "just one of local_jwks and remote_jwks is needed", Some(hint.to_owned()));
    }
    let local_jwks = local.and_then(|(name, value)| {
        let text = text_of(table, &name, &value)?;
        if !is_key_set(&text) {
            value.refuse("not a JWKS: it is JSON with a list of keys (RFC 7517 section 5)", None);
        }
        Some((table.folder().join(name), text))
    });
    let remote_jwks = remote.map(|remote| remote_jwks(&remote));
    let claims = table.names("claim_to_headers");
    let claim_to_headers = claims.into_iter().filter_map(|(name, key, value)| {
        let name = service_header(name).map_err(|hint| key.refuse_key(SETTABLE, hint)).ok()?;
        let claim = value.form("the name of a claim", forms::reference)?;
        Some((name, claim))
    });
    let claim_to_headers = claim_to_headers.collect();
    let provider = JwtProvider {
        name: String::new(),
        issuer: issuer?.0,
        audiences: table.list("audiences", forms::reference).into_iter().map(|(name, _)| name).collect(),
        local_jwks,
        remote_jwks: match remote_jwks {
            Some(remote) => Some(remote?),
            None => None,
        },
        header: table.text("header", forms::header_name).map_or("authorization".to_owned(), |(name, _)| name),
        value_prefix: table
            .text("value_prefix", forms::reference)
            .map_or("Bearer ".to_owned(), |(text, _)| text),
        forward: table.flag("forward"),
        require_expiration: table.flag("require_expiration"),
        clock_skew: table.time("clock_skew"),
        jwt_cache_size: table.count("jwt_cache_size"),
        jwt_max_token_size: table.size("jwt_max_token_size"),
        claim_to_headers,
    };
    Some(provider)
}

fn is_key_set(text: &str) -> bool {
    let read: Result<serde_json::Value, _> = serde_json::from_str(text);
    read.is_ok_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array))
}

fn remote_jwks(table: &Table<'_>) -> Option<RemoteJwks> {
    let uri = table.needed("uri", forms::jwks_uri);
    let remote = RemoteJwks {
        authority: String::new(),
        path: String::new(),
        cache_duration: table.time("cache_duration"),
        timeout: table.time("timeout"),
        cooldown: table.time("cooldown"),
        max_stale: table.time("max_stale"),
        unknown_key_wait: table.time("unknown_key_wait"),
        max_waiting: table.count("max_waiting"),
        tls: None,
    };
    let ((is_secure, authority, path), _) = uri?;
    let tls = certificates::of_uri(table, is_secure);
    Some(RemoteJwks { authority, path, tls, ..remote })
}

/// Files whose contents are part of the configuration.
pub(super) fn files(providers: &[JwtProvider], routes: &[Route]) -> Vec<PathBuf> {
    let of_providers = providers.iter().filter_map(|provider| Some(&provider.local_jwks.as_ref()?.0));
    let of_routes = routes.iter().filter_map(|route| Some(&route.policies.api_keys.as_ref()?.file));
    let mut files: Vec<PathBuf> = of_providers.chain(of_routes).cloned().collect();
    files.sort();
    files.dedup();
    files
}

/// Changes to the calls of a route.
pub(super) fn route(
    table: &Table<'_>,
    clusters: &HashMap<String, usize>,
    providers: &Providers,
) -> RoutePolicies {
    RoutePolicies {
        request_headers: mutation(table, "request_headers_to_add", "request_headers_to_remove"),
        response_headers: mutation(table, "response_headers_to_add", "response_headers_to_remove"),
        jwt: jwt(table, providers),
        api_keys: api_keys(table),
        rbac: rbac(table, providers),
        ext_authz: ext_authz(table, clusters),
        fault: fault(table),
        rate_limits: table.tables("rate_limits").iter().filter_map(keyed_rate_limit).collect(),
        mirrors: mirrors(table, clusters),
    }
}

fn mutation(route: &Table<'_>, add: &str, remove: &str) -> HeaderMutation {
    let names = route.list(remove, service_header).into_iter().map(|(name, _)| name);
    let mut mutation = HeaderMutation { remove: names.collect(), add: Vec::new() };
    for table in route.tables(add) {
        let key = table.needed("key", service_header);
        let value = table.needed("value", header_to_add);
        let append_action = match table.word("append_action") {
            "ADD_IF_ABSENT" => AppendAction::AddIfAbsent,
            "OVERWRITE_IF_EXISTS_OR_ADD" => AppendAction::OverwriteIfExistsOrAdd,
            "OVERWRITE_IF_EXISTS" => AppendAction::OverwriteIfExists,
            _ => AppendAction::AppendIfExistsOrAdd,
        };
        if let (Some((key, _)), Some((value, _))) = (key, value) {
            mutation.add.push(HeaderToAdd { key, value, append_action });
        }
    }
    mutation
}

const SETTABLE: &str = "must be the name of a field that may be changed";

/// The name of a field that may be changed on its way.
fn service_header(text: &str) -> Result<String, forms::Hint> {
    let name = match text.starts_with(':') {
        true => return Err(Some("pseudo-fields are not changed: a route has its own keys for that")),
        false => forms::header_name(text)?,
    };
    match fields::may_change(&name) {
        true => Ok(name),
        false if name.starts_with("grpc-") || name == "content-type" => {
            Err(Some("it is part of gRPC's protocol"))
        }
        false => {
            Err(Some("it concerns one connection or the framing of a body, and the gateway has its own"))
        }
    }
}

/// The value of a field that is added, or what stands for one.
fn header_to_add(text: &str) -> Result<HeaderValue, forms::Hint> {
    match text {
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" => Ok(HeaderValue::Caller),
        _ if text.contains('%') => {
            Err(Some("of %...%, only %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% is known, and it stands alone"))
        }
        _ => forms::header_value(text).map(HeaderValue::Text),
    }
}

fn jwt(route: &Table<'_>, providers: &Providers) -> Option<JwtRequirement> {
    let table = route.table_if_set("jwt")?;
    let names = table.list("requires_any", forms::reference);
    let positions = names.iter().filter_map(|(name, value)| provider_position(name, value, providers));
    Some(JwtRequirement { requires_any: positions.collect(), allow_missing: table.flag("allow_missing") })
}

fn provider_position(name: &str, value: &Value<'_>, providers: &Providers) -> Option<usize> {
    let position = providers.get(name).copied();
    if position.is_none() {
        let mut known: Vec<&str> = providers.keys().map(String::as_str).collect();
        known.sort_unstable();
        let near = spelling::nearest(name, known.iter().copied());
        value.refuse(
            "no such provider in [[jwt_providers]]",
            near.map(|near| format!("did you mean {near:?}?")),
        );
    }
    position
}

fn api_keys(route: &Table<'_>) -> Option<ApiKeys> {
    let table = route.table_if_set("api_keys")?;
    let file = table.needed("file", forms::reference);
    let keys = ApiKeys {
        header: table.text("header", forms::header_name).map_or("x-api-key".to_owned(), |(name, _)| name),
        forward_header: table.text("forward_header", service_header).map(|(name, _)| name),
        hide_credentials: table.flag("hide_credentials"),
        keys: Vec::new(),
        file: PathBuf::new(),
    };
    let (name, value) = file?;
    let text = text_of(&table, &name, &value)?;
    match key_hashes(&text) {
        Ok(hashes) => Some(ApiKeys { keys: hashes, file: table.folder().join(name), ..keys }),
        Err(wrong) => {
            value.refuse(wrong, Some("each line is \"SHA-256 in hex\" = \"client\"".to_owned()));
            None
        }
    }
}

/// The hashes of a file of keys, in order.
fn key_hashes(text: &str) -> Result<Vec<([u8; 32], String)>, String> {
    let tree = DeTable::parse(text).map_err(|error| format!("not valid TOML: {}", error.message()))?;
    let mut keys = Vec::new();
    for (hash, client) in tree.get_ref() {
        let hash = hash.get_ref();
        let bytes = sha256(hash).ok_or_else(|| format!("{hash:?} is not 64 hexadecimal digits"))?;
        let DeValue::String(client) = client.get_ref() else {
            return Err(format!("the client of {hash:?} is not a string"));
        };
        if forms::header_value(client).is_err() || client.is_empty() {
            return Err(format!("{client:?} cannot be the value of a header field"));
        }
        keys.push((bytes, client.to_string()));
    }
    keys.sort();
    Ok(keys)
}

fn sha256(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The text of a file that is part of the configuration.
fn text_of(table: &Table<'_>, name: &str, value: &Value<'_>) -> Option<String> {
    let read = |path: &Path| {
        let mut text = String::new();
        std::fs::File::open(path)?.take(KEYS_BYTES_MAX).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    read(&table.folder().join(name))
        .map_err(|error| value.refuse(format!("cannot be read: {error}"), None))
        .ok()
}

fn rbac(route: &Table<'_>, providers: &Providers) -> Option<Rbac> {
    let table = route.table_if_set("rbac")?;
    let shadow = table.table_if_set("shadow_rules");
    Some(Rbac { rules: rules(&table, providers), shadow_rules: shadow.map(|table| rules(&table, providers)) })
}

fn rules(table: &Table<'_>, providers: &Providers) -> Rules {
    let action = match table.word("action") {
        "DENY" => Action::Deny,
        "LOG" => Action::Log,
        _ => Action::Allow,
    };
    let mut lines = HashMap::new();
    let mut policies = Vec::new();
    for table in table.tables("policies") {
        let name = table.needed("name", forms::route_name);
        let permissions = table.list("permissions", |text| terms::permission(text).ok_or(None));
        let principals = table.list("principals", |text| terms::principal(text).ok_or(None));
        for (condition, value) in &principals {
            check_providers(condition, value, providers);
        }
        let Some((name, value)) = name else { continue };
        refuse_second(&mut lines, &name, &value);
        policies.push(Policy {
            name,
            permissions: permissions.into_iter().map(|(it, _): (Condition<Permission>, _)| it).collect(),
            principals: principals.into_iter().map(|(it, _)| it).collect(),
        });
    }
    Rules { action, policies }
}

fn check_providers(condition: &Condition<Principal>, value: &Value<'_>, providers: &Providers) {
    for (_, term) in &condition.0 {
        if let Principal::Jwt(provider, _) = term {
            let _ = provider_position(provider, value, providers);
        }
    }
}

fn ext_authz(route: &Table<'_>, clusters: &HashMap<String, usize>) -> Option<ExtAuthz> {
    let table = route.table_if_set("ext_authz")?;
    let cluster = table.needed("cluster", forms::reference);
    let authz = ExtAuthz {
        cluster: 0,
        timeout: table.time("timeout"),
        failure_mode_allow: table.flag("failure_mode_allow"),
        include_peer_certificate: table.flag("include_peer_certificate"),
        max_denied_response_body_bytes: table.size("max_denied_response_body_bytes"),
    };
    let (name, value) = cluster?;
    position(&name, &value, clusters).map(|cluster| ExtAuthz { cluster, ..authz })
}

fn keyed_rate_limit(table: &Table<'_>) -> Option<KeyedRateLimit> {
    let key = table.needed("key", |text| match text.split_once(':') {
        None if text == "remote_address" => Ok(RateKey::RemoteAddress),
        None if text == "api_key" => Ok(RateKey::ApiKey),
        Some(("jwt", claim)) if !claim.is_empty() => Ok(RateKey::Claim(claim.to_owned())),
        Some(("header", name)) => forms::header_name(name).map(RateKey::Header),
        _ => Err(None),
    });
    let (max_tokens, tokens_per_fill) = (table.count("max_tokens"), table.count("tokens_per_fill"));
    let (fill_interval, max_keys) = (table.time("fill_interval"), table.count("max_keys"));
    let (key, _) = key?;
    Some(KeyedRateLimit { key, max_tokens, tokens_per_fill, fill_interval, max_keys })
}

fn mirrors(route: &Table<'_>, clusters: &HashMap<String, usize>) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    for table in route.tables("request_mirror_policies") {
        let (percentage, max_active) = (table.ratio("percentage"), table.count("max_active"));
        let (timeout, max_buffered_bytes) = (table.time("timeout"), table.size("max_buffered_bytes"));
        if let Some((name, value)) = table.needed("cluster", forms::reference)
            && let Some(cluster) = position(&name, &value, clusters)
        {
            mirrors.push(Mirror { cluster, percentage, max_active, max_buffered_bytes, timeout });
        }
    }
    mirrors
}

fn fault(route: &Table<'_>) -> Option<Fault> {
    let table = route.table_if_set("fault")?;
    let delay =
        table.table_if_set("delay").map(|delay| (delay.time("fixed_delay"), delay.ratio("percentage")));
    let abort = table.table_if_set("abort").map(|abort| {
        let code = abort.text("grpc_status", forms::failing_code);
        (code.map_or(UNAVAILABLE, |(number, _)| number), abort.ratio("percentage"))
    });
    Some(Fault { delay, abort, max_active_faults: table.count("max_active_faults") })
}

/// The number of the code that calls end with where none is set.
const UNAVAILABLE: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_keys_are_read_or_refused() {
        let hash = "ab".repeat(32);
        let read =
            key_hashes(&format!("# partners\n\"{hash}\" = \"partner-a\"\n{} = \"b\"\n", "00".repeat(32)));
        let wanted = [([0; 32], "b".to_owned()), ([0xab; 32], "partner-a".to_owned())];
        assert_eq!(read.as_deref(), Ok(&wanted[..]));
        for text in [
            "x = \"a\"".to_owned(),
            format!("{} = 1", "00".repeat(32)),
            format!("{} = \"\"", "00".repeat(32)),
            format!("{} = \"a\\nb\"", "00".repeat(32)),
            format!("\"{}\" = \"a\"", "zz".repeat(32)),
            "= 1".to_owned(),
        ] {
            assert!(key_hashes(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_of_connections_and_of_grpc_are_not_changed() {
        for name in ["x-a", "X-B", "authorization", "user-agent", "x-forwarded-for", "server"] {
            assert!(service_header(name).is_ok(), "{name}");
        }
        for name in [
            ":path",
            ":authority",
            "connection",
            "Connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "content-length",
            "expect",
            "host",
            "grpc-timeout",
            "grpc-status",
            "grpc-encoding",
            "content-type",
            "a b",
            "",
        ] {
            assert!(service_header(name).is_err(), "{name}");
        }
    }
}
