//! Text to checked types: routes.

use std::collections::HashMap;

use super::checks::refuse_second;
use super::guards::{self, Providers};
use super::reader::Table;
use super::{Cluster, Override, Route, conditions, destinations, forms, policies};

/// All routes, in order. `names` has the position of each cluster. `None` only if something was reported.
pub(super) fn read(
    root: &Table<'_>,
    (names, clusters): (&HashMap<String, usize>, &[Option<Cluster>]),
    providers: &Providers,
) -> Option<Vec<Route>> {
    let tables = root.tables("routes");
    let routes: Vec<Option<Route>> = tables.iter().map(|table| route(table, names, providers)).collect();
    check_hedging(&tables, &routes, clusters);
    check_reach(&tables, &routes);
    check_names(&tables, &routes);
    routes.into_iter().collect()
}

fn route(table: &Table<'_>, clusters: &HashMap<String, usize>, providers: &Providers) -> Option<Route> {
    let matching = conditions::matching(&table.table("match"), destinations::takes_any_path(table));
    let name = table.text("name", forms::route_name).map(|(name, _)| name);
    let timeout = table.time_or_none("timeout");
    let max_stream_duration = table.time_or_none("max_stream_duration");
    let idle_timeout = table.time_or_none("idle_timeout");
    let rate_limit = policies::rate_limit(table);
    let policies = guards::route(table, clusters, providers);
    let actions = destinations::actions(table, matching.as_ref());
    let clusters = destinations::clusters(table, clusters);
    let matching = matching?;
    let name = name.unwrap_or_else(|| matching.to_string());
    Some(Route {
        name,
        matching,
        clusters: clusters?,
        timeout,
        max_stream_duration,
        idle_timeout,
        rate_limit,
        policies,
        actions,
    })
}

/// Checks that a route that hedges leads to methods that may be hedged: without an effect it would be a surprise.
fn check_hedging(tables: &[Table<'_>], routes: &[Option<Route>], clusters: &[Option<Cluster>]) {
    for (table, route) in tables.iter().zip(routes) {
        let Some(route) = route else { continue };
        let may_be = |cluster: &Cluster| cluster.methods.iter().any(|method| method.idempotent);
        let mut of_route = route.clusters.iter().filter_map(|choice| clusters.get(choice.cluster)?.as_ref());
        if matches!(route.actions.hedging, Some(Override::Own(_))) && !of_route.any(may_be) {
            let hint = "a call is sent several times: if that is as good as once, say so of each method, in \
                        [[clusters.methods]] with path and idempotent = true";
            table.refuse(
                "hedging",
                "only for idempotent methods, and its clusters have none",
                Some(hint.to_owned()),
            );
        }
    }
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
        let covering = earlier.iter().find(|(_, first)| conditions::covers(&first.matching, &route.matching));
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
