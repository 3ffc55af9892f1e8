//! Who may call: rules in the words of Envoy's RBAC filter.
//!
//! A header that comes several times is read so that nobody gains by a further value: a rule that allows needs all of
//! its values to match, and one that denies needs any. Where a term is negated it is the other way round.

mod index;

use std::net::IpAddr;

use self::index::Index;
use super::jwt::Verified;
use super::peer::TlsPeer;
use super::route::Headers;
use crate::config::rbac::{self, Action, Condition, Permission, Policy, Principal, Text};

/// Facts about a call.
#[derive(Debug)]
pub struct Question<'a, H> {
    /// Its path, without the query.
    pub path: &'a [u8],
    /// Its fields.
    pub headers: &'a H,
    /// The caller's address; `None` if it called by a Unix socket.
    pub caller: Option<IpAddr>,
    /// The address of the connection's peer; `None` of a Unix socket.
    pub peer: Option<IpAddr>,
    /// The port of the listener; 0 of a Unix socket.
    pub port: u16,
    /// The identity that TLS has proven.
    pub tls: Option<&'a TlsPeer>,
    /// The token of the call, if one was verified.
    pub token: Option<&'a Verified>,
    /// The client of its API key, if it has one.
    pub client: Option<&'a str>,
}

/// The verdict of the rules about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub allowed: bool,
    /// Whether the shadow rules would let it pass. `None` without such rules.
    pub shadow: Option<bool>,
}

/// The rules of a route, ready to be asked.
#[derive(Debug)]
pub struct Rbac {
    rules: Rules,
    shadow_rules: Option<Rules>,
}

#[derive(Debug)]
struct Rules {
    action: Action,
    policies: Vec<Policy>,
    index: Index,
}

impl Rbac {
    /// The rules that a configuration has.
    pub fn new(config: &rbac::Rbac) -> Rbac {
        Rbac { rules: Rules::new(&config.rules), shadow_rules: config.shadow_rules.as_ref().map(Rules::new) }
    }

    /// Asks whether a call may pass.
    pub fn authorize<H: Headers>(&self, question: &Question<'_, H>) -> Verdict {
        Verdict {
            allowed: self.rules.allow(question),
            shadow: self.shadow_rules.as_ref().map(|rules| rules.allow(question)),
        }
    }
}

impl Rules {
    fn new(config: &rbac::Rules) -> Rules {
        Rules {
            action: config.action,
            policies: config.policies.clone(),
            index: Index::new(&config.policies),
        }
    }

    /// Whether a call passes these rules.
    fn allow<H: Headers>(&self, question: &Question<'_, H>) -> bool {
        let is_strict = self.action == Action::Allow;
        let is_match = |number: usize| policy_matches(&self.policies[number], question, is_strict);
        let any = || self.index.any(question.path, question.token, is_match);
        match self.action {
            Action::Allow => any(),
            Action::Deny => !any(),
            Action::Log => true,
        }
    }
}

fn policy_matches<H: Headers>(policy: &Policy, question: &Question<'_, H>, is_strict: bool) -> bool {
    any(&policy.permissions, |term, is_strict| permits(term, question, is_strict), is_strict)
        && any(&policy.principals, |term, is_strict| is_principal(term, question, is_strict), is_strict)
}

/// Whether one of the conditions holds.
fn any<T>(conditions: &[Condition<T>], holds: impl Fn(&T, bool) -> bool, is_strict: bool) -> bool {
    let term = |(wanted, term): &(bool, T)| holds(term, is_strict == *wanted) == *wanted;
    conditions.iter().any(|condition| condition.0.iter().all(term))
}

fn permits<H: Headers>(term: &Permission, question: &Question<'_, H>, is_strict: bool) -> bool {
    match term {
        Permission::Any => true,
        Permission::Path(wanted) => wanted.matches(question.path),
        Permission::Header(name, wanted) => header_matches(name, wanted, question.headers, is_strict),
        Permission::Port(port) => *port == question.port,
        Permission::ServerName(wanted) => {
            let name = question.tls.and_then(|tls| tls.server_name.as_deref());
            name.is_some_and(|name| wanted.matches(name.as_bytes()))
        }
    }
}

fn is_principal<H: Headers>(term: &Principal, question: &Question<'_, H>, is_strict: bool) -> bool {
    match term {
        Principal::Any => true,
        Principal::Authenticated(wanted) => is_authenticated(wanted, question.tls),
        Principal::RemoteIp(addresses) => addresses.holds(question.caller),
        Principal::DirectRemoteIp(addresses) => addresses.holds(question.peer),
        Principal::Header(name, wanted) => header_matches(name, wanted, question.headers, is_strict),
        Principal::Jwt(provider, claim) => question.token.is_some_and(|token| {
            *token.provider == **provider
                && claim.as_ref().is_none_or(|(name, wanted)| {
                    token.claim_matches(name, |value| wanted.matches(value.as_bytes()))
                })
        }),
        Principal::ApiKey(wanted) => question.client.is_some_and(|client| wanted.matches(client.as_bytes())),
    }
}

/// Whether a certificate was verified and has this name: a URI, if it has any; else a DNS name; else its subject.
fn is_authenticated(wanted: &Text, tls: Option<&TlsPeer>) -> bool {
    let Some(certificate) = tls.and_then(|tls| tls.certificate.as_ref()) else { return false };
    let any = |names: &[String]| names.iter().any(|name| wanted.matches(name.as_bytes()));
    match (certificate.uris.is_empty(), certificate.dns_names.is_empty()) {
        (false, _) => any(&certificate.uris),
        (true, false) => any(&certificate.dns_names),
        (true, true) => wanted.matches(certificate.subject.as_bytes()),
    }
}

fn header_matches(name: &str, wanted: &Text, headers: &impl Headers, is_strict: bool) -> bool {
    let mut values = headers.values(name.as_bytes());
    match is_strict {
        true => match values.next() {
            None => false,
            Some(first) => wanted.matches(first) && values.all(|value| wanted.matches(value)),
        },
        // One field may hold several values.
        false => values.any(|value| {
            wanted.matches(value)
                || value.split(|byte| *byte == b',').any(|part| wanted.matches(part.trim_ascii()))
        }),
    }
}

#[cfg(test)]
mod tests;
