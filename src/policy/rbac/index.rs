//! Policies by what they ask for, so that a call is compared with few of many.
//!
//! Rules of a real system differ in the method, or in the caller's group. A policy that only calls of some methods or
//! services can match is found by the path of the call; one that needs a claim of this or that value, by the values of
//! the token. All others are compared one by one. The index leaves out only policies that cannot match.

use rustc_hash::FxHashMap;

use crate::config::rbac::{Condition, Permission, Policy, Principal, Text};
use crate::policy::jwt::Verified;

/// The policies of one set of rules.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By a path, or by its beginning up to the slash behind the service. The keys are the operator's, so speed may win
    /// over defence.
    paths: FxHashMap<Box<[u8]>, Vec<usize>>,
    claims: Vec<Claim>,
    rest: Vec<usize>,
}

/// The policies that need a claim of a token.
#[derive(Debug)]
struct Claim {
    provider: Box<str>,
    name: Box<str>,
    values: FxHashMap<Box<str>, Vec<usize>>,
}

/// Something that a policy cannot match without.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'r> {
    Path(&'r str),
    /// Provider, name and value.
    Claim(&'r str, &'r str, &'r str),
}

impl Index {
    pub(super) fn new(policies: &[Policy]) -> Index {
        let ways = |policy| [paths(policy), claims(policy)].into_iter().flatten();
        let mut uses = FxHashMap::<Key<'_>, usize>::default();
        for key in policies.iter().flat_map(ways).flatten() {
            *uses.entry(key).or_default() += 1;
        }
        let mut index = Index::default();
        for (number, policy) in policies.iter().enumerate() {
            // The way that tells it from most others.
            let crowd = |keys: &Vec<Key<'_>>| keys.iter().map(|key| uses[key]).max();
            match ways(policy).min_by_key(crowd) {
                Some(keys) => keys.into_iter().for_each(|key| index.add(key, number)),
                None => index.rest.push(number),
            }
        }
        index
    }

    fn add(&mut self, key: Key<'_>, number: usize) {
        let (provider, name, value) = match key {
            Key::Path(path) => return self.paths.entry(path.as_bytes().into()).or_default().push(number),
            Key::Claim(provider, name, value) => (provider, name, value),
        };
        let is_it = |claim: &Claim| *claim.provider == *provider && *claim.name == *name;
        let place = self.claims.iter().position(is_it).unwrap_or_else(|| {
            self.claims.push(Claim {
                provider: provider.into(),
                name: name.into(),
                values: FxHashMap::default(),
            });
            self.claims.len() - 1
        });
        self.claims[place].values.entry(value.into()).or_default().push(number);
    }

    /// Whether this is true of the number of any policy that may match a call of this path, with this token.
    pub(super) fn any(&self, path: &[u8], token: Option<&Verified>, is_true: impl Fn(usize) -> bool) -> bool {
        let any = |numbers: &Vec<usize>| numbers.iter().any(|number| is_true(*number));
        let of_path = |path: &[u8]| self.paths.get(path).is_some_and(any);
        let of_claim = |claim: &Claim| {
            token.is_some_and(|token| {
                *token.provider == *claim.provider
                    && token.claim_matches(&claim.name, |value| claim.values.get(value).is_some_and(any))
            })
        };
        any(&self.rest)
            || (!self.paths.is_empty() && (of_path(path) || of_path(service(path))))
            || self.claims.iter().any(of_claim)
    }
}

/// The beginning of a path up to the slash behind the service; all of a path without one.
fn service(path: &[u8]) -> &[u8] {
    let behind = path.iter().skip(1).position(|byte| *byte == b'/');
    behind.map_or(path, |at| &path[..at + 2])
}

/// Whether a beginning of paths is that of all methods of a service.
fn is_service(start: &str) -> bool {
    start.len() > 1 && start.ends_with('/') && service(start.as_bytes()) == start.as_bytes()
}

/// The paths or services that a policy is for; `None` if it can match others.
fn paths(policy: &Policy) -> Option<Vec<Key<'_>>> {
    each(&policy.permissions, |term| match term {
        Permission::Path(Text::Exact(path)) => Some(Key::Path(path)),
        Permission::Path(Text::Prefix(start)) if is_service(start) => Some(Key::Path(start)),
        _ => None,
    })
}

/// The values of claims that a policy is for; `None` if it can match others.
fn claims(policy: &Policy) -> Option<Vec<Key<'_>>> {
    each(&policy.principals, |term| match term {
        Principal::Jwt(provider, Some((name, Text::Exact(value)))) => Some(Key::Claim(provider, name, value)),
        _ => None,
    })
}

/// A key of each condition. A term that is negated gives none.
fn each<'r, T>(
    conditions: &'r [Condition<T>],
    key: impl Fn(&'r T) -> Option<Key<'r>>,
) -> Option<Vec<Key<'r>>> {
    let of_term = |(wanted, term): &'r (bool, T)| key(term).filter(|_| *wanted);
    conditions.iter().map(|condition| condition.0.iter().find_map(of_term)).collect()
}
