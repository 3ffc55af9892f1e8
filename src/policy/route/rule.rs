//! The conditions of a route that the indices do not hold, and a call before them.

use std::cmp::Ordering;

use http::HeaderMap;
use http::header::HeaderName;

use crate::config::{self, MILLION, ValueMatcher};

/// Header fields of a call, as routes ask for them. Names are in lower case.
pub trait Headers {
    /// The number of fields, or at least of different names.
    fn count(&self) -> usize;

    /// Names of all fields; one that comes twice may be here twice.
    fn names(&self) -> impl Iterator<Item = &[u8]>;

    /// Values of the fields with this name, in order.
    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]>;
}

impl Headers for HeaderMap {
    fn count(&self) -> usize {
        self.keys_len()
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.keys().map(|name| name.as_str().as_bytes())
    }

    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let name = HeaderName::from_bytes(name).ok();
        name.into_iter().flat_map(|name| self.get_all(name).iter().map(|value| value.as_bytes()))
    }
}

/// A call, as routes ask for it.
#[derive(Debug)]
pub struct Question<'a, H> {
    /// The path, without its query.
    pub path: &'a [u8],
    /// The authority without its port.
    pub host: &'a [u8],
    /// The pseudo-fields of the request as it came.
    pub came: Pseudo<'a>,
    /// The header fields.
    pub headers: &'a H,
    /// Chance, below a million: a route takes the calls whose draw is below its fraction.
    pub draw: u32,
}

/// Pseudo-fields of a request as it came, before its path meant a method.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pseudo<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`: the path, and the query behind a question mark.
    pub path: &'a [u8],
    /// `:authority`, with the port; of HTTP/1.1 `host`.
    pub authority: &'a [u8],
}

impl<'a> Pseudo<'a> {
    /// The query, without its question mark.
    pub(super) fn query(&self) -> &'a [u8] {
        let mark = self.path.iter().position(|byte| *byte == b'?');
        mark.map_or(b"", |mark| &self.path[mark + 1..])
    }

    /// The pseudo-field of this name, unless the name is that of a field. `None` where the request has none.
    pub(super) fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let value = match name {
            ":method" => self.method,
            ":path" => self.path,
            ":authority" => self.authority,
            _ => return None,
        };
        Some(Some(value).filter(|value| !value.is_empty()))
    }
}

/// A header that a route asks for: its name and its value.
pub(super) type Condition = (Box<[u8]>, Box<[u8]>);

/// The parts of a route that the indices do not hold.
#[derive(Debug)]
pub(super) struct Rule {
    /// Header fields with just one value.
    pub(super) headers: Box<[Condition]>,
    header_matchers: Box<[ValueMatcher]>,
    query_parameters: Box<[ValueMatcher]>,
    /// The share of such calls that it takes, in millionths.
    fraction: u32,
    /// False if no call can match: no header can have the name of a condition.
    pub(super) possible: bool,
    /// Where each cluster's share of `0..sum of weights` ends.
    pub(super) shares: Box<[u64]>,
}

impl Rule {
    pub(super) fn new(route: &config::Route) -> Self {
        let conditions = &route.matching.headers;
        let headers: Box<[_]> = conditions
            .iter()
            .filter_map(|(name, value)| {
                let name = name.parse::<HeaderName>().ok()?;
                Some((name.as_str().as_bytes().into(), value.as_bytes().into()))
            })
            .collect();
        let possible = headers.len() == conditions.len();
        let mut sum = 0;
        let shares = route.clusters.iter().map(|cluster| {
            sum += u64::from(cluster.weight);
            sum
        });
        Self {
            headers,
            header_matchers: route.matching.header_matchers.clone().into(),
            query_parameters: route.matching.query_parameters.clone().into(),
            fraction: route.matching.runtime_fraction.unwrap_or(MILLION),
            possible,
            shares: shares.collect(),
        }
    }

    /// Whether it takes every call of its host and its path.
    pub(super) fn is_plain(&self) -> bool {
        self.headers.is_empty() && !self.has_more()
    }

    /// Whether there are conditions besides those on whole values of header fields.
    fn has_more(&self) -> bool {
        self.fraction < MILLION || !self.header_matchers.is_empty() || self.asks_query()
    }

    /// Whether chance has a say.
    pub(super) fn draws(&self) -> bool {
        self.fraction < MILLION
    }

    fn asks_query(&self) -> bool {
        !self.query_parameters.is_empty()
    }

    /// Whether the request as it came has a say.
    pub(super) fn asks_request(&self) -> bool {
        self.asks_query() || self.header_matchers.iter().any(|matcher| matcher.name.starts_with(':'))
    }
}

/// A look-up under way.
pub(super) struct Search<'a, H> {
    pub(super) rules: &'a [Rule],
    pub(super) question: &'a Question<'a, H>,
    /// Memory for values that are joined.
    pub(super) joined: &'a mut Vec<u8>,
    /// The least index of a route that matches, so far.
    pub(super) best: u32,
    /// The least index of a route about which chance has decided.
    pub(super) drawn: u32,
}

impl<H: Headers> Search<'_, H> {
    /// Whether the call meets all conditions of a route of its host and its path. `found_by_header`: the first header
    /// condition of a route that has only one is met.
    pub(super) fn meets(&mut self, index: u32, found_by_header: bool) -> bool {
        let rule = &self.rules[index as usize];
        let headers = self.question.headers;
        let met = found_by_header && rule.headers.len() == 1
            || rule.headers.iter().all(|(name, value)| matches(headers, name, value));
        if !met || !rule.has_more() {
            return met;
        }
        let joined = &mut *self.joined;
        let came = &self.question.came;
        let of_query = |matcher: &ValueMatcher| matcher.meets(parameter(came.query(), &matcher.name));
        let met = rule.header_matchers.iter().all(|matcher| meets(headers, came, matcher, joined))
            && rule.query_parameters.iter().all(of_query);
        if met && rule.draws() {
            self.drawn = self.drawn.min(index);
            return self.question.draw < rule.fraction;
        }
        met
    }
}

/// The first value of a parameter, as it came.
pub(super) fn parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"=") }
    })
}

/// Whether the values of a header field, or a pseudo-field, meet a condition. Several are joined, in `joined`.
pub(super) fn meets(
    headers: &impl Headers,
    came: &Pseudo<'_>,
    matcher: &ValueMatcher,
    joined: &mut Vec<u8>,
) -> bool {
    if let Some(value) = came.get(&matcher.name) {
        return matcher.meets(value);
    }
    let name = matcher.name.as_bytes();
    let mut all = headers.values(name);
    let (first, second) = (all.next(), all.next());
    let (Some(first), Some(second)) = (first, second) else { return matcher.meets(first) };
    joined.clear();
    joined.extend_from_slice(first);
    for value in std::iter::once(second).chain(all) {
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    matcher.meets(Some(joined))
}

/// Whether the header is there with just this value.
///
/// A header that is sent several times means its values, joined with a comma (RFC 9110 section 5.3). So the joined
/// value must be equal. Were one equal value enough, or the first, a client could enter a route that asks for one
/// value. It would then bring the service a second one that it prefers.
///
/// A further value therefore always leads out of a route. So a route cannot keep a value away from the routes below it
/// (CVE-2026-26308 was that, in Envoy's deny rules). Routes should name values that may pass.
pub(super) fn matches(headers: &impl Headers, name: &[u8], wanted: &[u8]) -> bool {
    headers.values(name).next().is_some() && compare(headers.values(name), wanted) == Ordering::Equal
}

/// Compares the values, joined with a comma, to `wanted`, without joining them.
pub(super) fn compare<'a>(sent: impl Iterator<Item = &'a [u8]>, wanted: &[u8]) -> Ordering {
    let mut rest = wanted;
    for (position, value) in sent.enumerate() {
        for part in [if position == 0 { b"" } else { b",".as_slice() }, value] {
            let common = part.len().min(rest.len());
            let (head, tail) = rest.split_at(common);
            match part[..common].cmp(head) {
                Ordering::Equal if common < part.len() => return Ordering::Greater,
                Ordering::Equal => rest = tail,
                different => return different,
            }
        }
    }
    if rest.is_empty() { Ordering::Equal } else { Ordering::Less }
}

/// The index of no route.
pub(super) const NONE: u32 = u32::MAX;
