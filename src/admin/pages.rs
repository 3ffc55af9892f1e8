//! Every path of the admin address, in one table.

use http::header::{ALLOW, VARY};
use http::{HeaderValue, Method, StatusCode};

use super::request::{AdminError, AdminRequest};
use super::response::{self, AdminResponse};
use super::value::Value;
use super::view::Hooks;
use super::{breakers, calls, clusters, openapi, process, routes, settings, workers};

/// A page: its path, and the function that serves it.
struct Page {
    path: &'static str,
    methods: &'static [Method],
    /// For the index.
    about: &'static str,
    /// Whether it is there at all.
    exists: fn(&Hooks) -> bool,
    serve: fn(&AdminRequest) -> Result<AdminResponse, AdminError>,
}

const GET: &[Method] = &[Method::GET, Method::HEAD];
const POST: &[Method] = &[Method::POST];
const GET_AND_POST: &[Method] = &[Method::GET, Method::HEAD, Method::POST];

/// The page that is not made at once.
const TAP: &str = "/tap";

/// Whether the response is live, and nothing else is to be said.
pub(super) fn is_live(asked: &AdminRequest) -> bool {
    asked.path == TAP && asked.method == Method::GET && asked.means_this_host()
}

fn always(_: &Hooks) -> bool {
    true
}

/// All pages. A page of its own for something new is one row and one function.
#[rustfmt::skip]
const PAGES: &[Page] = &[
    Page { path: "/", methods: GET, exists: always, serve: dashboard,
        about: "the dashboard; this list with ?format=text" },
    Page { path: "/ready", methods: GET, exists: always, serve: ready,
        about: "200 while new calls are welcome, 503 while draining" },
    Page { path: "/live", methods: GET, exists: always, serve: |_| Ok(AdminResponse::text("live\n")),
        about: "200 while the process runs" },
    Page { path: "/metrics", methods: GET, exists: always, serve: metrics,
        about: "counters for Prometheus, also as OpenMetrics with exemplars" },
    Page { path: "/workers", methods: GET, exists: always, serve: |asked| Ok(asked.page(workers::page(asked))),
        about: "where each worker runs and what it does" },
    Page { path: "/clusters", methods: GET, exists: always, serve: |asked| Ok(asked.page(clusters::page(asked))),
        about: "each endpoint: its state, connections and calls" },
    Page { path: "/calls", methods: GET, exists: always, serve: |asked| Ok(asked.page(calls::page(asked))),
        about: "the calls of each route, cluster and method, those that fail first" },
    Page { path: "/breakers", methods: GET, exists: always, serve: |asked| Ok(asked.page(breakers::page(asked))),
        about: "each breaker: its state, and how often it changed" },
    Page { path: "/routes", methods: GET, exists: always, serve: |asked| routes::page(asked).map(|page| asked.page(page)),
        about: "all routes in order; ?explain=PATH&host=NAME&header=NAME:VALUE says which one takes a call, and why; with &method=GET the path is one of JSON" },
    Page { path: "/config", methods: GET, exists: always, serve: |asked| Ok(settings::page(asked)),
        about: "the configuration with every default" },
    Page { path: "/config/waiting", methods: GET, exists: always, serve: |asked| Ok(asked.page(settings::waiting(asked))),
        about: "the keys whose values in the file wait for a restart" },
    Page { path: "/config/reload", methods: POST, exists: |hooks| hooks.reload.is_some(), serve: settings::reload,
        about: "POST: reads the configuration again and applies it" },
    Page { path: "/openapi", methods: GET, exists: always, serve: openapi::page,
        about: "what can be called with JSON, to click through" },
    Page { path: "/openapi.json", methods: GET, exists: always, serve: openapi::document,
        about: "the same as OpenAPI 3.1" },
    Page { path: TAP, methods: GET, exists: always, serve: |_| Ok(AdminResponse::text("")),
        about: "JSON: the calls that pass, live, a line each; ?path= status= errors=1 route= cluster= protocol= client= min_ms= sample= seconds=" },
    Page { path: "/history", methods: GET, exists: always, serve: |asked| Ok(workers::history(asked)),
        about: "JSON: each of the last seconds; ?from=NUMBER leaves out what came before" },
    Page { path: "/log_level", methods: GET_AND_POST, exists: |hooks| hooks.log_level.is_some(), serve: settings::log_level,
        about: "how much is logged; POST ?level=error|warn|info|debug|trace|off changes it" },
    Page { path: "/drain", methods: POST, exists: always, serve: drain,
        about: "POST: finish what was begun and exit, as on SIGTERM" },
];

/// The response to a request.
pub(super) fn answer(asked: &AdminRequest) -> AdminResponse {
    let hooks = asked.source().hooks();
    let pages = || PAGES.iter().filter(|page| (page.exists)(hooks));
    let Some(page) = pages().find(|page| page.path == asked.path) else {
        let paths: Vec<&str> = pages().map(|page| page.path).collect();
        return AdminResponse::error(
            StatusCode::NOT_FOUND,
            &format!("no such path; there are {}", paths.join(" ")),
        );
    };
    if !page.methods.contains(&asked.method) {
        let allowed: Vec<&str> = page.methods.iter().map(Method::as_str).collect();
        let allowed = allowed.join(", ");
        let message = format!("only {allowed} here");
        let allow = HeaderValue::from_str(&allowed).expect("names of methods are a value");
        return AdminResponse::error(StatusCode::METHOD_NOT_ALLOWED, &message).with(ALLOW, allow);
    }
    // A probe may name any host, and learns nothing else.
    if !asked.is_quick() && !asked.means_this_host() {
        let message = "this host is not in admin.allowed_hosts";
        return AdminResponse::error(StatusCode::FORBIDDEN, message);
    }
    // Any site can make a browser send a POST to an address that only the browser's machine reaches.
    if asked.method == Method::POST && asked.is_of_browser {
        return AdminResponse::error(StatusCode::FORBIDDEN, "not from a browser: use a command such as curl");
    }
    let response = (page.serve)(asked)
        .unwrap_or_else(|AdminError(status, message)| AdminResponse::error(status, &message));
    if asked.takes_gzip { response.gzip() } else { response }
}

fn dashboard(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    match asked.query().get("format") {
        None | Some("html") => Ok(response::page(response::DASHBOARD)),
        Some("json") => Ok(asked.page(index(asked.source().hooks()))),
        Some(_) => {
            Ok(AdminResponse::text(format!("ringway admin\n\n{}", index(asked.source().hooks()).text())))
        }
    }
}

fn index(hooks: &Hooks) -> Value {
    let pages = PAGES.iter().filter(|page| (page.exists)(hooks));
    let row = |page: &Page| Value::Record(vec![("path", page.path.into()), ("about", page.about.into())]);
    Value::Record(vec![("version", env!("CARGO_PKG_VERSION").into()), ("paths", pages.map(row).collect())])
}

fn ready(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    Ok(match asked.source().ready() {
        true => AdminResponse::text("ready\n"),
        false => AdminResponse::text("draining\n").status(StatusCode::SERVICE_UNAVAILABLE),
    })
}

fn metrics(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    let mut page = asked.source().metrics(asked.metrics);
    process::write(&mut page);
    Ok(AdminResponse::of(page.format().content_type(), page.finish())
        .with(VARY, HeaderValue::from_static("accept")))
}

fn drain(asked: &AdminRequest) -> Result<AdminResponse, AdminError> {
    tracing::info!("asked to drain at the admin address");
    asked.source().drain();
    Ok(asked.page(Value::Record(vec![("draining", true.into())])).status(StatusCode::ACCEPTED))
}
