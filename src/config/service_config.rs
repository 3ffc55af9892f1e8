//! A gRPC service config, the JSON file that gRPC clients take, read as it is.
//!
//! The gateway uses its timeouts, retries, hedging and retry throttle (gRFC A6,
//! `grpc/service_config/service_config.proto` in grpc-proto). As gRPC does, it passes over other keys: `waitForReady`,
//! message sizes, load balancing. These are the client's own, or set elsewhere here.

use std::time::Duration;

use serde_json::{Map, Value};

use super::codes::Codes;
use super::resilience::{Hedging, Retry, Throttling};
use super::units;

/// The parts of a gRPC service config that the gateway uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    /// Settings of methods; no name is in two of them.
    pub methods: Vec<MethodConfig>,
    /// The retry throttle.
    pub throttling: Option<Throttling>,
}

/// The settings of some methods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodConfig {
    /// The methods that these settings are for.
    pub names: Vec<MethodName>,
    /// The longest time of a call.
    pub timeout: Option<Duration>,
    /// The retry policy. Not together with `hedging`.
    pub retry: Option<Retry>,
    /// The hedging policy.
    pub hedging: Option<Hedging>,
}

/// A method, all of a service, or all there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MethodName {
    /// All methods that no other name is for.
    Default,
    /// `/{service}/` and any method that is not named itself.
    Service(String),
    /// `/{service}/{method}`.
    Method(String),
}

impl ServiceConfig {
    /// The settings for a path: the method's own, else its service's, else those for all. Looks at every name, so
    /// callers on the request path keep the result.
    pub fn find(&self, path: &str) -> Option<&MethodConfig> {
        let rank = |name: &MethodName| match name {
            _ if !name.covers(path) => 0,
            MethodName::Method(_) => 3,
            MethodName::Service(_) => 2,
            MethodName::Default => 1,
        };
        let best = |method: &MethodConfig| method.names.iter().map(rank).max().unwrap_or(0);
        self.methods.iter().filter(|method| best(method) > 0).max_by_key(|method| best(method))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first error, with its place in the tree: `methodConfig[0].retryPolicy.maxAttempts must be ...`.
    pub fn parse(text: &str) -> Result<ServiceConfig, String> {
        let tree: Value = serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
        let root = Node { at: String::new(), it: &tree };
        let config = root.object()?;
        let methods: Vec<MethodConfig> =
            list(config, "", "methodConfig")?.iter().map(method).collect::<Result<_, _>>()?;
        let mut seen = std::collections::HashSet::new();
        for name in methods.iter().flat_map(|method| &method.names) {
            if !seen.insert(name) {
                return Err(format!("methodConfig names {name} twice"));
            }
        }
        let throttling = member(config, "", "retryThrottling").map(|node| throttling(&node)).transpose()?;
        Ok(ServiceConfig { methods, throttling })
    }
}

impl MethodName {
    /// Whether this path is one of the methods.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            MethodName::Default => true,
            MethodName::Service(service) => service_of(path) == Some(service),
            MethodName::Method(named) => named == path,
        }
    }
}

fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(service, _)| service)
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MethodName::Default => f.write_str("all methods"),
            MethodName::Service(service) => write!(f, "/{service}/"),
            MethodName::Method(path) => f.write_str(path),
        }
    }
}

/// A value and its position.
struct Node<'a> {
    at: String,
    it: &'a Value,
}

impl<'a> Node<'a> {
    fn object(&self) -> Result<&'a Map<String, Value>, String> {
        self.it.as_object().ok_or_else(|| self.must_be("an object"))
    }

    fn must_be(&self, wanted: &str) -> String {
        match self.at.as_str() {
            "" => format!("the file must be {wanted}"),
            at => format!("{at} must be {wanted}"),
        }
    }

    /// A `google.protobuf.Duration` in JSON: `"1.5s"`.
    fn duration(&self) -> Result<Duration, String> {
        let text = self.it.as_str().filter(|text| text.strip_suffix('s').is_some_and(ends_with_digit));
        text.and_then(|text| units::duration(text).ok())
            .ok_or_else(|| self.must_be("a duration in seconds, such as \"0.1s\""))
    }

    fn duration_above_zero(&self) -> Result<Duration, String> {
        let duration = self.duration()?;
        if duration.is_zero() { Err(self.must_be("above 0")) } else { Ok(duration) }
    }

    fn number_above_zero(&self) -> Result<f64, String> {
        self.it.as_f64().filter(|number| *number > 0.0).ok_or_else(|| self.must_be("a number above 0"))
    }

    /// A6: at least 2, and more than 5 are 5.
    fn attempts(&self) -> Result<u32, String> {
        let attempts = self.it.as_u64().filter(|attempts| *attempts > 1);
        let attempts = attempts.ok_or_else(|| self.must_be("a whole number above 1"))?;
        Ok(u32::try_from(attempts.min(ATTEMPTS_MAX)).unwrap_or(u32::MAX))
    }

    /// Codes by name or number.
    fn codes(&self) -> Result<Codes, String> {
        let wanted = || self.must_be("a list of gRPC codes, such as [\"UNAVAILABLE\"]");
        let items = self.it.as_array().ok_or_else(wanted)?;
        items.iter().try_fold(Codes::NONE, |codes, item| {
            let number = match item {
                Value::String(name) => Codes::number(name),
                number => number.as_u64().and_then(|number| u8::try_from(number).ok()),
            };
            let number = number.filter(|number| (1..Codes::NAMES.len()).contains(&usize::from(*number)));
            number.map(|number| codes.with(number)).ok_or_else(wanted)
        })
    }
}

fn ends_with_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

/// A key of an object. `null` is as good as none, as in all JSON of protobuf messages.
fn member<'a>(object: &'a Map<String, Value>, at: &str, key: &str) -> Option<Node<'a>> {
    let it = object.get(key).filter(|value| !value.is_null())?;
    let at = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    Some(Node { at, it })
}

fn needed<'a>(object: &'a Map<String, Value>, at: &str, key: &str) -> Result<Node<'a>, String> {
    member(object, at, key).ok_or_else(|| format!("{at}.{key} is missing"))
}

fn list<'a>(object: &'a Map<String, Value>, at: &str, key: &str) -> Result<Vec<Node<'a>>, String> {
    let Some(node) = member(object, at, key) else { return Ok(Vec::new()) };
    let items = node.it.as_array().ok_or_else(|| node.must_be("a list"))?;
    let item = |(number, it)| Node { at: format!("{}[{number}]", node.at), it };
    Ok(items.iter().enumerate().map(item).collect())
}

fn method(node: &Node<'_>) -> Result<MethodConfig, String> {
    let object = node.object()?;
    let names = list(object, &node.at, "name")?.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(format!("{}.name is missing: for all methods it is [{{}}]", node.at));
    }
    let get = |key| member(object, &node.at, key);
    let retry = get("retryPolicy").map(|node| retry(&node)).transpose()?;
    let hedging = get("hedgingPolicy").map(|node| hedging(&node)).transpose()?;
    if retry.is_some() && hedging.is_some() {
        return Err(format!("{} has both retryPolicy and hedgingPolicy: only one of them can be", node.at));
    }
    let timeout = get("timeout").map(|node| node.duration()).transpose()?;
    Ok(MethodConfig { names, timeout, retry, hedging })
}

fn name(node: &Node<'_>) -> Result<MethodName, String> {
    let object = node.object()?;
    let text = |key| match member(object, &node.at, key) {
        None => Ok(""),
        Some(node) => node.it.as_str().ok_or_else(|| node.must_be("a string")),
    };
    match (text("service")?, text("method")?) {
        ("", "") => Ok(MethodName::Default),
        ("", _) => Err(format!("{}.service is missing", node.at)),
        (service, "") => Ok(MethodName::Service(service.to_owned())),
        (service, method) => Ok(MethodName::Method(format!("/{service}/{method}"))),
    }
}

fn retry(node: &Node<'_>) -> Result<Retry, String> {
    let object = node.object()?;
    let get = |key| needed(object, &node.at, key);
    let codes = get("retryableStatusCodes")?;
    let retry = Retry {
        max_attempts: get("maxAttempts")?.attempts()?,
        initial_backoff: get("initialBackoff")?.duration_above_zero()?,
        backoff_multiplier: get("backoffMultiplier")?.number_above_zero()?,
        max_backoff: get("maxBackoff")?.duration_above_zero()?,
        retryable_status_codes: codes.codes()?,
    };
    if retry.retryable_status_codes.is_empty() {
        return Err(codes.must_be("a list with at least one code"));
    }
    Ok(retry)
}

fn hedging(node: &Node<'_>) -> Result<Hedging, String> {
    let object = node.object()?;
    let get = |key| member(object, &node.at, key);
    Ok(Hedging {
        max_attempts: needed(object, &node.at, "maxAttempts")?.attempts()?,
        hedging_delay: get("hedgingDelay").map_or(Ok(Duration::ZERO), |node| node.duration())?,
        non_fatal_status_codes: get("nonFatalStatusCodes").map_or(Ok(Codes::NONE), |node| node.codes())?,
    })
}

fn throttling(node: &Node<'_>) -> Result<Throttling, String> {
    let object = node.object()?;
    let tokens = needed(object, &node.at, "maxTokens")?;
    let max_tokens = tokens.it.as_u64().filter(|tokens| (1..=1000).contains(tokens));
    let max_tokens = max_tokens.ok_or_else(|| tokens.must_be("a whole number between 1 and 1000"))?;
    let ratio = needed(object, &node.at, "tokenRatio")?;
    // A6: three digits after the dot count.
    let thousandths = (ratio.number_above_zero()? * 1000.0).min(1e6) as u32;
    if thousandths == 0 {
        return Err(ratio.must_be("at least 0.001"));
    }
    Ok(Throttling {
        max_tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        token_ratio_thousandths: thousandths,
    })
}

const ATTEMPTS_MAX: u64 = 5;
