//! The search beside one that tries every rule, and paths that are made to cost much.

use ringway::random::Random;
use ringway::transcode::rules::{Captures, Found, Pattern, Rules};
use ringway::transcode::template::{Segment, Template};

use super::cases::CASES;
use super::compile;

struct Dice(Random);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.below(n.max(1) as u32) as usize
    }

    fn of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

/// Whether a template's segments are those of a path, and how good each is: 0 literal, 1 `*`, 2 the end, 3 `**` with
/// the number of literals behind it turned around.
fn slow_match(template: &Template, segments: &[&str]) -> Option<Vec<usize>> {
    let wanted = &template.segments;
    let fits = |segment: &Segment, text: &str| match segment {
        Segment::Literal(literal) => literal == text,
        Segment::One => !text.is_empty(),
        Segment::Rest => true,
    };
    let kind = |segment: &Segment| usize::from(*segment == Segment::One);
    let Some(rest) = template.rest_at() else {
        let all = wanted.len() == segments.len() && wanted.iter().zip(segments).all(|(w, s)| fits(w, s));
        return all.then(|| wanted.iter().map(kind).chain([2]).collect());
    };
    let after = wanted.len() - rest - 1;
    let enough = segments.len() >= rest + after;
    let before_fit = wanted[..rest].iter().zip(segments).all(|(w, s)| fits(w, s));
    let after_fit = wanted.iter().rev().zip(segments.iter().rev()).take(after).all(|(w, s)| fits(w, s));
    (enough && before_fit && after_fit)
        .then(|| wanted[..rest].iter().map(kind).chain([3 + 64 - after]).collect())
}

/// Finds the rule by trying every one.
fn slow(rules: &[(String, Template)], method: &str, path: &str) -> Option<usize> {
    let mut segments: Vec<&str> = match path {
        "/" => Vec::new(),
        _ => path.strip_prefix('/')?.split('/').collect(),
    };
    let best = |verb: Option<&str>, segments: &[&str]| {
        let shapes = rules.iter().enumerate().filter(|(_, (_, template))| template.verb.as_deref() == verb);
        let matching: Vec<_> = shapes
            .filter_map(|(n, (m, t))| Some((slow_match(t, segments)?, m.as_str() != method, n, m)))
            .collect();
        let known = !matching.is_empty();
        let right = matching.into_iter().filter(|(.., m)| *m == method || *m == "*").min();
        (known, right.map(|(_, _, number, _)| number))
    };
    if let Some((name, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
        && !name.is_empty()
    {
        let last = segments.len() - 1;
        let whole = std::mem::replace(&mut segments[last], name);
        let (known, found) = best(Some(verb), &segments);
        if known {
            return found;
        }
        segments[last] = whole;
    }
    best(None, &segments).1
}

#[test]
fn random_paths_find_what_trying_every_rule_finds() {
    const PARTS: &[&str] = &["a", "b", "c", "*", "**", "{x}", "{y}", "{z=**}", "{w=a/*}"];
    let mut dice = Dice(Random::seeded(11));
    let mut captures = Captures::default();
    let (mut hits, mut misses) = (0, 0);
    for _ in 0..400 {
        let mut rules: Vec<(String, Template)> = Vec::new();
        for _ in 0..=dice.below(24) {
            let parts: Vec<&str> = (0..=dice.below(4)).map(|_| dice.of(PARTS)).collect();
            let text = format!("/{}{}", parts.join("/"), dice.of(&["", "", ":a", ":v"]));
            let Ok(template) = Template::parse(&text) else { continue };
            rules.push((dice.of(&["GET", "POST", "*"]).to_owned(), template));
            let patterns: Vec<_> = rules.iter().map(|(m, t)| Pattern { method: m, template: t }).collect();
            if Rules::new(&patterns).is_err() {
                rules.pop();
            }
        }
        let patterns: Vec<_> = rules.iter().map(|(m, t)| Pattern { method: m, template: t }).collect();
        let table = Rules::new(&patterns).unwrap();
        for _ in 0..60 {
            let parts: Vec<&str> = (0..=dice.below(6))
                .map(|_| dice.of(&["a", "a", "b", "c", "d", "a:v", ":a", "", "%41"]))
                .collect();
            let path = format!("/{}{}", parts.join("/"), dice.of(&["", "", ":a", ":v", ":"]));
            let method = dice.of(&["GET", "POST", "PUT"]);
            let found = match table.find(method, &path, &mut captures) {
                Found::Rule(rule) => Some(rule),
                Found::WrongMethod(_) | Found::Nothing => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, slow(&rules, method, &path), "{method} {path} in {rules:#?}");
            match found {
                Some(rule) => {
                    hits += 1;
                    assert_eq!(captures.len(), rules[rule].1.variables.len());
                }
                None => misses += 1,
            }
        }
    }
    assert!(hits > 5_000 && misses > 5_000, "{hits} hits, {misses} misses");
}

#[test]
fn no_path_makes_the_search_panic() {
    let mut dice = Dice(Random::seeded(12));
    let mut captures = Captures::default();
    let tables: Vec<Rules> = CASES.iter().map(|case| compile(case.rules).unwrap().1).collect();
    for _ in 0..60_000 {
        let mut path = String::new();
        for _ in 0..dice.below(12) {
            path += dice.of(&[
                "/",
                "/",
                "/",
                "a",
                "b",
                "c",
                "s",
                "t",
                "%",
                "%2",
                "%2F",
                "%C3",
                "%9F",
                "%FF",
                ":",
                ":run",
                "..",
                "é",
                "\u{10ffff}",
                "*",
                "**",
                "{",
                "}",
                "end",
                "\0",
                "?",
                "#",
            ]);
        }
        let table = &tables[dice.below(tables.len())];
        let _ = table.find(dice.of(&["GET", "POST", "HEAD", "OPTIONS", "", "é"]), &path, &mut captures);
        for value in captures.iter() {
            assert!(value.len() <= path.len());
        }
    }
}

#[test]
fn a_hostile_path_visits_each_node_once() {
    // Sixteen levels with two ways at each: a search that forgets where it was would try 65536 of them for each tail.
    let mut rules = Vec::new();
    for depth in 1..=16 {
        for last in ["x", "y"] {
            rules.push(format!("GET /{}/{last}", vec!["a"; depth].join("/")));
            rules.push(format!("GET /{}/{last}", vec!["*"; depth].join("/")));
            rules.push(format!("GET /{}/**/{last}", vec!["*"; depth].join("/")));
        }
    }
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let (_, table) = compile(&rules).unwrap();
    let mut captures = Captures::default();
    let path = "/a".repeat(4_000);
    for _ in 0..1_000 {
        assert_eq!(table.find("GET", &path, &mut captures), Found::Nothing);
    }
}
