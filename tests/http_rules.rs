//! Rules of `google.api.http`: which templates there are, which rule a path means, what it captures.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ringway::transcode::rules::{Captures, Conflict, Found, Pattern, Rules};
use ringway::transcode::template::{Segment, Template};

/// Text of a template, its segments with `verb` behind a colon, and its variables as `field=from..to`, `!` for several
/// segments.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("/", "", ""),
    ("/a", "a", ""),
    ("/a/b/c", "a b c", ""),
    ("/*", "*", ""),
    ("/**", "**", ""),
    ("/*/**", "* **", ""),
    ("/*/a/**", "* a **", ""),
    ("/**/a", "** a", ""),
    ("/a/**/b/c", "a ** b c", ""),
    ("/a:verb", "a :verb", ""),
    ("/*:verb", "* :verb", ""),
    ("/**:verb", "** :verb", ""),
    ("/a/b:verb", "a b :verb", ""),
    ("/{x}", "*", "x=0..1"),
    ("/{x}:verb", "* :verb", "x=0..1"),
    ("/{x.y.z}", "*", "x.y.z=0..1"),
    ("/{x=*}", "*", "x=0..1"),
    ("/{x=a}", "a", "x=0..1"),
    ("/{x=**}", "**", "x=0..1!"),
    ("/{x=a/*}", "a *", "x=0..2!"),
    ("/{x=a/*/b/*}", "a * b *", "x=0..4!"),
    ("/{x.y=a/**}", "a **", "x.y=0..2!"),
    ("/{x.y=**/a/b}", "** a b", "x.y=0..3!"),
    ("/{x.y=a/**}:verb", "a ** :verb", "x.y=0..2!"),
    ("/v1/{x}/{y=**}", "v1 * **", "x=1..2 y=2..3!"),
    ("/v1/{x=a/*}/b/{y}", "v1 a * b *", "x=1..3! y=4..5"),
    ("/{x}/{y}", "* *", "x=0..1 y=1..2"),
    ("/{a.b}/{a.c}", "* *", "a.b=0..1 a.c=1..2"),
    ("/{_x1}", "*", "_x1=0..1"),
    ("/a-b._~!$&'()+,;=@", "a-b._~!$&'()+,;=@", ""),
    ("/a%20b", "a%20b", ""),
    ("/bench.v1.Echo/Unary", "bench.v1.Echo Unary", ""),
];

/// Texts that are no template, the column of the error, and a part of the reason.
const NO_TEMPLATES: &[(&str, usize, &str)] = &[
    ("", 1, "begins with `/`"),
    ("a", 1, "begins with `/`"),
    ("{x}", 1, "begins with `/`"),
    ("a/b", 1, "begins with `/`"),
    ("http://a/b", 1, "begins with `/`"),
    ("//", 2, "empty"),
    ("/a/", 4, "a segment was wanted"),
    ("/a//b", 4, "empty"),
    (":verb", 1, "begins with `/`"),
    (":", 1, "begins with `/`"),
    ("/:", 2, "a segment was wanted"),
    ("/:verb", 2, "a segment was wanted"),
    ("/a:", 4, "a verb is needed"),
    ("/*:", 4, "a verb is needed"),
    ("/{x}:", 6, "a verb is needed"),
    ("/a/:verb", 4, "a segment was wanted"),
    ("/a:b:c", 5, "nothing may follow the verb"),
    ("/a:b/c", 5, "nothing may follow the verb"),
    ("/a:*", 4, "a verb is needed"),
    ("/{", 3, "name of a field"),
    ("/{}", 3, "name of a field"),
    ("/{=*}", 3, "name of a field"),
    ("/{x", 4, "end of the variable"),
    ("/{x.", 5, "name of a field"),
    ("/{x.}", 5, "name of a field"),
    ("/{.x}", 3, "name of a field"),
    ("/{x..y}", 5, "name of a field"),
    ("/{1x}", 3, "name of a field"),
    ("/{x-y}", 4, "end of the variable"),
    ("/{x=}", 5, "a segment was wanted"),
    ("/{x=/a}", 5, "empty"),
    ("/{x=a/}", 7, "a segment was wanted"),
    ("/{x=a:verb}", 6, "after the variable"),
    ("/{x=a/{y}}", 7, "in another one"),
    ("/{x={y}}", 5, "in another one"),
    ("/a{x}", 3, "`/`, `:` or the end"),
    ("/{x}a", 5, "`/`, `:` or the end"),
    ("/{x}{y}", 5, "`/`, `:` or the end"),
    ("/a}", 3, "`}` without its `{`"),
    ("/}", 2, "a segment was wanted"),
    ("/a*", 3, "`/`, `:` or the end"),
    ("/*a", 3, "`/`, `:` or the end"),
    ("/***", 4, "`/`, `:` or the end"),
    ("/**/**", 5, "only literals may follow"),
    ("/**/*", 5, "only literals may follow"),
    ("/**/{x}", 5, "only literals may follow"),
    ("/{x=**}/{y=*}", 12, "only literals may follow"),
    ("/a b", 3, "`/`, `:` or the end"),
    ("/a?b=c", 3, "`/`, `:` or the end"),
    ("/a#b", 3, "`/`, `:` or the end"),
    ("/a%2", 3, "hexadecimal"),
    ("/a%zz", 3, "hexadecimal"),
    ("/é", 2, "percent-encoded"),
    ("/aé", 3, "percent-encoded"),
    ("/.", 2, "not segments"),
    ("/a/../b", 4, "not segments"),
    ("/{x}/{x}", 6, "bound only once"),
    ("/{x.y}/{x}", 8, "bound only once"),
    ("/{x}/{x.y}", 6, "bound only once"),
];

#[test]
fn templates_are_read() {
    for (text, segments, variables) in TEMPLATES {
        let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut shown: Vec<String> = template.segments.iter().map(segment).collect();
        shown.extend(template.verb.iter().map(|verb| format!(":{verb}")));
        assert_eq!(shown.join(" "), *segments, "{text}");
        let shown: Vec<String> = template
            .variables
            .iter()
            .map(|v| format!("{}={:?}{}", v.field.join("."), v.segments, if v.is_multi { "!" } else { "" }))
            .collect();
        assert_eq!(shown.join(" "), *variables, "{text}");
        assert_eq!(template.to_string(), *text);
    }
    let long = format!("/{}", vec!["a"; 64].join("/"));
    assert!(Template::parse(&long).is_ok());
    assert_eq!(Template::parse(&format!("{long}/a")).unwrap_err().wanted, "at most 64 segments");
}

fn segment(segment: &Segment) -> String {
    match segment {
        Segment::Literal(text) => text.clone(),
        Segment::One => "*".to_owned(),
        Segment::Rest => "**".to_owned(),
    }
}

#[test]
fn what_is_no_template_is_refused_at_its_column() {
    for (text, column, wanted) in NO_TEMPLATES {
        let error = Template::parse(text).map(|template| panic!("{text}: {template:?}")).unwrap_err();
        assert!(error.column == *column && error.wanted.contains(wanted), "{text}: {error}");
    }
}

/// A table of rules, and what requests mean there: the rule's number and its captures between bars; `HEAD` before it
/// where it is one for GET; 405 with `Allow`; 404; 400.
struct Case {
    rules: &'static [&'static str],
    requests: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        // Literals, and nothing but them.
        rules: &["GET /", "GET /a", "GET /a/b", "POST /a", "GET /bench.v1.Echo/Unary"],
        requests: &[
            ("GET /", "0"),
            ("GET /a", "1"),
            ("GET /a/b", "2"),
            ("POST /a", "3"),
            ("GET /bench.v1.Echo/Unary", "4"),
            ("GET /b", "404"),
            ("GET /a/b/c", "404"),
            ("GET /A", "404"),
            ("GET /aa", "404"),
            ("GET ", "404"),
            ("GET a", "404"),
            ("GET *", "404"),
            // No normalising: what is not in the table is not there.
            ("GET //", "404"),
            ("GET /a/", "404"),
            ("GET //a", "404"),
            ("GET /a//b", "404"),
            ("GET /a/./b", "404"),
            ("GET /a/../a", "404"),
            ("GET /%61", "404"),
            ("GET /a%2Fb", "404"),
            // Methods.
            ("PUT /a", "405 GET, HEAD, POST, OPTIONS"),
            ("OPTIONS /a", "405 GET, HEAD, POST, OPTIONS"),
            ("get /a", "405 GET, HEAD, POST, OPTIONS"),
            ("POST /a/b", "405 GET, HEAD, OPTIONS"),
            ("BREW /a/b", "405 GET, HEAD, OPTIONS"),
            ("OPTIONS /c", "404"),
            ("HEAD /a/b", "HEAD 2"),
            ("HEAD /c", "404"),
        ],
    },
    Case {
        // A single segment.
        rules: &["GET /a/{x}", "GET /a/{x}/b/{y}", "GET /{z=c}/d", "GET /e/*/f"],
        requests: &[
            ("GET /a/1", "0|1"),
            ("GET /a/1/b/2", "1|1|2"),
            ("GET /c/d", "2|c"),
            ("GET /e/x/f", "3"),
            ("GET /e/f", "404"),
            ("GET /a", "404"),
            ("GET /a/", "404"),
            ("GET /a//b/2", "404"),
            ("GET /a/1/b", "404"),
            ("GET /a/1/", "404"),
            ("GET /a/b", "0|b"),
            ("GET /a/x:y", "0|x:y"),
            ("GET /a/:y", "0|:y"),
            ("GET /a/x:", "0|x:"),
            // Unescaped whole.
            ("GET /a/%20", "0| "),
            ("GET /a/1%2F2", "0|1/2"),
            ("GET /a/1%2f2", "0|1/2"),
            ("GET /a/%25", "0|%"),
            ("GET /a/%252F", "0|%2F"),
            ("GET /a/a+b", "0|a+b"),
            ("GET /a/a%2Bb", "0|a+b"),
            ("GET /a/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2C%3B%3D", "0|:?#[]@!$&'()*,;="),
            ("GET /a/stra%C3%9Fe", "0|straße"),
            ("GET /a/straße", "0|straße"),
            ("GET /a/%41%62", "0|Ab"),
            ("GET /a/%2E%2E%2E", "0|..."),
            ("GET /a/a.b", "0|a.b"),
            ("GET /a/%00", "0|\0"),
            ("GET /a/1%2F2/b/%33", "1|1/2|3"),
            // Captures that cannot be text, and paths that lead out.
            ("GET /a/%", "400"),
            ("GET /a/%2", "400"),
            ("GET /a/%zz", "400"),
            ("GET /a/%2x", "400"),
            ("GET /a/%+1", "400"),
            ("GET /e/%/f", "400"),
            ("GET /a/%FF", "400"),
            ("GET /a/%C3", "400"),
            ("GET /a/%C3/b/%9F", "400"),
            ("GET /a/%ED%A0%80", "400"),
            ("GET /a/%C0%AF", "400"),
            ("GET /a/..", "400"),
            ("GET /a/.", "400"),
            ("GET /a/%2e%2E", "400"),
            ("GET /a/..%2Fb", "400"),
            ("GET /a/b%2F..", "400"),
            ("GET /%/x", "404"),
            ("POST /a/%", "405 GET, HEAD, OPTIONS"),
        ],
    },
    Case {
        // Several segments.
        rules: &[
            "GET /a/{x=**}",
            "GET /b/{x=s/*/t/*}",
            "GET /c/{x=**}/end",
            "GET /c/{x=**}/the/end",
            "GET /d/{x}/{y=**}",
            "PUT /**",
        ],
        requests: &[
            ("GET /a", "0|"),
            ("GET /a/1", "0|1"),
            ("GET /a/1/2/3", "0|1/2/3"),
            ("GET /a/1/", "0|1/"),
            ("GET /a/1//2", "0|1//2"),
            ("GET /a//", "0|/"),
            ("GET /a/", "0|"),
            ("GET /b/s/1/t/2", "1|s/1/t/2"),
            ("GET /b/s/1/u/2", "405 PUT, OPTIONS"),
            ("GET /b/s/1/t/2/3", "405 PUT, OPTIONS"),
            ("GET /c/end", "2|"),
            ("GET /c/end/end", "2|end"),
            ("GET /c/1/2/end", "2|1/2"),
            ("GET /c/1/the/end", "3|1"),
            ("GET /c/the/end", "3|"),
            ("GET /c/the/the/end", "3|the"),
            ("GET /c/1/2", "405 PUT, OPTIONS"),
            ("GET /d/1", "4|1|"),
            ("GET /d/1/2/3", "4|1|2/3"),
            ("PUT /", "5"),
            ("PUT /x", "5"),
            ("PUT /x/y", "5"),
            ("PUT /x//y", "5"),
            // Reserved escapes stay, so that a slash in a name is not one between names.
            ("GET /a/1%2F2/3", "0|1%2F2/3"),
            ("GET /a/1%2f2", "0|1%2f2"),
            ("GET /a/%20/%41", "0| /A"),
            ("GET /a/%C3%9F", "0|ß"),
            ("GET /a/a+b", "0|a+b"),
            (
                "GET /a/%2B%3a%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2C%3B%3D",
                "0|%2B%3a%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2C%3B%3D",
            ),
            ("GET /a/%2D%2E%5F%7E%25", "0|-._~%"),
            ("GET /b/s/1%2F2/t/%20", "1|s/1%2F2/t/ "),
            ("GET /d/1%2F2/3%2F4", "4|1/2|3%2F4"),
            ("GET /a/1/%", "400"),
            ("GET /a/1/%FF", "400"),
            ("GET /a/1/../2", "400"),
            ("GET /a/1/%2e%2e/2", "400"),
            ("GET /a/1/..%2F2", "400"),
            ("GET /a/1/..%2f2", "400"),
        ],
    },
    Case {
        // Literal before `*` before `**`, segment by segment.
        rules: &[
            "GET /a/b/{x}",
            "GET /a/{x}/c",
            "GET /a/**",
            "GET /a/b/c/d",
            "GET /a/*/c/*",
            "GET /{x=**}",
            "GET /a/{x}",
            "GET /e/**/f",
            "GET /e/**",
            "GET /e/*/f",
        ],
        requests: &[
            ("GET /a/b/c", "0|c"),
            ("GET /a/x/c", "1|x"),
            ("GET /a/x/d", "2"),
            ("GET /a/b/c/d", "3"),
            ("GET /a/b/c/e", "4"),
            ("GET /a/b/x/y", "2"),
            ("GET /a/b", "6|b"),
            ("GET /a", "2"),
            ("GET /b", "5|b"),
            ("GET /", "5|"),
            ("GET /e/x/f", "9"),
            ("GET /e/x/y/f", "7"),
            ("GET /e/f", "7"),
            ("GET /e/x/y", "8"),
        ],
    },
    Case {
        // Verbs.
        rules: &[
            "GET /a/{x}",
            "POST /a/{x}:run",
            "POST /a:run",
            "POST /a/{x=b/*}:run",
            "POST /c/{x=**}:run",
            "POST /c/{x=**}",
            "POST /a/d:stop",
            "POST /a/{x}:stop",
            "DELETE /a/{x}:r%20n",
        ],
        requests: &[
            ("POST /a/1:run", "1|1"),
            ("POST /a:run", "2"),
            ("POST /a/b/1:run", "3|b/1"),
            ("POST /c/1/2:run", "4|1/2"),
            ("POST /c:run", "4|"),
            ("POST /c/1/2", "5|1/2"),
            ("POST /c/1/2:walk", "5|1/2:walk"),
            ("POST /c/1:run/2", "5|1:run/2"),
            ("POST /a/d:stop", "6"),
            ("POST /a/e:stop", "7|e"),
            ("POST /a/e:x:stop", "7|e:x"),
            ("POST /a/%3A:stop", "7|:"),
            ("POST /a/1%2F2:run", "1|1/2"),
            ("GET /a/1", "0|1"),
            ("GET /a/1:walk", "0|1:walk"),
            ("GET /a/1%3Arun", "0|1:run"),
            // A verb that is known here is not a part of a name.
            ("GET /a/1:run", "405 POST, OPTIONS"),
            ("GET /a:run", "405 POST, OPTIONS"),
            ("POST /a/1", "405 GET, HEAD, OPTIONS"),
            ("POST /a/1:", "405 GET, HEAD, OPTIONS"),
            ("POST /a/:run", "405 GET, HEAD, OPTIONS"),
            ("POST /a/1:RUN", "405 GET, HEAD, OPTIONS"),
            ("POST /a/1:r%75n", "405 GET, HEAD, OPTIONS"),
            ("POST /:run", "404"),
            ("POST /a:run/", "404"),
            ("DELETE /a/1:r%20n", "8|1"),
            ("POST /a/..:run", "400"),
            ("POST /a/%:run", "400"),
        ],
    },
    Case {
        // Methods: a rule of another shape takes what the better shape has no method for.
        rules: &[
            "GET /a/me",
            "PATCH /a/{x}",
            "HEAD /b",
            "GET /b",
            "* /c",
            "GET /c",
            "REPORT /a/{x}",
            "OPTIONS /d",
            "GET /d",
            "* /e/{x}",
            "DELETE /e/{x}",
            "GET /e/**",
        ],
        requests: &[
            ("GET /a/me", "0"),
            ("PATCH /a/me", "1|me"),
            ("GET /a/x", "405 PATCH, REPORT, OPTIONS"),
            ("DELETE /a/me", "405 GET, HEAD, PATCH, REPORT, OPTIONS"),
            ("REPORT /a/x", "6|x"),
            ("HEAD /a/me", "HEAD 0"),
            ("HEAD /b", "2"),
            ("GET /b", "3"),
            ("GET /c", "5"),
            ("HEAD /c", "HEAD 5"),
            ("POST /c", "4"),
            ("OPTIONS /c", "4"),
            ("BREW /c", "4"),
            ("OPTIONS /d", "7"),
            ("POST /d", "405 GET, HEAD, OPTIONS"),
            ("DELETE /e/1", "10|1"),
            ("GET /e/1", "9|1"),
            ("GET /e/1/2", "11"),
            ("POST /e/1/2", "405 GET, HEAD, OPTIONS"),
        ],
    },
    Case { rules: &[], requests: &[("GET /", "404"), ("GET /a", "404"), ("GET ", "404")] },
];

fn compile(rules: &[&str]) -> Result<(Vec<Template>, Rules), Vec<Conflict>> {
    let pairs: Vec<(&str, Template)> = rules
        .iter()
        .map(|rule| rule.split_once(' ').expect("method and template"))
        .map(|(method, text)| (method, Template::parse(text).unwrap()))
        .collect();
    let patterns: Vec<Pattern<'_>> =
        pairs.iter().map(|(method, template)| Pattern { method, template }).collect();
    let rules = Rules::new(&patterns)?;
    Ok((pairs.into_iter().map(|(_, template)| template).collect(), rules))
}

fn shown(rules: &Rules, method: &str, path: &str, captures: &mut Captures) -> String {
    let found = match rules.find(method, path, captures) {
        Found::Rule(rule) => format!("{rule}"),
        Found::Head(rule) => format!("HEAD {rule}"),
        Found::WrongMethod(allow) => return format!("405 {allow}"),
        Found::Nothing => return "404".to_owned(),
        Found::Unreadable(_) => return "400".to_owned(),
    };
    captures.iter().fold(found, |text, value| format!("{text}|{value}"))
}

#[test]
fn requests_mean_rules() {
    let mut captures = Captures::default();
    let mut count = TEMPLATES.len() + NO_TEMPLATES.len();
    for case in CASES {
        let (_, rules) = compile(case.rules).unwrap();
        for (request, wanted) in case.requests {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(shown(&rules, method, path, &mut captures), *wanted, "{request} in {:?}", case.rules);
            count += 1;
        }
    }
    assert!(count >= 250, "only {count} rows");
}

#[test]
fn the_order_of_rules_means_nothing() {
    let mut captures = Captures::default();
    for case in CASES {
        let turned: Vec<&str> = case.rules.iter().rev().copied().collect();
        let (_, rules) = compile(&turned).unwrap();
        for (request, wanted) in case.requests {
            let (method, path) = request.split_once(' ').unwrap();
            let number = |text: &str| text.parse::<usize>().map(|n| (turned.len() - 1 - n).to_string());
            let (found, values) = wanted.split_once('|').map_or((*wanted, None), |(a, b)| (a, Some(b)));
            let wanted = match found.strip_prefix("HEAD ") {
                Some(rule) => format!("HEAD {}", number(rule).unwrap()),
                None if wanted.len() == 3 && values.is_none() || found.starts_with("405") => found.to_owned(),
                None => number(found).unwrap(),
            };
            let wanted = values.map_or(wanted.clone(), |values| format!("{wanted}|{values}"));
            assert_eq!(shown(&rules, method, path, &mut captures), wanted, "{request}");
        }
    }
}

#[test]
fn one_method_and_one_shape_is_a_conflict() {
    type Pairs = &'static [(usize, usize)];
    let conflicts: &[(&[&str], Pairs)] = &[
        (&["GET /a", "GET /a"], &[(0, 1)]),
        (&["GET /{x}", "GET /*"], &[(0, 1)]),
        (&["GET /{x}", "GET /{y}"], &[(0, 1)]),
        (&["GET /a/{x=b/*}", "GET /a/b/{y}"], &[(0, 1)]),
        (&["GET /{x=a}", "GET /a"], &[(0, 1)]),
        (&["GET /a/**", "GET /a/{x=**}"], &[(0, 1)]),
        (&["GET /**/a", "GET /{x=**}/a"], &[(0, 1)]),
        (&["POST /a:b", "POST /{x=a}:b"], &[(0, 1)]),
        (&["* /a", "* /a"], &[(0, 1)]),
        (&["GET /a", "POST /b", "GET /{x=a}", "GET /a"], &[(0, 2), (0, 3)]),
    ];
    for (rules, wanted) in conflicts {
        let found = compile(rules).map(drop).unwrap_err();
        let pairs: Vec<(usize, usize)> = found.iter().map(|c| (c.first, c.second)).collect();
        assert_eq!(pairs, *wanted, "{rules:?}");
    }
    let fine: &[&[&str]] = &[
        &["GET /a", "POST /a"],
        &["GET /a", "* /a"],
        &["GET /a", "HEAD /a"],
        &["GET /a", "GET /a:b", "GET /a:c"],
        &["GET /*", "GET /a", "GET /**"],
        &["GET /**", "GET /**/a", "GET /**/b"],
        &["GET /a/*", "GET /a/**", "GET /a/b"],
        &["GET /a%20", "GET /a+"],
    ];
    for rules in fine {
        assert!(compile(rules).is_ok(), "{rules:?}");
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
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

/// Finds a rule by trying each of them.
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
    let mut dice = Dice(11);
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
    let mut dice = Dice(12);
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
