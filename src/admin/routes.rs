//! `/routes`: all routes in order, or which one takes a call and why those before it do not.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::request::{AdminError, AdminRequest};
use super::value::Value;
use crate::config::{Config, PathMatch, Route};
use crate::policy::route::why_not;

pub(super) fn page(asked: &AdminRequest) -> Result<Value, AdminError> {
    let view = asked.source().view();
    match asked.query().get("explain") {
        Some(path) => explain(&view.config, path, asked),
        None => {
            let routes = view.config.routes.iter().enumerate();
            let rows = routes.map(|(number, route)| Value::Record(entries(&view.config, number, route)));
            Ok(Value::Record(vec![("routes", rows.collect())]))
        }
    }
}

fn entries(config: &Config, number: usize, route: &Route) -> Vec<(&'static str, Value)> {
    let path = match &route.matching.path {
        PathMatch::Path(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) => format!("prefix {prefix}"),
        PathMatch::Service(service) => format!("service {service}"),
    };
    let headers = route.matching.headers.iter().map(|(name, value)| Value::Text(format!("{name}: {value}")));
    let clusters = route.clusters.iter().map(|choice| {
        let name = &config.clusters[choice.cluster].name;
        Value::Text(if route.clusters.len() == 1 {
            name.clone()
        } else {
            format!("{name} ({})", choice.weight)
        })
    });
    let time = |time: Option<Duration>| time.map(|time| time.as_secs_f64()).into();
    vec![
        ("route", (number + 1).into()),
        ("name", route.name.as_str().into()),
        ("matches", Value::Text(path)),
        ("host", route.matching.host.as_deref().into()),
        ("headers", headers.collect()),
        ("clusters", clusters.collect()),
        ("timeout_s", time(route.timeout)),
        ("max_stream_duration_s", time(route.max_stream_duration)),
        ("idle_timeout_s", time(route.idle_timeout)),
    ]
}

fn explain(config: &Config, path: &str, asked: &AdminRequest) -> Result<Value, AdminError> {
    let path = path.split('?').next().unwrap_or_default();
    let host = asked.query().get("host").unwrap_or_default();
    let mut headers = HeaderMap::new();
    for header in asked.query().all("header") {
        let parsed = header.split_once(':').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            let message = format!("header={header} is not a header: write header=NAME:VALUE");
            return Err(AdminError(StatusCode::BAD_REQUEST, message));
        };
        headers.append(name, value);
    }
    let mut passed = Vec::new();
    let mut taken = None;
    for (number, route) in config.routes.iter().enumerate() {
        match why_not(route, path, without_port(host), &headers) {
            Some(because) => passed.push(Value::Record(vec![
                ("route", (number + 1).into()),
                ("name", route.name.as_str().into()),
                ("because", Value::Text(because)),
            ])),
            None => {
                taken = Some(Value::Record(entries(config, number, route)));
                break;
            }
        }
    }
    let answer = match &taken {
        Some(_) => "this route takes the call",
        None => "no route takes the call: it is answered UNIMPLEMENTED",
    };
    Ok(Value::Record(vec![
        ("path", path.into()),
        ("host", host.into()),
        ("answer", answer.into()),
        ("taken_by", taken.unwrap_or(Value::Null)),
        ("passed_by", passed.into_iter().collect()),
    ]))
}

/// As the gateway looks at an authority.
fn without_port(host: &str) -> &str {
    host.parse::<http::uri::Authority>().ok().map_or(host, |authority| &host[..authority.host().len()])
}
