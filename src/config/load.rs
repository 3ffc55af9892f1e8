//! A file, with the settings of the command line and the variables of the environment, to a configuration.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use toml::de::DeTable;

use super::effective::Effective;
use super::errors::{Errors, Place};
use super::parse::config;
use super::places::Places;
use super::reader::{Source, Table};
use super::variables::{self, Lookup};
use super::{Config, format, overrides};

/// The largest file that is read: some hundred thousand lines. A device, named by mistake, gets an answer.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads and checks a file.
///
/// # Errors
///
/// Everything that is wrong with it, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Errors> {
    load_with(path, &[])
}

/// Reads and checks a file. Each of `set` is a key and a value, `drain_timeout=10s`, that goes before the file.
///
/// # Errors
///
/// As [`load`].
pub fn load_with(path: &Path, set: &[String]) -> Result<Config, Errors> {
    let unreadable = |error: std::io::Error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => Some(format!("`ringway init {}` writes one", path.display())),
            ErrorKind::IsADirectory => Some("name the file in it".to_owned()),
            _ => None,
        };
        Errors::unreadable(path, None, format!("cannot be read: {error}"), hint)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Errors::unreadable(path, None, "too large: must be at most 16MiB".to_owned(), None));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse_with(text, path, set),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = Place::of(&valid, valid.len());
            let hint = Some("save the file as UTF-8".to_owned());
            Err(Errors::unreadable(path, Some(place), "not valid TOML: not UTF-8".to_owned(), hint))
        }
    }
}

/// Checks the text of a file; `file` is its name in errors.
///
/// ```
/// use std::path::Path;
///
/// let text = r#"
///     [[listeners]]
///     address = "127.0.0.1:8080"
///
///     [[routes]]
///     cluster = "echo"
///
///     [[clusters]]
///     name = "echo"
///     endpoints = ["127.0.0.1:50051"]
/// "#;
/// let config = ringway::config::parse(text, Path::new("ringway.toml"))?;
/// assert_eq!(config.clusters[0].pool.max_connections_per_endpoint, 8, "its default");
///
/// let wrong = text.replace("cluster =", "clutser =");
/// let errors = ringway::config::parse(&wrong, Path::new("ringway.toml")).unwrap_err().to_string();
/// assert!(errors.contains("ringway.toml:6:5: routes.clutser"), "{errors}");
/// # Ok::<(), ringway::config::Errors>(())
/// ```
///
/// # Errors
///
/// Everything that is wrong with it, in the order of the file.
pub fn parse(text: &str, file: &Path) -> Result<Config, Errors> {
    parse_with(text, file, &[])
}

/// Checks the text of a file as [`parse`] does. Each of `set` is a key and a value that goes before the text.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_with(text: &str, file: &Path, set: &[String]) -> Result<Config, Errors> {
    read(text, file, set, &|name| std::env::var(name).ok())
}

/// Checks the text of a file, with the settings of the command line and the variables of an environment.
pub(super) fn read(text: &str, file: &Path, set: &[String], lookup: Lookup<'_>) -> Result<Config, Errors> {
    let source = Source::new(text, file, set);
    let mut texts = Vec::new();
    let tree = tree(&source, lookup, &mut texts);
    // Errors about a broken line, or a value that is not known, would be guesses at its meaning.
    let config = source.is_good().then(|| {
        let directory = file.parent().unwrap_or(Path::new(""));
        config(&Table::root(&source, &tree), directory)
    });
    let config = config.flatten();
    let places = Places::of(&tree, |at| source.place(at));
    match (source.into_errors(), config) {
        (None, Some(config)) => {
            let routes = config.routes.iter().map(|route| route.name.as_str());
            Ok(Config { effective: Effective::of(&tree, routes), places, ..config })
        }
        (Some(errors), _) => Err(errors),
        (None, None) => unreachable!("whatever is left out of a configuration has been reported"),
    }
}

/// The tree of a text, with the variables' values, which `texts` keeps, and the settings of the command line. Errors are
/// reported to `source`.
pub(super) fn tree<'a>(source: &Source<'a>, lookup: Lookup<'_>, texts: &'a mut Vec<String>) -> DeTable<'a> {
    let (tree, faults) = DeTable::parse_recoverable(source.text());
    let mut tree = tree.into_inner();
    if faults.is_empty() {
        *texts = variables::expand(&tree, source, lookup);
        variables::fill(&mut tree, texts);
        overrides::apply(&mut tree, source);
    } else {
        match format::other_than_toml(source.text()) {
            Some(format) => source.refuse_format(format),
            None => source.refuse_syntax(faults),
        }
    }
    tree
}
