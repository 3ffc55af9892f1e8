//! Rules that say who may call, in the words of Envoy's RBAC filter.

use super::addresses::Addresses;

/// Rules that say who may call, and rules that are only counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rbac {
    /// The rules in force.
    pub rules: Rules,
    /// Rules that change nothing: what they would refuse is counted. `None` where it is not set.
    pub shadow_rules: Option<Rules>,
}

/// An action, and the policies that decide about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The effect of a policy that matches: only such calls pass; no such call passes; nothing.
    pub action: Action,
    /// A policy matches if one of its permissions and one of its principals do.
    pub policies: Vec<Policy>,
}

/// The effect of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Calls that match are allowed, others are not.
    Allow,
    /// Calls that match are not allowed, others are.
    Deny,
    /// All calls are allowed.
    Log,
}

/// A policy: who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Calls that the policy is about.
    pub permissions: Vec<Condition<Permission>>,
    /// Callers that the policy is about.
    pub principals: Vec<Condition<Principal>>,
}

/// Terms that all have to hold; each may be negated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition<T>(pub Vec<(bool, T)>);

/// A condition on what is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    Any,
    /// The path, without its query.
    Path(Text),
    /// A header field.
    Header(String, Text),
    /// The port of the listener.
    Port(u16),
    /// The server name of TLS.
    ServerName(Text),
}

/// A condition on who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Everybody.
    Any,
    /// A caller whose certificate was verified: a URI of it, or else a DNS name, or else its subject.
    Authenticated(Text),
    /// The caller's address.
    RemoteIp(Addresses),
    /// The address of the connection's peer.
    DirectRemoteIp(Addresses),
    /// A header field.
    Header(String, Text),
    /// A token of this provider, and if there is a claim, its value.
    Jwt(String, Option<(String, Text)>),
    /// The client of an API key.
    ApiKey(Text),
}

/// A condition on text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Anything.
    Any,
    /// Just this.
    Exact(String),
    /// A text that begins with this.
    Prefix(String),
    /// A text that ends with this.
    Suffix(String),
    /// A text that has this in it.
    Contains(String),
}

impl Text {
    /// Reads a pattern: a star at its beginning or its end stands for anything.
    pub fn parse(pattern: &str) -> Text {
        let inner = pattern.strip_prefix('*');
        let (from, whole) = (inner.is_some(), inner.unwrap_or(pattern));
        match (from, whole.strip_suffix('*')) {
            (true, None) if whole.is_empty() => Text::Any,
            (true, Some("")) | (false, Some("")) => Text::Any,
            (true, Some(middle)) => Text::Contains(middle.to_owned()),
            (false, Some(start)) => Text::Prefix(start.to_owned()),
            (true, None) => Text::Suffix(whole.to_owned()),
            (false, None) => Text::Exact(whole.to_owned()),
        }
    }

    /// Whether the text meets the condition.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Text::Any => true,
            Text::Exact(wanted) => text.len() == wanted.len() && begins_with(text, wanted.as_bytes()),
            Text::Prefix(wanted) => begins_with(text, wanted.as_bytes()),
            Text::Suffix(wanted) => text.ends_with(wanted.as_bytes()),
            Text::Contains(wanted) => text.windows(wanted.len()).any(|window| window == wanted.as_bytes()),
        }
    }
}

/// Whether the text begins so. Names of one system mostly begin alike, so the last bytes are compared first, and in place.
#[inline]
fn begins_with(text: &[u8], wanted: &[u8]) -> bool {
    const WORD: usize = 8;
    let Some(start) = text.get(..wanted.len()) else { return false };
    match (start.last_chunk::<WORD>(), wanted.last_chunk::<WORD>()) {
        (Some(ours), Some(theirs)) if ours != theirs => false,
        _ => start == wanted,
    }
}
