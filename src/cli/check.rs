//! `ringway check`: mistakes, which a gateway would not start with, and warnings, with which it would.

use std::path::Path;
use std::process::ExitCode;

use super::certificates;
use super::refuse::refuse;
use crate::config::{self, Config, LogSink, PathMatch};
use crate::supervisor::host;
use crate::transcode::api::Api;
use crate::transcode::problem::{self, Problem};

/// Checks a file, and says all that is wrong with it.
pub(super) fn check(path: &Path, set: &[String]) -> ExitCode {
    let config = match config::load_with(path, set) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    if let Err(errors) = config::refuse(path, set, &host::refusals(&config)) {
        return refuse(&errors);
    }
    let loaded = problem::guarded("transcoding", || Api::load(&config.transcoding, &config.directory, &[]));
    let api = match loaded.unwrap_or_else(|defect| Err(vec![defect])) {
        Ok(api) => api,
        Err(problems) => return refuse(&list(path, &config, &problems)),
    };
    if !api.refused().is_empty() {
        eprintln!("{}", list(path, &config, api.refused()));
        eprintln!(
            "what is wrong there is left out, all else is served (transcoding.on_bad_rule = \"fail\" refuses it)"
        );
    }
    let tls = match certificates::examine(&config) {
        Ok(warnings) => warnings,
        Err(problem) => {
            let place = config.places.file(&problem.file).unwrap_or_else(|| path.display().to_string());
            return refuse(&format_args!("{place}: TLS: {problem}"));
        }
    };
    for warning in tls.into_iter().chain(warnings(&config, &api)) {
        eprintln!("{}: warning: {warning}", path.display());
    }
    let served = match config.transcoding.is_configured() {
        true => format!(
            ", {}, {}, {}",
            counted(api.services().len(), "service"),
            counted(api.methods().len(), "method"),
            counted(api.rules().len(), "rule")
        ),
        false => String::new(),
    };
    println!(
        "{}: good ({}, {}, {}{served})",
        path.display(),
        counted(config.listeners.len(), "listener"),
        counted(config.routes.len(), "route"),
        counted(config.clusters.len(), "cluster")
    );
    if !config.transcoding.reflection.is_empty() {
        println!("what server reflection answers is checked when the gateway runs");
    }
    ExitCode::SUCCESS
}

/// Problems, one a line, each with the key that names its file.
fn list(path: &Path, config: &Config, problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let place = config.places.file(Path::new(&problem.place));
        format!("{}: {problem}", place.unwrap_or_else(|| path.display().to_string()))
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Settings that work, but most likely not as they were meant; and lacks of this host that a start would meet.
fn warnings(config: &Config, api: &Api) -> Vec<String> {
    let mut found = Vec::new();
    unknown_services(config, api, &mut found);
    for (number, cluster) in config.clusters.iter().enumerate() {
        let leads = |route: &config::Route| route.clusters.iter().any(|to| to.cluster == number);
        if !config.routes.iter().any(leads) {
            found.push(format!("clusters {:?}: no route leads to it", cluster.name));
        }
    }
    if let LogSink::File(path) = &config.access_log.sink {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            found.push(format!("access_log.path = {path:?}: there is no folder {}", folder.display()));
        }
    }
    found.extend(config::loops(config).iter().map(ToString::to_string));
    for (name, reason) in host::unresolved(config) {
        let clusters = config
            .clusters
            .iter()
            .filter(|cluster| cluster.endpoints.iter().any(|at| at.host() == Some(&name)));
        for cluster in clusters {
            found
                .push(format!("clusters {:?}: the name {name} does not resolve now: {reason}", cluster.name));
        }
    }
    for (cluster, path, reason) in host::missing_sockets(config) {
        found.push(format!("clusters {cluster:?}: {path}: {reason}"));
    }
    for (key, address, error) in host::unavailable(config) {
        found.push(format!("{key} = \"{address}\": {error}"));
    }
    found
}

/// So many of them, in words: `1 route`, `2 routes`.
fn counted(count: usize, name: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {name}{end}")
}

/// Routes by a service that the descriptors do not have. Where reflection adds to them, that cannot be told.
fn unknown_services(config: &Config, api: &Api, found: &mut Vec<String>) {
    if !config.transcoding.is_configured() || !config.transcoding.reflection.is_empty() {
        return;
    }
    let services: Vec<&str> = api.services().iter().map(|service| service.full_name()).collect();
    for route in &config.routes {
        let PathMatch::Service(service) = &route.matching.path else { continue };
        if !services.contains(&service.as_str()) {
            let near = config::nearest(service, services.iter().copied());
            let hint = near.map_or(String::new(), |near| format!(" (did you mean {near:?}?)"));
            found.push(format!(
                "routes.match.service = {service:?}: no such service in the descriptors{hint}"
            ));
        }
    }
}
