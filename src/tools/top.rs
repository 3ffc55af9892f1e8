//! `ringway top`: the figures of a gateway in a terminal, live, from its admin address.
#![allow(clippy::disallowed_methods, reason = "a tool of its own process: it waits between two looks")]

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::scrape;
use super::show::units::{bytes, count, digits, percent, time};
use super::show::{Cell, Table, Tone};

/// How a person wants it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The admin address of the gateway.
    pub admin: SocketAddr,
    /// The time between two looks.
    pub interval: Duration,
    /// One look, and the end.
    pub once: bool,
    /// JSON in place of text: an object for each look.
    pub json: bool,
}

/// Rows of each table.
const ROWS: usize = 20;

/// The responses of the admin address at one look.
struct Look {
    history: Value,
    clusters: Value,
    calls: Value,
    breakers: Value,
}

/// Shows figures until it is interrupted, or once.
///
/// # Errors
/// When the gateway does not respond at the first look, or the output cannot be written.
pub fn run(options: &Options) -> io::Result<()> {
    let mut out = io::stdout();
    let is_live = out.is_terminal() && !options.once && !options.json;
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Rates need two looks: a gateway at which nobody looks takes no samples.
    Look::at(options.admin)?;
    loop {
        thread::sleep(options.interval);
        let look = Look::at(options.admin);
        let text = match &look {
            Ok(look) if options.json => format!("{}\n", look.json()),
            Ok(look) => look.text(options.admin, colour),
            Err(error) if is_live => format!("{error}; trying again\n"),
            Err(_) => return look.map(drop),
        };
        // To the first place; what stood there before goes.
        let clear = if is_live { "\x1b[H\x1b[2J" } else { "" };
        out.write_all([clear, &text].concat().as_bytes())?;
        out.flush()?;
        if options.once || !(is_live || options.json) {
            return Ok(());
        }
    }
}

impl Look {
    fn at(admin: SocketAddr) -> io::Result<Look> {
        let ask = |path: &str| {
            let text = scrape::get(admin, path)?;
            let wrong = |error| io::Error::other(format!("http://{admin}{path}: {error}"));
            serde_json::from_str(&text).map_err(wrong)
        };
        Ok(Look {
            history: ask("/history")?,
            clusters: ask("/clusters?format=json")?,
            calls: ask("/calls?format=json")?,
            breakers: ask("/breakers?format=json")?,
        })
    }

    fn sample(&self) -> &Value {
        self.history["samples"].as_array().and_then(|samples| samples.last()).unwrap_or(&Value::Null)
    }

    fn json(&self) -> Value {
        json!({
            "version": self.history["version"], "ready": self.history["ready"], "sample": self.sample(),
            "clusters": self.clusters["clusters"], "calls": self.calls["calls"],
            "breakers": self.breakers["breakers"],
        })
    }

    fn text(&self, admin: SocketAddr, colour: bool) -> String {
        let sample = self.sample();
        let ready = if self.history["ready"] == true { "ready" } else { "draining" };
        let by_code = sample["by_code"].as_object();
        let all: f64 = by_code.map_or(0.0, |codes| codes.values().filter_map(Value::as_f64).sum());
        let ok = number(&sample["by_code"]["OK"]).unwrap_or(0.0);
        let workers = sample["workers"].as_array().map_or(&[][..], Vec::as_slice);
        let in_flight: f64 = workers.iter().filter_map(|worker| number(&worker["calls_active"])).sum();
        let mut text = format!(
            "Ringway {} at {admin}, {ready}, {}\n",
            word(&self.history["version"]),
            word(&self.history["backend"])
        );
        text += &format!(
            "{} calls/s, {} not OK, p50 {}, p99 {}, {} in flight\n{} of {} cores busy, {}\n\n",
            rate(Some(all)),
            percent(if all > 0.0 { (all - ok) / all } else { 0.0 }),
            micros(&sample["p50_us"]),
            micros(&sample["p99_us"]),
            count(in_flight),
            digits(number(&sample["cores_busy"]).unwrap_or(0.0)),
            workers.len(),
            bytes(number(&sample["resident_bytes"]).unwrap_or(0.0)),
        );
        for table in [self.codes(), self.breakers(), self.clusters(), self.calls()] {
            if !table.rows.is_empty() {
                text += &table.text(colour);
                text.push('\n');
            }
        }
        text
    }

    /// Statuses that are not OK, the most frequent first.
    fn codes(&self) -> Table {
        let mut table = Table::new("", &["not OK", ">per second"]);
        let codes = self.sample()["by_code"].as_object();
        let mut codes: Vec<(&str, f64)> = codes
            .into_iter()
            .flatten()
            .filter_map(|(code, rate)| Some((code.as_str(), rate.as_f64()?)))
            .filter(|(code, _)| *code != "OK")
            .collect();
        codes.sort_by(|one, other| other.1.total_cmp(&one.1));
        for (code, per_second) in codes.into_iter().take(ROWS) {
            table.rows.push(vec![code.into(), Cell::new(rate(Some(per_second)), Tone::Bad)]);
        }
        table
    }

    /// Breakers that are not closed.
    fn breakers(&self) -> Table {
        let mut table = Table::new("", &["breaker", "state", ">opened"]);
        for row in rows(&self.breakers["breakers"]).filter(|row| row["state"] != "closed").take(ROWS) {
            let name = format!("{} {}", word(&row["cluster"]), word(&row["method"]));
            let state = Cell::new(word(&row["state"]), Tone::Bad);
            table.rows.push(vec![name.trim_end_matches(" -").into(), state, whole(&row["opens"]).into()]);
        }
        table
    }

    /// Clusters and their endpoints.
    fn clusters(&self) -> Table {
        let columns = ["cluster, endpoint", "state", ">calls/s", ">not OK/s", ">p50", ">p99", ">in flight"];
        let mut table = Table::new("", &columns);
        let sample = self.sample();
        for row in rows(&self.clusters["clusters"]).take(ROWS) {
            let rates = rows(&sample["clusters"]).find(|rates| rates["cluster"] == row["cluster"]);
            let rates = rates.unwrap_or(&Value::Null);
            table.rows.push(vec![
                word(&row["cluster"]).into(),
                "".into(),
                rate(number(&rates["calls_per_s"])).into(),
                bad(number(&rates["errors_per_s"])),
                micros(&rates["p50_us"]).into(),
                micros(&rates["p99_us"]).into(),
                whole(&row["calls_active"]).into(),
            ]);
            for endpoint in rows(&row["endpoints"]).take(ROWS) {
                let problem = endpoint["last_error"].as_str();
                let is_well = matches!(word(&endpoint["state"]).as_str(), "connected" | "idle");
                let state = match problem.filter(|_| !is_well) {
                    Some(problem) => format!("{}: {problem}", word(&endpoint["state"])),
                    None => word(&endpoint["state"]),
                };
                table.rows.push(vec![
                    format!("  {}", word(&endpoint["address"])).into(),
                    Cell::new(state, if is_well { Tone::Plain } else { Tone::Bad }),
                    "".into(),
                    "".into(),
                    "".into(),
                    "".into(),
                    whole(&endpoint["calls_active"]).into(),
                ]);
            }
        }
        table
    }

    /// Routes and methods, those with errors first.
    fn calls(&self) -> Table {
        let columns = ["route", "cluster", "method", ">calls/s", ">not OK/s", ">p50", ">p99"];
        let mut table = Table::new("", &columns);
        for row in rows(&self.calls["calls"]).take(ROWS) {
            table.rows.push(vec![
                word(&row["route"]).into(),
                word(&row["cluster"]).into(),
                word(&row["method"]).into(),
                rate(number(&row["calls_per_s"])).into(),
                bad(number(&row["errors_per_s"])),
                micros(&row["p50_us"]).into(),
                micros(&row["p99_us"]).into(),
            ]);
        }
        table
    }
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), str::to_owned)
}

fn whole(value: &Value) -> String {
    number(value).map_or_else(|| "-".to_owned(), count)
}

fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| if value == 0.0 { "0".to_owned() } else { digits(value) })
}

fn bad(value: Option<f64>) -> Cell {
    let is_bad = value.is_some_and(|value| value > 0.0);
    Cell::new(rate(value), if is_bad { Tone::Bad } else { Tone::Plain })
}

fn micros(value: &Value) -> String {
    let micros = value.as_u64().map(Duration::from_micros);
    micros.map_or_else(|| "-".to_owned(), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            history: json!({ "version": "0.1.0", "ready": true, "backend": "io_uring", "samples": [{
                "by_code": { "OK": 12_000.0, "UNAVAILABLE": 340.0, "NOT_FOUND": 2.0 },
                "p50_us": 130, "p99_us": 5200, "cores_busy": 1.25, "resident_bytes": 35_000_000,
                "workers": [{ "calls_active": 3 }, { "calls_active": 1_200 }],
                "clusters": [{ "cluster": "auth", "calls_per_s": 12_342.0, "errors_per_s": 342.0, "p50_us": 130,
                               "p99_us": null }],
            }] }),
            clusters: json!({ "clusters": [{ "cluster": "auth", "calls_active": 1_203, "endpoints": [
                { "address": "10.0.0.1:50051", "state": "connected", "calls_active": 1_203 },
                { "address": "10.0.0.2:50051", "state": "failed", "calls_active": 0,
                  "last_error": "permission denied: this user may not write to the socket's file" },
                { "address": "echo.internal:50051", "state": "unresolved", "calls_active": 0,
                  "last_error": "DNS lookup failed: there is no such name" },
            ] }] }),
            calls: json!({ "calls": [{ "route": "prefix:/", "cluster": "auth", "method": null, "calls_per_s": 12_342.0,
                                       "errors_per_s": 342.0, "p50_us": 130, "p99_us": 5200 }] }),
            breakers: json!({ "breakers": [
                { "cluster": "auth", "method": null, "state": "open", "opens": 3 },
                { "cluster": "chat", "method": null, "state": "closed", "opens": 0 },
            ] }),
        }
    }

    #[test]
    fn errors_come_first() {
        let text = look().text("127.0.0.1:9901".parse().unwrap(), false);
        let wanted = "Ringway 0.1.0 at 127.0.0.1:9901, ready, io_uring\n\
            12,342 calls/s, 2.77 % not OK, p50 130 us, p99 5.20 ms, 1,203 in flight\n\
            1.25 of 2 cores busy, 33.4 MiB\n\n  \
              not OK       per second\n  \
              UNAVAILABLE         340\n  \
              NOT_FOUND          2.00\n\n  \
              breaker  state  opened\n  \
              auth     open        3\n\n";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.contains("  10.0.0.2:50051       failed: permission denied: this"), "{text}");
        assert!(text.contains("  echo.internal:50051  unresolved: DNS lookup failed:"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_look_is_json_too() {
        let json = look().json();
        assert_eq!(json["sample"]["by_code"]["OK"], 12_000.0);
        assert_eq!(json["breakers"][0]["state"], "open");
    }

    #[test]
    fn a_gateway_without_a_sample_has_no_figures() {
        let nothing = || Value::Null;
        let look = Look { history: nothing(), clusters: nothing(), calls: nothing(), breakers: nothing() };
        let text = look.text("127.0.0.1:9901".parse().unwrap(), false);
        assert!(text.contains("0 calls/s, 0 % not OK, p50 -, p99 -, 0 in flight"), "{text}");
    }
}
