//! Which rule a request means, in any order of rules, and which rules cannot stand beside one another.

use ringway::transcode::rules::Captures;

use super::cases::CASES;
use super::templates::{NO_TEMPLATES, TEMPLATES};
use super::{compile, shown};

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
