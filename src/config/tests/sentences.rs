//! The sentences of the knob table where they stand a second time: comments of the examples, docs of fields.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::knobs::{self, Kind, Knob};

/// Characters of a line.
const WIDTH: usize = 120;

/// The column at which comments of the examples begin.
const COLUMN: usize = 44;

/// A key's first sentence, as the table has it.
fn first_sentence(about: &str) -> &str {
    about.split_inclusive(". ").next().unwrap_or_default().trim_end()
}

/// The comment of a key that an example sets to `value`: its words, its first sentence, and what holds without it.
fn comment(knob: &Knob, value: &str) -> String {
    let mut out = String::new();
    if let Kind::Word { words: [others @ .., last], .. } = knob.kind {
        let others: Vec<String> = others.iter().map(|word| format!("{word:?}")).collect();
        let _ = write!(out, "{} or {last:?}. ", others.join(", "));
    }
    out.push_str(first_sentence(knob.about));
    let says_default = |sentence: &&str| {
        sentence.starts_with("By default") || sentence.to_lowercase().contains("without this table")
    };
    for sentence in knob.about.split_inclusive(". ").skip(1).filter(says_default) {
        let _ = write!(out, " {}", sentence.trim_end());
    }
    if let Kind::TimeOrNone { .. } = knob.kind {
        out.push_str(" \"0s\" for none.");
    }
    let is_said = ["needed", "default", "mpty", "ithout"].iter().any(|word| out.contains(word));
    match knob.default() {
        Some(default) if default != value.replace('_', "") && default != value => {
            let _ = write!(out, " By default {}.", default.trim_matches('"'));
        }
        None if value != "[]" && !is_table(knob) && !is_said => out.push_str(" By default none."),
        _ => {}
    }
    out
}

fn is_table(knob: &Knob) -> bool {
    matches!(knob.kind, Kind::Table | Kind::Tables { .. })
}

/// A line without its comment.
fn code_of(line: &str) -> &str {
    let mut quote = None;
    for (at, byte) in line.bytes().enumerate() {
        match (quote, byte) {
            (None, b'#') => return line[..at].trim_end(),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    line.trim_end()
}

/// The text with the comments that belong to its keys. A comment from the first column on is about the example itself and
/// stays; the others are about keys, and come from the table: at the first place of each key.
fn with_comments(text: &str) -> String {
    let (mut out, mut table, mut seen) = (String::new(), String::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') || line.starts_with('#')) {
        let code = if line.starts_with('#') { line } else { code_of(line) };
        let key = if code.starts_with('[') {
            table = code.trim_matches(['[', ']']).to_owned();
            Some((table.clone(), ""))
        } else {
            code.split_once(" = ").filter(|(name, _)| !name.starts_with([' ', '#'])).map(|(name, value)| {
                let key = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
                (key, value)
            })
        };
        out.push_str(code);
        if let Some((key, value)) = key.filter(|(key, _)| !seen.contains(key)) {
            let knob = knobs::find(&key).unwrap_or_else(|| panic!("no such key: {key}"));
            put(&mut out, code.len(), &comment(knob, value));
            seen.push(key);
        }
        out.push('\n');
    }
    out
}

/// A comment behind `len` characters of code, and below it as far as it does not fit.
fn put(out: &mut String, len: usize, text: &str) {
    let column = if len + 2 > 80 { COLUMN } else { COLUMN.max(len + 2) };
    for (number, line) in wrapped(text, WIDTH - column - 2).iter().enumerate() {
        match (number, column.checked_sub(len)) {
            (0, Some(gap)) => out.push_str(&" ".repeat(gap)),
            _ => {
                let _ = write!(out, "\n{}", " ".repeat(column));
            }
        }
        let _ = write!(out, "# {line}");
    }
}

/// A text in lines of bounded length.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            let _ = write!(line, " {word}");
        }
    }
    lines
}

/// The structs of `src/config`, and the beginning of the keys of their fields.
#[rustfmt::skip]
const STRUCTS: &[(&str, &str)] = &[
    ("AccessLog", "access_log."),
    ("AdaptiveTimeout", "clusters.adaptive_timeout."),
    ("Admin", "admin."),
    ("Admission", "listeners."),
    ("ApiKeys", "routes.api_keys."),
    ("Breaker", "clusters.breaker."),
    ("ClientKeepalive", "listeners.http2.keepalive_"),
    ("Cluster", "clusters."),
    ("ClusterTls", "clusters.tls."),
    ("Compatibility", "transcoding."),
    ("Compression", "transcoding.compression."),
    ("Config", ""),
    ("ConnectionAge", "listeners.max_connection_age_"),
    ("Cors", "listeners.cors."),
    ("DirectResponse", "routes.direct_response."),
    ("Dns", "dns."),
    ("ExtAuthz", "routes.ext_authz."),
    ("Fault", "routes.fault."),
    ("Forwarding", "listeners."),
    ("GrpcCompression", "transcoding.grpc_compression."),
    ("HeaderMutation", "routes.request_headers_to_"),
    ("HeaderToAdd", "routes.request_headers_to_add."),
    ("HealthChecks", "clusters.health_checks."),
    ("Hedging", "clusters.methods.hedging."),
    ("Http2", "listeners.http2."),
    ("Io", "io."),
    ("JwtProvider", "jwt_providers."),
    ("JwtRequirement", "routes.jwt."),
    ("Keepalive", "clusters.keepalive."),
    ("KeyedRateLimit", "routes.rate_limits."),
    ("Listener", "listeners."),
    ("ListenerTls", "listeners.tls."),
    ("Match", "routes.match."),
    ("Method", "clusters.methods."),
    ("Metrics", "metrics."),
    ("Mirror", "routes.request_mirror_policies."),
    ("OutlierDetection", "clusters.outlier_detection."),
    ("Overload", "overload."),
    ("Policy", "routes.rbac.policies."),
    ("Pool", "clusters.pool."),
    ("PrintOptions", "transcoding.print_options."),
    ("ProxyProtocol", "listeners.proxy_protocol."),
    ("RateLimit", "routes.rate_limit."),
    ("Rbac", "routes.rbac."),
    ("Reconnect", "clusters.reconnect."),
    ("Redirect", "routes.redirect."),
    ("RemoteJwks", "jwt_providers.remote_jwks."),
    ("Retry", "clusters.retry."),
    ("RetryBudget", "clusters.retry.budget_"),
    ("Route", "routes."),
    ("RouteActions", "routes."),
    ("RoutePolicies", "routes."),
    ("Rules", "routes.rbac."),
    ("SanMatcher", "clusters.tls.validation_context.match_typed_subject_alt_names."),
    ("SlowStart", "clusters.slow_start."),
    ("TlsCertificate", "listeners.tls.tls_certificates."),
    ("TlsParams", "listeners.tls."),
    ("Tracing", "tracing."),
    ("Transcoding", "transcoding."),
    ("ValidationContext", "clusters.tls.validation_context."),
    ("WeightedCluster", "routes.weighted_clusters."),
];

/// Fields that have another name than their key.
const RENAMED: &[(&str, &str)] = &[
    ("ConnectionAge.max", "listeners.max_connection_age"),
    ("AccessLog.sink", "access_log.path"),
    ("RoutePolicies.mirrors", "routes.request_mirror_policies"),
    ("RouteActions.host_rewrite", "routes.host_rewrite_literal"),
    ("Redirect.scheme", "routes.redirect.scheme_redirect"),
    ("Redirect.host", "routes.redirect.host_redirect"),
    ("Redirect.path", "routes.redirect.path_redirect"),
    ("Route.matching", "routes.match"),
    ("Cluster.sends_proxy_protocol", "clusters.proxy_protocol"),
    ("ListenerTls.certificates", "listeners.tls.tls_certificates"),
    ("ListenerTls.validation", "listeners.tls.validation_context"),
    ("ClusterTls.certificate", "clusters.tls.tls_certificates"),
    ("ClusterTls.validation", "clusters.tls.validation_context"),
    ("TlsParams.minimum", "listeners.tls.tls_minimum_protocol_version"),
    ("TlsParams.maximum", "listeners.tls.tls_maximum_protocol_version"),
    ("ValidationContext.hashes", "clusters.tls.validation_context.verify_certificate_hash"),
    ("ValidationContext.names", "clusters.tls.validation_context.match_typed_subject_alt_names"),
    ("SanMatcher.kind", "clusters.tls.validation_context.match_typed_subject_alt_names.san_type"),
];

/// Structs whose fields are no keys of the file.
const WITHOUT_KEYS: &[&str] = &[
    "CertDetails",
    "Error",
    "MethodConfig",
    "Place",
    "ServiceConfig",
    "Throttling",
    "ValueMatcher",
    "Waiting",
];

/// Fields that hold something else than their key of the same name, or that of two keys.
const OTHER_VALUES: &[&str] = &[
    "ExtAuthz.cluster",
    "Fault.abort",
    "Fault.delay",
    "HeaderMutation.add",
    "HeaderMutation.remove",
    "JwtRequirement.requires_any",
    "Match.path",
    "Match.runtime_fraction",
    "Mirror.cluster",
    "Transcoding.compatibility",
    "ValidationContext.system_root_certs",
    "ValidationContext.trusted_ca",
];

/// The source with the docs of fields that have a key. The first paragraph of each is the key's sentence; further ones are
/// the type's own and stay.
fn with_field_docs(source: &str) -> String {
    let (mut out, mut docs, mut of) = (String::new(), Vec::new(), "");
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub struct ").filter(|name| name.ends_with('{')) {
            of = name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        } else if line.starts_with('}') {
            of = "";
        }
        if line.starts_with("    ///") {
            docs.push(line);
            continue;
        }
        if let Some((field, kind)) = line.strip_prefix("    pub ").and_then(|field| field.split_once(": "))
            && let Some(knob) = key_of(of, field)
        {
            let mut about = first_sentence(knob.about).replace("; needed.", ".");
            match knob.kind {
                Kind::TimeOrNone { .. } => about.push_str(" `None` for \"0s\"."),
                _ if kind.starts_with("Option<") && is_unset_by_default(knob) => {
                    about.push_str(" `None` where it is not set.");
                }
                _ => {}
            }
            for line in wrapped(&about, WIDTH - "    /// ".len()) {
                let _ = writeln!(out, "    /// {line}");
            }
            let more = docs.iter().position(|doc| doc.trim_end() == "    ///").unwrap_or(docs.len());
            docs.drain(..more);
        }
        for line in docs.drain(..).chain([line]) {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

/// Whether a key has no value where it is not set, and its sentence does not say what holds then.
fn is_unset_by_default(knob: &Knob) -> bool {
    let switch = format!("{}.enabled", knob.key);
    knob.default().is_none()
        && !first_sentence(knob.about).contains("default")
        && knobs::find(&switch).is_none()
}

/// The key of a struct's field, if it has one.
fn key_of(of: &str, field: &str) -> Option<&'static Knob> {
    if of.is_empty() || WITHOUT_KEYS.contains(&of) {
        return None;
    }
    let (_, begin) = STRUCTS.iter().find(|(name, _)| *name == of).unwrap_or_else(|| panic!("{of}: no keys?"));
    let path = format!("{of}.{field}");
    if OTHER_VALUES.contains(&path.as_str()) {
        return None;
    }
    match RENAMED.iter().find(|(name, _)| *name == path) {
        Some((_, key)) => Some(knobs::find(key).unwrap_or_else(|| panic!("no such key: {key}"))),
        None => knobs::find(&format!("{begin}{field}")),
    }
}

/// Holds a file to what `make` makes of it, or writes it.
fn hold(name: &str, make: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = fs::read_to_string(&path).expect("a file of the repository");
    let wanted = make(&text);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).expect("a file that may be written");
    } else if let Some((is, wanted)) = text.lines().zip(wanted.lines()).find(|(is, wanted)| is != wanted) {
        panic!(
            "{name} differs from the table of knobs: run UPDATE=1 cargo test --lib config\n{is}\nshould be\n{wanted}"
        );
    } else {
        assert_eq!(text.len(), wanted.len(), "{name} differs: run UPDATE=1 cargo test --lib config");
    }
}

#[test]
fn comments_of_the_examples_are_sentences_of_the_table() {
    hold("examples/ringway.toml", with_comments);
    hold("examples/tls.toml", with_comments);
}

#[test]
fn docs_of_fields_are_sentences_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let names = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    for name in names.iter().filter(|name| name.ends_with(".rs")) {
        hold(&format!("src/config/{name}"), with_field_docs);
    }
}

#[test]
fn a_comment_is_found_beside_strings_that_look_like_one() {
    assert_eq!(code_of("a = \"#1\"  # the first"), "a = \"#1\"");
    assert_eq!(code_of("a = '\"#'# x"), "a = '\"#'");
    assert_eq!(code_of("a = 1"), "a = 1");
    let made =
        with_comments("# of the example\nworkers = \"auto\" # wrong\n    # more\n[io]\nentries = 512\n");
    assert!(made.starts_with("# of the example\nworkers = \"auto\"  "), "{made}");
    assert!(!made.contains("wrong") && !made.contains("more"), "{made}");
    assert!(made.contains("By default 4096."), "{made}");
}
