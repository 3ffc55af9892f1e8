//! `ringway tap`: the calls that pass a gateway, live, from its admin address.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::scrape::unreachable;
use super::show::units::{bytes, time};

/// The calls that a person wants to see.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys and values of the query of `/tap`.
    pub filters: Vec<(&'static str, String)>,
    /// The end, after so many calls.
    pub count: Option<u64>,
    /// The end, after this time.
    pub duration: Option<Duration>,
    /// Lines of JSON as they come.
    pub json: bool,
}

/// How long the gateway may take to respond.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time of one tap; then it is asked for anew.
const SPELL: f64 = 30.0;

/// Shows calls until it is interrupted, or its end has come.
///
/// # Errors
/// When the gateway refuses, does not respond, or the output cannot be written.
pub fn run(admin: SocketAddr, options: &Options) -> io::Result<()> {
    let (mut left, mut rest) = (options.count.unwrap_or(u64::MAX), options.duration);
    loop {
        let spell = rest.map_or(SPELL, |rest| rest.as_secs_f64().min(SPELL));
        if left == 0 || spell < 0.1 {
            return Ok(());
        }
        left = watch(admin, options, spell, left)?;
        rest = rest.map(|rest| rest.saturating_sub(Duration::from_secs_f64(spell)));
    }
}

/// Shows the calls of some seconds, at most so many. Gives how many may still be shown.
fn watch(admin: SocketAddr, options: &Options, seconds: f64, mut left: u64) -> io::Result<u64> {
    let mut lines = ask(admin, options, seconds)?.lines();
    let mut out = io::stdout().lock();
    while left > 0 {
        let Some(line) = lines.next().transpose()? else { break };
        let call: Value = serde_json::from_str(&line).unwrap_or_default();
        if call["path"].is_null() {
            note(&call)?;
            continue;
        }
        left -= 1;
        if options.json {
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}", shown(&call))?;
        }
        out.flush()?;
    }
    Ok(left)
}

/// Tells on standard error what is missing.
fn note(summary: &Value) -> io::Result<()> {
    match summary["dropped"].as_u64() {
        Some(dropped @ 1..) => {
            writeln!(io::stderr(), "{dropped} calls are not shown: there were too many (see --sample)")
        }
        _ => Ok(()),
    }
}

/// Asks over HTTP/1.0, so that the body is not cut into chunks and ends with the connection.
fn ask(admin: SocketAddr, options: &Options, seconds: f64) -> io::Result<BufReader<TcpStream>> {
    let wrong = |error: io::Error| unreachable(admin, "/tap", &error);
    let mut query = format!("seconds={seconds}");
    for (key, value) in &options.filters {
        query += &format!("&{key}={}", encoded(value));
    }
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).map_err(wrong)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /tap?{query} HTTP/1.0\r\nhost: {admin}\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut line) = (String::new(), String::new());
    reader.read_line(&mut status).map_err(wrong)?;
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).map_err(wrong)? == 0 {
            return Err(wrong(io::Error::other("no answer")));
        }
    }
    if status.split(' ').nth(1) == Some("200") {
        return Ok(reader);
    }
    let mut body = String::new();
    io::Read::read_to_string(&mut reader, &mut body)?;
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    Err(wrong(io::Error::other(said["message"].as_str().unwrap_or(status.trim()).to_owned())))
}

/// A value of a query.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A call in one line: time, status, flags, duration, what was called, where it went, where its time went.
fn shown(call: &Value) -> String {
    let word = |key: &str| call[key].as_str().unwrap_or("-").to_owned();
    let micros = |key: &str| call[key].as_u64().unwrap_or(0);
    let moment = word("time");
    let moment = moment.split_once('T').map_or(&*moment, |(_, time)| time.get(..12).unwrap_or(time));
    let took = time(Duration::from_micros(micros("took_us")));
    let http = call["http_status"].as_u64().filter(|status| *status != 200);
    let http = http.map_or_else(String::new, |status| format!(" ({status})"));
    let method = match (call["grpc_method"].as_str(), call["path"].as_str()) {
        (Some(method), Some(path)) if method != path => format!("{} {path} as {method}", word("method")),
        (_, path) => path.unwrap_or("-").to_owned(),
    };
    let mut text = format!(
        "{moment} {:<10} {:<4} {took:>8}  {} {method}",
        word("grpc_status") + &http,
        word("flags"),
        word("protocol"),
    );
    text += &format!("  {} -> {}", word("client"), word("upstream"));
    if call["attempts"].as_u64().unwrap_or(0) > 1 {
        text += &format!(" after {} attempts", call["attempts"]);
    }
    for stage in ["queue", "connect", "receive", "upstream", "transcode", "write"] {
        let spent = micros(&format!("{stage}_us"));
        // A tenth of all tells where the time went.
        if spent > 0 && spent * 10 >= micros("took_us") {
            text += &format!(" {stage} {}", time(Duration::from_micros(spent)));
        }
    }
    text += &format!(" {}/{}", bytes(micros("bytes_received") as f64), bytes(micros("bytes_sent") as f64));
    for key in ["request_headers", "response_headers"] {
        for (name, value) in call[key].as_object().into_iter().flatten() {
            text += &format!(" {name}: {}", value.as_str().unwrap_or_default());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_a_line() {
        let call = json!({
            "time": "2026-01-02T03:04:05.678901Z", "grpc_status": "UNAVAILABLE", "flags": "UF", "took_us": 12_345,
            "protocol": "json", "method": "GET", "path": "/v1/a", "grpc_method": "/a.B/C", "client": "10.0.0.1:5",
            "upstream": null, "attempts": 2, "http_status": 503, "queue_us": 45, "connect_us": 12_000,
            "bytes_received": 0, "bytes_sent": 12, "request_headers": { "x-tenant": "blue" },
        });
        let wanted = "03:04:05.678 UNAVAILABLE (503) UF    12.3 ms  json GET /v1/a as /a.B/C  10.0.0.1:5 -> - \
                      after 2 attempts connect 12.0 ms 0.00 B/12.0 B x-tenant: blue";
        assert_eq!(shown(&call), wanted);
        let plain =
            json!({ "grpc_status": "OK", "path": "/a.B/C", "grpc_method": "/a.B/C", "protocol": "grpc" });
        assert!(shown(&plain).contains(" grpc /a.B/C  - -> - "), "{}", shown(&plain));
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("/a.B/C d&é"), "/a.B/C%20d%26%C3%A9");
    }
}
