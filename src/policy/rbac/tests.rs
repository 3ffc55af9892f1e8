//! Rules beside calls: sixty rows and more.

use std::cell::Cell;
use std::path::Path;

use http::HeaderMap;

use super::*;
use crate::config;
use crate::policy::peer::Certificate;
use crate::random::Random;

/// The rules of a route with one policy, as the file has them.
fn rules(action: &str, permissions: &[&str], principals: &[&str]) -> rbac::Rbac {
    let list = |all: &[&str]| all.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:8080\"\n[[clusters]]\nname = \"c\"\nendpoints = [\"h:1\"]\n\
         [[jwt_providers]]\nname = \"idp\"\nissuer = \"i\"\nremote_jwks.uri = \"http://idp/keys\"\n\
         [[jwt_providers]]\nname = \"other\"\nissuer = \"j\"\nremote_jwks.uri = \"http://idp/keys\"\n\
         [[routes]]\ncluster = \"c\"\n[routes.rbac]\naction = \"{action}\"\n[[routes.rbac.policies]]\nname = \"p\"\n\
         permissions = [{}]\nprincipals = [{}]\n",
        list(permissions),
        list(principals),
    );
    let config =
        config::parse(&text, Path::new("t.toml")).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    config.routes[0].policies.rbac.clone().expect("the route has rules")
}

/// A call that rules are asked about.
#[derive(Default)]
struct Call {
    headers: HeaderMap,
    tls: Option<TlsPeer>,
    token: Option<Verified>,
    client: Option<&'static str>,
}

fn call(name: &str) -> Call {
    let mut call = Call::default();
    let certificate = |uris: &[&str], dns: &[&str]| Certificate {
        uris: uris.iter().map(ToString::to_string).collect(),
        dns_names: dns.iter().map(ToString::to_string).collect(),
        subject: "CN=web,O=Example".to_owned(),
        ..Certificate::default()
    };
    let tls = |certificate| TlsPeer {
        server_name: Some("api.example.com".into()),
        certificate: Option::map(certificate, Box::new),
        ..TlsPeer::default()
    };
    match name {
        "plain" => {}
        "blue" => drop(call.headers.append("x-team", "blue".parse().expect("a value"))),
        "blue, red" => {
            for value in ["blue", "red"] {
                call.headers.append("x-team", value.parse().expect("a value"));
            }
        }
        "blue,red in one" => drop(call.headers.append("x-team", "blue, red".parse().expect("a value"))),
        "tls" => call.tls = Some(tls(None)),
        "spiffe" => call.tls = Some(tls(Some(certificate(&["spiffe://prod/ns/web/sa/a"], &["web.prod"])))),
        "dns" => call.tls = Some(tls(Some(certificate(&[], &["web.prod"])))),
        "subject" => call.tls = Some(tls(Some(certificate(&[], &[])))),
        "token" => {
            let claims =
                r#"{"sub":"ann","group":["staff","dev"],"scope":"read write","admin":true,"org":{"id":7}}"#;
            call.token = Some(Verified::of_claims("idp", claims));
        }
        "key" => call.client = Some("partner-a"),
        other => panic!("no such call as {other}"),
    }
    call
}

fn question<'a>(path: &'a str, call: &'a Call) -> Question<'a, HeaderMap> {
    Question {
        path: path.as_bytes(),
        headers: &call.headers,
        caller: Some([203, 0, 113, 7].into()),
        peer: Some([10, 0, 0, 1].into()),
        port: 8443,
        tls: call.tls.as_ref(),
        token: call.token.as_ref(),
        client: call.client,
    }
}

fn passes(rules: &rbac::Rbac, call: &Call) -> bool {
    Rbac::new(rules).authorize(&question("/orders.v1.Orders/GetOrder", call)).allowed
}

/// Action, permissions, principals, call, whether it passes.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static str, bool);

const ANY: &[&str] = &["any"];

const ROWS: &[Row] = &[
    // The action.
    ("ALLOW", ANY, ANY, "plain", true),
    ("DENY", ANY, ANY, "plain", false),
    ("LOG", ANY, ANY, "plain", true),
    ("ALLOW", &["!any"], ANY, "plain", false),
    ("DENY", &["!any"], ANY, "plain", true),
    ("LOG", &["!any"], ANY, "plain", true),
    ("ALLOW", ANY, &["!any"], "plain", false),
    // The path.
    ("ALLOW", &["path:/orders.v1.Orders/GetOrder"], ANY, "plain", true),
    ("ALLOW", &["path:/orders.v1.Orders/Get"], ANY, "plain", false),
    ("ALLOW", &["path:/orders.v1.Orders/Get*"], ANY, "plain", true),
    ("ALLOW", &["path:/orders.v1.Orders/*"], ANY, "plain", true),
    ("ALLOW", &["path:/orders.v1.Orders/get*"], ANY, "plain", false),
    ("ALLOW", &["path:*Order"], ANY, "plain", true),
    ("ALLOW", &["path:*Orders/*"], ANY, "plain", true),
    ("ALLOW", &["path:*"], ANY, "plain", true),
    ("ALLOW", &["path:/users.v1.Users/*", "path:/orders.v1.Orders/*"], ANY, "plain", true),
    ("DENY", &["path:/users.v1.Users/*"], ANY, "plain", true),
    ("DENY", &["!path:/users.v1.Users/*"], ANY, "plain", false),
    // Port and server name.
    ("ALLOW", &["port:8443"], ANY, "plain", true),
    ("ALLOW", &["port:443"], ANY, "plain", false),
    ("ALLOW", &["server_name:api.example.com"], ANY, "tls", true),
    ("ALLOW", &["server_name:*.example.com"], ANY, "tls", true),
    ("ALLOW", &["server_name:*.example.org"], ANY, "tls", false),
    ("ALLOW", &["server_name:*.example.com"], ANY, "plain", false),
    // Headers: no further value gains anything.
    ("ALLOW", &["header:x-team=blue"], ANY, "blue", true),
    ("ALLOW", &["header:x-team=red"], ANY, "blue", false),
    ("ALLOW", &["header:x-team"], ANY, "blue", true),
    ("ALLOW", &["header:x-team"], ANY, "plain", false),
    ("ALLOW", &["!header:x-team"], ANY, "plain", true),
    ("ALLOW", &["header:X-Team=bl*"], ANY, "blue", true),
    ("ALLOW", &["header:x-team=blue"], ANY, "blue, red", false),
    ("ALLOW", &["header:x-team=blue"], ANY, "blue,red in one", false),
    ("ALLOW", &["!header:x-team=red"], ANY, "blue", true),
    ("ALLOW", &["!header:x-team=red"], ANY, "blue, red", false),
    ("ALLOW", &["!header:x-team=red"], ANY, "blue,red in one", false),
    ("DENY", &["header:x-team=red"], ANY, "blue", true),
    ("DENY", &["header:x-team=red"], ANY, "blue, red", false),
    ("DENY", &["header:x-team=red"], ANY, "blue,red in one", false),
    ("DENY", &["!header:x-team=blue"], ANY, "blue", true),
    ("DENY", &["!header:x-team=blue"], ANY, "blue, red", false),
    ("ALLOW", ANY, &["header:x-team=blue"], "blue", true),
    ("ALLOW", ANY, &["header:x-team=blue"], "plain", false),
    // Addresses.
    ("ALLOW", ANY, &["remote_ip:203.0.113.0/24"], "plain", true),
    ("ALLOW", ANY, &["remote_ip:10.0.0.0/8"], "plain", false),
    ("ALLOW", ANY, &["direct_remote_ip:10.0.0.0/8"], "plain", true),
    ("ALLOW", ANY, &["direct_remote_ip:203.0.113.7"], "plain", false),
    ("DENY", ANY, &["remote_ip:203.0.113.7"], "plain", false),
    ("ALLOW", ANY, &["!remote_ip:2001:db8::/32"], "plain", true),
    // Certificates: a URI before a DNS name before the subject.
    ("ALLOW", ANY, &["authenticated"], "spiffe", true),
    ("ALLOW", ANY, &["authenticated"], "subject", true),
    ("ALLOW", ANY, &["authenticated"], "tls", false),
    ("ALLOW", ANY, &["authenticated"], "plain", false),
    ("ALLOW", ANY, &["authenticated:spiffe://prod/ns/web/*"], "spiffe", true),
    ("ALLOW", ANY, &["authenticated:spiffe://prod/ns/admin/*"], "spiffe", false),
    ("ALLOW", ANY, &["authenticated:web.prod"], "spiffe", false),
    ("ALLOW", ANY, &["authenticated:web.prod"], "dns", true),
    ("ALLOW", ANY, &["authenticated:CN=web*"], "dns", false),
    ("ALLOW", ANY, &["authenticated:CN=web*"], "subject", true),
    // Tokens.
    ("ALLOW", ANY, &["jwt:idp"], "token", true),
    ("ALLOW", ANY, &["jwt:other"], "token", false),
    ("ALLOW", ANY, &["jwt:idp"], "plain", false),
    ("ALLOW", ANY, &["jwt:idp:sub=ann"], "token", true),
    ("ALLOW", ANY, &["jwt:idp:sub=bob"], "token", false),
    ("ALLOW", ANY, &["jwt:idp:group=staff"], "token", true),
    ("ALLOW", ANY, &["jwt:idp:group=staff dev"], "token", false),
    ("ALLOW", ANY, &["jwt:idp:scope=write"], "token", true),
    ("ALLOW", ANY, &["jwt:idp:scope=writ"], "token", false),
    ("ALLOW", ANY, &["jwt:idp:admin=true"], "token", true),
    ("ALLOW", ANY, &["jwt:idp:org.id=7"], "token", true),
    ("ALLOW", ANY, &["jwt:idp:org=7"], "token", false),
    ("ALLOW", ANY, &["jwt:idp:none=*"], "token", false),
    // API keys.
    ("ALLOW", ANY, &["api_key:partner-a"], "key", true),
    ("ALLOW", ANY, &["api_key:partner-*"], "key", true),
    ("ALLOW", ANY, &["api_key:partner-b"], "key", false),
    ("ALLOW", ANY, &["api_key:*"], "plain", false),
    // Several terms, several conditions.
    ("ALLOW", &["path:/orders.* && port:443"], ANY, "plain", false),
    ("ALLOW", &["path:/orders.* && port:8443"], ANY, "plain", true),
    ("ALLOW", &["path:/orders.* && !header:x-team"], ANY, "blue", false),
    ("ALLOW", ANY, &["jwt:idp && remote_ip:10.0.0.0/8", "api_key:*"], "token", false),
    ("ALLOW", ANY, &["jwt:idp && !remote_ip:10.0.0.0/8", "api_key:*"], "token", true),
];

#[test]
fn every_row_decides_as_it_says() {
    let wrong: Vec<&Row> = ROWS
        .iter()
        .filter(|(action, permissions, principals, name, wanted)| {
            passes(&rules(action, permissions, principals), &call(name)) != *wanted
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(ROWS.len() >= 60, "{} rows", ROWS.len());
}

#[test]
fn no_policy_allows_nothing_and_denies_nothing() {
    for (action, wanted) in [(Action::Allow, false), (Action::Deny, true), (Action::Log, true)] {
        let rules = rbac::Rules { action, policies: Vec::new() };
        let rules = rbac::Rbac { rules, shadow_rules: None };
        assert_eq!(passes(&rules, &call("plain")), wanted, "{action:?}");
    }
}

#[test]
fn shadow_rules_say_what_they_would_do() {
    let (allow, deny) = (rules("ALLOW", ANY, ANY), rules("DENY", ANY, ANY));
    let both = Rbac::new(&rbac::Rbac { rules: allow.rules, shadow_rules: Some(deny.rules) });
    let verdict = both.authorize(&question("/a.B/C", &call("plain")));
    assert_eq!(verdict, Verdict { allowed: true, shadow: Some(false) });
}

/// Policies of terms that an index finds, and of others, beside calls to few methods.
#[test]
fn the_index_leaves_out_no_policy_that_matches() {
    const PERMISSIONS: [&str; 9] = [
        "any",
        "path:/a.B/C",
        "path:/a.B/*",
        "path:/a.B/C*",
        "!path:/a.B/C",
        "path:/d.E/*",
        "path:/*",
        "path:/a.B/C/",
        "path:/d.E/* && path:*/C",
    ];
    const PRINCIPALS: [&str; 8] = [
        "any",
        "jwt:idp:group=staff",
        "jwt:idp:group=guests",
        "!jwt:idp:group=staff",
        "jwt:idp:scope=write && remote_ip:203.0.113.0/24",
        "jwt:other:group=staff",
        "jwt:idp:org.id=7",
        "jwt:idp:sub=a*",
    ];
    const PATHS: [&str; 8] = ["/a.B/C", "/a.B/D", "/a.B/C/", "/a.B/C/x", "/d.E/C", "/d.E", "/", ""];
    let parsed = |permission, principal| {
        let rules = rules("ALLOW", &[permission], &[principal]).rules.policies.remove(0);
        (rules.permissions[0].clone(), rules.principals[0].clone())
    };
    let terms: Vec<_> =
        PERMISSIONS.iter().zip(PRINCIPALS.iter().cycle()).map(|(one, other)| parsed(one, other)).collect();
    let mut random = Random::seeded(11);
    let mut matches = [0, 0];
    for _ in 0..2_000 {
        let mut some = || -> Vec<usize> {
            (0..random.below(3)).map(|_| random.below(terms.len() as u32) as usize).collect()
        };
        // So few that not every call matches one.
        let policy = |number: usize| Policy {
            name: number.to_string(),
            permissions: some().into_iter().map(|at| terms[at].0.clone()).collect(),
            principals: some().into_iter().map(|at| terms[at].1.clone()).collect(),
        };
        let policies: Vec<Policy> = (0..6).map(policy).collect();
        let index = Index::new(&policies);
        for (path, name) in PATHS.iter().zip(["plain", "token"].iter().cycle()) {
            let call = call(name);
            let question = question(path, &call);
            for is_strict in [true, false] {
                let one_by_one = policies.iter().any(|policy| policy_matches(policy, &question, is_strict));
                let found = index.any(question.path, question.token, |number| {
                    policy_matches(&policies[number], &question, is_strict)
                });
                assert_eq!(found, one_by_one, "{path} {name} {policies:#?}");
                matches[usize::from(found)] += 1;
            }
        }
    }
    assert!(matches.iter().all(|count| *count > 2_000), "{matches:?}");
}

/// So a call costs as much beside sixty rules as beside one.
#[test]
fn few_of_many_policies_are_compared() {
    let policies = |permission: &dyn Fn(u32) -> String, principal: &dyn Fn(u32) -> String| -> Vec<Policy> {
        let one =
            |number| rules("ALLOW", &[&permission(number)], &[&principal(number)]).rules.policies.remove(0);
        (0..60).map(one).collect()
    };
    let any = |_| "any".to_owned();
    let group = |number| if number == 7 { "staff".to_owned() } else { format!("g{number}") };
    for (policies, path) in [
        (policies(&|number| format!("path:/a.S{number}/M"), &any), "/a.S7/M"),
        (policies(&|number| format!("path:/a.S{number}/*"), &any), "/a.S7/M"),
        (policies(&any, &|number| format!("jwt:idp:group={}", group(number))), "/a.S7/M"),
        // One path for all: then the claims tell them apart.
        (
            policies(&|_| "path:/a.S/M".to_owned(), &|number| format!("jwt:idp:group={}", group(number))),
            "/a.S/M",
        ),
    ] {
        let compared = Cell::new(0);
        let token = call("token");
        let question = question(path, &token);
        let found = Index::new(&policies).any(question.path, question.token, |number| {
            compared.set(compared.get() + 1);
            policy_matches(&policies[number], &question, true)
        });
        assert_eq!((found, compared.get()), (true, 1), "{:?}", policies[0]);
    }
}
