//! The house rules, as tests: who may import whom, where a crate may be named, sizes, left-overs, `unsafe`.
//!
//! A rule that is broken fails with `file:line` and the table that states it. The tables come first. Lists of
//! exceptions are ratchets: they may get shorter, and an entry that is no longer needed fails too.

#[path = "support/source.rs"]
#[allow(unreachable_pub, reason = "a test binary has no public side")]
mod source;

#[path = "support/imports.rs"]
#[allow(unreachable_pub, reason = "a test binary has no public side")]
mod imports;

use imports::{Import, Tree};
use source::{File, Source, Word};
use std::fs;
use std::path::Path;

/// The imports that each module may have. Every name in a list stands above its row, so there can be no cycle.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Ground: no I/O, no clock, no runtime.
    ("random", &[]),
    ("time", &["random"]), // random: only its tests, for seeded times
    ("alloc", &[]),
    ("buffer", &[]),
    ("config", &["time"]),
    ("policy", &["time", "random", "config"]),
    ("metrics", &["time", "policy", "config"]),
    // Middle: bytes and sockets.
    ("wire", &["policy", "config", "buffer", "random"]), // random: only its tests, for seeded bytes
    ("transcode", &["time", "config", "policy", "wire"]),
    ("tls", &["config", "policy", "metrics"]),
    ("http2", &["time", "random", "buffer"]), // random: only its tests, for seeded bytes
    ("net", &["time", "random", "buffer", "config", "metrics", "tls"]), // random: only simulations, for chance with a seed
    ("upstream", &["time", "random", "buffer", "config", "policy", "metrics", "wire", "tls", "http2", "net"]),
    // Upper: cores, threads, people.
    ("background", &[]),
    (
        "worker",
        &[
            "time",
            "random",
            "alloc",
            "buffer",
            "config",
            "policy",
            "metrics",
            "wire",
            "transcode",
            "tls",
            "http2",
            "net",
            "upstream",
        ],
    ),
    ("admin", &["time", "alloc", "config", "metrics", "policy", "transcode", "background"]),
    (
        "supervisor",
        &[
            "time",
            "random",
            "alloc",
            "config",
            "policy",
            "metrics",
            "wire",
            "transcode",
            "tls",
            "net",
            "upstream",
            "worker",
            "admin",
            "background",
        ],
    ),
    ("demo", &["config", "background"]),
    (
        "tools",
        &[
            "time",
            "random",
            "config",
            "policy",
            "metrics",
            "wire",
            "transcode",
            "net",
            "supervisor",
            "demo",
            "background",
        ],
    ),
    (
        "cli",
        &[
            "time",
            "random",
            "config",
            "policy",
            "metrics",
            "wire",
            "transcode",
            "tls",
            "net",
            "upstream",
            "worker",
            "admin",
            "supervisor",
            "demo",
            "tools",
        ],
    ),
    ("main", &["alloc", "config", "supervisor", "demo", "tools", "cli"]),
];

const GROUND: &[&str] = &["time", "random", "buffer", "config", "policy", "metrics"];

/// Where a crate may be named; to replace it, these folders change and no other.
const CRATES: &[(&str, &[&str])] = &[
    ("monoio", &["net"]),
    ("io_uring", &["net"]),
    ("socket2", &["net"]),
    ("rustls", &["tls"]),
    ("x509_parser", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("tokio_rustls", &["supervisor"]),
    ("h2", &["tools"]),
    ("quanta", &["worker"]),
    ("toml", &["config"]),
    ("regex_automata", &["config"]),
    ("serde_json", &["config", "policy", "metrics", "transcode", "tools", "admin", "supervisor", "worker"]),
    ("jsonwebtoken", &["policy"]),
    ("aws_lc_rs", &["policy", "tls"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("core_affinity", &["supervisor"]),
    ("fastrand", &["random"]),
    ("hyper", &["admin", "worker", "supervisor", "tools"]),
    ("form_urlencoded", &["admin"]),
    ("thiserror", &["net", "supervisor", "tls", "tools", "transcode", "worker"]),
    ("parking_lot", &["admin", "policy", "supervisor", "tls", "worker"]),
    ("prost_reflect", &["transcode"]),
    ("protox", &["transcode"]),
    ("hdrhistogram", &["tools"]),
    ("indicatif", &["tools"]),
    ("hickory_resolver", &["supervisor"]),
    ("prost", &["demo", "tools", "supervisor", "wire", "worker"]),
    ("prost_types", &["demo", "tools", "supervisor"]),
    ("tonic", &["demo", "tools", "supervisor"]),
    ("tonic_prost", &["demo", "tools", "supervisor"]),
    ("tonic_health", &["demo", "tools", "supervisor"]),
    ("tonic_reflection", &["demo", "tools", "supervisor"]),
    ("opentelemetry_proto", &["supervisor"]),
];

/// The ground floor takes time as an argument and never waits.
const NOT_ON_THE_GROUND: &[&str] =
    &["Instant", "SystemTime", "async", "await", "tokio", "TcpStream", "TcpListener", "UdpSocket"];

/// Files of the ground floor that may say one of these words all the same, and why.
const ON_THE_GROUND: &[(&str, &[&str], &str)] = &[
    ("src/time/timers.rs", &["async", "await"], "polls the future it is given until a moment it is given"),
    ("src/metrics/render/tests.rs", &["Instant"], "a test of how long a page takes"),
];

/// The only files that may say `unsafe`. Each use carries a SAFETY note.
const MAY_BE_UNSAFE: &[&str] = &[
    "src/buffer/pool.rs",
    "src/net/sys.rs",
    "src/net/ring_transport.rs",
    "src/net/message.rs",
    "src/net/data_ring.rs",
    "src/net/operations.rs",
    "src/net/executor.rs",
    "src/net/numbered.rs",
    "src/net/buffer_ring.rs",
    "src/net/ring_selftest.rs",
    "src/alloc.rs",
    "tests/support/seccomp.rs",
];

/// Lines a file may have.
const SOURCE_LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 700;
/// A ratchet: file, the lines it may have.
const LONGER_FILES: &[(&str, usize)] = &[];

/// Files of tests that may wait for time to pass, and why it is not a wait for some state.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("tests/alone/idle.rs", "it measures a time in which nothing happens"),
    ("tests/support/interop_server.rs", "a caller asks for the interval between two answers"),
    ("tests/alone/verify.rs", "a proxy that is slow on purpose"),
];

fn rust_files() -> Vec<File> {
    let rust = |path: &str| path.ends_with(".rs");
    let mut all = source::files("src", rust);
    all.extend(source::files("tests", rust));
    all.extend(source::files("benches", rust));
    all.extend(source::files("", |path| path == "build.rs"));
    all
}

/// The top-level module a file of `src` belongs to, and how deep below the crate's root it stands.
fn module(path: &str) -> Option<(String, usize)> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Vec<&str> = inside.split('/').collect();
    if parts.len() > 1 && parts.last() == Some(&"mod") {
        parts.pop();
    }
    let depth = if inside == "lib" || inside == "main" { 0 } else { parts.len() };
    Some((parts[0].to_owned(), depth))
}

fn sources() -> impl Iterator<Item = (File, Source, String, usize)> {
    source::files("src", |path| path.ends_with(".rs")).into_iter().map(|file| {
        let (name, depth) = module(&file.path).expect("it is below src");
        let source = source::read(&file.text);
        (file, source, name, depth)
    })
}

/// Fails with all that was found wrong, one a line.
fn report(law: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{law}\n  {}\n", wrong.join("\n  "));
}

fn text(words: &[Word], at: usize) -> &str {
    words.get(at).map_or("", |word| word.text.as_str())
}

/// Names that follow the crate's root: `crate::x`, `crate::{x, y::z}`, `ringway::x` in main.rs, and `super::x`
/// where the supers climb up to the root. `depth` is how deep the file's module stands; 0 is main.rs.
fn names_from_root(words: &[Word], depth: usize) -> Vec<Word> {
    let mut names = Vec::new();
    let mut modules = Vec::new(); // for each open brace: does it open an inline module
    let mut at = 0;
    while at < words.len() {
        match text(words, at) {
            "{" => modules.push(at >= 2 && text(words, at - 2) == "mod"),
            "}" => drop(modules.pop()),
            "crate" if text(words, at + 1) == "::" => first_names(words, at + 2, &mut names),
            "ringway" if depth == 0 && text(words, at + 1) == "::" => first_names(words, at + 2, &mut names),
            "super" if depth > 0 => {
                let here = depth + modules.iter().filter(|is_module| **is_module).count();
                let mut supers = 1;
                while text(words, at + 1) == "::" && text(words, at + 2) == "super" {
                    supers += 1;
                    at += 2;
                }
                if supers >= here && text(words, at + 1) == "::" {
                    first_names(words, at + 2, &mut names);
                }
            }
            _ => {}
        }
        at += 1;
    }
    names
}

/// The first name of a path, or of each path in a group.
fn first_names(words: &[Word], at: usize, names: &mut Vec<Word>) {
    if text(words, at) != "{" {
        names.extend(words.get(at).cloned());
        return;
    }
    let mut depth = 0;
    for here in at..words.len() {
        match text(words, here) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(text(words, here - 1), "{" | ",") => names.push(words[here].clone()),
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn row(module: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
}

#[test]
fn the_import_law_has_no_cycle() {
    for (at, (name, allowed)) in MAY_IMPORT.iter().enumerate() {
        for import in *allowed {
            let stands_above = MAY_IMPORT[..at].iter().any(|(above, _)| above == import);
            assert!(stands_above, "MAY_IMPORT: `{name}` lists `{import}`, which does not stand above it");
        }
    }
}

#[test]
fn imports_only_look_down() {
    let mut wrong = Vec::new();
    for (file, source, module, depth) in sources() {
        if module == "lib" {
            continue; // it only lists the modules
        }
        let Some(allowed) = row(&module) else {
            wrong.push(format!("{}:1: module `{module}` has no row in the law", file.path));
            continue;
        };
        for name in names_from_root(&source.words, depth) {
            if name.text != module && !allowed.contains(&name.text.as_str()) {
                wrong.push(format!("{}:{}: `{module}` may not import `{}`", file.path, name.line, name.text));
            }
        }
    }
    report("who may import whom is MAY_IMPORT in tests/tidy.rs:", &wrong);
}

#[test]
fn no_two_files_import_each_other() {
    let files = source::files("src", |path| path.ends_with(".rs"));
    let all = Tree::new(files.into_iter().map(|file| (file.path, file.text))).imports();
    assert!(all.len() > 500, "imports were found: {}", all.len());
    let place = |import: Import| format!("{}:{}: {}", import.from, import.line, import.to);
    let wrong: Vec<String> = imports::circular(&all).into_iter().map(place).collect();
    report(
        "no two files import each other, directly or in a circle; move what both need below both:",
        &wrong,
    );
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (file, source, module, _) in sources() {
        let words = &source.words;
        for (at, word) in words.iter().enumerate() {
            let Some((name, homes)) = CRATES.iter().find(|(name, _)| *name == word.text) else {
                continue;
            };
            let before = if at == 0 { "" } else { text(words, at - 1) };
            let is_root = before != "::"
                || at < 2
                || matches!(text(words, at - 2), "use" | "<" | "(" | "," | "{" | "=");
            let is_path = is_root && text(words, at + 1) == "::";
            if (is_path || before == "use") && !homes.contains(&module.as_str()) {
                let homes = homes.join(", ");
                wrong.push(format!(
                    "{}:{}: `{name}` in `{module}`; its place is {homes}",
                    file.path, word.line
                ));
            }
        }
    }
    report("where a crate may be named is CRATES in tests/tidy.rs:", &wrong);
}

#[test]
fn the_ground_floor_reads_no_clock_and_never_waits() {
    let mut wrong = Vec::new();
    for (file, source, module, _) in sources() {
        if GROUND.contains(&module.as_str()) {
            let exempt =
                ON_THE_GROUND.iter().find(|(path, ..)| *path == file.path).map_or(&[][..], |row| row.1);
            let banned = |word: &str| NOT_ON_THE_GROUND.contains(&word) && !exempt.contains(&word);
            for word in source.words.iter().filter(|word| banned(&word.text)) {
                wrong.push(format!("{}:{}: `{}` in `{module}`", file.path, word.line, word.text));
            }
        }
    }
    report("NOT_ON_THE_GROUND in tests/tidy.rs; take `now: Moment` as an argument:", &wrong);
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        let usual = if file.path.starts_with("tests/") { TEST_LINES_MAX } else { SOURCE_LINES_MAX };
        let listed = LONGER_FILES.iter().find(|(path, _)| *path == file.path);
        if lines >= listed.map_or(usual, |(_, max)| *max) {
            wrong.push(format!(
                "{}:{lines}: {lines} lines, the limit is {usual}; split it by its nouns",
                file.path
            ));
        } else if listed.is_some() && lines < usual {
            wrong.push(format!("{}:1: short enough now; take it out of LONGER_FILES", file.path));
        }
    }
    for (path, _) in LONGER_FILES {
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
            wrong.push(format!("{path}:1: gone; take it out of LONGER_FILES"));
        }
    }
    report("files stay short:", &wrong);
}

#[test]
fn nothing_is_left_over() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let source = source::read(&file.text);
        let words = &source.words;
        for (at, word) in words.iter().enumerate() {
            let macro_call = text(words, at + 1) == "!" && text(words, at + 2) != "=";
            let unfinished = matches!(word.text.as_str(), "todo" | "unimplemented" | "dbg") && macro_call;
            let in_attribute = at >= 2 && text(words, at - 1) == "[" && text(words, at - 2) == "#";
            if unfinished || (word.text == "ignore" && in_attribute) {
                wrong.push(format!("{}:{}: `{}`", file.path, word.line, word.text));
            }
        }
        for comment in &source.comments {
            let has =
                |mark: &str| comment.text.split(|c: char| !c.is_alphanumeric()).any(|word| word == mark);
            for mark in [["FIX", "ME"].concat(), ["XX", "X"].concat()].iter().filter(|mark| has(mark)) {
                wrong.push(format!("{}:{}: {mark}", file.path, comment.line));
            }
        }
    }
    report("finish it, or write it down where it is planned:", &wrong);
}

#[test]
fn unsafe_is_rare_and_explained() {
    const NOTE_LINES_MAX: usize = 4;
    let mut wrong = Vec::new();
    for file in rust_files() {
        let source = source::read(&file.text);
        let mut explained_up_to = 0;
        for word in source.words.iter().filter(|word| word.text == "unsafe") {
            let place = format!("{}:{}", file.path, word.line);
            if !MAY_BE_UNSAFE.contains(&file.path.as_str()) {
                wrong.push(format!("{place}: not one of MAY_BE_UNSAFE in tests/tidy.rs"));
                continue;
            }
            // The last line of the note's comment stands right above the statement; a new `unsafe` needs a new note.
            let above = word.line.saturating_sub(NOTE_LINES_MAX)..=word.line;
            let note = source.comments.iter().enumerate().rev().find(|(_, c)| above.contains(&c.line));
            let begins = note.and_then(|(at, _)| note_begins(&source, at));
            match begins {
                Some(line) if line > explained_up_to => explained_up_to = line,
                _ => wrong.push(format!("{place}: no `// SAFETY:` note right above it")),
            }
        }
    }
    report("each `unsafe` says why it is sound:", &wrong);
}

/// The line of `SAFETY:` (or a doc's `# Safety`) in the run of comment lines that ends with comment `last`.
fn note_begins(source: &Source, last: usize) -> Option<usize> {
    let mut at = last;
    loop {
        let comment = &source.comments[at];
        if comment.text.contains("SAFETY:") || comment.text.contains("# Safety") {
            return Some(comment.line);
        }
        let joined = at > 0 && source.comments[at - 1].line + 1 == comment.line;
        if !joined {
            return None;
        }
        at -= 1;
    }
}

#[test]
fn tests_wait_for_state_and_do_not_sleep() {
    let mut wrong = Vec::new();
    for file in rust_files().iter().filter(|file| file.path.starts_with("tests/")) {
        let source = source::read(&file.text);
        let sleeps: Vec<&Word> = source
            .words
            .iter()
            .filter(|word| matches!(word.text.as_str(), "sleep" | "sleep_until"))
            .collect();
        let allowed = MAY_SLEEP.iter().any(|(path, _)| *path == file.path);
        if allowed && sleeps.is_empty() {
            wrong.push(format!("{}:1: does not sleep any more; take it out of MAY_SLEEP", file.path));
        }
        if !allowed {
            wrong.extend(sleeps.iter().map(|word| format!("{}:{}: `{}`", file.path, word.line, word.text)));
        }
    }
    report("wait for the state itself, within a timeout:", &wrong);
}

#[test]
fn no_path_of_one_machine() {
    const ENDINGS: &[&str] = &[
        ".rs", ".toml", ".md", ".sh", ".proto", ".yml", ".yaml", ".txt", ".json", ".py", ".go", ".conf",
        ".java", ".xml", ".ci/run",
    ];
    let homes: Vec<String> =
        ["home", "root", "Users", "work"].iter().map(|name| format!("/{name}/")).collect();
    let is_text = |path: &str| ENDINGS.iter().any(|ending| path.ends_with(ending));
    let mut wrong = Vec::new();
    for file in source::files("", |path| is_text(path) && path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            for home in &homes {
                let begins_path = |at: usize| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| c.is_whitespace() || "\"'`(=:,<[".contains(c))
                };
                if line.match_indices(home.as_str()).any(|(at, _)| begins_path(at)) {
                    wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
                }
            }
        }
    }
    report("a path of one machine means nothing on another:", &wrong);
}

#[test]
fn the_map_names_every_module() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let map = fs::read_to_string(map).expect("the map is there");
    let mut modules: Vec<String> = sources().map(|(_, _, module, _)| module).collect();
    modules.dedup();
    let named =
        |module: &str| map.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == module);
    let wrong: Vec<String> = modules
        .iter()
        .filter(|module| !matches!(module.as_str(), "lib" | "main") && !named(module))
        .map(|module| format!("ARCHITECTURE.md: says nothing of `{module}`"))
        .collect();
    report("ARCHITECTURE.md is the map:", &wrong);
}

#[test]
fn the_checker_follows_paths_to_the_file_that_defines_the_item() {
    let files = [
        ("src/lib.rs", "pub mod a; pub mod b; #[cfg(test)] mod t;"),
        (
            "src/a/mod.rs",
            "mod one; mod two; pub use self::one::One; pub(crate) use two::{Two as Zwei, go}; fn f() { two::go() }",
        ),
        (
            "src/a/one.rs",
            "use super::Zwei; #[cfg(test)] mod tests { use super::super::two::X; fn f() { crate::b::x() } }",
        ),
        (
            "src/a/two.rs",
            "use crate::b; mod in_it { use super::Y; } fn go() { b::deep::call(); String::new() }",
        ),
        ("src/b.rs", "mod deep; use crate::a::{self, One}; fn f() { a::go(); std::mem::take(x) }"),
        ("src/b/deep.rs", "/* crate::a::One */ use super::*;"),
        ("src/t.rs", "use crate::b::x;"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let all = Tree::new(files.into_iter()).imports();
    let seen: Vec<(&str, &str)> =
        all.iter().map(|import| (import.from.as_str(), import.to.as_str())).collect();
    let wanted = [
        ("src/a/mod.rs", "src/a/two.rs"),
        ("src/a/one.rs", "src/a/two.rs"),
        ("src/a/two.rs", "src/b/deep.rs"),
        ("src/b.rs", "src/a/one.rs"),
        ("src/b.rs", "src/a/two.rs"),
        ("src/b/deep.rs", "src/b.rs"),
    ];
    assert_eq!(seen, wanted);
    let circle: Vec<_> = imports::circular(&all).into_iter().map(|import| import.from).collect();
    assert_eq!(circle, ["src/a/one.rs", "src/a/two.rs", "src/b.rs", "src/b.rs", "src/b/deep.rs"]);
}

#[test]
fn the_checker_sees_words_comments_and_paths() {
    let code = r##"
        use crate::{net, policy::{limit, status}, time}; // crate::comment
        mod tests { use super::*; fn f<'a>() -> &'a str { super::super::worker::go(b'"', '\'', "crate::no", r#"crate::"no"#) } }
        pub(crate) fn g() { super::wire::x() }
    "##;
    let source = source::read(code);
    let names: Vec<String> = names_from_root(&source.words, 1).into_iter().map(|word| word.text).collect();
    assert_eq!(names, ["net", "policy", "time", "worker", "wire"]);
    assert_eq!(source.comments.len(), 1);
    assert_eq!(source.comments[0].line, 2);
    assert_eq!(module("src/policy/mod.rs"), Some(("policy".to_owned(), 1)));
    assert_eq!(module("src/net/sys.rs"), Some(("net".to_owned(), 2)));
    assert_eq!(module("src/time.rs"), Some(("time".to_owned(), 1)));
}
