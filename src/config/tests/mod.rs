//! Tables of text and what it becomes, or the error it gets.

mod bounds;
mod defaults;
mod dns;
mod files;
mod mutations;
mod refused;
mod routes;
mod schema;
mod sentences;
mod service_config;
mod sources;
mod taken;

use std::path::Path;

use super::{Config, parse};

const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n";
const CERTIFICATE: &str =
    "[[listeners.tls.tls_certificates]]\ncertificate_chain = \"tls.crt\"\nprivate_key = \"tls.key\"";
const ROUTE: &str = "[[routes]]\ncluster = \"echo\"\n";
const CLUSTER: &str = "[[clusters]]\nname = \"echo\"\nendpoints = [\"10.0.0.7:50051\"]\n";

/// A whole file with `text` at its top: line 1.
fn top(text: &str) -> String {
    format!("{text}\n{LISTENER}{ROUTE}{CLUSTER}")
}

/// A whole file with `text` in its listener, from line 3.
fn listener(text: &str) -> String {
    format!("{LISTENER}{text}\n{ROUTE}{CLUSTER}")
}

/// A whole file whose first route is `text`, from line 2.
fn route(text: &str) -> String {
    format!("[[routes]]\n{text}\n{LISTENER}{CLUSTER}")
}

/// A whole file with `text` in its cluster, from line 4.
fn cluster(text: &str) -> String {
    format!("{CLUSTER}{text}\n{LISTENER}{ROUTE}")
}

/// The configuration of a text; errors fail the test.
fn parsed(text: &str) -> Config {
    parse(text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

/// The errors of a text, without the file's name.
fn errors(text: &str) -> Vec<String> {
    match parse(text, Path::new("r.toml")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.to_string().replacen("r.toml:", "", 1)).collect(),
    }
}
