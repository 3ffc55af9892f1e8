//! Rows: which calls go where.

use std::time::Duration;

use super::super::knob::Knob;
use super::super::row::{
    codes, count, flag, names, other, ratio, secs, table, tables, time, time_or_none, word,
};
use super::resilience::{breaker_rows, hedging_rows, retry_rows};
use super::values::{CLUSTER, DAY, HOUR, MONTH, MS, NAME, PATH, SERVICE};

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const ROWS: &[Knob] = &[
    tables("routes", 1, 4096, "A route: which calls go where. The first route that matches takes the call."),
    other("routes.name", NAME,
        "The name in metrics; by default what the route matches, such as `service:bench.v1.Echo`."),
    other("routes.cluster", CLUSTER,
        "The cluster the calls go to. This or `weighted_clusters`."),
    time_or_none("routes.timeout", Some(secs(5)), MS, DAY,
        "The time until the response begins, the waits for the client's own body left out; all attempts together. A cluster and its methods may have their own."),
    time_or_none("routes.max_stream_duration", None, MS, MONTH,
        "The time of a whole call, streams included; caps the caller's grpc-timeout."),
    time_or_none("routes.idle_timeout", Some(secs(300)), MS, DAY,
        "A call on which nothing moves for this long is ended."),
    table("routes.rate_limit", "Calls that the route takes, exact over all workers; refused with RESOURCE_EXHAUSTED above it. No limit without this table."),
    count("routes.rate_limit.max_tokens", 100, 1, 1_048_575,
        "Calls at once: a full bucket."),
    count("routes.rate_limit.tokens_per_fill", 100, 1, 1_048_575,
        "Calls that each `fill_interval` adds, as far as they fit."),
    time("routes.rate_limit.fill_interval", secs(1), Duration::from_millis(50), HOUR,
        "The time after which `tokens_per_fill` calls are added."),
    table("routes.match", "The conditions on a call; all that are given must hold. Empty or left out: every call."),
    other("routes.match.service", SERVICE,
        "All methods of one service. One of `service`, `prefix`, `path_separated_prefix`, `path`, `safe_regex` at most."),
    other("routes.match.prefix", "the beginning of a path, with its slash: \"/bench.v1.\"",
        "All paths that begin so. `\"/\"` is all, and the default."),
    other("routes.match.path_separated_prefix", "a path without a slash at its end: \"/v1/shop\"",
        "This path, and all below it."),
    other("routes.match.path", PATH,
        "One method. A route that rewrites, answers or redirects may have any path."),
    other("routes.match.safe_regex", REGEX,
        "All paths that match as a whole, without their query."),
    other("routes.match.host", "a host name without a port, such as \"api.example.com\" or \"*.example.com\"",
        "The call's authority without its port. `*.` stands for one or more labels."),
    names("routes.match.headers", 32,
        "Header fields that must be there with just this value: `{ \"x-canary\" = \"1\" }`."),
    ratio("routes.match.runtime_fraction", 100.0, 0.0, 100.0,
        "Of the calls that meet all other conditions, the share that the route takes, in percent; the others go on to the next route. One draw counts for all routes that a call could take."),
];

/// Rows: conditions on values of one kind, in a list of tables.
#[rustfmt::skip]
macro_rules! matcher_rows {
    ($list:literal, $about:literal, $name:expr, $what:literal) => {
        &[
            tables($list, 0, 32, $about),
            other(concat!($list, ".name"), $name, concat!("The ", $what, "; needed.")),
            other(
                concat!($list, ".exact"),
                "visible ASCII characters and spaces between them",
                "Its value is this. One of these six at most; without any of them, it has to be there.",
            ),
            other(concat!($list, ".prefix"), PART, "Its value begins so."),
            other(concat!($list, ".suffix"), PART, "Its value ends so."),
            other(concat!($list, ".contains"), PART, "Its value has this in it."),
            other(concat!($list, ".safe_regex"), REGEX, "All of its value matches."),
            other(
                concat!($list, ".range"),
                RANGE,
                "Its value is a whole number from the first to below the second.",
            ),
            flag(concat!($list, ".present"), true, "Whether it has to be there; `false`: it must not be."),
            flag(
                concat!($list, ".invert"),
                false,
                concat!(
                    "Whether its value must not be so. A ",
                    $what,
                    " that is missing does not meet this either."
                ),
            ),
        ]
    };
}

#[rustfmt::skip]
pub(super) const HEADER_MATCHERS: &[Knob] = matcher_rows!("routes.match.header_matchers",
    "Further conditions on header fields (Envoy's words), all of which must hold. Several fields of one name count as their values with commas between them.",
    "the name of a header field, or `:method`, `:path` or `:authority`", "field");

#[rustfmt::skip]
pub(super) const QUERY_PARAMETERS: &[Knob] = matcher_rows!("routes.match.query_parameters",
    "Conditions on parameters of the query, all of which must hold. The first of a name counts, as it came: escapes are not decoded.",
    "1 to 200 visible ASCII characters, none of them `&`, `=` or `#`", "parameter");

#[rustfmt::skip]
pub(super) const SHARES: &[Knob] = &[
    tables("routes.weighted_clusters", 0, 64, "Several clusters that share the calls of a route by weight."),
    other("routes.weighted_clusters.name", CLUSTER,
        "One of them; needed."),
    count("routes.weighted_clusters.weight", 1, 0, 1_000_000,
        "A cluster's share is this over the sum of all; the sum must be at least 1."),
];

#[rustfmt::skip] // one row, one key: columns are easier to compare than rustfmt's six lines for each
pub(super) const ACTIONS: &[Knob] = &[
    other("routes.prefix_rewrite", "the beginning of a path, with its slash: \"/v1/\"",
        "The service gets a path in which this stands for what `prefix`, `path_separated_prefix`, `path` or `service` (with a slash at both ends) has matched. For JSON it is the path before it means a method."),
    table("routes.regex_rewrite", "The service gets a path in which all that matches is replaced. This or `prefix_rewrite`."),
    other("routes.regex_rewrite.pattern", REGEX,
        "The part of a path that is replaced; needed. It need not match the whole path."),
    other("routes.regex_rewrite.substitution", SUBSTITUTION,
        "The text that takes its place; needed."),
    other("routes.host_rewrite_literal", AUTHORITY,
        "The authority that the service gets."),

    table("routes.direct_response", "The route answers by itself, and has no cluster. Callers of gRPC get code and message, others the HTTP status."),
    count("routes.direct_response.status", 200, 200, 599,
        "The HTTP status for callers of plain HTTP."),
    other("routes.direct_response.grpc_status", "a gRPC code that is not OK, such as \"UNAVAILABLE\"",
        "The code for others, and in JSON; by default what gRPC takes the HTTP status for."),
    other("routes.direct_response.body", "text of at most 64 KiB",
        "The message. For callers of plain HTTP that of a `google.rpc.Status` in JSON, or the body as it is if there is a `content_type`."),
    other("routes.direct_response.content_type", "the value of a header field",
        "The type of the body for callers of plain HTTP."),

    table("routes.redirect", "The route sends callers of plain HTTP elsewhere, and has no cluster (Envoy's words). Others get UNIMPLEMENTED."),
    word("routes.redirect.response_code", "MOVED_PERMANENTLY", &["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"],
        "The HTTP status: 301, 302, 303, 307 or 308."),
    other("routes.redirect.scheme_redirect", "\"https\" or \"http\"",
        "The scheme there; by default that of the request."),
    other("routes.redirect.host_redirect", AUTHORITY,
        "The host there; by default that of the request."),
    other("routes.redirect.path_redirect", "a path, perhaps with a query",
        "The path there; by default that of the request."),
    other("routes.redirect.prefix_rewrite", "the beginning of a path, with its slash: \"/v1/\"",
        "A path in which this stands for what the route's `prefix`, `path_separated_prefix`, `path` or `service` has matched."),
    table("routes.redirect.regex_rewrite", "A path in which all that matches is replaced."),
    other("routes.redirect.regex_rewrite.pattern", REGEX,
        "The part of a path that is replaced; needed."),
    other("routes.redirect.regex_rewrite.substitution", SUBSTITUTION,
        "The text that takes its place; needed."),
    flag("routes.redirect.strip_query", false,
        "Whether the query of the request is left out."),

    table("routes.retry", "When a failed call of this route is sent again, in place of what its clusters say; their budget pays. Theirs without this table."),
    flag("routes.retry.enabled", true,
        "Whether calls are sent again at all that a service may have seen."),
];

#[rustfmt::skip]
pub(super) const RETRY: &[Knob] = retry_rows!("routes.retry");

#[rustfmt::skip]
pub(super) const HEDGING_TABLE: &[Knob] = &[
    table("routes.hedging", "How idempotent methods are hedged on this route, in place of what `[[clusters.methods]]` say. Theirs without this table."),
    flag("routes.hedging.enabled", true,
        "Whether calls of this route are hedged at all."),
];

#[rustfmt::skip]
pub(super) const HEDGING: &[Knob] = hedging_rows!("routes.hedging");

#[rustfmt::skip]
pub(super) const BREAKER_TABLE: &[Knob] = &[
    table("routes.breaker", "A breaker for the calls of this route, one for each of its clusters, in place of theirs. Theirs without this table."),
    flag("routes.breaker.enabled", true,
        "Whether the route has a breaker: `false` lets these calls pass whatever the clusters' breakers say, which do not hear of them."),
];

#[rustfmt::skip]
pub(super) const BREAKER: &[Knob] = breaker_rows!("routes.breaker");

const REGEX: &str = "a regular expression in RE2's syntax, of ASCII, with at most 1000 bytes";
const PART: &str = "visible ASCII characters and spaces";
const RANGE: &str = "two whole numbers, such as \"0..100\" or \"-10..0\"";
const SUBSTITUTION: &str =
    "part of a path, in which `\\1` is a group of the pattern, and `\\0` all of the match";
const AUTHORITY: &str = "a host, perhaps with a port, such as \"api.example.com\" or \"127.0.0.1:8443\"";
