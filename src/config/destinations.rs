//! Text to checked types: where the calls of a route go, or the response of its own.

use std::collections::HashMap;

use super::actions::{DirectResponse, LocalResponse, Override, PathRewrite, Redirect, RouteActions};
use super::checks::{check_backoffs, position, refuse_second};
use super::codes::Codes;
use super::matching::Match;
use super::reader::{Table, Value};
use super::regex::Substitution;
use super::resilience::Retry;
use super::{WeightedCluster, conditions, forms, policies};

/// The keys of routes that take any path, for they mean one of plain HTTP.
const OF_PATHS: [&str; 4] = ["prefix_rewrite", "regex_rewrite", "direct_response", "redirect"];

/// Whether the route may have a path that is no method's.
pub(super) fn takes_any_path(route: &Table<'_>) -> bool {
    OF_PATHS.iter().any(|name| route.value(name).is_some())
}

/// The actions of a route.
pub(super) fn actions(route: &Table<'_>, matching: Option<&Match>) -> RouteActions {
    let rewrite = rewrite(route, matching);
    let direct = direct_response(route);
    let redirect = redirect(route, matching);
    let set: Vec<Value<'_>> = OF_PATHS[2..].iter().filter_map(|name| route.value(name)).collect();
    if let Some(second) = set.get(1) {
        second.refuse_key("only one of direct_response and redirect", None);
    }
    if let Some(value) = set.first().and(OF_PATHS[..2].iter().find_map(|name| route.value(name))) {
        value.refuse("this route asks no service, so none gets another path", None);
    }
    RouteActions {
        rewrite,
        host_rewrite: route.text("host_rewrite_literal", forms::authority).map(|(host, _)| host),
        response: direct.map(LocalResponse::Direct).or(redirect.map(LocalResponse::Redirect)),
        retry: retry(route),
        hedging: route.table_if_set("hedging").map(|table| {
            let hedging = policies::hedging_of(&table);
            if table.flag("enabled") { Override::Own(hedging) } else { Override::Off }
        }),
        breaker: route
            .table_if_set("breaker")
            .map(|table| policies::breaker_unless_off(&table).map_or(Override::Off, Override::Own)),
    }
}

fn retry(route: &Table<'_>) -> Option<Retry> {
    let table = route.table_if_set("retry")?;
    let retry = policies::retry_of(&table);
    check_backoffs(&table, retry.initial_backoff, retry.max_backoff);
    Some(if table.flag("enabled") { retry } else { Retry { max_attempts: 1, ..retry } })
}

/// The rewrite of a path that a table asks for.
fn rewrite(table: &Table<'_>, matching: Option<&Match>) -> Option<PathRewrite> {
    let prefix = table.text("prefix_rewrite", forms::prefix);
    let regex = table.table_if_set("regex_rewrite");
    let substitution = regex.as_ref().and_then(substitution);
    if let (Some(_), Some(second)) = (table.value("prefix_rewrite"), table.value("regex_rewrite")) {
        second.refuse_key("only one of prefix_rewrite and regex_rewrite", None);
    }
    if let Some((by, value)) = prefix {
        let rewrite = PathRewrite::of_prefix(&matching?.path, by);
        if rewrite.is_none() {
            let hint = "of a safe_regex no beginning is known: write regex_rewrite";
            value.refuse("needs a prefix, a path or a service to match", Some(hint.to_owned()));
        }
        return rewrite;
    }
    substitution.map(PathRewrite::Regex)
}

fn substitution(table: &Table<'_>) -> Option<Substitution> {
    let pattern = table.needed("pattern", forms::reference);
    let template = table.needed("substitution", forms::substitution);
    let ((pattern, of_pattern), (template, of_template)) = (pattern?, template?);
    match Substitution::new(&pattern, &template) {
        Ok(substitution) => Some(substitution),
        Err(Ok(wrong)) => {
            of_pattern.refuse(conditions::REGEX_WANTED, Some(wrong));
            None
        }
        Err(Err(wrong)) => {
            of_template.refuse("must be text with groups of the pattern", Some(wrong));
            None
        }
    }
}

fn direct_response(route: &Table<'_>) -> Option<DirectResponse> {
    let table = route.table_if_set("direct_response")?;
    let status = u16::try_from(table.count("status")).unwrap_or(200);
    let code = table.text("grpc_status", forms::failing_code).map(|(number, _)| number);
    let body = table.text("body", forms::body).map_or(String::new(), |(text, _)| text);
    let content_type = table.text("content_type", forms::header_value).map(|(text, _)| text);
    Some(DirectResponse { status, code: code.unwrap_or(code_of(status)), body, content_type })
}

/// The number of the code that an HTTP status stands for (gRPC's `http-grpc-status-mapping.md`).
fn code_of(status: u16) -> u8 {
    let name = match status {
        400 => "INTERNAL",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "UNIMPLEMENTED",
        429 | 502..=504 => "UNAVAILABLE",
        _ => "UNKNOWN",
    };
    Codes::number(name).unwrap_or(2)
}

fn redirect(route: &Table<'_>, matching: Option<&Match>) -> Option<Redirect> {
    let table = route.table_if_set("redirect")?;
    let status = match table.word("response_code") {
        "FOUND" => 302,
        "SEE_OTHER" => 303,
        "TEMPORARY_REDIRECT" => 307,
        "PERMANENT_REDIRECT" => 308,
        _ => 301,
    };
    let scheme = table.text("scheme_redirect", forms::http_scheme).map(|(text, _)| text);
    let host = table.text("host_redirect", forms::authority).map(|(text, _)| text);
    let path = table.text("path_redirect", forms::path_and_query).map(|(text, _)| text);
    let rewrite = rewrite(&table, matching);
    let strip_query = table.flag("strip_query");
    if let (Some(_), Some(second)) =
        (table.value("path_redirect"), table.value("prefix_rewrite").or(table.value("regex_rewrite")))
    {
        second.refuse_key("only one of path_redirect, prefix_rewrite and regex_rewrite", None);
    }
    let leads = ["scheme_redirect", "host_redirect", "path_redirect", "prefix_rewrite", "regex_rewrite"];
    if !strip_query && leads.iter().all(|name| table.value(name).is_none()) {
        let hint = "write scheme_redirect, host_redirect, path_redirect or another";
        route.refuse("redirect", "leads to where the request came from", Some(hint.to_owned()));
    }
    Some(Redirect { status, scheme, host, path, rewrite, strip_query })
}

/// The clusters of a route; none if it answers by itself.
pub(super) fn clusters(table: &Table<'_>, clusters: &HashMap<String, usize>) -> Option<Vec<WeightedCluster>> {
    let weighted = table.value("weighted_clusters");
    let single = table.value("cluster");
    let answers = OF_PATHS[2..].iter().any(|name| table.value(name).is_some());
    if answers && let Some(value) = single.as_ref().or(weighted.as_ref()) {
        value.refuse("this route answers by itself, and asks no service", None);
    }
    match (&single, &weighted) {
        (None, None) if answers => Some(Vec::new()),
        (None, None) => {
            let hint = "write cluster = \"name\", or weighted_clusters";
            table.refuse("cluster", "missing: a route leads to a cluster", Some(hint.to_owned()));
            None
        }
        (Some(_), None) => {
            if let Some(value) = single.as_ref().filter(|value| value.it.is_array()) {
                let hint = "for several write weighted_clusters = [{ name = \"a\", weight = 1 }, ...]";
                value.refuse("must be a string: the name of a cluster", Some(hint.to_owned()));
                return None;
            }
            let (name, value) = table.text("cluster", forms::reference)?;
            Some(vec![WeightedCluster { cluster: position(&name, &value, clusters)?, weight: 1 }])
        }
        (None, Some(list)) => shares(table, list, clusters),
        (Some(one), Some(list)) => {
            let later = if one.start() < list.start() { list } else { one };
            later.refuse("only one of cluster and weighted_clusters", None);
            // Each of them reports its own errors.
            let _ = table
                .text("cluster", forms::reference)
                .and_then(|(name, value)| position(&name, &value, clusters));
            shares(table, list, clusters)
        }
    }
}

/// The clusters that share a route's calls.
fn shares(
    table: &Table<'_>,
    list: &Value<'_>,
    clusters: &HashMap<String, usize>,
) -> Option<Vec<WeightedCluster>> {
    let tables = table.tables("weighted_clusters");
    let mut seen = HashMap::new();
    let mut shares = Vec::new();
    for table in &tables {
        let weight = table.count("weight");
        if let Some((name, value)) = table.needed("name", forms::reference) {
            refuse_second(&mut seen, &name, &value);
            shares
                .extend(position(&name, &value, clusters).map(|cluster| WeightedCluster { cluster, weight }));
        }
    }
    // Clusters that are left out have been reported.
    if list.it.as_array().map(|items| items.len()) != Some(shares.len()) {
        return None;
    }
    // At most 64 weights of at most a million: a u32 holds the sum.
    if shares.iter().map(|share| share.weight).sum::<u32>() == 0 {
        list.refuse("the weights must add up to at least 1", None);
        return None;
    }
    Some(shares)
}
