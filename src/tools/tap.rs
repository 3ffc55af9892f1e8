//! `ringway tap`: the calls that pass a gateway, live, from its admin address.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::scrape::unreachable;
use super::show::units::{bytes, time};
use super::show::{WIDTH_MAX, fold};

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
    let mut is_first = !options.json;
    loop {
        let spell = rest.map_or(SPELL, |rest| rest.as_secs_f64().min(SPELL));
        if left == 0 || spell < 0.1 {
            return Ok(());
        }
        let lines = ask(admin, options, spell)?.lines();
        if std::mem::take(&mut is_first) {
            io::stdout().write_all(heading().as_bytes())?;
        }
        left = watch(lines, options, left)?;
        rest = rest.map(|rest| rest.saturating_sub(Duration::from_secs_f64(spell)));
    }
}

/// Shows the calls of some seconds, at most so many. Gives how many may still be shown.
fn watch(mut lines: io::Lines<impl BufRead>, options: &Options, mut left: u64) -> io::Result<u64> {
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
            out.write_all(shown(&call).as_bytes())?;
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

/// The columns of a call's first line, but for the method's.
const COLUMNS: [usize; 3] = [12, 19, 8];

/// Where the method begins.
const METHOD_AT: usize = COLUMNS[0] + COLUMNS[1] + COLUMNS[2] + 6;

/// Where the lines below a call's first one begin.
const BELOW_AT: usize = COLUMNS[0] + 2;

/// The first line of a call, and the lines on which its method goes on.
fn first_line(time: &str, status: &str, took: &str, method: &str) -> String {
    let mut text = String::new();
    let [time_width, status_width, took_width] = COLUMNS;
    let head = format!("{time:<time_width$}  {status:<status_width$}  {took:>took_width$}  ");
    for (number, line) in fold(method, WIDTH_MAX - METHOD_AT).into_iter().enumerate() {
        let before = if number == 0 { head.clone() } else { " ".repeat(METHOD_AT) };
        text += &format!("{before}{line}\n");
    }
    text
}

/// The names of what calls have.
fn heading() -> String {
    let below = "flags protocol client -> upstream, longest stages, bytes in / out, chosen fields";
    format!("{}{:BELOW_AT$}{below}\n", first_line("time", "status", "took", "method"), "")
}

/// A call: time, status, duration and what was called; below these where it went, and where its time went.
fn shown(call: &Value) -> String {
    let word = |key: &str| call[key].as_str().unwrap_or("-").to_owned();
    let micros = |key: &str| call[key].as_u64().unwrap_or(0);
    let moment = word("time");
    let moment = moment.split_once('T').map_or(&*moment, |(_, time)| time.get(..12).unwrap_or(time));
    let took = time(Duration::from_micros(micros("took_us")));
    let method = match (call["grpc_method"].as_str(), call["path"].as_str()) {
        (Some(method), Some(path)) if method != path => format!("{} {path} as {method}", word("method")),
        (_, path) => path.unwrap_or("-").to_owned(),
    };
    let mut below =
        format!("{} {} {} -> {}", word("flags"), word("protocol"), word("client"), word("upstream"));
    if call["attempts"].as_u64().unwrap_or(0) > 1 {
        below += &format!(", {} attempts", call["attempts"]);
    }
    if let Some(status) = call["http_status"].as_u64().filter(|status| *status != 200) {
        below += &format!(", HTTP {status}");
    }
    for stage in ["queue", "connect", "receive", "upstream", "transcode", "write"] {
        let spent = micros(&format!("{stage}_us"));
        // A tenth of all tells where the time went.
        if spent > 0 && spent * 10 >= micros("took_us") {
            below += &format!(", {stage} {}", time(Duration::from_micros(spent)));
        }
    }
    let [received, sent] = ["bytes_received", "bytes_sent"].map(|key| bytes(micros(key) as f64));
    below += &format!(", {received} / {sent}");
    for key in ["request_headers", "response_headers"] {
        for (name, value) in call[key].as_object().into_iter().flatten() {
            below += &format!(", {name}: {}", value.as_str().unwrap_or_default());
        }
    }
    let mut text = first_line(moment, &word("grpc_status"), &took, &method);
    for line in fold(&below, WIDTH_MAX - BELOW_AT) {
        text += &format!("{:BELOW_AT$}{line}\n", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_stand_in_columns_below_a_heading() {
        let call = json!({
            "time": "2026-01-02T03:04:05.678901Z", "grpc_status": "UNAVAILABLE", "flags": "UF", "took_us": 12_345,
            "protocol": "json", "method": "GET", "path": "/v1/a", "grpc_method": "/a.B/C", "client": "10.0.0.1:5",
            "upstream": null, "attempts": 2, "http_status": 503, "queue_us": 45, "connect_us": 12_000,
            "bytes_received": 0, "bytes_sent": 12, "request_headers": { "x-tenant": "blue" },
        });
        let wanted = "\
time          status                   took  method
              flags protocol client -> upstream, longest stages, bytes in / out, chosen fields
03:04:05.678  UNAVAILABLE           12.3 ms  GET /v1/a as /a.B/C
              UF json 10.0.0.1:5 -> -, 2 attempts, HTTP 503, connect 12.0 ms, 0.00 B / 12.0 B,
              x-tenant: blue
";
        let text = heading() + &shown(&call);
        assert_eq!(text, wanted);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        let plain =
            json!({ "grpc_status": "OK", "path": "/a.B/C", "grpc_method": "/a.B/C", "protocol": "grpc" });
        assert!(shown(&plain).contains("  /a.B/C\n              - grpc - -> -, "), "{}", shown(&plain));
        let long = json!({ "path": "/university.".repeat(20), "client": "[2001:db8::1]:50051".repeat(6) });
        let text = shown(&long);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("/a.B/C d&é"), "/a.B/C%20d%26%C3%A9");
    }
}
