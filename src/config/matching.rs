//! The condition of a route: which calls it takes.

use std::fmt;

use super::regex::Regex;

/// A fraction of calls is in millionths.
pub const MILLION: u32 = 1_000_000;

/// The condition of a route. A call has to meet all parts that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The condition on the path.
    pub path: PathMatch,
    /// The call's authority without its port. `None` where it is not set.
    ///
    /// In lower case; `*.example.com` matches any one or more labels before the rest.
    pub host: Option<String>,
    /// Header fields that must be there with just this value: `{ "x-canary" = "1" }`.
    ///
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Further conditions on header fields (Envoy's words), all of which must hold.
    ///
    /// Names in lower case.
    pub header_matchers: Vec<ValueMatcher>,
    /// Conditions on parameters of the query, all of which must hold.
    pub query_parameters: Vec<ValueMatcher>,
    /// The share of such calls that the route takes, in millionths. `None` for all of them.
    pub runtime_fraction: Option<u32>,
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// `/{service}/` and any method.
    Service(String),
    /// The path begins with this, which begins with a slash.
    Prefix(String),
    /// The path is this, or begins with this and a slash.
    SeparatedPrefix(String),
    /// This path alone: `/{service}/{method}`.
    Path(String),
    /// The whole path matches.
    Regex(Regex),
}

impl Default for PathMatch {
    /// All paths.
    fn default() -> PathMatch {
        PathMatch::Prefix("/".to_owned())
    }
}

impl PathMatch {
    /// Whether a call of this path meets the condition.
    pub fn takes(&self, path: &str) -> bool {
        let goes_on = |rest: &str| rest.starts_with('/');
        match self {
            PathMatch::Service(service) => path
                .strip_prefix('/')
                .and_then(|rest| rest.strip_prefix(service.as_str()))
                .is_some_and(goes_on),
            PathMatch::Prefix(prefix) => path.starts_with(prefix),
            PathMatch::SeparatedPrefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || goes_on(rest))
            }
            PathMatch::Path(known) => path == known,
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathMatch::Service(service) => write!(f, "service:{service}"),
            PathMatch::Prefix(prefix) => write!(f, "prefix:{prefix}"),
            PathMatch::SeparatedPrefix(prefix) => write!(f, "path_separated_prefix:{prefix}"),
            PathMatch::Path(path) => write!(f, "path:{path}"),
            PathMatch::Regex(regex) => write!(f, "safe_regex:{}", regex.as_str()),
        }
    }
}

/// A condition on the value of a header field, or of a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMatcher {
    /// The name of the field or the parameter.
    pub name: String,
    /// The condition.
    pub value: ValueMatch,
    /// The value must not meet the condition. It has to be there all the same.
    pub invert: bool,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It ends with this.
    Suffix(String),
    /// It has this in it.
    Contains(String),
    /// All of it matches.
    Regex(Regex),
    /// It is a whole number, from the first of these to below the second.
    Range(i64, i64),
    /// It is there, or it is not.
    Present(bool),
}

impl ValueMatcher {
    /// Whether a value meets the condition; `None` is one that is not there, which only its absence can be asked for.
    pub fn meets(&self, value: Option<&[u8]>) -> bool {
        if let ValueMatch::Present(wanted) = self.value {
            return (value.is_some() == wanted) != self.invert;
        }
        let Some(value) = value else { return false };
        let meets = match &self.value {
            ValueMatch::Exact(text) => value == text.as_bytes(),
            ValueMatch::Prefix(text) => value.starts_with(text.as_bytes()),
            ValueMatch::Suffix(text) => value.ends_with(text.as_bytes()),
            ValueMatch::Contains(text) => {
                text.is_empty() || value.windows(text.len()).any(|part| part == text.as_bytes())
            }
            ValueMatch::Regex(regex) => regex.is_match(value),
            ValueMatch::Range(from, to) => number(value).is_some_and(|number| (*from..*to).contains(&number)),
            ValueMatch::Present(_) => true,
        };
        meets != self.invert
    }
}

/// A whole number, as it is written in a field.
fn number(value: &[u8]) -> Option<i64> {
    str::from_utf8(value).ok()?.parse().ok()
}

impl fmt::Display for ValueMatcher {
    /// In short: `x-a:1`, `x-a:1*`, `x-a:*1`, `x-a:*1*`, `x-a~[0-9]+`, `x-a:0..10`, `x-a`, and `!` before what is inverted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValueMatcher { name, value, invert } = self;
        let not = if *invert != (*value == ValueMatch::Present(false)) { "!" } else { "" };
        match value {
            ValueMatch::Exact(text) => write!(f, "{not}{name}:{text}"),
            ValueMatch::Prefix(text) => write!(f, "{not}{name}:{text}*"),
            ValueMatch::Suffix(text) => write!(f, "{not}{name}:*{text}"),
            ValueMatch::Contains(text) => write!(f, "{not}{name}:*{text}*"),
            ValueMatch::Regex(regex) => write!(f, "{not}{name}~{}", regex.as_str()),
            ValueMatch::Range(from, to) => write!(f, "{not}{name}:{from}..{to}"),
            ValueMatch::Present(_) => write!(f, "{not}{name}"),
        }
    }
}

impl fmt::Display for Match {
    /// In short, as a route is called that has no name: `service:bench.v1.Echo host:api.example.com x-canary:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(host) = &self.host {
            write!(f, " host:{host}")?;
        }
        for (name, value) in &self.headers {
            write!(f, " {name}:{value}")?;
        }
        for matcher in &self.header_matchers {
            write!(f, " {matcher}")?;
        }
        for matcher in &self.query_parameters {
            write!(f, " ?{matcher}")?;
        }
        match self.runtime_fraction {
            Some(millionths) => write!(f, " {}%", Percent(millionths)),
            None => Ok(()),
        }
    }
}

/// Millionths in percent.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(MILLION / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_meets_its_condition_or_does_not() {
        let regex = |text: &str| ValueMatch::Regex(Regex::new(text).expect(text));
        for (value, met, not_met) in [
            (ValueMatch::Exact("ab".into()), &["ab"][..], &["", "a", "abc", "AB"][..]),
            (ValueMatch::Prefix("ab".into()), &["ab", "abc"], &["a", "xab"]),
            (ValueMatch::Suffix("ab".into()), &["ab", "xab"], &["b", "abc"]),
            (ValueMatch::Contains("ab".into()), &["ab", "xabc"], &["a", "ba", ""]),
            (regex("[0-9]{3}"), &["123"], &["1234", "12", ""]),
            (
                ValueMatch::Range(-10, 0),
                &["-1", "-10"],
                &["0", "-11", "", "-1.5", " -1", "99999999999999999999"],
            ),
        ] {
            for invert in [false, true] {
                let matcher = ValueMatcher { name: "x".to_owned(), value: value.clone(), invert };
                assert!(met.iter().all(|value| matcher.meets(Some(value.as_bytes())) != invert), "{matcher}");
                assert!(
                    not_met.iter().all(|value| matcher.meets(Some(value.as_bytes())) == invert),
                    "{matcher}"
                );
                assert!(!matcher.meets(None), "a value that is not there meets nothing: {matcher}");
            }
        }
        for (present, invert, there, missing) in
            [(true, false, true, false), (false, false, false, true), (true, true, false, true)]
        {
            let matcher = ValueMatcher { name: "x".to_owned(), value: ValueMatch::Present(present), invert };
            assert_eq!((matcher.meets(Some(b"")), matcher.meets(None)), (there, missing), "{matcher}");
        }
    }
}
