//! Runs a gateway until a signal or an operator asks for its end; takes over a changed configuration meanwhile.

#![allow(clippy::disallowed_types, reason = "the main thread is never on a call's way")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::fail;
use crate::admin::Hooks;
use crate::config::{self, Config};
use crate::supervisor::{Ended, Gateway};

/// How often signals, operators and files are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Looks at the file, one after the other, in which it has to be the same: it may be under way.
const LOOKS_ALIKE: u32 = 4;

/// How long an operator waits for a reload.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until a signal asks for the end, then drains. `file` is where the configuration is from, if it is from a file.
pub(super) fn run(
    config: Config,
    file: Option<&Path>,
    mut hooks: Hooks,
    started: impl FnOnce(&Gateway),
) -> ExitCode {
    let mut signals = match Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}"), 1),
    };
    let (asks, asked) = channel();
    let mut source = file.map(|file| Source::new(file, &config, asked));
    if source.is_some() {
        hooks.reload = Some(Box::new(move || ask(&asks)));
    }
    let mut gateway = match Gateway::start_with(config, hooks) {
        Ok(gateway) => gateway,
        Err(error) => return fail(&error.to_string(), error.exit_code()),
    };
    started(&gateway);
    let mut lost = false;
    loop {
        let wants = look_at(&mut signals);
        if wants.end || gateway.drain_wanted() || lost {
            break;
        }
        if wants.new_log_file {
            gateway.reopen_access_log();
        }
        match &mut source {
            Some(source) => source.look(&mut gateway, wants.reload),
            None if wants.reload => tracing::warn!("SIGHUP: there is no file to read again"),
            None => {}
        }
        lost = gateway.wait_for_loss(LOOK);
    }
    if lost {
        tracing::error!("a worker has ended unexpectedly; draining the others");
    } else {
        tracing::info!("draining");
    }
    gateway.drain();
    let Ended { calls_cut, workers_lost } = gateway.join();
    tracing::info!(calls_cut, "ended");
    if workers_lost > 0 || lost { ExitCode::from(70) } else { ExitCode::SUCCESS }
}

/// What signals ask for.
#[derive(Default)]
struct Wants {
    end: bool,
    reload: bool,
    new_log_file: bool,
}

fn look_at(signals: &mut Signals) -> Wants {
    let mut wants = Wants::default();
    for signal in signals.pending() {
        match signal {
            SIGHUP => wants.reload = true,
            SIGUSR1 => wants.new_log_file = true,
            _ => wants.end = true,
        }
    }
    wants
}

/// An operator's wish to read the configuration again, and where to say what came of it.
type Asked = Sender<Result<String, String>>;

/// Asks the main thread to read the configuration again, and waits for what comes of it.
fn ask(asks: &Sender<Asked>) -> Result<String, String> {
    let (reply, replied) = channel();
    let gone = || "the gateway is ending".to_owned();
    asks.send(reply).map_err(|_| gone())?;
    replied.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(gone()))
}

/// The files that the configuration is from.
struct Source {
    /// The file itself, then those whose contents are part of it.
    paths: Vec<PathBuf>,
    asked: Receiver<Asked>,
    /// As they were when they were read.
    read: Stamps,
    /// As they were at the last look, and for how many looks they have been so.
    seen: Stamps,
    alike: u32,
}

/// Of each file; none of one that is not there.
type Stamps = Vec<Option<Stamp>>;

/// What tells one state of a file from another: device, inode, length, and when it was written.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| stamp(path)).collect()
}

/// All files of a configuration.
fn paths(path: &Path, config: &Config) -> Vec<PathBuf> {
    std::iter::once(path.to_owned()).chain(config.files.iter().cloned()).collect()
}

impl Source {
    fn new(path: &Path, config: &Config, asked: Receiver<Asked>) -> Source {
        let paths = paths(path, config);
        let seen = stamps(&paths);
        Source { paths, asked, read: seen.clone(), seen, alike: 0 }
    }

    /// Reads the files again if one has changed, or if somebody wants that.
    fn look(&mut self, gateway: &mut Gateway, wanted: bool) {
        let replies: Vec<Asked> = self.asked.try_iter().collect();
        if wanted || !replies.is_empty() || self.has_changed() {
            let outcome = self.reload(gateway);
            for reply in replies {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn has_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        self.alike = if now == self.seen { self.alike.saturating_add(1) } else { 0 };
        self.seen = now;
        // A file that is gone is about to come back.
        self.seen.iter().all(Option::is_some) && self.seen != self.read && self.alike >= LOOKS_ALIKE
    }

    fn reload(&mut self, gateway: &mut Gateway) -> Result<String, String> {
        self.read = stamps(&self.paths);
        let loaded = config::load(&self.paths[0]).map_err(|errors| errors.to_string());
        let outcome = loaded.and_then(|config| {
            let paths = paths(&self.paths[0], &config);
            let reloaded = gateway.reload(config).map_err(|error| error.to_string())?;
            if paths != self.paths {
                (self.read, self.paths) = (stamps(&paths), paths);
            }
            Ok(reloaded.to_string())
        });
        gateway.reload_ended(outcome.is_ok());
        match &outcome {
            Ok(what) => tracing::info!("new configuration: {what}"),
            Err(error) => tracing::error!("the configuration is not taken, the one in use stays: {error}"),
        }
        outcome
    }
}
