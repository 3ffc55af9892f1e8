//! Protobuf to JSON, case by case.
//!
//! JSON that must come back, mostly as it is: `prost-reflect` makes the message of it. Tests beside the writer have the
//! messages that exist only as bytes.

use crate::support::any_message::pool;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use ringway::config::PrintOptions;
use ringway::transcode::plan::Schema;
use ringway::transcode::write::{self, WriteError};
use std::sync::LazyLock;

const COMPACT: PrintOptions = PrintOptions {
    add_whitespace: false,
    always_print_primitive_fields: false,
    always_print_enums_as_ints: false,
    preserve_proto_field_names: false,
};
const DEFAULTS: PrintOptions = PrintOptions { always_print_primitive_fields: true, ..COMPACT };
const INTS: PrintOptions = PrintOptions { always_print_enums_as_ints: true, ..COMPACT };
const PROTO_NAMES: PrintOptions = PrintOptions { preserve_proto_field_names: true, ..COMPACT };
const PRETTY: PrintOptions = PrintOptions { add_whitespace: true, ..COMPACT };

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(&pool()));

/// `Scalars` or `kinds2.Old`, with its package.
fn full_name(message: &str) -> String {
    if message.contains('.') { message.to_owned() } else { format!("test.kinds.{message}") }
}

fn written(message: &str, wire: &[u8], options: &PrintOptions) -> Result<String, WriteError> {
    let schema = &*SCHEMA;
    let id = schema.message_id(&full_name(message)).expect(message);
    let mut out = b"before".to_vec();
    let result = write::write(schema, id, wire, options, &mut out);
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    assert!(text.starts_with("before") && (result.is_ok() || text == "before"), "{text}");
    result.map(|()| text["before".len()..].to_owned())
}

/// The bytes of the message that this JSON means.
fn wire_of(message: &str, json: &str) -> Vec<u8> {
    let descriptor = SCHEMA.pool().get_message_by_name(&full_name(message)).expect(message);
    let mut reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor, &mut reader);
    message.unwrap_or_else(|error| panic!("{json}: {error}")).encode_to_vec()
}

/// Reports all faults of a table at once: a table is changed more easily that way.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// Each comes back as it is.
fn unchanged(options: &PrintOptions, table: &[(&str, &str, &str)]) {
    let wrong = table.iter().filter_map(|(name, message, json)| {
        let written = written(message, &wire_of(message, json), options);
        (written.as_deref() != Ok(*json)).then(|| format!("{name}\n  wanted {json}\n  wrote  {written:?}"))
    });
    report(&wrong.collect::<Vec<_>>());
}

/// Each is written differently than `prost-reflect` was given it.
fn changed(options: &PrintOptions, table: &[(&str, &str, &str, &str)]) {
    let wrong = table.iter().filter_map(|(name, message, json, wanted)| {
        let written = written(message, &wire_of(message, json), options);
        (written.as_deref() != Ok(*wanted))
            .then(|| format!("{name}\n  wanted {wanted}\n  wrote  {written:?}"))
    });
    report(&wrong.collect::<Vec<_>>());
}

#[test]
fn scalars() {
    unchanged(
        &COMPACT,
        &[
            ("nothing", "Scalars", "{}"),
            ("a double", "Scalars", r#"{"aDouble":1.5}"#),
            ("a whole double", "Scalars", r#"{"aDouble":-3.0}"#),
            ("the greatest double", "Scalars", r#"{"aDouble":1.7976931348623157e308}"#),
            ("the least double above 0", "Scalars", r#"{"aDouble":5e-324}"#),
            ("a third", "Scalars", r#"{"aDouble":0.3333333333333333}"#),
            ("a double NaN", "Scalars", r#"{"aDouble":"NaN"}"#),
            ("a double infinity", "Scalars", r#"{"aDouble":"Infinity"}"#),
            ("a double below all", "Scalars", r#"{"aDouble":"-Infinity"}"#),
            ("a float", "Scalars", r#"{"aFloat":0.1}"#),
            ("a float NaN", "Scalars", r#"{"aFloat":"NaN"}"#),
            ("a float infinity", "Scalars", r#"{"aFloat":"Infinity"}"#),
            ("a float below all", "Scalars", r#"{"aFloat":"-Infinity"}"#),
            ("the greatest int32", "Scalars", r#"{"anInt32":2147483647}"#),
            ("the least int32", "Scalars", r#"{"anInt32":-2147483648}"#),
            ("the greatest int64", "Scalars", r#"{"anInt64":"9223372036854775807"}"#),
            ("the least int64", "Scalars", r#"{"anInt64":"-9223372036854775808"}"#),
            ("the greatest uint32", "Scalars", r#"{"aUint32":4294967295}"#),
            ("the greatest uint64", "Scalars", r#"{"aUint64":"18446744073709551615"}"#),
            ("the greatest sint32", "Scalars", r#"{"aSint32":2147483647}"#),
            ("the least sint32", "Scalars", r#"{"aSint32":-2147483648}"#),
            ("the greatest sint64", "Scalars", r#"{"aSint64":"9223372036854775807"}"#),
            ("the least sint64", "Scalars", r#"{"aSint64":"-9223372036854775808"}"#),
            ("a fixed32", "Scalars", r#"{"aFixed32":4294967295}"#),
            ("a fixed64", "Scalars", r#"{"aFixed64":"18446744073709551615"}"#),
            ("an sfixed32", "Scalars", r#"{"aSfixed32":-2147483648}"#),
            ("an sfixed64", "Scalars", r#"{"aSfixed64":"-9223372036854775808"}"#),
            ("a bool", "Scalars", r#"{"aBool":true}"#),
            ("an enum", "Scalars", r#"{"aColour":"BLUE"}"#),
            ("a negative enum", "Scalars", r#"{"aColour":"DARK"}"#),
            ("an unknown enum", "Scalars", r#"{"aColour":77}"#),
            ("an unknown negative enum", "Scalars", r#"{"aColour":-2}"#),
            ("the first of two names", "Everything", r#"{"aliased":"FIRST"}"#),
            ("fields by number", "Scalars", r#"{"aDouble":1.0,"anInt32":2,"aString":"x","aColour":"RED"}"#),
            (
                "zeros with presence",
                "Optionals",
                r#"{"aDouble":0.0,"anInt32":0,"anInt64":"0","aBool":false}"#,
            ),
            (
                "empty with presence",
                "Optionals",
                r#"{"aString":"","aBytes":"","aColour":"COLOUR_UNSPECIFIED"}"#,
            ),
        ],
    );
}

#[test]
fn strings_and_bytes() {
    unchanged(
        &COMPACT,
        &[
            ("a string", "Scalars", r#"{"aString":"plain"}"#),
            ("beyond ASCII", "Scalars", r#"{"aString":"ünïcödé ☃ 𝄞"}"#),
            ("a quote", "Scalars", r#"{"aString":"say \"hi\""}"#),
            ("a back slash", "Scalars", r#"{"aString":"c:\\d"}"#),
            ("a slash", "Scalars", r#"{"aString":"a/b"}"#),
            ("white space", "Scalars", r#"{"aString":"\n\r\t\b\f"}"#),
            ("control characters", "Scalars", r#"{"aString":"\u0000\u0001\u001f"}"#),
            ("delete is no control character", "Scalars", "{\"aString\":\"\u{7f}\"}"),
            ("separators", "Scalars", "{\"aString\":\"\u{2028}\u{2029}\"}"),
            ("an escape beside others", "Scalars", r#"{"aString":"ü\n☃"}"#),
            ("no bytes of three", "Scalars", r#"{"aBytes":"AQID"}"#),
            ("one byte of three", "Scalars", r#"{"aBytes":"AQ=="}"#),
            ("two bytes of three", "Scalars", r#"{"aBytes":"AQI="}"#),
            ("the standard alphabet", "Scalars", r#"{"aBytes":"+/+/"}"#),
        ],
    );
    for length in [1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000] {
        for special in ["\\n", "☃", "\\\""] {
            for place in [0, length / 2, length - 1] {
                let text = format!("{}{special}{}", "x".repeat(place), "y".repeat(length - place));
                unchanged(
                    &COMPACT,
                    &[("an escape anywhere", "Scalars", &format!(r#"{{"aString":"{text}"}}"#))],
                );
            }
        }
    }
}

#[test]
fn lists_and_maps() {
    unchanged(
        &COMPACT,
        &[
            ("doubles", "Lists", r#"{"doubles":[1.0,-0.0,"NaN",2.5]}"#),
            ("floats", "Lists", r#"{"floats":[1.0,0.1,"Infinity"]}"#),
            ("int32s", "Lists", r#"{"int32s":[0,-1,300]}"#),
            ("int64s", "Lists", r#"{"int64s":["0","-1"]}"#),
            ("uint32s", "Lists", r#"{"uint32s":[0,4294967295]}"#),
            ("uint64s", "Lists", r#"{"uint64s":["18446744073709551615"]}"#),
            ("sint32s", "Lists", r#"{"sint32s":[-1,1,-2]}"#),
            ("sint64s", "Lists", r#"{"sint64s":["-1","1"]}"#),
            ("fixed32s", "Lists", r#"{"fixed32s":[1,2]}"#),
            ("fixed64s", "Lists", r#"{"fixed64s":["1","2"]}"#),
            ("sfixed32s", "Lists", r#"{"sfixed32s":[-1,2]}"#),
            ("sfixed64s", "Lists", r#"{"sfixed64s":["-1","2"]}"#),
            ("bools", "Lists", r#"{"bools":[true,false]}"#),
            ("strings", "Lists", r#"{"strings":["","a","b\n"]}"#),
            ("byteses", "Lists", r#"{"byteses":["","AQ=="]}"#),
            ("enums", "Lists", r#"{"colours":["RED",9,"COLOUR_UNSPECIFIED"]}"#),
            ("messages", "Lists", r#"{"messages":[{},{"aBool":true},{}]}"#),
            ("not packed", "Lists", r#"{"unpacked":[0,1,2]}"#),
            ("int32 to int32", "Maps", r#"{"byInt32":{"-1":-2}}"#),
            ("int64 to int64", "Maps", r#"{"byInt64":{"-1":"-2"}}"#),
            ("uint32 to uint32", "Maps", r#"{"byUint32":{"1":2}}"#),
            ("uint64 to uint64", "Maps", r#"{"byUint64":{"1":"2"}}"#),
            ("sint32 to sint32", "Maps", r#"{"bySint32":{"-1":-2}}"#),
            ("sint64 to sint64", "Maps", r#"{"bySint64":{"-1":"-2"}}"#),
            ("fixed32 to fixed32", "Maps", r#"{"byFixed32":{"1":2}}"#),
            ("fixed64 to fixed64", "Maps", r#"{"byFixed64":{"1":"2"}}"#),
            ("sfixed32 to sfixed32", "Maps", r#"{"bySfixed32":{"-1":-2}}"#),
            ("sfixed64 to sfixed64", "Maps", r#"{"bySfixed64":{"-1":"-2"}}"#),
            ("bool to bool", "Maps", r#"{"byBool":{"true":false}}"#),
            ("a key and value of zero", "Maps", r#"{"byBool":{"false":false}}"#),
            ("string to string", "Maps", r#"{"strings":{"a\"b":"c\\d"}}"#),
            ("an empty key and value", "Maps", r#"{"strings":{"":""}}"#),
            ("string to bytes", "Maps", r#"{"byteses":{"a":"AQ=="}}"#),
            ("string to double", "Maps", r#"{"doubles":{"a":"NaN"}}"#),
            ("string to float", "Maps", r#"{"floats":{"a":0.1}}"#),
            ("string to enum", "Maps", r#"{"colours":{"a":"GREEN"}}"#),
            ("string to message", "Maps", r#"{"messages":{"a":{"aBool":true}}}"#),
            ("string to an empty message", "Maps", r#"{"messages":{"a":{}}}"#),
            ("string to timestamp", "Maps", r#"{"timestamps":{"a":"1970-01-01T00:00:00Z"}}"#),
            ("string to null", "Maps", r#"{"values":{"a":null}}"#),
        ],
    );
}

#[test]
fn messages_oneofs_and_names() {
    unchanged(
        &COMPACT,
        &[
            ("an empty message", "Everything", r#"{"nothing":{}}"#),
            (
                "messages in messages",
                "Tree",
                r#"{"left":{"label":"l","right":{}},"children":[{},{"label":"x"}]}"#,
            ),
            ("through another message", "Tree", r#"{"leaf":{"tree":{"leaf":{"tree":{"label":"deep"}}}}}"#),
            ("a member that is zero", "Choice", r#"{"number":0}"#),
            ("an empty member", "Choice", r#"{"before":"b","text":"","after":"a"}"#),
            ("a message as member", "Choice", r#"{"scalars":{}}"#),
            ("a null as member", "Choice", r#"{"nothing":null}"#),
            ("a value of null as member", "Choice", r#"{"value":null}"#),
            ("two oneofs", "Choice", r#"{"flag":false,"left":"0"}"#),
            ("names", "Names", r#"{"fooBarBaz":"1","renamed":"2","@odd \"name\"\\":"3","UPPERCASE":"4"}"#),
            (
                "more names",
                "Names",
                r#"{"Leading":"5","trailing":"6","withTwo":"7","with1Digit":"8","camelCase":"9"}"#,
            ),
            ("names that are others' names", "Names", r#"{"other":"10","swapped":"11"}"#),
            ("a name beyond ASCII", "Names", r#"{"ünïcode☃":"13"}"#),
            (
                "numbers far apart",
                "Sparse",
                r#"{"first":"a","fifteen":1,"sixteen":2,"twoBytes":3,"farList":[4],"last":"z"}"#,
            ),
            (
                "proto2",
                "test.kinds2.Old",
                r#"{"number":0,"text":"","blob":"","unpacked":[1,2],"packed":[3],"ratio":0.0}"#,
            ),
            ("a closed enum", "test.kinds2.Old", r#"{"closed":"MINUS","closeds":["ONE","TWO"]}"#),
            (
                "a group",
                "test.kinds2.Old",
                r#"{"onegroup":{"inside":1,"old":{"number":2},"many":["a","b"]}}"#,
            ),
            ("groups", "test.kinds2.Old", r#"{"manygroups":[{"inside":"a"},{},{"inside":"b"}]}"#),
            ("a group in a oneof", "test.kinds2.Old", r#"{"right":{"yes":true}}"#),
            ("a group in a group", "test.kinds2.Old", r#"{"onegroup":{"old":{"onegroup":{"inside":2}}}}"#),
            ("required fields", "test.kinds2.Old", r#"{"needy":{"id":0,"name":""}}"#),
            ("an extension", "test.kinds2.Old", r#"{"[test.kinds2.extra]":0}"#),
            (
                "extensions",
                "test.kinds2.Old",
                r#"{"[test.kinds2.extras]":["a"],"[test.kinds2.Scope.scoped]":"TWO"}"#,
            ),
        ],
    );
    unchanged(
        &PROTO_NAMES,
        &[
            ("names of the file", "Names", r#"{"foo_bar_baz":"1","plain":"2","odd":"3","UPPER_CASE":"4"}"#),
            ("more names of the file", "Names", r#"{"_leading":"5","with__two":"7","beyond_ascii":"13"}"#),
            ("names of the file inside", "Tree", r#"{"leaf":{"tree":{"label":"x"}}}"#),
        ],
    );
}

#[test]
fn well_known_types() {
    let any = |name: &str, rest: &str| format!(r#"{{"any":{{"@type":"type.googleapis.com/{name}"{rest}}}}}"#);
    unchanged(
        &COMPACT,
        &[
            ("the epoch", "WellKnown", r#"{"timestamp":"1970-01-01T00:00:00Z"}"#),
            ("milliseconds", "WellKnown", r#"{"timestamp":"1972-01-01T10:00:20.021Z"}"#),
            ("microseconds", "WellKnown", r#"{"timestamp":"2017-01-15T01:30:15.000001Z"}"#),
            ("nanoseconds", "WellKnown", r#"{"timestamp":"2017-01-15T01:30:15.123456789Z"}"#),
            ("the first second", "WellKnown", r#"{"timestamp":"0001-01-01T00:00:00Z"}"#),
            ("the last second", "WellKnown", r#"{"timestamp":"9999-12-31T23:59:59.999999999Z"}"#),
            ("before the epoch", "WellKnown", r#"{"timestamp":"1969-12-31T23:59:59.500Z"}"#),
            ("a leap day", "WellKnown", r#"{"timestamp":"2000-02-29T12:00:00Z"}"#),
            ("no leap day", "WellKnown", r#"{"timestamp":"1900-03-01T00:00:00Z"}"#),
            ("no time", "WellKnown", r#"{"duration":"0s"}"#),
            ("a duration", "WellKnown", r#"{"duration":"1.000340012s"}"#),
            ("a negative duration", "WellKnown", r#"{"duration":"-1.500s"}"#),
            ("less than a second", "WellKnown", r#"{"duration":"-0.000001s"}"#),
            ("the longest duration", "WellKnown", r#"{"duration":"315576000000.999999999s"}"#),
            ("a field mask", "WellKnown", r#"{"fieldMask":"a,fooBar.bazQux,x.y"}"#),
            ("an empty field mask", "WellKnown", r#"{"fieldMask":""}"#),
            ("a struct", "WellKnown", r#"{"struct":{"a":{"b":[1.0,"x",null,true,{}]}}}"#),
            ("an empty struct", "WellKnown", r#"{"struct":{}}"#),
            ("a string value", "WellKnown", r#"{"value":"a\"b"}"#),
            ("a number value", "WellKnown", r#"{"value":-1.5}"#),
            ("a null value", "WellKnown", r#"{"value":null}"#),
            ("a bool value", "WellKnown", r#"{"value":false}"#),
            ("a list value", "WellKnown", r#"{"listValue":[[],[[]],{"a":[]}]}"#),
            ("a null with presence", "WellKnown", r#"{"maybeNull":null}"#),
            ("nulls", "WellKnown", r#"{"nullValues":[null,null]}"#),
            ("empty", "WellKnown", r#"{"empty":{},"empties":[{},{}]}"#),
            (
                "wrapped zeros",
                "WellKnown",
                r#"{"doubleValue":0.0,"floatValue":0.0,"int64Value":"0","uint64Value":"0"}"#,
            ),
            (
                "more wrapped zeros",
                "WellKnown",
                r#"{"int32Value":0,"uint32Value":0,"boolValue":false,"stringValue":"","bytesValue":""}"#,
            ),
            (
                "wrapped",
                "WellKnown",
                r#"{"doubleValue":1.5,"int64Value":"-5","boolValue":true,"stringValue":"x","bytesValue":"AQ=="}"#,
            ),
            (
                "lists of them",
                "WellKnown",
                r#"{"timestamps":["1970-01-01T00:00:00Z"],"durations":["1s","2s"],"int64Values":["1","2"]}"#,
            ),
            ("any message", "WellKnown", &any("test.kinds.Scalars", r#","anInt32":5,"aString":"x""#)),
            ("any empty message", "WellKnown", &any("test.kinds.Scalars", "")),
            ("any proto2", "WellKnown", &any("test.kinds2.Old", r#","number":1,"onegroup":{"inside":2}"#)),
            ("any duration", "WellKnown", &any("google.protobuf.Duration", r#","value":"1.500s""#)),
            ("any wrapper", "WellKnown", &any("google.protobuf.Int64Value", r#","value":"5""#)),
            ("any struct", "WellKnown", &any("google.protobuf.Struct", r#","value":{"a":[]}"#)),
            ("any value", "WellKnown", &any("google.protobuf.Value", r#","value":null"#)),
            ("any empty", "WellKnown", &any("google.protobuf.Empty", r#","value":{}"#)),
            (
                "any any",
                "WellKnown",
                &any(
                    "google.protobuf.Any",
                    r#","value":{"@type":"x/google.protobuf.Any","value":{"@type":"x/test.kinds.Nothing"}}"#,
                ),
            ),
        ],
    );
}

#[test]
fn enums_and_defaults() {
    changed(
        &INTS,
        &[
            ("an enum as its number", "Scalars", r#"{"aColour":"BLUE"}"#, r#"{"aColour":5}"#),
            ("enums as their numbers", "Lists", r#"{"colours":["DARK",9]}"#, r#"{"colours":[-1,9]}"#),
            (
                "enums in maps as their numbers",
                "Maps",
                r#"{"colours":{"a":"RED"}}"#,
                r#"{"colours":{"a":1}}"#,
            ),
            ("null is no number", "Choice", r#"{"nothing":null}"#, r#"{"nothing":null}"#),
        ],
    );
    changed(
        &DEFAULTS,
        &[
            (
                "all defaults",
                "Scalars",
                "{}",
                r#"{"aDouble":0.0,"aFloat":0.0,"anInt32":0,"anInt64":"0","aUint32":0,"aUint64":"0","aSint32":0,"aSint64":"0","aFixed32":0,"aFixed64":"0","aSfixed32":0,"aSfixed64":"0","aBool":false,"aString":"","aBytes":"","aColour":"COLOUR_UNSPECIFIED"}"#,
            ),
            ("none with presence", "Optionals", "{}", "{}"),
            ("none of oneofs", "Choice", r#"{"number":0}"#, r#"{"number":0,"before":"","after":""}"#),
            (
                "in between, in the order of numbers",
                "Sparse",
                r#"{"sixteen":2}"#,
                r#"{"first":"","fifteen":0,"sixteen":2,"twoBytes":0,"farList":[],"last":""}"#,
            ),
            (
                "inside",
                "Everything",
                r#"{"tree":{}}"#,
                r#"{"tree":{"label":"","children":[],"named":{}},"aliased":"NONE","choices":[],"inner":[]}"#,
            ),
            (
                "lists and maps of proto2",
                "test.kinds2.Old",
                "{}",
                r#"{"unpacked":[],"packed":[],"closeds":[],"manygroups":[],"map":{}}"#,
            ),
            ("none of an extension", "test.kinds2.Needy", r#"{"id":1,"name":"x"}"#, r#"{"id":1,"name":"x"}"#),
        ],
    );
}

#[test]
fn whitespace() {
    changed(
        &PRETTY,
        &[
            ("nothing, prettily", "Scalars", "{}", "{}"),
            (
                "lines and indentation",
                "Everything",
                r#"{"scalars":{"aBool":true,"aString":"{[,:\"]}\\"},"lists":{"int32s":[1,2],"messages":[{}]},"maps":{"strings":{"a":"b"}}}"#,
                r#"{
  "scalars": {
    "aBool": true,
    "aString": "{[,:\"]}\\"
  },
  "lists": {
    "int32s": [
      1,
      2
    ],
    "messages": [
      {}
    ]
  },
  "maps": {
    "strings": {
      "a": "b"
    }
  }
}"#,
            ),
            ("a scalar, prettily", "google.protobuf.Int64Value", r#""5""#, r#""5""#),
            ("an empty list, prettily", "google.protobuf.ListValue", "[[],{}]", "[\n  [],\n  {}\n]"),
        ],
    );
}
