//! Text into fields: what a path captures, and queries. Each is compared with the message that JSON would make.

use super::reference::{decode, message_id, read_by_reference, same, schema};
use ringway::transcode::bind::{FieldPath, bind};
use ringway::transcode::query::{PARAMETERS_MAX, Query, QueryOptions};

/// Field path, text, the same as JSON of `Everything`.
pub(crate) const BOUND: &[(&str, &str, &str)] = &[
    ("scalars.a_string", "x", r#"{"scalars":{"aString":"x"}}"#),
    ("scalars.aString", "", r#"{"scalars":{}}"#),
    ("scalars.aString", "a/b ☃", r#"{"scalars":{"aString":"a/b ☃"}}"#),
    ("optionals.aString", "", r#"{"optionals":{"aString":""}}"#),
    ("scalars.aDouble", "-1.5e3", r#"{"scalars":{"aDouble":-1500}}"#),
    ("scalars.aDouble", "NaN", r#"{"scalars":{"aDouble":"NaN"}}"#),
    ("scalars.aFloat", "-Infinity", r#"{"scalars":{"aFloat":"-Infinity"}}"#),
    ("scalars.an_int32", "-7", r#"{"scalars":{"anInt32":-7}}"#),
    ("scalars.anInt32", "1e3", r#"{"scalars":{"anInt32":1000}}"#),
    ("scalars.anInt64", "-9223372036854775808", r#"{"scalars":{"anInt64":"-9223372036854775808"}}"#),
    ("scalars.aUint32", "4294967295", r#"{"scalars":{"aUint32":4294967295}}"#),
    ("scalars.aUint64", "18446744073709551615", r#"{"scalars":{"aUint64":"18446744073709551615"}}"#),
    ("scalars.aSint32", "-1", r#"{"scalars":{"aSint32":-1}}"#),
    ("scalars.aSint64", "-2", r#"{"scalars":{"aSint64":-2}}"#),
    ("scalars.aFixed32", "3", r#"{"scalars":{"aFixed32":3}}"#),
    ("scalars.aFixed64", "4", r#"{"scalars":{"aFixed64":4}}"#),
    ("scalars.aSfixed32", "-5", r#"{"scalars":{"aSfixed32":-5}}"#),
    ("scalars.aSfixed64", "-6", r#"{"scalars":{"aSfixed64":-6}}"#),
    ("scalars.aBool", "true", r#"{"scalars":{"aBool":true}}"#),
    ("optionals.aBool", "false", r#"{"optionals":{"aBool":false}}"#),
    ("scalars.aBytes", "AQI=", r#"{"scalars":{"aBytes":"AQI="}}"#),
    ("scalars.aBytes", "-_8", r#"{"scalars":{"aBytes":"+/8="}}"#),
    ("scalars.aColour", "GREEN", r#"{"scalars":{"aColour":"GREEN"}}"#),
    ("scalars.aColour", "5", r#"{"scalars":{"aColour":"BLUE"}}"#),
    ("scalars.aColour", "-1", r#"{"scalars":{"aColour":"DARK"}}"#),
    ("aliased", "SECOND", r#"{"aliased":"FIRST"}"#),
    ("lists.strings", "one", r#"{"lists":{"strings":["one"]}}"#),
    ("lists.int32s", "1", r#"{"lists":{"int32s":[1]}}"#),
    ("lists.unpacked", "1", r#"{"lists":{"unpacked":[1]}}"#),
    ("lists.colours", "RED", r#"{"lists":{"colours":["RED"]}}"#),
    ("choice.number", "1", r#"{"choice":{"number":1}}"#),
    ("choice.scalars.aBool", "true", r#"{"choice":{"scalars":{"aBool":true}}}"#),
    ("choice.duration", "1.5s", r#"{"choice":{"duration":"1.5s"}}"#),
    ("choice.nothing", "NULL_VALUE", r#"{"choice":{"nothing":null}}"#),
    (
        "wellKnown.timestamp",
        "2024-02-29T12:34:56.7Z",
        r#"{"wellKnown":{"timestamp":"2024-02-29T12:34:56.7Z"}}"#,
    ),
    ("well_known.duration", "-0.5s", r#"{"wellKnown":{"duration":"-0.5s"}}"#),
    ("wellKnown.fieldMask", "a,bC.d", r#"{"wellKnown":{"fieldMask":"a,bC.d"}}"#),
    ("wellKnown.fieldMask", "a,b_c.d", r#"{"wellKnown":{"fieldMask":"a,bC.d"}}"#),
    (
        "wellKnown.timestamps",
        "1970-01-01T00:00:01Z",
        r#"{"wellKnown":{"timestamps":["1970-01-01T00:00:01Z"]}}"#,
    ),
    ("wellKnown.doubleValue", "1.5", r#"{"wellKnown":{"doubleValue":1.5}}"#),
    ("wellKnown.floatValue", "NaN", r#"{"wellKnown":{"floatValue":"NaN"}}"#),
    ("wellKnown.int64Value", "0", r#"{"wellKnown":{"int64Value":0}}"#),
    ("wellKnown.uint64Value", "7", r#"{"wellKnown":{"uint64Value":7}}"#),
    ("wellKnown.int32Value", "-7", r#"{"wellKnown":{"int32Value":-7}}"#),
    ("wellKnown.uint32Value", "7", r#"{"wellKnown":{"uint32Value":7}}"#),
    ("wellKnown.boolValue", "false", r#"{"wellKnown":{"boolValue":false}}"#),
    ("wellKnown.stringValue", "", r#"{"wellKnown":{"stringValue":""}}"#),
    ("wellKnown.bytesValue", "AQI", r#"{"wellKnown":{"bytesValue":"AQI="}}"#),
    ("wellKnown.string_values", "s", r#"{"wellKnown":{"stringValues":["s"]}}"#),
    ("names.renamed", "x", r#"{"names":{"renamed":"x"}}"#),
    ("names.plain", "x", r#"{"names":{"renamed":"x"}}"#),
    ("names.swapped", "x", r#"{"names":{"swapped":"x"}}"#),
    (
        "tree.left.right.leaf.tree.label",
        "deep",
        r#"{"tree":{"left":{"right":{"leaf":{"tree":{"label":"deep"}}}}}}"#,
    ),
    ("sparse.last", "x", r#"{"sparse":{"last":"x"}}"#),
    ("old.onegroup.inside", "1", r#"{"old":{"onegroup":{"inside":1}}}"#),
    ("old.onegroup.old.text", "x", r#"{"old":{"onegroup":{"old":{"text":"x"}}}}"#),
    ("old.right.yes", "true", r#"{"old":{"right":{"yes":true}}}"#),
];

/// Field path, text, what the error says.
pub(crate) const UNBOUND: &[(&str, &str, &str)] = &[
    ("nope", "x", "no field `nope` in test.kinds.Everything"),
    ("scalars.nope", "x", "no field `nope` in test.kinds.Scalars"),
    ("", "x", "no field ``"),
    ("scalars.", "x", "no field ``"),
    (".scalars", "x", "no field ``"),
    ("scalars.aString.x", "x", "`a_string` has no fields to name"),
    ("lists.messages.aBool", "true", "`messages` has no fields to name"),
    ("maps.strings.k", "v", "`strings` has no fields to name"),
    ("wellKnown.timestamp.seconds", "1", "`timestamp` has no fields to name"),
    ("scalars", "x", "name one of its fields"),
    ("old.onegroup", "x", "name one of its fields"),
    ("wellKnown.struct", "{}", "no text for `struct`: it is a message"),
    ("wellKnown.value", "1", "it is a message"),
    ("wellKnown.any", "1", "it is a message"),
    ("wellKnown.empty", "", "it is a message"),
    ("maps.strings", "x", "it is a map"),
    ("lists.messages", "x", "name one of its fields"),
    ("scalars.anInt32", "x", "`x` is not a number"),
    ("scalars.anInt32", "", "`` is not a number"),
    ("scalars.anInt32", " 1", "not a number"),
    ("scalars.anInt32", "1.5", "not a whole number"),
    ("scalars.anInt32", "2147483648", "out of range for Int32"),
    ("scalars.aUint64", "-1", "out of range for Uint64"),
    ("scalars.aBool", "1", "expected true or false"),
    ("scalars.aBool", "", "expected true or false"),
    ("scalars.aBool", "True", "expected true or false"),
    ("scalars.aBytes", "!", "base64"),
    ("scalars.aColour", "PINK", "not a value of the enum"),
    ("scalars.aColour", "", "not a value of the enum"),
    ("wellKnown.timestamp", "yesterday", "not a timestamp"),
    ("wellKnown.duration", "1", "not a duration"),
    ("wellKnown.fieldMask", "a,,b", "an empty field path"),
    ("wellKnown.int64Value", "x", "not a number"),
];

#[test]
fn text_becomes_the_value_of_a_field() {
    for (path, text, json) in BOUND {
        let found = FieldPath::resolve(schema(), message_id("Everything"), path).expect(path);
        let mut out = Vec::new();
        bind(schema(), &found, text, &mut out).unwrap_or_else(|error| panic!("{path}={text}: {error}"));
        let reference = read_by_reference("Everything", json.as_bytes(), false).expect(json);
        let ours = decode("Everything", &out);
        assert!(same(&ours, &reference), "{path}={text}: {ours}");
        let parameter = format!("{path}={}", text.replace('+', "%2B").replace(' ', "+"));
        out.clear();
        let result = Query::default().bind(
            schema(),
            message_id("Everything"),
            &parameter,
            &[],
            QueryOptions::default(),
            &mut out,
        );
        assert_eq!(result.map(drop), Ok(()), "{parameter}");
        assert!(same(&decode("Everything", &out), &reference), "{parameter}");
    }
}

#[test]
fn text_that_is_no_value_is_refused() {
    for (path, text, reason) in UNBOUND {
        let mut out = b"before".to_vec();
        let result = FieldPath::resolve(schema(), message_id("Everything"), path)
            .and_then(|found| bind(schema(), &found, text, &mut out));
        let error = result.expect_err(path);
        assert!(error.contains(reason), "{path}={text}: {error}");
        assert_eq!(out, b"before");
    }
    let deep = vec!["left"; 33].join(".");
    let error = FieldPath::resolve(schema(), message_id("Tree"), &deep).expect_err("a path of 33 names");
    assert!(error.contains("more than 32 names"), "{error}");
}

/// Queries: message, query, the same as JSON.
pub(crate) const QUERIES: &[(&str, &str, &str)] = &[
    ("Scalars", "", "{}"),
    ("Scalars", "&&", "{}"),
    ("Scalars", "aString=x", r#"{"aString":"x"}"#),
    ("Scalars", "aString=x&anInt32=7&", r#"{"aString":"x","anInt32":7}"#),
    ("Scalars", "aString=two%20words", r#"{"aString":"two words"}"#),
    ("Scalars", "aString=two+words", r#"{"aString":"two words"}"#),
    ("Scalars", "aString=1%2B1%3D2", r#"{"aString":"1+1=2"}"#),
    ("Scalars", "aString=a=b", r#"{"aString":"a=b"}"#),
    ("Scalars", "aString=%E2%98%83", r#"{"aString":"☃"}"#),
    ("Scalars", "aString=☃", r#"{"aString":"☃"}"#),
    ("Scalars", "a%53tring=x", r#"{"aString":"x"}"#),
    ("Scalars", "aString", r#"{"aString":""}"#),
    ("Optionals", "aString=", r#"{"aString":""}"#),
    ("Scalars", "anInt32=1&anInt32=2", r#"{"anInt32":2}"#),
    ("Lists", "strings=a&strings=b&strings=a", r#"{"strings":["a","b","a"]}"#),
    ("Lists", "int32s=1&strings=x&int32s=2", r#"{"int32s":[1,2],"strings":["x"]}"#),
    ("Lists", "unpacked=1&unpacked=2", r#"{"unpacked":[1,2]}"#),
    ("Everything", "scalars.anInt32=1&scalars.aBool=true", r#"{"scalars":{"anInt32":1,"aBool":true}}"#),
    (
        "Tree",
        "left.label=l&right.label=r&left.left.label=ll",
        r#"{"left":{"label":"l","left":{"label":"ll"}},"right":{"label":"r"}}"#,
    ),
    ("Choice", "number=1&text=last", r#"{"text":"last"}"#),
    ("Choice", "scalars.anInt32=1&scalars.aBool=true", r#"{"scalars":{"anInt32":1,"aBool":true}}"#),
    ("WellKnown", "timestamp=1970-01-01T01%3A00%3A01%2B01:00", r#"{"timestamp":"1970-01-01T00:00:01Z"}"#),
    ("Names", "%C3%BCn%C3%AFcode%E2%98%83=x", r#"{"ünïcode☃":"x"}"#),
];

/// Queries that are refused: message, query, the whole error.
pub(crate) const BAD_QUERIES: &[(&str, &str, &str)] = &[
    ("Scalars", "nope=1", "query parameter `nope`: no field `nope` in test.kinds.Scalars"),
    ("Scalars", "aString=x&no%20pe=1", "query parameter `no pe`: no field `no pe` in test.kinds.Scalars"),
    ("Scalars", "anInt32=x", "query parameter `anInt32`: `x` is not a number"),
    ("Scalars", "anInt32", "query parameter `anInt32`: `` is not a number"),
    ("Scalars", "aString=%", "query parameter `aString`: `%` without two hexadecimal digits"),
    ("Scalars", "aString=%4", "query parameter `aString`: `%` without two hexadecimal digits"),
    ("Scalars", "aString=%4g", "query parameter `aString`: `%` without two hexadecimal digits"),
    ("Scalars", "aString=%+1", "query parameter `aString`: `%` without two hexadecimal digits"),
    ("Scalars", "aString=%FF", "query parameter `aString`: not UTF-8"),
    ("Scalars", "%FF=1", "query parameter `%FF`: not UTF-8"),
    ("Scalars", "=1", "query parameter ``: no field `` in test.kinds.Scalars"),
    (
        "Everything",
        "scalars=1",
        "query parameter `scalars`: no text for `scalars`: it is a message; name one of its fields",
    ),
    (
        "WellKnown",
        "timestamp=1970-01-01T01:00:01+01:00",
        "query parameter `timestamp`: not a timestamp such as \"1972-01-01T10:00:20.021Z\"",
    ),
];

#[test]
fn queries_become_fields() {
    let mut query = Query::default();
    for (name, text, json) in QUERIES {
        let mut out = Vec::new();
        let result = query.bind(schema(), message_id(name), text, &[], QueryOptions::default(), &mut out);
        assert_eq!(result.map(drop), Ok(()), "{text}");
        let reference = read_by_reference(name, json.as_bytes(), false).expect(json);
        let ours = decode(name, &out);
        assert!(same(&ours, &reference), "{text}: {ours}");
    }
    for (name, text, expected) in BAD_QUERIES {
        let mut out = b"before".to_vec();
        let result = query.bind(schema(), message_id(name), text, &[], QueryOptions::default(), &mut out);
        assert_eq!(result.expect_err(text).to_string(), *expected, "{text}");
        assert_eq!(out, b"before");
    }
}

#[test]
fn unknown_parameters_are_passed_over_when_asked() {
    let mut out = Vec::new();
    let options = QueryOptions { ignore_unknown_parameters: true, ..QueryOptions::default() };
    let mut query = Query::default();
    let result =
        query.bind(schema(), message_id("Scalars"), "utm=1&anInt32=7&a.b.c=2", &[], options, &mut out);
    assert_eq!(result.map(drop), Ok(()));
    assert_eq!(out, b"\x18\x07");
    let result = query.bind(schema(), message_id("Scalars"), "anInt32=x", &[], options, &mut out);
    assert!(result.is_err(), "what is known must be right");
}

#[test]
fn what_path_or_body_have_is_not_taken_from_the_query() {
    let id = message_id("Everything");
    let path = |path: &str| FieldPath::resolve(schema(), id, path).expect(path);
    let taken = [path("scalars.aString"), path("tree")];
    let mut query = Query::default();
    let mut bind = |text: &str, taken: &[FieldPath]| {
        let result = query.bind(schema(), id, text, taken, QueryOptions::default(), &mut Vec::new());
        result.map_err(|error| error.reason)
    };
    let reason = Err("the path or the body has this field".to_owned());
    assert_eq!(bind("scalars.a_string=x", &taken), reason);
    assert_eq!(bind("tree.label=x", &taken), reason);
    assert_eq!(bind("scalars.anInt32=1&names.plain=x", &taken).map(drop), Ok(()));
    assert_eq!(bind("scalars.anInt32=1", &[FieldPath::whole(id)]), reason);
    assert_eq!(bind("", &[FieldPath::whole(id)]).map(drop), Ok(()));
}

#[test]
fn a_query_has_only_so_many_parameters() {
    let id = message_id("Lists");
    let mut query = Query::default();
    let most = vec!["int32s=1"; PARAMETERS_MAX].join("&");
    let mut out = Vec::new();
    assert_eq!(query.bind(schema(), id, &most, &[], QueryOptions::default(), &mut out).map(drop), Ok(()));
    let more = format!("{most}&int32s=1");
    let error = query.bind(schema(), id, &more, &[], QueryOptions::default(), &mut out);
    assert!(error.expect_err("one too many").reason.contains("more than 1000"));
}

#[test]
fn paths_tell_what_they_are() {
    let id = message_id("Everything");
    let path = |path: &str| FieldPath::resolve(schema(), id, path).expect(path);
    assert!(path("scalars").contains(&path("scalars.aString")));
    assert!(!path("scalars.aString").contains(&path("scalars")));
    assert!(path("scalars.aString") == path("scalars.a_string"));
    assert!(
        FieldPath::whole(id).contains(&path("scalars")) && FieldPath::whole(id).field(schema()).is_none()
    );
    assert_eq!(path("scalars.aString").field(schema()).map(|field| field.number), Some(14));
    assert!(path("wellKnown.timestamp").takes_text(schema()).is_ok());
    assert!(path("wellKnown.struct").takes_text(schema()).is_err());
}
