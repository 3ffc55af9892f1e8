//! The thread that writes the access log: a line of JSON for each record that the workers have put into their rings.
//!
//! If the file or the reader of standard output is slow, the writer waits and the workers do not. Their rings fill, and
//! lines that do not fit are left out and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::StartError;
use super::guard;
use super::series::Series;
use crate::config::{self, Config, LogSink};
use crate::metrics::AccessLogCounts;
use crate::metrics::line::{self, Fields, Headers};
use crate::metrics::record::Ring;

/// How often the rings are emptied.
const INTERVAL: Duration = Duration::from_millis(50);

/// The time that the rings stay empty before the writer sleeps until one is not.
const AWAKE: Duration = Duration::from_secs(1);

/// The longest sleep. A record that has not woken the writer is written then; see `Ring::put`. An idle gateway wakes seldom.
const SLEEP: Duration = Duration::from_secs(10);

/// Records that one worker can have waiting: 20 ms of calls at 200,000 a second, in three megabytes.
const RECORDS: usize = 4096;

/// Those of a log that has few lines.
const RECORDS_OF_FEW: usize = 256;

/// Text that is written at once.
const BATCH_BYTES: usize = 64 << 10;

/// The time for the last lines when the gateway ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The interval of the log's warnings about lost lines.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The writer's thread. Dropping it writes what is left.
pub(super) struct AccessLog {
    rings: Vec<Arc<Ring>>,
    shared: Arc<LogCounters>,
    notifier: Arc<Notifier>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the writer.
#[derive(Debug, Default)]
struct Notifier(OnceLock<Thread>);

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        if let Some(writer) = self.0.get() {
            writer.unpark();
        }
    }
}

/// Counts of the writer, and requests to it.
#[derive(Debug, Default)]
pub(super) struct LogCounters {
    written: AtomicU64,
    failed: AtomicU64,
    reopen: AtomicBool,
    ends: AtomicBool,
}

impl LogCounters {
    pub(super) fn counts(&self) -> AccessLogCounts {
        let [written, failed] = [&self.written, &self.failed].map(|count| count.load(Ordering::Relaxed));
        AccessLogCounts { written, failed }
    }
}

impl AccessLog {
    /// The log as configured, if it is.
    pub(super) fn of(
        config: &Config,
        workers: usize,
        series: &Arc<Series>,
    ) -> Result<Option<AccessLog>, StartError> {
        let settings = &config.access_log;
        if !settings.is_on() {
            return Ok(None);
        }
        let started = AccessLog::start(settings, workers, series);
        started.map(Some).map_err(|error| StartError::AccessLog(settings.sink.to_string().into(), error))
    }

    /// A log for so many workers; fails where its file cannot be opened.
    fn start(settings: &config::AccessLog, workers: usize, series: &Arc<Series>) -> io::Result<AccessLog> {
        let notifier = Arc::new(Notifier::default());
        let is_few = settings.sink == LogSink::Stderr;
        let room = if is_few { RECORDS_OF_FEW } else { RECORDS };
        let ring = |_| Arc::new(Ring::new(room, Waker::from(Arc::clone(&notifier))));
        let rings: Vec<_> = (0..workers).map(ring).collect();
        let shared = Arc::new(LogCounters::default());
        let writer = Writer {
            rings: rings.clone(),
            shared: Arc::clone(&shared),
            series: Arc::clone(series),
            sink: Sink::open(&settings.sink)?,
            fields: Fields::of(&settings.fields),
            headers: Headers {
                request: settings.request_headers.clone(),
                response: settings.response_headers.clone(),
            },
            text: String::new(),
            lines: 0,
            complained: None,
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let mut writer = writer;
            guard::keep("access log", || writer.run());
        })?;
        // The writer looks for a while before it sleeps, so this is in time.
        let _ = notifier.0.set(thread.thread().clone());
        Ok(AccessLog { rings, shared, notifier, thread: Some(thread) })
    }

    /// The ring of a worker.
    pub(super) fn ring(&self, worker: usize) -> Arc<Ring> {
        Arc::clone(&self.rings[worker])
    }

    pub(super) fn shared(&self) -> Arc<LogCounters> {
        Arc::clone(&self.shared)
    }

    /// Opens the file anew before the next line: an operator has moved it away.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        Arc::clone(&self.notifier).wake();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        Arc::clone(&self.notifier).wake();
        let Some(thread) = self.thread.take() else { return };
        let given_up_at = Instant::now() + FAREWELL;
        while !thread.is_finished() && Instant::now() < given_up_at {
            thread::sleep(Duration::from_millis(1));
        }
        // A writer that is stuck on a reader who does not read is left behind.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// The target of lines.
enum Sink {
    Stderr,
    Stdout,
    File { path: Box<Path>, file: File },
}

impl Sink {
    fn open(sink: &LogSink) -> io::Result<Sink> {
        match sink {
            LogSink::Stderr => Ok(Sink::Stderr),
            LogSink::Stdout => Ok(Sink::Stdout),
            LogSink::File(path) => Sink::file(path),
        }
    }

    fn file(path: &Path) -> io::Result<Sink> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Sink::File { path: path.into(), file })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Sink::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Sink::File { file, .. } => file.write_all(text.as_bytes()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { path, .. } = self {
            *self = Sink::file(path)?;
        }
        Ok(())
    }
}

struct Writer {
    rings: Vec<Arc<Ring>>,
    shared: Arc<LogCounters>,
    series: Arc<Series>,
    sink: Sink,
    fields: Fields,
    headers: Headers,
    /// Text to be written, and its number of lines.
    text: String,
    lines: u64,
    complained: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        let mut written_at = Instant::now();
        loop {
            let sleeps = written_at.elapsed() >= AWAKE && self.rings.iter().all(|ring| ring.sleep());
            thread::park_timeout(if sleeps { SLEEP } else { INTERVAL });
            let ends = self.shared.ends.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Acquire)
                && let Err(error) = self.sink.reopen()
            {
                tracing::error!(%error, "the access log cannot be opened anew; it goes on in the old file");
            }
            if self.empty_rings() {
                written_at = Instant::now();
            }
            if ends {
                return;
            }
        }
    }

    /// Writes all waiting records. True if there were any.
    fn empty_rings(&mut self) -> bool {
        let mut found = false;
        for worker in 0..self.rings.len() {
            // No more than were there, so that one busy worker does not keep the others waiting.
            for _ in 0..RECORDS {
                let Some(record) = self.rings[worker].take() else { break };
                found = true;
                let (text, headers, fields) = (&mut self.text, &self.headers, self.fields);
                self.series.with(record.series, |labels| {
                    line::write(text, (worker, &record), labels, headers, fields);
                });
                self.lines += 1;
                if self.text.len() >= BATCH_BYTES {
                    self.write();
                }
            }
        }
        self.write();
        found
    }

    fn write(&mut self) {
        if self.lines == 0 {
            return;
        }
        let count = match self.sink.write(&self.text) {
            Ok(()) => &self.shared.written,
            Err(error) => {
                if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT) {
                    self.complained = Some(Instant::now());
                    tracing::error!(%error, lines = self.lines, "the access log cannot be written; lines are lost");
                }
                &self.shared.failed
            }
        };
        count.fetch_add(self.lines, Ordering::Relaxed);
        self.lines = 0;
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::record::Record;

    #[test]
    fn fields_can_be_chosen_that_there_are() {
        assert_eq!(Fields::names().collect::<Vec<_>>(), config::LOG_FIELDS);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        // It is always full.
        let sink = LogSink::File("/dev/full".into());
        let settings = config::AccessLog { sink, sample: 1.0, errors: true, ..config::AccessLog::default() };
        let log = AccessLog::start(&settings, 1, &Arc::default()).unwrap();
        assert!(log.ring(0).put(&Record::default()));
        let shared = log.shared();
        drop(log);
        assert_eq!(shared.counts(), AccessLogCounts { written: 0, failed: 1 });
    }
}
