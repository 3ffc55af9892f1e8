//! Writes files from the table: `tuning/99-ringway.conf` and the settings in `tuning/README.md`.

use std::fmt::Write as _;

use super::check::{Check, Group, Severity, Test};
use super::table;

/// Sysctls that rows read besides their own.
const OTHERS: &[&str] = &[
    "net.core.default_qdisc",
    "net.core.rps_sock_flow_entries",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_mem",
];

/// All sysctls that are read.
pub(super) fn sysctls() -> impl Iterator<Item = &'static str> {
    table::checks().filter_map(|check| check.sysctl()).chain(OTHERS.iter().copied())
}

/// The text of `99-ringway.conf`.
pub fn conf() -> String {
    let mut out = String::from(
        "# Kernel settings for a host that runs Ringway. tuning/README.md says what each does and costs.\n\
         # Written from the table of `ringway doctor` by UPDATE=1 cargo test --lib doctor.\n\
         #   install -m 644 tuning/99-ringway.conf /etc/sysctl.d/ && sysctl --system\n\
         # Lines with a # are for special cases: measure before you take one.\n",
    );
    for group in table::GROUPS {
        let rows = group.checks.iter().filter_map(|check| match check.test {
            Test::Sysctl { set, .. } => Some((check, set)),
            _ => None,
        });
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            let _ = writeln!(out, "\n# {}", group.name);
        }
        for (check, set) in rows {
            let mark = if check.severity == Severity::Note { "# " } else { "" };
            let _ = writeln!(out, "{mark}{} = {set}", check.id);
        }
    }
    out
}

/// The settings of the guide.
pub fn settings() -> String {
    let mut out = String::new();
    for group in table::GROUPS {
        let _ = writeln!(out, "### {}\n\n{}\n", group.name, group.about);
        group.checks.iter().filter(|check| is_judged(check)).for_each(|check| setting(&mut out, check));
        told(&mut out, group);
    }
    out
}

fn is_judged(check: &Check) -> bool {
    !matches!(check.test, Test::Tell(_) | Test::Leave)
}

fn setting(out: &mut String, check: &Check) {
    let _ = writeln!(out, "#### `{}`: {}\n\n{}\n", check.id, check.target, check.why);
    let _ = writeln!(out, "- **Without it**: {} in `ringway doctor`.", check.severity.word());
    let _ = writeln!(out, "- **Costs**: {}", check.cost);
    let _ = writeln!(out, "- **Measure**: {}", check.measure.text());
    let _ = writeln!(out, "- **Set**: `{}`", check.fix("IF"));
    if !check.undo().is_empty() {
        let _ = writeln!(out, "- **Undo**: {}", check.undo());
    }
    out.push('\n');
}

fn told(out: &mut String, group: &Group) {
    for (of, heading) in [(false, "Told, not judged"), (true, "Best left alone")] {
        let mut rows = group
            .checks
            .iter()
            .filter(|check| !is_judged(check) && matches!(check.test, Test::Leave) == of)
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        let _ = writeln!(out, "{heading}:\n");
        for check in rows {
            let _ = writeln!(out, "- `{}`: {}", check.id, check.why);
        }
        out.push('\n');
    }
}
