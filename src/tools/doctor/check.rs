//! The checks: one row for each setting, with all there is to say about it.
//!
//! `doctor`, `tuning/99-ringway.conf` and the settings in `tuning/README.md` are all written from these rows.

use super::host::Host;

/// A setting of a host.
#[derive(Debug)]
pub(super) struct Check {
    /// Its name; of a sysctl its key.
    pub(super) id: &'static str,
    /// How much it matters if it is not as wanted.
    pub(super) severity: Severity,
    /// How it is judged.
    pub(super) test: Test,
    /// The target, in words.
    pub(super) target: &'static str,
    /// The effect of the setting, and the reason for the target.
    pub(super) why: &'static str,
    /// The cost of the target.
    pub(super) cost: &'static str,
    /// The measurement that shows the difference.
    pub(super) measure: Measure,
    /// The command or the change that mends it. `{}` stands for the place of [`Reading::Off`].
    pub(super) fix: &'static str,
    /// How to get back.
    pub(super) undo: &'static str,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Something does not work, or will fail under load.
    Error,
    /// Costs speed or connections under load.
    Warning,
    /// For special cases; worth a measurement before it is changed.
    Note,
}

impl Severity {
    /// The word in reports.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// How a setting is judged.
#[derive(Debug)]
pub(super) enum Test {
    /// A sysctl.
    Sysctl {
        /// The demand on its value.
        want: Want,
        /// The value in `99-ringway.conf`.
        set: &'static str,
        /// The kernel's own value.
        default: &'static str,
    },
    /// Anything else.
    Read(fn(&Host) -> Reading),
    /// As [`Test::Read`], of counters that are read twice; not judged without `--live`.
    Watch(fn(&Host) -> Reading),
    /// Told and never judged.
    Tell(fn(&Host) -> Option<String>),
    /// A sysctl that is best left alone; told and never judged.
    Leave,
}

/// A demand on a sysctl's value.
#[derive(Debug)]
pub(super) enum Want {
    /// At least this number.
    AtLeast(u64),
    /// At most this number.
    AtMost(u64),
    /// Any of these texts.
    OneOf(&'static [&'static str]),
    /// The last of its three numbers at least this.
    LastAtLeast(u64),
    /// The verdict of this function.
    Judged(fn(&Host) -> Reading),
}

/// The state of a setting on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The host does not have this, or does not let us see it.
    Absent,
    /// As it should be.
    Good(String),
    /// Not as it should be.
    Off {
        /// The value.
        value: String,
        /// The place that the fix has to name: an interface, for example.
        place: String,
    },
}

impl Reading {
    /// Not as it should be.
    pub(super) fn off(value: impl Into<String>) -> Reading {
        Reading::off_at(value, "")
    }

    /// Not as it should be, at this place.
    pub(super) fn off_at(value: impl Into<String>, place: impl Into<String>) -> Reading {
        Reading::Off { value: value.into(), place: place.into() }
    }

    /// By whether it is as it should be.
    pub(super) fn judge(is_good: bool, value: impl Into<String>) -> Reading {
        if is_good { Reading::Good(value.into()) } else { Reading::off(value) }
    }
}

/// A measurement that shows the difference a setting makes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// The latency of the slowest calls.
    Tail,
    /// The CPU time of a call.
    Cpu,
    /// Many new connections at once.
    Connects,
    /// Large messages.
    Bulk,
    /// Memory.
    Memory,
    /// It works or it does not: this shows which.
    Shown(&'static str),
}

impl Measure {
    /// The sentence in the guide.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Measure::Tail => "`ringway load-test` before and after, taking turns: compare p99 and p99.9.",
            Measure::Cpu => {
                "`cargo bench --bench gateway`, or `process_cpu_seconds_total` over `ringway_calls_started_total` \
                 during `ringway load-test`: compare CPU time per call."
            }
            Measure::Connects => {
                "`ringway load-test` with many connections while `ringway doctor --live` watches: listen queue \
                 overflows must not grow."
            }
            Measure::Bulk => {
                "`ringway load-test` with large messages, over the real network: compare bytes per second."
            }
            Measure::Memory => {
                "`process_resident_memory_bytes` on `/metrics` under the same `ringway load-test`."
            }
            Measure::Shown(text) => text,
        }
    }
}

/// Settings that belong together.
#[derive(Debug)]
pub(super) struct Group {
    /// The heading.
    pub(super) name: &'static str,
    /// A sentence about them.
    pub(super) about: &'static str,
    /// The settings.
    pub(super) checks: &'static [Check],
}

impl Check {
    /// Reads the setting's state on this host.
    pub(super) fn read(&self, host: &Host) -> Reading {
        match &self.test {
            Test::Sysctl { want, .. } => match host.sysctl(self.id) {
                Some(value) => want.judge(value, host),
                None => Reading::Absent,
            },
            Test::Read(read) => read(host),
            Test::Watch(read) if host.is_live() => read(host),
            Test::Watch(_) => Reading::Absent,
            Test::Tell(read) => read(host).map_or(Reading::Absent, Reading::Good),
            Test::Leave => host.sysctl(self.id).map_or(Reading::Absent, |value| Reading::Good(spaced(value))),
        }
    }

    /// The key, if this is a sysctl.
    pub(super) fn sysctl(&self) -> Option<&'static str> {
        matches!(self.test, Test::Sysctl { .. } | Test::Leave).then_some(self.id)
    }

    /// The remedy, with `place` of the finding filled in.
    pub(super) fn fix(&self, place: &str) -> String {
        match self.test {
            Test::Sysctl { set, .. } if self.fix.is_empty() => format!("sysctl -w {}=\"{set}\"", self.id),
            _ => self.fix.replace("{}", place),
        }
    }

    /// How to get back.
    pub(super) fn undo(&self) -> String {
        match self.test {
            Test::Sysctl { default, .. } if self.undo.is_empty() => {
                format!("`sysctl -w {}=\"{default}\"`", self.id)
            }
            _ => self.undo.to_owned(),
        }
    }
}

impl Want {
    fn judge(&self, value: &str, host: &Host) -> Reading {
        let text = spaced(value);
        let last = value.split_ascii_whitespace().last().and_then(|word| word.parse::<u64>().ok());
        let is_good = match self {
            Want::AtLeast(least) | Want::LastAtLeast(least) => last.is_some_and(|number| number >= *least),
            Want::AtMost(most) => last.is_some_and(|number| number <= *most),
            Want::OneOf(words) => words.contains(&value),
            Want::Judged(judge) => return judge(host),
        };
        Reading::judge(is_good, text)
    }
}

/// A sysctl with several numbers has tabs between them.
fn spaced(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// A row for a sysctl.
#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
pub(super) const fn sysctl(
    id: &'static str,
    severity: Severity,
    want: Want,
    set: &'static str,
    default: &'static str,
    target: &'static str,
    why: &'static str,
    cost: &'static str,
    measure: Measure,
) -> Check {
    let test = Test::Sysctl { want, set, default };
    Check { id, severity, test, target, why, cost, measure, fix: "", undo: "" }
}

/// A row for a sysctl that is best left alone.
pub(super) const fn leave(id: &'static str, why: &'static str) -> Check {
    tell_with(id, Test::Leave, why)
}

/// A row that is told and never judged.
pub(super) const fn tell(id: &'static str, read: fn(&Host) -> Option<String>, why: &'static str) -> Check {
    tell_with(id, Test::Tell(read), why)
}

const fn tell_with(id: &'static str, test: Test, why: &'static str) -> Check {
    let measure = Measure::Shown("");
    Check { id, severity: Severity::Note, test, target: "", why, cost: "", measure, fix: "", undo: "" }
}
