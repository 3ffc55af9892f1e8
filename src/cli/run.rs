//! Runs a gateway until a signal or an operator asks for its end; takes over a changed configuration meanwhile.

#![allow(clippy::disallowed_types, reason = "the main thread is never on a call's way")]

use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level};

use super::source::Origin;
use crate::admin::Hooks;
use crate::config::Config;
use crate::supervisor::{Absent, Ended, Gateway, Waker, WatchedFiles};

/// How long an operator waits for a reload.
const PATIENCE: Duration = Duration::from_secs(30);

/// Logs why there is no gateway.
pub(super) fn fail(message: &str, code: u8) -> ExitCode {
    tracing::error!("{message}");
    ExitCode::from(code)
}

/// Runs until a signal asks for the end, then drains. `origin` is where the configuration is from, if it can be read
/// again.
pub(super) fn run(
    config: Config,
    origin: Option<&Origin>,
    mut hooks: Hooks,
    started: impl FnOnce(&Gateway),
) -> ExitCode {
    let wants = Wants::default();
    let signals = match wants.note_signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}"), 1),
    };
    let (asks, asked) = channel();
    // There is one as soon as there is a gateway to wait for.
    let waker = Arc::new(OnceLock::<Waker>::new());
    let from_file = origin.and_then(|origin| Some((origin.path()?, origin)));
    let mut source = from_file.map(|(path, origin)| Source::new(path, origin, &config, asked));
    if source.is_some() {
        let waker = Arc::clone(&waker);
        hooks.reload = Some(Box::new(move || ask(&asks, &waker)));
    }
    let mut gateway = match Gateway::start_with(config, hooks) {
        Ok(gateway) => gateway,
        Err(error) => return fail(&error.to_string(), error.exit_code()),
    };
    let waker = waker.get_or_init(|| gateway.waker());
    if let Err(error) = listen(signals, waker.clone()) {
        return fail(&format!("cannot listen for signals: {error}"), 1);
    }
    if let Some(source) = &source {
        source.watch(&gateway);
    }
    started(&gateway);
    let mut lost = false;
    while !(wants.end.load(Ordering::Acquire) || gateway.drain_wanted() || lost) {
        if wants.new_log_file.swap(false, Ordering::AcqRel) {
            gateway.reopen_access_log();
        }
        let reload = wants.reload.swap(false, Ordering::AcqRel);
        match &mut source {
            Some(source) => source.look(&mut gateway, reload),
            None if reload => tracing::warn!("SIGHUP: there is no file to read again"),
            None => {}
        }
        lost = gateway.wait();
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

/// Requests that signals make.
#[derive(Debug, Default)]
struct Wants {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    new_log_file: Arc<AtomicBool>,
}

impl Wants {
    /// Notes signals from now on. A byte comes out of the pipe after each. It is no pair of sockets, so that the program
    /// can be kept from calls on sockets.
    fn note_signals(&self) -> io::Result<PipeReader> {
        let (reader, writer) = io::pipe()?;
        for (signal, want) in
            [(SIGTERM, &self.end), (SIGINT, &self.end), (SIGHUP, &self.reload), (SIGUSR1, &self.new_log_file)]
        {
            flag::register(signal, Arc::clone(want))?;
            low_level::pipe::register(signal, OwnedFd::from(writer.try_clone()?))?;
        }
        Ok(reader)
    }
}

/// Waits for signals on a thread of its own, which wakes the main thread.
fn listen(mut signals: PipeReader, waker: Waker) -> io::Result<()> {
    let body = move || {
        while matches!(signals.read(&mut [0; 64]), Ok(1..)) {
            waker.wake();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(body)?;
    Ok(())
}

/// An operator's wish to read the configuration again, and where to say what came of it.
type ReloadSender = Sender<Result<String, String>>;

/// Asks the main thread to read the configuration again, and waits for what comes of it.
fn ask(asks: &Sender<ReloadSender>, waker: &OnceLock<Waker>) -> Result<String, String> {
    let (reply, replied) = channel();
    let gone = || "the gateway is ending".to_owned();
    asks.send(reply).map_err(|_| gone())?;
    // Without one the main thread has not looked yet, and will.
    if let Some(waker) = waker.get() {
        waker.wake();
    }
    replied.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(gone()))
}

/// The files that the configuration is from.
struct Source {
    origin: Origin,
    /// The file itself, then those whose contents are part of it.
    paths: Vec<PathBuf>,
    asked: Receiver<ReloadSender>,
    watched: Arc<WatchedFiles>,
    changed: Arc<AtomicBool>,
}

/// All files of a configuration.
fn paths(path: &Path, config: &Config) -> Vec<PathBuf> {
    std::iter::once(path.to_owned()).chain(config.files.iter().cloned()).collect()
}

impl Source {
    fn new(path: &Path, origin: &Origin, config: &Config, asked: Receiver<ReloadSender>) -> Source {
        let paths = paths(path, config);
        let watched = WatchedFiles::new(paths.clone(), Absent::IsUnderWay);
        Source { origin: origin.clone(), paths, asked, watched, changed: Arc::default() }
    }

    /// From now on a change wakes the main thread.
    fn watch(&self, gateway: &Gateway) {
        let (waker, changed) = (gateway.waker(), Arc::clone(&self.changed));
        gateway.watch_files(&self.watched, move || {
            changed.store(true, Ordering::Release);
            waker.wake();
        });
    }

    /// Reads the files again if one has changed, or if somebody wants that.
    fn look(&mut self, gateway: &mut Gateway, wanted: bool) {
        let replies: Vec<ReloadSender> = self.asked.try_iter().collect();
        if self.changed.swap(false, Ordering::AcqRel) || wanted || !replies.is_empty() {
            let outcome = self.reload(gateway);
            for reply in replies {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn reload(&mut self, gateway: &mut Gateway) -> Result<String, String> {
        self.watched.are_read();
        let loaded = self.origin.load().map_err(|errors| errors.to_string());
        let outcome = loaded.and_then(|config| {
            let paths = paths(&self.paths[0], &config);
            let reloaded = gateway.reload(config).map_err(|error| error.to_string())?;
            self.watched.set(paths.clone());
            self.paths = paths;
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
