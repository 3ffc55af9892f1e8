//! Names, certificates and rules; sessions that go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::pki::{self, Authority, Identity, Leaf, names};
use super::{Files, PARAMS, Pair, client_of, server_of};
use crate::config::{
    ClusterTls, ListenerTls, SanKind, SanMatcher, StringMatcher, TlsCertificate, TlsParams, TlsVersion,
    ValidationContext,
};
use crate::metrics::TlsError;
use crate::tls::{ClientContext, ServerContext, certificate};

#[test]
fn the_name_chooses_the_certificate() {
    let files = Files::new();
    let mut settings = files.server(&names(&["default.example.org"]));
    let more = [
        ("two", names(&["one.example.org", "two.example.org"])),
        ("wild", names(&["*.wild.example.org", "spiffe://example.org/wild"])),
        ("rsa", Leaf { is_rsa: true, ..names(&["both.example.org"]) }),
        ("ecdsa", names(&["both.example.org"])),
    ];
    for (name, leaf) in &more {
        settings.certificates.push(files.identity(name, &files.ca.issue(leaf)));
    }
    let relaxed = ClusterTls { auto_sni_san_validation: false, ..files.client() };
    let (strict, relaxed) = (client_of(&files.client()), client_of(&relaxed));
    let server = server_of(&settings);
    for host in [
        "default.example.org",
        "one.example.org",
        "TWO.example.org",
        "x.wild.example.org",
        "both.example.org",
    ] {
        let facts = Pair::shaken(&server, &strict, host).facts().expect(host);
        let peer = facts.peer.tls.expect("it is TLS");
        assert_eq!(peer.server_name, Some(host.to_ascii_lowercase().into()));
        let is_wild = host.starts_with("x.");
        assert_eq!(peer.local_uris.concat(), if is_wild { "spiffe://example.org/wild" } else { "" });
    }
    for host in ["unknown.example.org", "a.b.wild.example.org", "wild.example.org", "127.0.0.1"] {
        let wrong = Pair::shaken(&server, &strict, host);
        assert_eq!(wrong.errors(), (Some(TlsError::PeerAlert), Some(TlsError::CertificateName)), "{host}");
        assert!(Pair::shaken(&server, &relaxed, host).facts().is_ok(), "{host}");
    }
    settings.require_sni = true;
    let server = server_of(&settings);
    assert!(Pair::shaken(&server, &strict, "one.example.org").facts().is_ok());
    for host in ["unknown.example.org", "127.0.0.1"] {
        let mut pair = Pair::new(&server, &relaxed, host, usize::MAX);
        let mut hello = pair.client.take(&mut Vec::new());
        let alert = pair.server.take(&mut hello);
        assert_eq!(pair.errors().0, Some(TlsError::UnrecognizedName), "{host}");
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 112], "{host}");
    }
}

const WEB: &str = "spiffe://prod.example.org/web";

/// Clients' certificates, each with how a gateway refuses it; `middle` is an authority below the trusted one. The last
/// is to be revoked.
fn clients(files: &Files, middle: &Authority) -> Vec<(&'static str, Option<Identity>, Option<TlsError>)> {
    let web = names(&[WEB]);
    let expired = Leaf { valid: (-200, -100), ..web.clone() };
    let early = Leaf { valid: (100, 200), ..web.clone() };
    let servers_only = Leaf { usages: &[rcgen::ExtendedKeyUsagePurpose::ServerAuth], ..web.clone() };
    let long = Leaf { padding: 300, ..web.clone() };
    let issue = |leaf: &Leaf<'_>| Some(files.ca.issue(leaf));
    use TlsError::{
        CertificateExpired as Expired, CertificateRefused as Refused, CertificateRequired as Required,
        CertificateRevoked as Revoked, CertificateUnknownCa as UnknownCa,
    };
    vec![
        ("right", issue(&web), None),
        ("by an intermediate", Some(middle.issue(&web)), None),
        ("a chain of many KiB", Some(middle.issue(&long)), None),
        ("none", None, Some(Required)),
        ("of another authority", Some(Authority::new("other").issue(&web)), Some(UnknownCa)),
        ("self-signed", Some(pki::self_signed(&web)), Some(UnknownCa)),
        ("expired", issue(&expired), Some(Expired)),
        ("not valid yet", issue(&early), Some(Expired)),
        ("for servers alone", issue(&servers_only), Some(Refused)),
        ("of another name", issue(&names(&["spiffe://test.example.org/web"])), Some(Refused)),
        ("a DNS name of that text", issue(&names(&["prod.example.org"])), Some(Refused)),
        ("revoked", issue(&web), Some(Revoked)),
    ]
}

#[test]
fn clients_show_certificates_that_the_rules_take() {
    let files = Files::new();
    let middle = files.ca.below("middle");
    let cases = clients(&files, &middle);
    let revoked = cases.last().and_then(|(_, identity, _)| identity.as_ref()).expect("it has one");
    let crl = format!("{}{}", files.ca.revoke(&[revoked.serial]), middle.revoke(&[]));
    files.folder.write("revoked.pem", crl);
    let mut settings = files.server(&names(&["a.example.org"]));
    settings.require_client_certificate = true;
    settings.validation = Some(ValidationContext {
        crl: Some(files.path("revoked.pem")),
        names: vec![SanMatcher {
            kind: SanKind::Uri,
            matcher: StringMatcher::Prefix("spiffe://prod.example.org/".to_owned()),
        }],
        ..files.trusting()
    });
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        settings.params = TlsParams { minimum: version, maximum: version, ..PARAMS };
        let server = server_of(&settings);
        for (what, identity, wanted) in &cases {
            let certificate = identity.as_ref().map(|identity| files.identity("client", identity));
            let client = client_of(&ClusterTls { certificate, ..files.client() });
            let mut pair = Pair::shaken(&server, &client, "a.example.org");
            assert_eq!(pair.errors().0, *wanted, "{version:?}, {what}: {:?}", pair.server.error);
            if wanted.is_none() {
                let peer = pair.facts().expect("they shake hands").peer;
                let shown = peer.certificate().expect("it has shown one");
                assert_eq!(shown.uris, [WEB], "{what}");
                assert!(shown.subject.contains("CN=test") && shown.pem().len() > 500, "{shown:?}");
            }
        }
    }
}

/// Certificates of clients that should not get in, beside those of `clients`.
fn forged(files: &Files) -> Vec<(&'static str, Identity)> {
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose as Usage, IsCa};
    let (ca, web) = (&files.ca, names(&[WEB]));
    let named = |name: &'static str| ca.issue(&names(&[name]));
    let by =
        |name: &str, change: &dyn Fn(&mut rcgen::CertificateParams)| ca.below_with(name, change).issue(&web);
    let depth = |most: u8| {
        move |params: &mut rcgen::CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        }
    };
    let middle = ca.below("a middle that is left out").issue(&web);
    let first_of =
        |chain: &str| chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap_or("").to_owned();
    vec![
        ("an authority that has expired", ca.below_with("old", pki::dates(-200, -100)).issue(&web)),
        ("an authority that is not valid yet", ca.below_with("new", pki::dates(100, 200)).issue(&web)),
        ("by one that is no authority", by("none", &|params| params.is_ca = IsCa::ExplicitNoCa)),
        ("by one that does not say that it is one", by("silent", &|params| params.is_ca = IsCa::NoCa)),
        ("an authority too deep", ca.below_with("last", depth(0)).below("deeper").issue(&web)),
        (
            "an authority for servers",
            by("servers", &|params| params.extended_key_usages = vec![Usage::ServerAuth]),
        ),
        ("without the authority between", Identity { chain: first_of(&middle.chain), ..middle }),
        ("of an authority of the same name", Authority::new("root").issue(&web)),
        (
            "an authority's own",
            ca.issue_with(&web, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        ("for e-mail", ca.issue(&Leaf { usages: &[Usage::EmailProtection], ..web.clone() })),
        ("a host that begins like ours", named("spiffe://prod.example.org.evil.test/web")),
        ("our host as a user", named("spiffe://prod.example.org@evil.test/web")),
        ("our host in a path", named("spiffe://evil.test/spiffe://prod.example.org/web")),
        ("another scheme", named("https://prod.example.org/web")),
        ("no path", named("spiffe://prod.example.org")),
        ("other letters", named("spiffe://Prod.example.org/web")),
        (
            "the name as a subject",
            ca.issue_with(&names(&["x.example.org"]), |params| {
                params.distinguished_name.push(rcgen::DnType::CommonName, WEB);
            }),
        ),
    ]
}

#[test]
fn no_forged_certificate_gets_in() {
    let files = Files::new();
    let known = clients(&files, &files.ca.below("middle"));
    let known = known.into_iter().filter(|(what, _, wanted)| wanted.is_some() && *what != "revoked");
    let known = known.filter_map(|(what, identity, _)| Some((what, identity?)));
    let all: Vec<_> = known.chain(forged(&files)).collect();
    assert!(all.len() >= 20, "{}", all.len());
    let mut settings = files.server(&names(&["a.example.org"]));
    settings.require_client_certificate = true;
    settings.validation = Some(ValidationContext {
        names: vec![SanMatcher {
            kind: SanKind::Uri,
            matcher: StringMatcher::Prefix("spiffe://prod.example.org/".to_owned()),
        }],
        ..files.trusting()
    });
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        settings.params = TlsParams { minimum: version, maximum: version, ..PARAMS };
        let server = server_of(&settings);
        for (what, identity) in &all {
            let certificate = Some(files.identity("client", identity));
            let client = client_of(&ClusterTls { certificate, ..files.client() });
            let mut pair = Pair::shaken(&server, &client, "a.example.org");
            assert!(pair.errors().0.is_some() && pair.server.got.is_empty(), "{version:?}: {what} got in");
            assert!(pair.facts().is_err(), "{version:?}: {what}");
        }
    }
}

#[test]
fn a_certificate_may_be_left_out_or_be_known_by_its_hash() {
    let files = Files::new();
    let mut settings = files.server(&names(&["a.example.org"]));
    settings.validation = Some(files.trusting());
    let client = client_of(&files.client());
    let facts = Pair::shaken(&server_of(&settings), &client, "a.example.org").facts().expect("it may");
    assert_eq!(facts.peer.certificate(), None);
    let (one, two) = (files.ca.issue(&names(&["one"])), files.ca.issue(&names(&["two"])));
    let certificate = files.identity("one", &one);
    let der = certificate::certificates(&certificate.certificate_chain).expect("it is there");
    settings.validation =
        Some(ValidationContext { hashes: vec![certificate::sha256(&der[0])], ..files.trusting() });
    let server = server_of(&settings);
    for (identity, wanted) in
        [(certificate, None), (files.identity("two", &two), Some(TlsError::CertificateRefused))]
    {
        let client = client_of(&ClusterTls { certificate: Some(identity), ..files.client() });
        assert_eq!(Pair::shaken(&server, &client, "a.example.org").errors().0, wanted);
    }
}

#[test]
fn services_are_who_the_rules_say() {
    let files = Files::new();
    let server = server_of(&files.server(&names(&["a.example.org", "spiffe://prod.example.org/orders"])));
    let rule = |text: &str| SanMatcher { kind: SanKind::Uri, matcher: StringMatcher::Exact(text.to_owned()) };
    let other = Authority::new("other");
    files.folder.write("other.pem", other.pem());
    let distrusting =
        ValidationContext { trusted_ca: Some(files.path("other.pem")), ..ValidationContext::default() };
    let of = |names: Vec<SanMatcher>| ValidationContext { names, ..files.trusting() };
    let by_id = |id: &str| ClusterTls {
        auto_sni_san_validation: false,
        validation: of(vec![rule(id)]),
        ..files.client()
    };
    for (what, settings, host, wanted) in [
        ("right", files.client(), "a.example.org", None),
        (
            "a set name",
            ClusterTls { sni: Some("a.example.org".to_owned()), ..files.client() },
            "10.0.0.7",
            None,
        ),
        ("another name", files.client(), "b.example.org", Some(TlsError::CertificateName)),
        ("an address", files.client(), "10.0.0.7", Some(TlsError::CertificateName)),
        (
            "another authority",
            ClusterTls { validation: distrusting, ..files.client() },
            "a.example.org",
            Some(TlsError::CertificateUnknownCa),
        ),
        ("the right SPIFFE ID", by_id("spiffe://prod.example.org/orders"), "10.0.0.7", None),
        (
            "another SPIFFE ID",
            by_id("spiffe://prod.example.org/stock"),
            "a.example.org",
            Some(TlsError::CertificateRefused),
        ),
    ] {
        let pair = Pair::shaken(&server, &client_of(&settings), host);
        assert_eq!(pair.errors().1, wanted, "{what}: {:?}", pair.client.error);
    }
    assert!(client_of(&files.client()).session("not a name").is_err());
}

#[test]
fn a_session_goes_on_where_it_may_and_is_checked_again() {
    let files = Files::new();
    let plain = files.server(&names(&["a.example.org"]));
    let identity = files.identity("client", &files.ca.issue(&names(&["spiffe://example.org/web"])));
    let client = || client_of(&ClusterTls { certificate: Some(identity.clone()), ..files.client() });
    let resumed = |server: &Arc<ServerContext>, client: &Arc<ClientContext>| {
        let mut pair = Pair::shaken(server, client, "a.example.org");
        pair.facts().map(|facts| facts.is_resumed).map_err(|error| error.kind)
    };
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let params = TlsParams { minimum: version, maximum: version, ..PARAMS };
        let plain = ListenerTls { params, ..plain.clone() };
        let (server, known) = (server_of(&plain), client());
        assert_eq!(
            [resumed(&server, &known), resumed(&server, &known)],
            [Ok(false), Ok(true)],
            "{version:?}"
        );
        // Another context, even of the same rules, has other keys.
        assert_eq!(resumed(&server_of(&plain), &known), Ok(false));
        let off = ListenerTls { resumes: false, ..plain.clone() };
        let (server, known) = (server_of(&off), client());
        assert_eq!([resumed(&server, &known), resumed(&server, &known)], [Ok(false), Ok(false)]);

        // With keys in common: the same rules resume, a gateway that demands a certificate does not.
        files.folder.write("tickets.key", [7; 80]);
        let keys = vec![files.path("tickets.key")];
        let shared = ListenerTls { session_ticket_keys: keys.clone(), ..plain.clone() };
        let demanding = ListenerTls {
            require_client_certificate: true,
            validation: Some(files.trusting()),
            ..shared.clone()
        };
        let known = client();
        assert_eq!(
            [resumed(&server_of(&shared), &known), resumed(&server_of(&shared), &known)],
            [Ok(false), Ok(true)]
        );
        let known = client_of(&files.client());
        assert_eq!(resumed(&server_of(&shared), &known), Ok(false));
        assert_eq!(resumed(&server_of(&demanding), &known), Err(TlsError::CertificateRequired));
        let known = client();
        assert_eq!(
            [resumed(&server_of(&demanding), &known), resumed(&server_of(&demanding), &known)],
            [Ok(false), Ok(true)]
        );
        let other = Authority::new("other");
        files.folder.write("other.pem", other.pem());
        let of_others = ValidationContext { trusted_ca: Some(files.path("other.pem")), ..files.trusting() };
        let elsewhere = ListenerTls { validation: Some(of_others), ..demanding };
        assert_eq!(resumed(&server_of(&elsewhere), &known), Err(TlsError::CertificateUnknownCa));
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a certificate has to expire")]
fn a_certificate_that_expires_ends_its_session() {
    let files = Files::new();
    let mut settings = files.server(&names(&["a.example.org"]));
    settings.validation = Some(files.trusting());
    settings.require_client_certificate = true;
    let server = server_of(&settings);
    let short = files.ca.issue(&Leaf { valid: (-60, 3), ..names(&["spiffe://example.org/web"]) });
    let certificate = Some(files.identity("client", &short));
    let client = client_of(&ClusterTls { certificate, ..files.client() });
    let first = Pair::shaken(&server, &client, "a.example.org").facts().expect("it is valid still");
    assert!(!first.is_resumed);
    let mut ended = None;
    for _ in 0..100 {
        match Pair::shaken(&server, &client, "a.example.org").facts() {
            Ok(_) => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => {
                ended = Some(error.kind);
                break;
            }
        }
    }
    assert_eq!(ended, Some(TlsError::CertificateExpired));
}

#[test]
fn what_cannot_be_used_is_named_with_its_file() {
    let files = Files::new();
    let good = files.server(&names(&["a.example.org"]));
    let problem = |settings: &ListenerTls| {
        let loaded = certificate::Origin::of(settings, settings.files()).and_then(ServerContext::load);
        loaded.expect_err("it cannot be used").to_string()
    };
    let stranger = files.identity("stranger", &files.ca.issue(&names(&["b.example.org"])));
    let with = |chain: PathBuf, key: PathBuf| ListenerTls {
        certificates: vec![TlsCertificate { certificate_chain: chain, private_key: key, ocsp_staple: None }],
        ..good.clone()
    };
    let own = good.certificates[0].clone();
    files.folder.write("empty.pem", "");
    files
        .folder
        .write("half.pem", &std::fs::read_to_string(&own.certificate_chain).expect("it is there")[..200]);
    let (chain, key) = (own.certificate_chain, own.private_key);
    for (settings, wanted) in [
        (with(files.path("gone.crt"), key.clone()), "gone.crt: cannot be read: No such file"),
        (with(files.path("empty.pem"), key.clone()), "empty.pem: has no certificate in PEM"),
        (with(files.path("half.pem"), key.clone()), "half.pem: is not PEM"),
        (with(chain.clone(), chain.clone()), "server.crt: has no private key in PEM"),
        (with(chain.clone(), stranger.private_key), "stranger.key: is not the key of the certificate in "),
    ] {
        let found = problem(&settings);
        assert!(found.contains(wanted), "{found}");
    }
    let mut trusting = good.clone();
    trusting.validation = Some(ValidationContext { crl: Some(chain), ..files.trusting() });
    assert!(problem(&trusting).contains("has no list of revoked certificates"), "{}", problem(&trusting));
}
