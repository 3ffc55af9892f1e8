//! `[access_log]`: where lines go, which calls get one, and what is in it.

use std::fmt;
use std::path::PathBuf;

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines are appended; "stderr" by default.
    pub sink: LogSink,
    /// The share of calls that get a line.
    pub sample: f64,
    /// Whether each call that does not end with OK gets one, whatever the share is.
    pub errors: bool,
    /// Lines per second on standard error, over all workers; further ones are counted.
    pub stderr_lines_per_second: u32,
    /// The fields of a line; all of them by default.
    pub fields: Vec<String>,
    /// Fields of requests that are shown, each up to 64 bytes, in lines and to `ringway tap`.
    pub request_headers: Vec<String>,
    /// Fields of the heads of responses that are shown, each up to 64 bytes, in lines and to `ringway tap`.
    pub response_headers: Vec<String>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// Standard error, at a bounded rate.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that they are appended to.
    File(PathBuf),
}

impl fmt::Display for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogSink::Stderr => f.write_str("stderr"),
            LogSink::Stdout => f.write_str("-"),
            LogSink::File(path) => path.display().fmt(f),
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        AccessLog {
            sink: LogSink::Stderr,
            sample: 0.0,
            errors: true,
            stderr_lines_per_second: 10,
            fields: Vec::new(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        }
    }
}

impl AccessLog {
    /// Whether any call gets a line.
    pub fn is_on(&self) -> bool {
        self.errors || self.sample > 0.0
    }
}

/// The fields of a line, as `metrics/line.rs` writes them; a test there holds the two together.
pub const FIELDS: &[&str] = &[
    "time",
    "worker",
    "client",
    "protocol",
    "method",
    "version",
    "authority",
    "path",
    "grpc_method",
    "http_route",
    "route",
    "cluster",
    "upstream",
    "attempts",
    "grpc_status",
    "http_status",
    "flags",
    "bytes_received",
    "bytes_sent",
    "routed_us",
    "connected_us",
    "answered_us",
    "took_us",
    "queue_us",
    "connect_us",
    "receive_us",
    "upstream_us",
    "transcode_us",
    "write_us",
    "user_agent",
    "request_id",
    "request_headers",
    "response_headers",
    "trace_id",
    "span_id",
];
