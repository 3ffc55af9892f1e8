//! The rules of RFC 9113 section 8, each with heads that break it and heads that do not.

use super::super::Malformed;
use super::*;

type Lines<'a> = &'a [(&'a str, &'a [u8])];

const REQUEST: Lines<'static> =
    &[(":method", b"POST"), (":scheme", b"http"), (":path", b"/a.B/C"), (":authority", b"example.com")];
const RESPONSE: Lines<'static> = &[(":status", b"200")];

/// Reads a head three times: as literals, as literals that are added to the table, and out of the table.
fn verdict(kind: Kind, lines: Lines<'_>) -> Verdict {
    let mut reader = Reader::new();
    let first = reader.read(&plain(lines), kind).0.unwrap();
    let second = reader.read(&added(lines), kind).0.unwrap();
    let count = lines.len() as u8;
    let indices: Vec<u8> = (0..count).rev().map(|at| 0x80 | (62 + at)).collect();
    let third = reader.read(&indices, kind).0.unwrap();
    assert_eq!((first, first), (second, third), "{lines:?}");
    first
}

fn with(kind: Kind, lines: Lines<'_>) -> Verdict {
    let mut all = match kind {
        Kind::Request => REQUEST.to_vec(),
        Kind::Response => RESPONSE.to_vec(),
        Kind::Trailers => Vec::new(),
    };
    all.extend_from_slice(lines);
    verdict(kind, &all)
}

/// A request with another value, or without the field if there is none.
fn request(name: &str, value: Option<&[u8]>) -> Verdict {
    let mut lines = Vec::new();
    for line in REQUEST {
        match value {
            Some(value) if line.0 == name => lines.push((line.0, value)),
            None if line.0 == name => {}
            _ => lines.push(*line),
        }
    }
    verdict(Kind::Request, &lines)
}

const KINDS: [Kind; 3] = [Kind::Request, Kind::Response, Kind::Trailers];

#[test]
fn fields_by_themselves() {
    use Malformed::*;
    let rows: &[(&str, &[u8], Option<Malformed>)] = &[
        ("", b"x", Some(Name)),
        ("Accept", b"x", Some(Name)),
        ("x-UP", b"x", Some(Name)),
        ("x y", b"x", Some(Name)),
        ("x:y", b"x", Some(Name)),
        ("x\0", b"x", Some(Name)),
        ("x\u{e4}", b"x", Some(Name)),
        ("x\x7f", b"x", Some(Name)),
        ("x(", b"x", Some(Name)),
        ("x!#$%&'*+-.^_`|~9", b"x", None),
        ("x", b"", None),
        ("x", b"a b\tc", None),
        ("x", b"\xff\x80", None),
        ("x", b" a", Some(Value)),
        ("x", b"a ", Some(Value)),
        ("x", b"\ta", Some(Value)),
        ("x", b"a\t", Some(Value)),
        ("x", b" ", Some(Value)),
        ("x", b"a\0b", Some(Value)),
        ("x", b"a\rb", Some(Value)),
        ("x", b"a\nb", Some(Value)),
        ("x", b"a\x1fb", Some(Value)),
        ("x", b"a\x7fb", Some(Value)),
        ("user-agent", b"a\0", Some(Value)),
        ("connection", b"close", Some(ConnectionField)),
        ("connection", b"", Some(ConnectionField)),
        ("keep-alive", b"1", Some(ConnectionField)),
        ("proxy-connection", b"x", Some(ConnectionField)),
        ("transfer-encoding", b"chunked", Some(ConnectionField)),
        ("upgrade", b"h2c", Some(ConnectionField)),
        ("te", b"trailers", None),
        ("te", b"gzip", Some(Te)),
        ("te", b"", Some(Te)),
        ("te", b"trailers, gzip", Some(Te)),
        ("content-length", b"0", None),
        ("content-length", b"18446744073709551615", None),
        ("content-length", b"18446744073709551616", Some(ContentLength)),
        ("content-length", b"", Some(ContentLength)),
        ("content-length", b"+1", Some(ContentLength)),
        ("content-length", b"1,1", Some(ContentLength)),
        ("content-length", b"-1", Some(ContentLength)),
        (":protocol", b"websocket", Some(UnknownPseudo)),
        (":other", b"x", Some(UnknownPseudo)),
        (":", b"x", Some(UnknownPseudo)),
        (":Path", b"/", Some(UnknownPseudo)),
    ];
    for (name, value, fault) in rows {
        for kind in KINDS {
            let expected = fault.map_or(Verdict::Good, Verdict::Malformed);
            assert_eq!(with(kind, &[(name, value)]), expected, "{name:?} {value:?} {kind:?}");
        }
    }
}

#[test]
fn pseudo_fields_of_requests() {
    use Malformed::*;
    type Row<'a> = (&'a str, Option<&'a [u8]>, Option<Malformed>);
    let rows: &[Row<'_>] = &[
        (":method", None, Some(MissingMethod)),
        (":method", Some(b""), Some(Method)),
        (":method", Some(b"PO ST"), Some(Method)),
        (":method", Some(b"purge"), None),
        (":scheme", None, Some(MissingScheme)),
        (":scheme", Some(b""), Some(Scheme)),
        (":scheme", Some(b"9p"), Some(Scheme)),
        (":scheme", Some(b"ht:p"), Some(Scheme)),
        (":scheme", Some(b"https"), None),
        (":path", None, Some(MissingPath)),
        (":path", Some(b""), Some(Path)),
        (":path", Some(b"a"), Some(Path)),
        (":path", Some(b"*"), Some(Path)),
        (":path", Some(b"/a b"), Some(Path)),
        (":path", Some(b"/a\tb"), Some(Path)),
        (":path", Some(b"/a#b"), Some(Path)),
        (":path", Some(b"/a?b=%20&c=\"[]\""), None),
        (":authority", None, None),
        (":authority", Some(b""), Some(Authority)),
        (":authority", Some(b"user@example.com"), Some(Authority)),
        (":authority", Some(b"a/b"), Some(Authority)),
        (":authority", Some(b"a b"), Some(Authority)),
        (":authority", Some(b"a\xe4"), Some(Authority)),
        (":authority", Some(b"[::1]:80"), None),
        (":authority", Some(b"127.0.0.1:1,127.0.0.1:2"), None),
        (":authority", Some(b"%2Ftmp%2Fx.sock"), None),
    ];
    for (name, value, fault) in rows {
        let expected = fault.map_or(Verdict::Good, Verdict::Malformed);
        assert_eq!(request(name, *value), expected, "{name} {value:?}");
    }
}

#[test]
fn pseudo_fields_have_their_place() {
    use Malformed::*;
    let bad = |kind, lines: Lines<'_>| match verdict(kind, lines) {
        Verdict::Malformed(fault) => fault,
        other => panic!("{other:?} of {lines:?}"),
    };
    for line in REQUEST {
        assert_eq!(with(Kind::Request, &[*line]), Verdict::Malformed(RepeatedPseudo));
        assert_eq!(with(Kind::Request, &[("x", b""), *line]), Verdict::Malformed(RepeatedPseudo));
        assert_eq!(with(Kind::Response, &[*line]), Verdict::Malformed(UnknownPseudo));
        assert_eq!(with(Kind::Trailers, &[*line]), Verdict::Malformed(UnknownPseudo));
        let mut late: Vec<_> = REQUEST.iter().copied().filter(|other| other.0 != line.0).collect();
        late.extend([("x", &b"y"[..]), *line]);
        assert_eq!(bad(Kind::Request, &late), LatePseudo);
    }
    assert_eq!(with(Kind::Request, RESPONSE), Verdict::Malformed(UnknownPseudo));
    assert_eq!(with(Kind::Trailers, RESPONSE), Verdict::Malformed(UnknownPseudo));
    assert_eq!(with(Kind::Response, RESPONSE), Verdict::Malformed(RepeatedPseudo));
    assert_eq!(bad(Kind::Response, &[("x", b"y"), (":status", b"200")]), LatePseudo);
    assert_eq!(bad(Kind::Response, &[]), MissingStatus);
    assert_eq!(bad(Kind::Request, &[]), MissingMethod);
    assert_eq!(verdict(Kind::Trailers, &[]), Verdict::Good);
    for status in [&b""[..], b"20", b"2000", b"099", b"2x0", b"+20", b" 20"] {
        assert_eq!(bad(Kind::Response, &[(":status", status)]), Status);
    }
    for status in [&b"100"[..], b"200", b"299", b"999"] {
        assert_eq!(verdict(Kind::Response, &[(":status", status)]), Verdict::Good);
    }
    // A `host` that became the authority, or was dropped, is a field all the same.
    let early = [(":method", &b"GET"[..]), (":scheme", b"http"), ("host", b"a"), (":path", b"/")];
    assert_eq!(bad(Kind::Request, &early), LatePseudo);
    let early = [(":method", &b"GET"[..]), (":authority", b"a"), ("host", b"a"), (":path", b"/")];
    assert_eq!(bad(Kind::Request, &early), LatePseudo);
}

#[test]
fn connect_and_options() {
    let connect = |lines: Lines<'_>| {
        let mut all = vec![(":method", &b"CONNECT"[..])];
        all.extend_from_slice(lines);
        verdict(Kind::Request, &all)
    };
    let bad = Verdict::Malformed(Malformed::Connect);
    assert_eq!(connect(&[(":authority", b"a:1")]), Verdict::Good);
    assert_eq!(connect(&[]), bad);
    assert_eq!(connect(&[("host", b"a:1")]), bad);
    assert_eq!(connect(&[(":authority", b"a:1"), (":path", b"/")]), bad);
    assert_eq!(connect(&[(":authority", b"a:1"), (":scheme", b"http")]), bad);
    let options = [(":method", &b"OPTIONS"[..]), (":scheme", b"http"), (":path", b"*")];
    assert_eq!(verdict(Kind::Request, &options), Verdict::Good);
}

#[test]
fn host_is_another_authority() {
    let read = |lines: Lines<'_>| {
        let (verdict, head) = Reader::new().read(&plain(lines), Kind::Request);
        assert_eq!(head.get(Name::HOST), None);
        (verdict.unwrap(), head.authority().map(<[u8]>::to_vec))
    };
    let own = |lines: Lines<'_>| {
        let mut all = REQUEST[..3].to_vec();
        all.extend_from_slice(lines);
        read(&all)
    };
    let good = (Verdict::Good, Some(b"a.b:1".to_vec()));
    let bad = (Verdict::Malformed(Malformed::Host), Some(b"a.b:1".to_vec()));
    assert_eq!(own(&[(":authority", b"a.b:1"), ("host", b"a.b:1")]), good);
    assert_eq!(own(&[(":authority", b"a.b:1"), ("host", b"A.B:1"), ("host", b"a.b:1")]), good);
    assert_eq!(own(&[("host", b"a.b:1")]), good);
    assert_eq!(own(&[("host", b"a.b:1"), ("host", b"a.b:1")]), good);
    assert_eq!(own(&[(":authority", b"a.b:1"), ("host", b"a.b:2")]), bad);
    assert_eq!(own(&[("host", b"a.b:1"), ("host", b"a.b")]), bad);
    let fault = Verdict::Malformed(Malformed::Authority);
    assert_eq!(own(&[("host", b"a@b")]), (fault, None));
    assert_eq!(own(&[("host", b"")]), (fault, None));
}

#[test]
fn content_lengths_agree() {
    let read = |lines: Lines<'_>| {
        let (verdict, head) = Reader::new().read(&plain(lines), Kind::Trailers);
        (verdict.unwrap(), head.content_length(), head.len())
    };
    assert_eq!(read(&[("content-length", b"7")]), (Verdict::Good, Some(7), 1));
    assert_eq!(read(&[("content-length", b"7"), ("content-length", b"007")]), (Verdict::Good, Some(7), 1));
    let (verdict, ..) = read(&[("content-length", b"7"), ("content-length", b"8")]);
    assert_eq!(verdict, Verdict::Malformed(Malformed::ContentLength));
    assert_eq!(read(&[("x", b"7")]).1, None);
}
