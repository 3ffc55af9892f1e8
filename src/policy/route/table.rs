//! Routes by their paths.

use rustc_hash::FxHashMap;

use super::candidates::Candidates;
use super::rule::{Headers, NONE, Rule, Search};
use crate::config::{self, PathMatch, Regex};

/// The routes for one host, or for any.
#[derive(Debug)]
pub(super) struct Table {
    lowest: u32,
    paths: FxHashMap<Box<[u8]>, Candidates>,
    services: FxHashMap<Box<[u8]>, Candidates>,
    prefixes: Box<[ByLength<Candidates>]>,
    /// By the least index of their routes.
    patterns: Box<[Pattern]>,
}

/// Routes of one regular expression.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    lowest: u32,
    candidates: Candidates,
}

impl Table {
    pub(super) fn new(indices: &[u32], routes: &[config::Route], rules: &[Rule]) -> Self {
        let (mut paths, mut services, mut prefixes) =
            (Grouped::default(), Grouped::default(), Grouped::default());
        let mut patterns: Vec<(&Regex, Vec<u32>)> = Vec::new();
        let put = |group: &mut Grouped, key: String, index| {
            group.entry(key.into_bytes().into()).or_default().push(index);
        };
        for &index in indices {
            match &routes[index as usize].matching.path {
                PathMatch::Path(path) => put(&mut paths, path.clone(), index),
                PathMatch::Prefix(prefix) => put(&mut prefixes, prefix.clone(), index),
                PathMatch::SeparatedPrefix(prefix) => {
                    put(&mut paths, prefix.clone(), index);
                    put(&mut prefixes, format!("{prefix}/"), index);
                }
                // No service of gRPC has a slash in its name; `service_of` would not find such a one.
                PathMatch::Service(service) if service.contains('/') => {
                    put(&mut prefixes, format!("/{service}/"), index);
                }
                PathMatch::Service(service) => put(&mut services, service.clone(), index),
                PathMatch::Regex(regex) => match patterns.iter_mut().find(|(known, _)| *known == regex) {
                    Some((_, indices)) => indices.push(index),
                    None => patterns.push((regex, vec![index])),
                },
            }
        }
        let candidates = |indices: &[u32]| Candidates::new(indices, rules);
        let map =
            |groups: Grouped| groups.into_iter().map(|(key, indices)| (key, candidates(&indices))).collect();
        Self {
            lowest: indices.first().copied().unwrap_or(NONE),
            paths: map(paths),
            services: map(services),
            prefixes: ByLength::all(prefixes, candidates),
            patterns: patterns
                .into_iter()
                .map(|(regex, indices)| Pattern {
                    regex: regex.clone(),
                    lowest: indices[0],
                    candidates: candidates(&indices),
                })
                .collect(),
        }
    }

    pub(super) fn search(&self, path: &[u8], search: &mut Search<'_, impl Headers>) {
        if search.best <= self.lowest {
            return;
        }
        if let Some(candidates) = self.paths.get(path) {
            candidates.search(search);
        }
        if !self.services.is_empty()
            && let Some(service) = service_of(path)
            && let Some(candidates) = self.services.get(service)
        {
            candidates.search(search);
        }
        for group in &self.prefixes {
            let Some(prefix) = path.get(..group.length) else {
                break;
            };
            if group.lowest < search.best
                && let Some(candidates) = group.of.get(prefix)
            {
                candidates.search(search);
            }
        }
        for pattern in &self.patterns {
            if search.best <= pattern.lowest {
                break;
            }
            if pattern.regex.is_match(path) {
                pattern.candidates.search(search);
            }
        }
    }
}

/// The service of a path: its part between the first two slashes.
fn service_of(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"/")?;
    let end = rest.iter().position(|&byte| byte == b'/')?;
    Some(&rest[..end])
}

/// Entries whose keys have one length, so that one look-up finds whether a text begins, or ends, with any of them.
#[derive(Debug)]
pub(super) struct ByLength<T> {
    pub(super) length: usize,
    /// The least index of a route in here.
    pub(super) lowest: u32,
    pub(super) of: FxHashMap<Box<[u8]>, T>,
}

impl<T> ByLength<T> {
    /// A group for each length, shortest first.
    pub(super) fn all(groups: Grouped, make: impl Fn(&[u32]) -> T) -> Box<[Self]> {
        let mut all: Vec<Self> = Vec::new();
        for (key, indices) in groups {
            let length = key.len();
            let place = all.binary_search_by_key(&length, |group| group.length).unwrap_or_else(|place| {
                all.insert(place, Self { length, lowest: NONE, of: FxHashMap::default() });
                place
            });
            let group = &mut all[place];
            group.lowest = indices.iter().copied().fold(group.lowest, u32::min);
            group.of.insert(key, make(&indices));
        }
        all.into()
    }
}

/// Routes by a key, each list in the order of the configuration.
pub(super) type Grouped = FxHashMap<Box<[u8]>, Vec<u32>>;

/// Names in DNS have at most 253 bytes, and with a dot at both ends 255.
pub(super) const HOST_BYTES_MAX: usize = 255;
