//! The configuration that a command is about: a file, with settings that go before it, or a service's address alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{self, Config, Error, Errors};

/// The configuration of a command.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct FileArguments {
    /// The configuration; by default the file that RINGWAY_CONFIG names.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The configuration, as FILE.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that goes before the file: drain_timeout=10s, clusters.echo.timeout=2s, listeners.0.address=0.0.0.0:80.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl FileArguments {
    /// The file, if one is named here or by `RINGWAY_CONFIG`.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| self.config.clone()).or_else(from_environment)
    }

    /// The settings that go before the file.
    pub(super) fn set(&self) -> &[String] {
        &self.set
    }
}

/// The file that `RINGWAY_CONFIG` names; an empty value names none.
pub(super) fn from_environment() -> Option<PathBuf> {
    std::env::var_os("RINGWAY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A gateway without a file.
#[derive(Args, Clone, Debug)]
pub(super) struct ServiceArguments {
    /// The address of a service to run in front of, instead of a file.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["file", "config"])]
    to: Option<String>,
    /// Where clients connect.
    // Clap drops `requires` beside an argument that excludes the required one, so a file is named here, too.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", requires = "to", value_parser = listen)]
    #[arg(conflicts_with_all = ["file", "config"])]
    listen: String,
    /// Where the pages for operators are.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", requires = "to", value_parser = address)]
    #[arg(conflicts_with_all = ["file", "config"])]
    admin: SocketAddr,
    /// Ask the service for its descriptors by server reflection, and serve its methods as JSON.
    #[arg(long, requires = "to", conflicts_with_all = ["file", "config"])]
    reflection: bool,
}

/// An address to listen on. The configuration says what is wrong with a path.
fn listen(text: &str) -> Result<String, String> {
    if text.starts_with("unix:") {
        Ok(text.to_owned())
    } else {
        address(text).map(|address| address.to_string())
    }
}

/// An address of this host; a port alone is one of the loopback interface.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wanted = || "must be an IP address and a port, such as 127.0.0.1:8080, or a port alone".to_owned();
    match text.strip_prefix(':').unwrap_or(text).parse() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().map_err(|_| wanted()),
    }
}

/// An error in the text that stands in place of a file, as one of the option that the value is from.
fn of_option(error: Error) -> Error {
    // Those of `--set` have no place.
    if error.place.is_none() {
        return error;
    }
    let option = match error.key.as_str() {
        "listeners.address" => "--listen",
        "admin.address" => "--admin",
        _ => "--to",
    };
    let found = error.found.unwrap_or_default();
    let wanted = error.wanted.split(" on line ").next().unwrap_or_default().to_owned();
    let file = PathBuf::from(format!("{option} {}", found.trim_matches('"')));
    Error { file, place: None, key: String::new(), found: None, wanted, hint: error.hint }
}

/// Where a running configuration is from, and how to read it again.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The file, or the words for what stands in its place.
    path: PathBuf,
    /// The text that stands in place of a file.
    text: Option<String>,
    set: Vec<String>,
}

impl Origin {
    /// A file, with settings that go before it.
    pub(super) fn file(path: PathBuf, set: &[String]) -> Origin {
        Origin { path, text: None, set: set.to_vec() }
    }

    /// The configuration that `ringway run` is to run; `None` if it was told nothing.
    pub(super) fn of(file: &FileArguments, service: &ServiceArguments) -> Option<Origin> {
        let Some(to) = &service.to else {
            return file.path().map(|path| Origin::file(path, file.set()));
        };
        let mut text = format!(
            "[admin]\naddress = \"{}\"\n[[listeners]]\naddress = {:?}\n[[routes]]\ncluster = \"service\"\n\
             [[clusters]]\nname = \"service\"\nendpoints = [{to:?}]\n",
            service.admin, service.listen
        );
        if service.reflection {
            text.push_str("[transcoding]\nreflection = [\"service\"]\n");
        }
        let path = PathBuf::from(format!("--to {to}"));
        Some(Origin { path, text: Some(text), set: file.set().to_vec() })
    }

    /// Reads it.
    pub(super) fn load(&self) -> Result<Config, Errors> {
        match &self.text {
            Some(text) => {
                config::parse_with(text, &self.path, &self.set).map_err(|errors| errors.map(of_option))
            }
            None => config::load_with(&self.path, &self.set),
        }
    }

    /// The file that can be read again, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.text.is_none().then_some(&*self.path)
    }
}
