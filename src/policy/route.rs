//! Routing: the route of a call, and the one of its clusters that takes it.
//!
//! The first matching route in the order of the configuration wins. A search one by one would make every call pay for
//! every route, so they are indexed: by host, then by path, then by header. Each index gives its candidate that stands
//! first in the configuration; the least of these is the answer. `route::tests` has a plain search that the indices
//! must agree with.
//!
//! The last of 1,000 routes against an only route, in ns (best of 20 runs of 10,000 look-ups, release, a shared 2-core
//! VM): services 13 and 13, paths 8 and 9, prefixes of 40 lengths 134 and 9, values of one header 109 and 35, 1,000
//! different headers 36 and 29, hosts 20 and 37, wildcard hosts 39 and 31. Regular expressions are asked one by one, and so
//! are routes that have host, path and their rarest header condition in common, or that have other conditions only.

mod candidates;
mod explain;
mod rewrite;
mod rule;
mod table;

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use self::rule::{NONE, Rule, Search};
use self::table::{ByLength, Grouped, HOST_BYTES_MAX, Table};
use crate::config;
use crate::random::Random;

pub use explain::why_not;
pub use rewrite::Rewriter;
pub use rule::{Headers, Pseudo, Question};

/// The route of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its position in the configuration.
    pub route: usize,
    /// Whether every such call takes it: chance had no say.
    pub is_fixed: bool,
}

/// All routes; built once from the configuration, then only read.
#[derive(Debug)]
pub struct Routes {
    rules: Box<[Rule]>,
    /// Whether chance has a say in any of them.
    draws: bool,
    /// Whether any of them asks for the request as it came: its query, or pseudo-fields.
    asks_request: bool,
    /// Memory for values that are joined.
    joined: RefCell<Vec<u8>>,
    /// Routes for any host.
    any: Table,
    /// Routes for one host. The keys of this and all maps here are the operator's, so a hash that an attacker could
    /// find collisions for does no harm.
    hosts: FxHashMap<Box<[u8]>, Table>,
    /// Routes for `*.example.com`, under `.example.com`.
    suffixes: Box<[ByLength<Table>]>,
}

impl Routes {
    /// Builds the indices.
    pub fn new(routes: &[config::Route]) -> Routes {
        let rules: Box<[Rule]> = routes.iter().map(Rule::new).collect();
        let mut any = Vec::new();
        let (mut hosts, mut suffixes) = (Grouped::default(), Grouped::default());
        for (index, route) in (0_u32..).zip(routes) {
            if !rules[index as usize].possible {
                continue;
            }
            let host = route.matching.host.as_ref().map(|host| host.to_ascii_lowercase().into_bytes());
            match host {
                None => any.push(index),
                Some(host) => match host.strip_prefix(b"*") {
                    Some(suffix) if suffix.starts_with(b".") => {
                        suffixes.entry(suffix.into()).or_default().push(index)
                    }
                    _ => hosts.entry(host.into()).or_default().push(index),
                },
            }
        }
        let table = |indices: &[u32]| Table::new(indices, routes, &rules);
        let any = table(&any);
        let hosts = hosts.into_iter().map(|(host, indices)| (host, table(&indices))).collect();
        let suffixes = ByLength::all(suffixes, table);
        let draws = rules.iter().any(Rule::draws);
        let asks_request = rules.iter().any(Rule::asks_request);
        Routes { rules, draws, asks_request, joined: RefCell::default(), any, hosts, suffixes }
    }

    /// Whether chance has a say, so that a call needs a draw.
    pub fn draws(&self) -> bool {
        self.draws
    }

    /// Whether the request as it came has a say: its query, or pseudo-fields.
    pub fn asks_request(&self) -> bool {
        self.asks_request
    }

    /// The route of a call.
    ///
    /// A host is compared case-insensitively; one longer than 255 bytes is no host name and takes the routes for any
    /// host.
    pub fn find(&self, question: &Question<'_, impl Headers>) -> Option<Found> {
        let joined = &mut *self.joined.borrow_mut();
        let mut search = Search { rules: &self.rules, question, joined, best: NONE, drawn: NONE };
        self.any.search(question.path, &mut search);
        if !self.hosts.is_empty() || !self.suffixes.is_empty() {
            self.search_hosts(question.path, question.host, &mut search);
        }
        let Search { best, drawn, .. } = search;
        (best != NONE).then_some(Found { route: best as usize, is_fixed: drawn > best })
    }

    fn search_hosts(&self, path: &[u8], host: &[u8], search: &mut Search<'_, impl Headers>) {
        let mut buffer = [0; HOST_BYTES_MAX];
        let Some(lower) = buffer.get_mut(..host.len()) else {
            return;
        };
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        if let Some(table) = self.hosts.get(&*lower) {
            table.search(path, search);
        }
        for group in &self.suffixes {
            // The star stands for at least one byte.
            if group.length >= lower.len() {
                break;
            }
            if group.lowest < search.best
                && let Some(table) = group.of.get(&lower[lower.len() - group.length..])
            {
                table.search(path, search);
            }
        }
    }

    /// The position, in `route.clusters`, of the weighted cluster that takes this call.
    ///
    /// # Panics
    ///
    /// If there is no such route.
    pub fn choose(&self, route: usize, random: &mut Random) -> usize {
        let shares = &self.rules[route].shares;
        match shares.last() {
            Some(&sum) if shares.len() > 1 => {
                let point = random.below_u64(sum);
                shares.partition_point(|&end| end <= point).min(shares.len() - 1)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
