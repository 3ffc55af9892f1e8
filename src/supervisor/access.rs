//! The thread that writes the access log: a line of JSON for each record that the workers have put into their rings.
//!
//! If the file or the reader of standard output is slow, the writer waits and the workers do not. Their rings fill, and
//! lines that do not fit are left out and counted.

use std::fmt::{self, Display, Formatter, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::StartError;
use super::guard;
use super::series::Series;
use crate::config::{self, Config};
use crate::metrics::record::{Record, Ring, STAGE_NAMES};
use crate::metrics::{AccessLogCounts, CallLabels, GRPC_STATUS_NAMES};

/// How often the rings are emptied.
const INTERVAL: Duration = Duration::from_millis(50);

/// The time that the rings stay empty before the writer sleeps until one is not.
const AWAKE: Duration = Duration::from_secs(1);

/// The longest sleep. A record that has not woken the writer is written then; see `Ring::put`.
const SLEEP: Duration = Duration::from_secs(2);

/// Records that one worker can have waiting: 20 ms of calls at 200,000 a second, in a megabyte.
const RECORDS: usize = 4096;

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
        let Some(settings) = &config.access_log else { return Ok(None) };
        let started = AccessLog::start(settings, workers, series);
        let path = || settings.path.clone().unwrap_or_else(|| "-".into());
        started.map(Some).map_err(|error| StartError::AccessLog(path(), error))
    }

    /// A log for so many workers; fails where its file cannot be opened.
    fn start(settings: &config::AccessLog, workers: usize, series: &Arc<Series>) -> io::Result<AccessLog> {
        let notifier = Arc::new(Notifier::default());
        let ring = |_| Arc::new(Ring::new(RECORDS, Waker::from(Arc::clone(&notifier))));
        let rings: Vec<_> = (0..workers).map(ring).collect();
        let shared = Arc::new(LogCounters::default());
        let writer = Writer {
            rings: rings.clone(),
            shared: Arc::clone(&shared),
            series: Arc::clone(series),
            sink: Sink::open(settings.path.as_deref())?,
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
    Stdout,
    File { path: Box<Path>, file: File },
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Sink> {
        let Some(path) = path else { return Ok(Sink::Stdout) };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Sink::File { path: path.into(), file })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Sink::File { file, .. } => file.write_all(text.as_bytes()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { path, .. } = self {
            *self = Sink::open(Some(path))?;
        }
        Ok(())
    }
}

struct Writer {
    rings: Vec<Arc<Ring>>,
    shared: Arc<LogCounters>,
    series: Arc<Series>,
    sink: Sink,
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
                let text = &mut self.text;
                self.series.with(record.series, |labels| write_line(text, worker, &record, labels));
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

/// A value, or JSON's null.
struct OrNull<T>(Option<T>);

impl<T: Display> Display for OrNull<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// A JSON string.
struct Quoted<T>(T);

impl Display for Quoted<SocketAddr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl Display for Quoted<&str> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let as_it_is = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\');
        if self.0.bytes().all(as_it_is) {
            return write!(f, "\"{}\"", self.0);
        }
        serde_json::Value::from(self.0).fmt(f)
    }
}

/// None where a call has no route.
fn name_of(label: &str) -> OrNull<Quoted<&str>> {
    OrNull((!label.is_empty()).then_some(Quoted(label)))
}

/// Writing to a String cannot fail.
fn write_line(out: &mut String, worker: usize, record: &Record, labels: &CallLabels) {
    let address = |address: Option<SocketAddr>| OrNull(address.map(Quoted));
    let mut path = String::from_utf8_lossy(record.path());
    if usize::from(record.path_len) > record.path().len() {
        path.to_mut().push('…');
    }
    let status = GRPC_STATUS_NAMES.get(usize::from(record.code)).copied().unwrap_or("UNKNOWN");
    let _ = write!(out, "{{\"time\":\"{}\",\"worker\":{worker}", Rfc3339(record.began_unix_us));
    let _ = write!(out, ",\"client\":{},\"language\":\"{}\"", address(record.client), record.language_name());
    let _ = write!(out, ",\"method\":\"{}\",\"version\":\"{}\"", record.method_name(), record.version_name());
    let _ = write!(out, ",\"path\":{}", Quoted(&*path));
    let _ = write!(out, ",\"route\":{},\"cluster\":{}", name_of(&labels.route), name_of(&labels.cluster));
    let _ = write!(out, ",\"upstream\":{},\"attempts\":{}", address(record.upstream), record.attempts);
    let http_status = (record.http_status != 0).then_some(record.http_status);
    let _ = write!(out, ",\"grpc_status\":\"{status}\",\"http_status\":{}", OrNull(http_status));
    let _ = write!(out, ",\"flags\":\"{}\"", if record.flags().is_empty() { "-" } else { record.flags() });
    let (received, sent) = (record.bytes_received, record.bytes_sent);
    let _ = write!(out, ",\"bytes_received\":{received},\"bytes_sent\":{sent}");
    let _ = write!(out, ",\"routed_us\":{}", OrNull(record.routed_us));
    let _ = write!(out, ",\"connected_us\":{}", OrNull(record.connected_us));
    let _ = write!(out, ",\"answered_us\":{},\"took_us\":{}", OrNull(record.answered_us), record.took_us);
    for (stage, spent) in STAGE_NAMES.iter().zip(record.stages_us) {
        let _ = write!(out, ",\"{stage}_us\":{spent}");
    }
    if record.trace_id != 0 {
        let _ = write!(out, ",\"trace_id\":\"{:032x}\"", record.trace_id);
    }
    if record.span_id != 0 {
        let _ = write!(out, ",\"span_id\":\"{:016x}\"", record.span_id);
    }
    out.push_str("}\n");
}

/// Microseconds since 1970 as a date and time in UTC.
struct Rfc3339(u64);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years that begin with March, so that the day which is not always there is the last; 400 of them are a cycle.
        let days = days + 719_468;
        let (cycle, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = cycle * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_dates() {
        for (unix_us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_000_001, "2024-02-29T23:59:59.000001Z"),
            (1_767_225_600_000_000, "2026-01-01T00:00:00.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Rfc3339(unix_us).to_string(), text);
        }
    }

    #[test]
    fn a_line_is_json_with_every_field() {
        let labels = CallLabels { route: "a \"b\"".into(), cluster: "c".into(), method: String::new() };
        let mut record = Record {
            client: Some("[::1]:5".parse().unwrap()),
            upstream: Some("10.0.0.7:1".parse().unwrap()),
            attempts: 2,
            code: 14,
            flags: *b"UF\0\0\0\0\0\0",
            routed_us: Some(3),
            took_us: 9,
            method: 3,
            version: 20,
            http_status: 200,
            stages_us: [1, 2, 3, 4, 5, 6],
            trace_id: 0xabc,
            span_id: 0x12,
            ..Record::default()
        };
        record.set_path("/a/\"\\\u{1}é".as_bytes());
        let mut text = String::new();
        write_line(&mut text, 7, &record, &labels);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let wanted = serde_json::json!({
            "time": "1970-01-01T00:00:00.000000Z", "worker": 7, "client": "[::1]:5", "language": "grpc",
            "method": "PUT", "version": "2", "http_status": 200, "path": "/a/\"\\\u{1}é",
            "route": "a \"b\"", "cluster": "c", "upstream": "10.0.0.7:1", "attempts": 2,
            "grpc_status": "UNAVAILABLE", "flags": "UF", "bytes_received": 0, "bytes_sent": 0, "routed_us": 3,
            "connected_us": null, "answered_us": null, "took_us": 9, "trace_id": format!("{:032x}", 0xabc),
            "span_id": "0000000000000012", "queue_us": 1, "connect_us": 2, "receive_us": 3, "upstream_us": 4,
            "transcode_us": 5, "write_us": 6,
        });
        assert_eq!(line, wanted);

        record.set_path("é".repeat(100).as_bytes());
        text.clear();
        write_line(&mut text, 0, &record, &CallLabels::default());
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["route"], serde_json::Value::Null);
        assert!(line["path"].as_str().unwrap().ends_with("é…"), "{line}");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        // It is always full.
        let settings = config::AccessLog { path: Some("/dev/full".into()), sample: 1.0, errors: true };
        let log = AccessLog::start(&settings, 1, &Arc::default()).unwrap();
        assert!(log.ring(0).put(&Record::default()));
        let shared = log.shared();
        drop(log);
        assert_eq!(shared.counts(), AccessLogCounts { written: 0, failed: 1 });
    }
}
