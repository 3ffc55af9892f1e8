//! `/routes`: all routes in order, or which one takes a call and why those before it do not.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::request::{AdminError, AdminRequest};
use super::value::Value;
use crate::config::{Config, LocalResponse, MILLION, PathRewrite, Route};
use crate::policy::rbac::{self, Rbac};
use crate::policy::route::{Pseudo, Question, why_not};
use crate::transcode::rules::{Captures, Found};

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
    let matching = &route.matching;
    let path = matching.path.to_string().replacen(':', " ", 1);
    let headers = matching.headers.iter().map(|(name, value)| Value::Text(format!("{name}: {value}")));
    let headers = headers.chain(matching.header_matchers.iter().map(|it| Value::Text(it.to_string())));
    let parameters = matching.query_parameters.iter().map(|it| Value::Text(it.to_string()));
    let percent =
        matching.runtime_fraction.map(|millionths| f64::from(millionths) / f64::from(MILLION / 100));
    let clusters = route.clusters.iter().map(|choice| {
        let name = &config.clusters[choice.cluster].name;
        Value::Text(if route.clusters.len() == 1 {
            name.clone()
        } else {
            format!("{name} ({})", choice.weight)
        })
    });
    let response = route.actions.response.as_ref().map(|response| match response {
        LocalResponse::Direct(direct) => format!("status {}", direct.status),
        LocalResponse::Redirect(redirect) => format!("redirect {}", redirect.status),
    });
    let time = |time: Option<Duration>| time.map(|time| time.as_secs_f64()).into();
    vec![
        ("route", (number + 1).into()),
        ("name", route.name.as_str().into()),
        ("matches", Value::Text(path)),
        ("host", matching.host.as_deref().into()),
        ("headers", headers.collect()),
        ("query_parameters", parameters.collect()),
        ("runtime_fraction", percent.into()),
        ("clusters", clusters.collect()),
        ("rewrite", route.actions.rewrite.as_ref().map(rewrite).map_or(Value::Null, Value::Text)),
        ("answers", response.map_or(Value::Null, Value::Text)),
        ("timeout_s", time(route.timeout)),
        ("max_stream_duration_s", time(route.max_stream_duration)),
        ("idle_timeout_s", time(route.idle_timeout)),
    ]
}

/// A rewrite of a path, in short.
fn rewrite(rewrite: &PathRewrite) -> String {
    match rewrite {
        PathRewrite::Prefix { by, .. } => format!("{by}..."),
        PathRewrite::Regex(substitution) => {
            format!("{} -> {}", substitution.pattern(), substitution.template())
        }
    }
}

fn explain(config: &Config, path: &str, asked: &AdminRequest) -> Result<Value, AdminError> {
    let (whole, path) = (path, path.split('?').next().unwrap_or(path));
    let host = asked.query().get("host").unwrap_or_default();
    let headers = headers(asked)?;
    let question = Question {
        path: path.as_bytes(),
        host: without_port(host).as_bytes(),
        came: Pseudo {
            // A call of gRPC, unless the page is asked about plain HTTP.
            method: asked.query().get("method").unwrap_or("POST").as_bytes(),
            path: whole.as_bytes(),
            authority: host.as_bytes(),
        },
        headers: &headers,
        // The draw that no fraction has.
        draw: MILLION,
    };
    let mut means = None;
    let (mut passed, mut taken) = search(config, &question);
    if let Some(method) = asked.query().get("method") {
        // A path of plain HTTP means something to routes that take such paths, and else a method.
        if !taken.is_some_and(|number| config.routes[number].actions.takes_paths()) {
            let rpc = method_of(asked, method, path);
            (passed, taken) = match &rpc {
                Ok(rpc) => search(config, &Question { path: rpc.as_bytes(), ..question }),
                Err(_) => (Vec::new(), None),
            };
            means = Some(rpc.unwrap_or_else(|reason| reason));
        }
    }
    let answer = match taken.map(|number| &config.routes[number].actions.response) {
        Some(None) => "this route takes the call",
        Some(Some(_)) => "this route answers the call by itself",
        None if means.as_ref().is_some_and(|means| !means.starts_with('/')) => "the request means no method",
        None => "no route takes the call: it is answered UNIMPLEMENTED",
    };
    let route = taken.map(|number| &config.routes[number]);
    let client = client(asked)?;
    // Rules see the path of the method that a request of plain HTTP means.
    let seen = means.as_deref().filter(|means| means.starts_with('/')).unwrap_or(path);
    let access = client.map(|client| access(config, route, client, seen, &headers));
    let taken = taken.map(|number| Value::Record(entries(config, number, &config.routes[number])));
    Ok(Value::Record(vec![
        ("path", path.into()),
        ("host", host.into()),
        ("means", means.map_or(Value::Null, Value::Text)),
        ("answer", answer.into()),
        ("taken_by", taken.unwrap_or(Value::Null)),
        ("passed_by", passed.into_iter().collect()),
        ("client", client.map_or(Value::Null, |client| Value::Text(client.to_string()))),
        ("access", access.unwrap_or(Value::Null)),
    ]))
}

/// The address of the client that is asked about.
fn client(asked: &AdminRequest) -> Result<Option<IpAddr>, AdminError> {
    let Some(text) = asked.query().get("client") else { return Ok(None) };
    let refused = || AdminError(StatusCode::BAD_REQUEST, format!("client={text} is not an IP address"));
    text.parse().map(Some).map_err(|_| refused())
}

/// Whether a client of this address may connect to each listener, and what the rules of the route say of its call without
/// a certificate, a token or a key.
fn access(config: &Config, route: Option<&Route>, client: IpAddr, path: &str, headers: &HeaderMap) -> Value {
    let rules = route.and_then(|route| route.policies.rbac.as_ref()).map(Rbac::new);
    let rows = config.listeners.iter().map(|listener| {
        // Who comes by a Unix socket has no address.
        let client = listener.address.tcp().map(|_| client);
        let verdict = rules.as_ref().map(|rules| {
            let question = rbac::Question {
                path: path.as_bytes(),
                headers,
                caller: client,
                peer: client,
                port: listener.address.port(),
                tls: None,
                token: None,
                client: None,
            };
            rules.authorize(&question)
        });
        let word = |allowed: Option<bool>| match allowed {
            Some(true) => Value::from("allowed"),
            Some(false) => Value::from("denied"),
            None => Value::Null,
        };
        Value::Record(vec![
            ("listener", Value::Text(listener.address.to_string())),
            ("connects", listener.admission.admits(client).into()),
            ("rbac", word(verdict.map(|verdict| verdict.allowed))),
            ("shadow_rbac", word(verdict.and_then(|verdict| verdict.shadow))),
        ])
    });
    rows.collect()
}

/// The route that takes a call, and why those before it do not.
fn search(config: &Config, question: &Question<'_, HeaderMap>) -> (Vec<Value>, Option<usize>) {
    let mut passed = Vec::new();
    for (number, route) in config.routes.iter().enumerate() {
        let Some(because) = why_not(route, question) else { return (passed, Some(number)) };
        passed.push(Value::Record(vec![
            ("route", (number + 1).into()),
            ("name", route.name.as_str().into()),
            ("because", Value::Text(because)),
        ]));
    }
    (passed, None)
}

/// The path of the method that a request of plain HTTP means, or why it means none.
fn method_of(asked: &AdminRequest, method: &str, path: &str) -> Result<String, String> {
    let api = asked.source().api().ok_or("there are no descriptors, so JSON is off")?;
    match api.find(method, path, &mut Captures::default()) {
        Found::Rule(rule) | Found::Head(rule) => {
            Ok(api.methods()[api.rules()[rule].method].path.as_str().to_owned())
        }
        Found::WrongMethod(allow) => Err(format!("this path is for {allow}")),
        Found::Nothing => Err("no method is mapped to this path".to_owned()),
        Found::Unreadable(reason) => Err(reason.message().to_owned()),
    }
}

/// The header fields that are asked about.
fn headers(asked: &AdminRequest) -> Result<HeaderMap, AdminError> {
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
    Ok(headers)
}

/// As the gateway looks at an authority.
fn without_port(host: &str) -> &str {
    host.parse::<http::uri::Authority>().ok().map_or(host, |authority| &host[..authority.host().len()])
}
