//! The thread that writes the access log: a line of JSON for each record that the workers have put into their rings.
//!
//! If the file or the reader of standard output is slow, the writer waits and the workers do not. Their rings fill, and
//! lines that do not fit are left out and counted.
//!
//! A reload replaces the sink and keeps writer and rings. Records that lie in the rings by then go to the sink of before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::background::join_within;
use super::guard;
use super::series::Series;
use crate::config::{self, LogSink};
use crate::metrics::AccessLogCounts;
use crate::metrics::line::{self, Fields};
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

/// The time for the last lines when the gateway ends, or when the sink is replaced.
const FAREWELL: Duration = Duration::from_secs(2);

/// The interval of the log's warnings about lost lines.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The writer's thread. Dropping it writes what is left.
pub(super) struct AccessLog {
    /// The settings of its sink.
    settings: config::AccessLog,
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
    /// Taken by the writer once it has emptied the rings.
    next: Mutex<Option<Next>>,
}

/// Another sink for the writer.
#[derive(Debug)]
struct Next {
    /// `None` where the one it has stays.
    sink: Option<Sink>,
    fields: Fields,
    /// Rings to be read from now on, too.
    rings: Vec<Arc<Ring>>,
}

/// Another sink that is open, and has not begun.
pub(super) struct Change {
    settings: config::AccessLog,
    next: Next,
}

impl LogCounters {
    pub(super) fn counts(&self) -> AccessLogCounts {
        let [written, failed] = [&self.written, &self.failed].map(|count| count.load(Ordering::Relaxed));
        AccessLogCounts { written, failed }
    }
}

impl AccessLog {
    /// A log for so many workers; fails where its file cannot be opened.
    pub(super) fn start(
        settings: &config::AccessLog,
        workers: usize,
        series: &Arc<Series>,
    ) -> io::Result<AccessLog> {
        let notifier = Arc::new(Notifier::default());
        let rings = rings(room(settings), workers, &notifier);
        let shared = Arc::new(LogCounters::default());
        let writer = Writer {
            rings: rings.iter().cloned().enumerate().collect(),
            current: rings.len(),
            shared: Arc::clone(&shared),
            series: Arc::clone(series),
            sink: Sink::open(&settings.sink)?,
            fields: Fields::of(&settings.fields),
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
        Ok(AccessLog { settings: settings.clone(), rings, shared, notifier, thread: Some(thread) })
    }

    /// Opens the sink of other settings; fails where its file cannot be opened.
    pub(super) fn prepare(&self, settings: &config::AccessLog) -> io::Result<Change> {
        let is_same = settings.sink == self.settings.sink;
        let sink = if is_same { None } else { Some(Sink::open(&settings.sink)?) };
        // Rings that are larger than they need be stay.
        let is_larger = room(settings) > self.room();
        let rings =
            if is_larger { rings(room(settings), self.rings.len(), &self.notifier) } else { Vec::new() };
        let next = Next { sink, fields: Fields::of(&settings.fields), rings };
        Ok(Change { settings: settings.clone(), next })
    }

    /// Lets the writer take another sink, and waits until it has: lines of the sink of before are written by then. A
    /// writer that is stuck takes it later.
    pub(super) fn change(&mut self, Change { settings, next }: Change) {
        self.settings = settings;
        if !next.rings.is_empty() {
            self.rings.clone_from(&next.rings);
        }
        let mut waiting = self.shared.next.lock();
        *waiting = Some(match waiting.take() {
            // The writer is stuck. Workers may have the rings of the change that it has not come to.
            Some(missed) => Next {
                sink: next.sink.or(missed.sink),
                rings: missed.rings.into_iter().chain(next.rings).collect(),
                ..next
            },
            None => next,
        });
        drop(waiting);
        Arc::clone(&self.notifier).wake();
        let given_up_at = Instant::now() + FAREWELL;
        while self.shared.next.lock().is_some() && Instant::now() < given_up_at {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn room(&self) -> usize {
        self.rings.first().map_or(0, |ring| ring.room())
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
        // A writer that is stuck on a reader who does not read is left behind.
        join_within(self.thread.take(), FAREWELL);
    }
}

/// Records that one worker can have waiting.
fn room(settings: &config::AccessLog) -> usize {
    if settings.sink == LogSink::Stderr { RECORDS_OF_FEW } else { RECORDS }
}

fn rings(room: usize, workers: usize, notifier: &Arc<Notifier>) -> Vec<Arc<Ring>> {
    (0..workers).map(|_| Arc::new(Ring::new(room, Waker::from(Arc::clone(notifier))))).collect()
}

/// The target of lines.
#[derive(Debug)]
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
    /// The rings of the workers, each with the number of its worker. Those of before come first, until nobody has them.
    rings: Vec<(usize, Arc<Ring>)>,
    /// How many of them are in use: one for each worker.
    current: usize,
    shared: Arc<LogCounters>,
    series: Arc<Series>,
    sink: Sink,
    fields: Fields,
    /// Text to be written, and its number of lines.
    text: String,
    lines: u64,
    complained: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        let mut written_at = Instant::now();
        loop {
            let sleeps = written_at.elapsed() >= AWAKE && self.rings.iter().all(|(_, ring)| ring.sleep());
            thread::park_timeout(if sleeps { SLEEP } else { INTERVAL });
            let ends = self.shared.ends.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Acquire)
                && let Err(error) = self.sink.reopen()
            {
                tracing::error!(%error, "the access log cannot be opened anew; it goes on in the old file");
            }
            let next = self.shared.next.lock().is_some();
            if self.empty_rings() {
                written_at = Instant::now();
            }
            if next {
                self.take_next();
                written_at = Instant::now();
            }
            if ends {
                return;
            }
        }
    }

    /// Takes another sink, whose rings are read from now on.
    fn take_next(&mut self) {
        let mut next = self.shared.next.lock();
        let Some(Next { sink, fields, rings }) = next.take() else { return };
        self.fields = fields;
        if let Some(sink) = sink {
            self.sink = sink;
        }
        // Of several changes at once, each has a ring for each worker.
        let rings = rings.into_iter().enumerate().map(|(at, ring)| (at % self.current, ring));
        self.rings.extend(rings);
    }

    /// Writes all waiting records. True if there were any.
    fn empty_rings(&mut self) -> bool {
        let (mut found, mut at) = (false, 0);
        while at < self.rings.len() {
            let (worker, ring) = self.rings[at].clone();
            // A ring of before that only the writer has gets nothing more; the other one is this clone.
            let is_left = at + self.current < self.rings.len() && Arc::strong_count(&ring) == 2;
            fence(Ordering::Acquire);
            // No more than were there, so that one busy worker does not keep the others waiting.
            for _ in 0..RECORDS {
                let Some(record) = ring.take() else { break };
                found = true;
                let (text, fields) = (&mut self.text, self.fields);
                let headers = self.series.headers(record.headers);
                self.series.with(record.series, |labels| {
                    line::write(text, (worker, &record), labels, &headers, fields);
                });
                self.lines += 1;
                if self.text.len() >= BATCH_BYTES {
                    self.write();
                }
            }
            if is_left {
                self.rings.remove(at);
            } else {
                at += 1;
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

    /// Method: records are put into rings before and after each of two changes. Each file has those that were put while it
    /// was in use, also where a larger ring takes the place of one that a worker still has.
    #[test]
    fn another_file_begins_where_the_one_before_ends() {
        let folder = std::env::temp_dir().join(format!("ringway-access-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let series = Arc::new(Series::default());
        let settings = |sink: LogSink| config::AccessLog {
            sink,
            sample: 1.0,
            fields: vec!["took_us".to_owned()],
            ..config::AccessLog::default()
        };
        let file = |name: &str| LogSink::File(folder.join(name));
        let put = |ring: &Ring, from: u64, count: u64| {
            (from..from + count)
                .for_each(|took_us| assert!(ring.put(&Record { took_us, ..Record::default() })));
        };
        let read = |name: &str| -> Vec<u64> {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            let number = |line: &str| line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            text.lines().map(number).collect()
        };
        let mut log = AccessLog::start(&settings(file("one")), 1, &series).unwrap();
        put(&log.ring(0), 0, 3000);
        log.change(log.prepare(&settings(file("two"))).unwrap());
        assert_eq!(read("one"), (0..3000).collect::<Vec<_>>());
        put(&log.ring(0), 3000, 10);
        assert!(log.prepare(&settings(LogSink::File(folder.join("no/where")))).is_err());
        log.change(log.prepare(&settings(LogSink::Stderr)).unwrap());
        assert_eq!(read("two"), (3000..3010).collect::<Vec<_>>());

        let mut log = AccessLog::start(&settings(LogSink::Stderr), 1, &series).unwrap();
        let before = log.ring(0);
        log.change(log.prepare(&settings(file("three"))).unwrap());
        assert_eq!((before.room(), log.ring(0).room()), (RECORDS_OF_FEW, RECORDS));
        put(&before, 0, 7);
        put(&log.ring(0), 7, 9);
        drop(before);
        let shared = log.shared();
        drop(log);
        assert_eq!(read("three"), (0..16).collect::<Vec<_>>());
        assert_eq!(shared.counts(), AccessLogCounts { written: 16, failed: 0 });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
