//! Text to checked types: routes, their conditions and their clusters.

use std::collections::{HashMap, HashSet};

use super::checks::{position, refuse_second};
use super::forms::{self, Hint};
use super::guards::{self, Providers};
use super::reader::{Table, Value};
use super::{Match, PathMatch, Route, WeightedCluster, policies};

/// All routes, in order. `clusters` has the position of each name. `None` only if something was reported.
pub(super) fn read(
    root: &Table<'_>,
    clusters: &HashMap<String, usize>,
    providers: &Providers,
) -> Option<Vec<Route>> {
    let tables = root.tables("routes");
    let routes: Vec<Option<Route>> = tables.iter().map(|table| route(table, clusters, providers)).collect();
    check_reach(&tables, &routes);
    check_names(&tables, &routes);
    routes.into_iter().collect()
}

fn route(table: &Table<'_>, clusters: &HashMap<String, usize>, providers: &Providers) -> Option<Route> {
    let matching = matching(&table.table("match"));
    let name = table.text("name", forms::route_name).map(|(name, _)| name);
    let timeout = table.time_or_none("timeout");
    let max_stream_duration = table.time_or_none("max_stream_duration");
    let idle_timeout = table.time_or_none("idle_timeout");
    let rate_limit = policies::rate_limit(table);
    let policies = guards::route(table, clusters, providers);
    let clusters = destinations(table, clusters);
    let matching = matching?;
    let name = name.unwrap_or_else(|| describe(&matching));
    Some(Route {
        name,
        matching,
        clusters: clusters?,
        timeout,
        max_stream_duration,
        idle_timeout,
        rate_limit,
        policies,
    })
}

/// The name of a route, made of its conditions: `service:bench.v1.Echo host:api.example.com x-canary:1`.
fn describe(matching: &Match) -> String {
    let mut name = match &matching.path {
        PathMatch::Service(service) => format!("service:{service}"),
        PathMatch::Prefix(prefix) => format!("prefix:{prefix}"),
        PathMatch::Path(path) => format!("path:{path}"),
    };
    let host = matching.host.iter().map(|host| ("host", host.as_str()));
    for (key, value) in host.chain(matching.headers.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    {
        name.extend([" ", key, ":", value]);
    }
    name
}

fn matching(table: &Table<'_>) -> Option<Match> {
    type Form = fn(&str) -> Result<PathMatch, Hint>;
    let forms: [(&str, Form); 3] = [
        ("service", |text| forms::service(text).map(PathMatch::Service)),
        ("prefix", |text| forms::prefix(text).map(PathMatch::Prefix)),
        ("path", |text| forms::method_path(text).map(PathMatch::Path)),
    ];
    let mut set: Vec<Value<'_>> = forms.iter().filter_map(|(name, _)| table.value(name)).collect();
    set.sort_by_key(Value::start);
    for second in set.iter().skip(1) {
        let hint = format!("line {} already says which paths", set[0].line());
        second.refuse("only one of service, prefix and path", Some(hint));
    }
    let given: Vec<PathMatch> =
        forms.iter().filter_map(|(name, form)| Some(table.text(name, form)?.0)).collect();
    let path = match set.is_empty() {
        true => Some(PathMatch::Prefix("/".to_owned())),
        false => given.into_iter().next(),
    };
    let host = table.text("host", forms::match_host).map(|(host, _)| host);
    let headers = headers(table);
    Some(Match { path: path?, host, headers })
}

/// Header fields to match, by name.
fn headers(table: &Table<'_>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut headers = Vec::new();
    for (written, key, value) in table.names("headers") {
        let name = match forms::header_name(written) {
            Ok(name) => name,
            Err(hint) => {
                key.refuse_key("must be the name of a header field", hint);
                continue;
            }
        };
        if !seen.insert(name.clone()) {
            key.refuse_key(
                "must be unique",
                Some("upper and lower case are the same in names of header fields"),
            );
        }
        if let Some(text) =
            value.form("visible ASCII characters and spaces between them", forms::header_value)
        {
            headers.push((name, text));
        }
    }
    headers.sort();
    headers
}

/// The clusters of a route.
fn destinations(table: &Table<'_>, clusters: &HashMap<String, usize>) -> Option<Vec<WeightedCluster>> {
    let weighted = table.value("weighted_clusters");
    let single = table.value("cluster");
    match (&single, &weighted) {
        (None, None) => {
            let hint = "write cluster = \"name\", or weighted_clusters";
            table.refuse("cluster", "missing: a route leads to a cluster", Some(hint.to_owned()));
            None
        }
        (Some(_), None) => {
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

/// Checks that names are unique, derived ones included.
fn check_names(tables: &[Table<'_>], routes: &[Option<Route>]) {
    let given = |table: &Table<'_>| table.value("name").is_some();
    let mut lines = HashMap::new();
    let mut pairs: Vec<_> =
        tables.iter().zip(routes).filter_map(|(table, route)| Some((table, route.as_ref()?))).collect();
    // Names that were not given first, for it is the given one that has to change.
    pairs.sort_by_key(|(table, _)| given(table));
    for (table, route) in pairs {
        match table.value("name") {
            Some(value) => refuse_second(&mut lines, &route.name, &value),
            // Two of these are equal only if their matches are, and that is reported by `check_reach`.
            None => {
                lines.entry(route.name.clone()).or_insert(table.line());
            }
        }
    }
}

/// Checks that each route can be reached: no earlier one takes all its calls.
fn check_reach(tables: &[Table<'_>], routes: &[Option<Route>]) {
    let mut earlier: Vec<(&Table<'_>, &Route)> = Vec::new();
    for (table, route) in
        tables.iter().zip(routes).filter_map(|(table, route)| Some((table, route.as_ref()?)))
    {
        let covering = earlier.iter().find(|(_, first)| covers(&first.matching, &route.matching));
        match covering {
            Some((first, _)) => {
                let hint = "the first route that matches takes the call: move this one up, or remove it";
                let wanted = format!("never reached: the route on line {} takes all its calls", first.line());
                table.refuse("match", wanted, Some(hint.to_owned()));
            }
            None => earlier.push((table, route)),
        }
    }
}

/// Whether every call that `later` matches is matched by `first`, too. May miss some that overlap by wildcards.
fn covers(first: &Match, later: &Match) -> bool {
    let path = match (&first.path, &later.path) {
        (PathMatch::Prefix(first), PathMatch::Prefix(later) | PathMatch::Path(later)) => {
            later.starts_with(first.as_str())
        }
        // The service stands for all paths that begin with `/service/`.
        (PathMatch::Prefix(first), PathMatch::Service(later)) => {
            let first = first.strip_prefix('/').unwrap_or(first);
            later.starts_with(first) || first.strip_suffix('/') == Some(later)
        }
        (PathMatch::Service(first), PathMatch::Prefix(later) | PathMatch::Path(later)) => {
            let rest = later.strip_prefix('/').and_then(|later| later.strip_prefix(first.as_str()));
            rest.is_some_and(|rest| rest.starts_with('/'))
        }
        (PathMatch::Service(first), PathMatch::Service(later)) => first == later,
        (PathMatch::Path(first), PathMatch::Path(later)) => first == later,
        (PathMatch::Path(_), PathMatch::Prefix(_) | PathMatch::Service(_)) => false,
    };
    let host = first.host.is_none() || first.host == later.host;
    path && host && first.headers.iter().all(|header| later.headers.contains(header))
}
