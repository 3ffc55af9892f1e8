use super::*;

/// All values of a body that comes in these pieces, each with where it began.
fn split<'p>(pieces: impl Iterator<Item = &'p [u8]>, max: usize) -> Result<Vec<(u64, String)>, SplitError> {
    let mut splitter = Splitter::new(max);
    let mut values = Vec::new();
    let keep = |(at, value): (u64, &[u8])| (at, String::from_utf8_lossy(value).into_owned());
    for piece in pieces {
        splitter.feed(piece);
        while let Some(value) = splitter.value()? {
            values.push(keep(value));
        }
    }
    values.extend(splitter.finish()?.map(keep));
    assert_eq!(splitter.finish(), Ok(None), "finished is finished");
    Ok(values)
}

fn whole(body: &str) -> Result<Vec<(u64, String)>, SplitError> {
    split(std::iter::once(body.as_bytes()), 1_000)
}

/// Bodies and their values.
const BODIES: &[(&str, &[&str])] = &[
    ("", &[]),
    (" \n\r\t\n", &[]),
    ("{}", &["{}"]),
    ("{}\n", &["{}"]),
    ("{}\n{}\r\n\n{\"a\":1}\n", &["{}", "{}", "{\"a\":1}"]),
    ("{\n \"a\": [1,\n2]\n}\n{}", &["{\n \"a\": [1,\n2]\n}", "{}"]),
    ("{\"a\":\"}\\\"{[\"} {}", &["{\"a\":\"}\\\"{[\"}", "{}"]),
    ("{\"a\":\"\\\\\"}\n{}", &["{\"a\":\"\\\\\"}", "{}"]),
    (
        "{\"a\":\"a long text with ☃ and \\u2603 } in it\"}\n{}",
        &["{\"a\":\"a long text with ☃ and \\u2603 } in it\"}", "{}"],
    ),
    ("1\n-2.5e3 \"three\"\ntrue\nnull", &["1", "-2.5e3", "\"three\"", "true", "null"]),
    ("7", &["7"]),
    ("\"s\"", &["\"s\""]),
    ("{} [1] []", &["{}", "[1]", "[]"]),
    ("{}{}", &["{}", "{}"]),
    (
        "{\"a\":1}[2]\"three\"4{}true\"x\"null",
        &["{\"a\":1}", "[2]", "\"three\"", "4", "{}", "true", "\"x\"", "null"],
    ),
    ("[]", &[]),
    (" [ ] \n", &[]),
    ("[{}]", &["{}"]),
    ("[{},{\"a\":[1,2]} , 3,\"x,]\",[],[[1],2]]", &["{}", "{\"a\":[1,2]}", "3", "\"x,]\"", "[]", "[[1],2]"]),
    ("[\n  {\"a\":1},\n  {\"a\":2}\n]\n", &["{\"a\":1}", "{\"a\":2}"]),
    ("[1]", &["1"]),
    ("[1 ,true]", &["1", "true"]),
];

/// Broken bodies: where, and what should be there.
const BROKEN: &[(&str, u64, &str)] = &[
    ("x", 0, "a value"),
    ("{}\n}", 3, "a value"),
    ("{},{}", 2, "a value"),
    ("{}x", 2, "a value"),
    ("{", 1, "the rest of the value"),
    ("{}\n{\"a\":\"", 9, "the rest of the value"),
    ("\"abc", 4, "the rest of the value"),
    ("[", 1, "`]`"),
    ("[{}", 3, "`]`"),
    ("[{} ", 4, "`]`"),
    ("[1", 2, "the rest of the value"),
    ("[{},", 4, "a value"),
    ("[,{}]", 1, "a value"),
    ("[{},]", 4, "a value"),
    ("[{},,{}]", 4, "a value"),
    ("[{} {}]", 4, "`,` or `]`"),
    ("[{}\n{}]", 4, "`,` or `]`"),
    ("[{}] {}", 5, "the end"),
    ("[{}]]", 4, "the end"),
    ("[}", 1, "a value"),
    ("{]}", 2, "a value"),
];

#[test]
fn a_body_is_cut_wherever_its_pieces_end() {
    for (body, values) in BODIES {
        let expected = whole(body).expect(body);
        assert_eq!(expected.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), *values, "{body}");
        for (at, value) in &expected {
            let at = usize::try_from(*at).expect("it is short");
            assert!(body[at..].starts_with(value), "{body}: {value} is not at {at}");
        }
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let body = body.as_bytes();
                let pieces = [&body[..first], &body[first..second], &body[second..]];
                assert_eq!(split(pieces.into_iter(), 1_000).as_ref(), Ok(&expected), "{first} {second}");
            }
        }
        assert_eq!(split(body.as_bytes().chunks(1), 1_000).as_ref(), Ok(&expected), "{body}");
    }
}

#[test]
fn a_broken_body_says_where() {
    for &(body, offset, expected) in BROKEN {
        let error = SplitError { offset, reason: SplitReason::Expected(expected) };
        assert_eq!(whole(body), Err(error), "{body}");
        assert_eq!(split(body.as_bytes().chunks(1), 1_000), Err(error), "{body}, byte by byte");
    }
    assert_eq!(whole("{}x").expect_err("no value").to_string(), "offset 2: expected a value");
}

#[test]
fn a_value_may_be_so_large_and_no_larger() {
    for open in ["", "["] {
        for value in ["{\"a\":\"12345\"}", "\"12345678901\"", "1234567890123", "[1,2,3,4,5,6]"] {
            assert_eq!(value.len(), 13);
            let body = format!(
                "{open}{{}}{}{value}{}",
                if open.is_empty() { "\n" } else { "," },
                if open.is_empty() { "\n" } else { "]" }
            );
            let body = body.as_bytes();
            assert_eq!(split(body.chunks(1), 13).map(|values| values.len()), Ok(2), "{value}");
            assert_eq!(split(std::iter::once(body), 13).map(|values| values.len()), Ok(2), "{value}");
            let error = split(body.chunks(1), 12).expect_err("a byte too many");
            assert_eq!(error, SplitError { offset: open.len() as u64 + 3, reason: SplitReason::TooLarge });
            assert_eq!(split(std::iter::once(body), 12), Err(error));
        }
    }
}

#[test]
fn what_was_given_out_is_not_kept() {
    let mut splitter = Splitter::new(100);
    for round in 0..10_000_u64 {
        splitter.feed(b"{\"a\":1}\n{\"b");
        assert_eq!(splitter.value(), Ok(Some((round * 16, &b"{\"a\":1}"[..]))));
        assert_eq!(splitter.value(), Ok(None));
        splitter.feed(b"\":2}\n");
        assert_eq!(splitter.value().map(|value| value.map(|(at, _)| at)), Ok(Some(round * 16 + 8)));
        assert_eq!(splitter.value(), Ok(None));
    }
    assert!(splitter.bytes.capacity() < 1_000, "{} bytes", splitter.bytes.capacity());
}
