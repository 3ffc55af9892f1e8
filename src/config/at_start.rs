//! Keys that take effect only when the gateway starts. A reload keeps the values in use, and says where the file has others.

use std::fmt;

use super::Config;
use super::knobs::KNOBS;

/// A key whose value in the file waits for the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The key.
    pub key: &'static str,
    /// Where the file has it: file, line and column.
    pub place: String,
    /// Its value there; `None` where it is left out and has no single default.
    pub found: Option<String>,
    /// The value in use, likewise.
    pub in_use: Option<String>,
}

impl fmt::Display for Waiting {
    /// `ringway.toml:2:11: workers = 4: waits for a restart, 2 is in use`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.key)?;
        match &self.found {
            Some(found) => write!(f, " = {found}")?,
            None => f.write_str(" is left out")?,
        }
        match &self.in_use {
            Some(in_use) => write!(f, ": waits for a restart, {in_use} is in use"),
            None => f.write_str(": waits for a restart, the default is in use"),
        }
    }
}

impl Config {
    /// Takes the values of `started`, which the gateway runs with, for all keys that only a start applies. Gives those
    /// whose own values were others.
    pub fn keep_what_started(&mut self, started: &Config) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        for knob in KNOBS.iter().filter(|knob| knob.is_at_start) {
            if !keep(knob.key, self, started) {
                continue;
            }
            waiting.push(Waiting {
                key: knob.key,
                place: self.places.at_start(knob.key).to_owned(),
                found: self.effective.literal(knob.key),
                in_use: started.effective.literal(knob.key),
            });
            self.effective.keep(knob.key, &started.effective);
        }
        waiting
    }
}

/// Gives `config` the value of `started` for a key. True if it was another one.
fn keep(key: &str, config: &mut Config, started: &Config) -> bool {
    fn take<T: Clone + PartialEq>(value: &mut T, from: &T) -> bool {
        let is_other = value != from;
        value.clone_from(from);
        is_other
    }
    let (io, of) = (&mut config.io, &started.io);
    match key {
        "workers" => take(&mut config.workers, &started.workers),
        "cpu_policy" => take(&mut config.cpu_policy, &started.cpu_policy),
        "io.backend" => take(&mut io.backend, &of.backend),
        "io.entries" => take(&mut io.entries, &of.entries),
        "io.on_unavailable" => take(&mut io.on_unavailable, &of.on_unavailable),
        "io.sqpoll_idle" => take(&mut io.sqpoll_idle, &of.sqpoll_idle),
        "io.busy_poll" => take(&mut io.busy_poll, &of.busy_poll),
        "admin.address" => take(&mut config.admin.address, &started.admin.address),
        _ => unreachable!("{key} is applied at the start only, and nothing keeps it"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    const REST: &str = "[[listeners]]\naddress = \"127.0.0.1:1\"\nmax_connections = 16\n[[routes]]\ncluster = \"c\"\n\
                        [[clusters]]\nname = \"c\"\nendpoints = [\"h:1\"]\n";

    fn parsed(text: &str) -> Config {
        let text = format!("{text}{REST}");
        parse(&text, Path::new("r.toml")).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn waiting(started: &str, now: &str) -> Vec<String> {
        let mut config = parsed(now);
        let found = config.keep_what_started(&parsed(started));
        let mut kept = parsed(started);
        kept.drain_timeout = config.drain_timeout;
        assert!(config == kept, "what only a start applies is kept, and all else is the file's: {now}");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_key_that_only_a_start_applies_is_named_with_its_place() {
        let values = [
            ("workers", "3", "\"auto\""),
            ("cpu_policy", "\"physical_cores\"", "the default"),
            ("io.backend", "\"epoll\"", "\"auto\""),
            ("io.entries", "512", "4096"),
            ("io.on_unavailable", "\"fail\"", "\"fallback\""),
            ("io.sqpoll_idle", "\"5ms\"", "\"0s\""),
            ("io.busy_poll", "\"50us\"", "\"0s\""),
            ("admin.address", "\"127.0.0.1:7\"", "\"127.0.0.1:9901\""),
        ];
        let keys: Vec<&str> = KNOBS.iter().filter(|knob| knob.is_at_start).map(|knob| knob.key).collect();
        assert_eq!(keys, values.map(|(key, ..)| key));
        for (key, value, default) in values {
            let line = format!("drain_timeout = \"7s\"\n{key} = {value}\n");
            let column = key.len() + 4;
            let wanted =
                format!("r.toml:2:{column}: {key} = {value}: waits for a restart, {default} is in use");
            assert_eq!(waiting("", &line), [wanted]);
            assert!(waiting(&line, &line).is_empty());
        }
    }

    #[test]
    fn a_key_that_is_left_out_has_the_place_of_its_table() {
        assert_eq!(
            waiting("workers = 2\n", "drain_timeout = \"7s\"\n"),
            ["r.toml:1:1: workers = \"auto\": waits for a restart, 2 is in use"]
        );
        assert_eq!(
            waiting(
                "io.entries = 512\ncpu_policy = \"numa_node:0\"\n",
                "drain_timeout = \"7s\"\n[io]\nbackend = \"auto\"\n"
            ),
            [
                "r.toml:1:1: cpu_policy is left out: waits for a restart, \"numa_node:0\" is in use",
                "r.toml:2:1: io.entries = 4096: waits for a restart, 512 is in use",
            ]
        );
    }

    #[test]
    fn another_spelling_of_a_value_waits_for_nothing() {
        let started = "workers = 2\nio.sqpoll_idle = \"1s\"\n";
        assert!(
            waiting(started, "workers = 0x2\nio.sqpoll_idle = \"1000ms\"\ncpu_policy = \"all\"\n").is_empty()
        );
    }
}
