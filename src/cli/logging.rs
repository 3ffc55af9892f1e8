//! The program's own log, on standard error.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::set_global_default;
use tracing_subscriber::{EnvFilter, fmt};

use crate::admin::LogLevel;

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object each.
    Json,
}

/// Logs to standard error, as much as `RINGWAY_LOG` says; the value returned changes how much.
pub(super) fn start(format: LogFormat) -> LogLevel {
    let wanted = std::env::var("RINGWAY_LOG").unwrap_or_default();
    let (filter, note) = filter(&wanted);
    let builder = fmt().with_writer(io::stderr).with_target(false).with_env_filter(filter);
    let level = match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = builder.reload_handle();
            let level = log_level_of(handle.clone(), move |filter| handle.reload(filter));
            let _ = set_global_default(builder.finish()); // nobody else has set one
            level
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            let level = log_level_of(handle.clone(), move |filter| handle.reload(filter));
            let _ = set_global_default(builder.finish()); // nobody else has set one
            level
        }
    };
    if let Some(note) = note {
        tracing::warn!("{note}");
    }
    level
}

/// A view of the filter behind `handle`, and a way to replace it.
fn log_level_of<S: 'static>(
    handle: tracing_subscriber::reload::Handle<EnvFilter, S>,
    reload: impl Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync + 'static,
) -> LogLevel {
    LogLevel {
        get: Box::new(move || handle.with_current(ToString::to_string).unwrap_or_default()),
        set: Box::new(move |wanted| {
            let level = level(wanted)?;
            reload(EnvFilter::new(level.to_string())).map_err(|error| error.to_string())?;
            tracing::info!(%level, "log level changed");
            Ok(())
        }),
    }
}

/// The filter that a text asks for, as far as this build can log, and a warning about the rest.
fn filter(wanted: &str) -> (EnvFilter, Option<String>) {
    if wanted.trim().is_empty() {
        return (EnvFilter::new("info"), None);
    }
    // The library warns about levels that a build lacks by itself, in colours. So it gets to see none.
    let mut lacking = false;
    let directives: Vec<String> = wanted
        .split(',')
        .map(|directive| {
            let (target, level) = directive.rsplit_once('=').map_or(("", directive), |(t, l)| (t, l));
            match level.trim().parse::<LevelFilter>() {
                Ok(level) if level > STATIC_MAX_LEVEL => {
                    lacking = true;
                    let target = if target.is_empty() { String::new() } else { format!("{target}=") };
                    format!("{target}{STATIC_MAX_LEVEL}")
                }
                _ => directive.to_owned(),
            }
        })
        .collect();
    let directives = directives.join(",");
    match EnvFilter::try_new(&directives) {
        Ok(filter) if lacking => {
            let note = format!(
                "RINGWAY_LOG={wanted}: this build logs no more than {STATIC_MAX_LEVEL}; more needs a build without --release"
            );
            (filter, Some(note))
        }
        Ok(filter) => (filter, None),
        Err(error) => {
            let note = format!("RINGWAY_LOG={wanted}: {error}; logging at info");
            (EnvFilter::new("info"), Some(note))
        }
    }
}

/// A level by its name, if this build can log so much.
fn level(text: &str) -> Result<LevelFilter, String> {
    // `LevelFilter` parses more than names, such as an empty text. An operator hardly meant that.
    let named = text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !text.is_empty();
    let level: Option<LevelFilter> = text.parse().ok().filter(|_| named);
    let level =
        level.ok_or_else(|| format!("{text:?} is not one of off, error, warn, info, debug, trace"))?;
    if level > STATIC_MAX_LEVEL {
        return Err(format!(
            "this build logs no more than {STATIC_MAX_LEVEL}: {level} needs one without --release"
        ));
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_is_one_that_this_build_has() {
        for (text, wanted) in
            [("info", LevelFilter::INFO), ("WARN", LevelFilter::WARN), ("off", LevelFilter::OFF)]
        {
            assert_eq!(level(text), Ok(wanted), "{text}");
        }
        assert_eq!(level("debug").is_ok(), LevelFilter::DEBUG <= STATIC_MAX_LEVEL);
        for text in ["", "verbose", "info,h2=trace"] {
            assert!(level(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_asks_for_no_more_than_this_build_has() {
        let trace_is_there = LevelFilter::TRACE <= STATIC_MAX_LEVEL;
        for (text, shown, has_note) in [
            ("", "info", false),
            ("  ", "info", false),
            ("warn", "warn", false),
            ("ringway=info", "ringway=info", false),
            ("ringway=loud", "info", true),
        ] {
            let (filter, note) = filter(text);
            assert_eq!((filter.to_string().as_str(), note.is_some()), (shown, has_note), "{text}: {note:?}");
        }
        let (shown, note) = filter("ringway=trace");
        assert_eq!(note.is_none(), trace_is_there, "{shown}: {note:?}");
    }
}
