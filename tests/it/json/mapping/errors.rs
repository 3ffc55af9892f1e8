//! Errors in JSON: their words, the depth that a text may have, and the cost of a refusal.

use super::reference::{message_id, read_by_reference, read_by_us, same, schema};
use ringway::transcode::read::{ReadOptions, read, read_field};

#[test]
fn an_error_says_where_and_what() {
    let table = [
        ("Scalars", r#"{"aString": 1}"#, "offset 12: expected a string, found a number"),
        ("Scalars", r#"{"aBool":true,"nope":1}"#, "offset 15: unknown field `nope` in test.kinds.Scalars"),
        ("Scalars", r#"{"anInt32":1,"an_int32":2}"#, "offset 13: field \"anInt32\" is there twice"),
        ("Scalars", r#"{"aString":"ab\qc"}"#, "offset 14: unknown escape"),
        ("Scalars", "{\"aString\":\"ab\nc\"}", "offset 14: control character in a string"),
        ("Scalars", r#"{"anInt32":"x"}"#, "offset 12: `x` is not a number"),
        ("Scalars", r#"{"anInt32":  99999999999}"#, "offset 13: `99999999999` is out of range for Int32"),
        ("Scalars", r#"{"aColour":"PINK"}"#, "offset 12: unknown value `PINK` of an enum"),
        ("Lists", r#"{"int32s":[1,2 3]}"#, "offset 15: expected `,` or `]`, found a number"),
        (
            "Everything",
            r#"{"tree":{"left":{"leaf":{"tree":{"x":1}}}}}"#,
            "offset 34: unknown field `x` in test.kinds.Tree",
        ),
        ("WellKnown", r#"{"any":{"@type":"a/b"}}"#, "offset 17: unknown type `b`"),
        ("Choice", r#"{"number":1,"text":"x"}"#, "offset 12: field \"text\": another of its oneof is there"),
        ("Scalars", "{} x", "offset 3: expected the end, found 'x'"),
        ("Scalars", "{\"aString\":☃}", "offset 11: expected a string, found '☃'"),
    ];
    for (message, json, expected) in table {
        let error = read_by_us(message, json.as_bytes(), false).expect_err(json);
        assert_eq!(error.to_string(), expected, "{json}");
    }
    let error = read_by_us("Scalars", b"{\"aString\":\"\xC3\x28\"}", false).expect_err("it is not UTF-8");
    assert_eq!(error.to_string(), "offset 12: not UTF-8");
    let long = format!(r#"{{"{}":1}}"#, "é".repeat(10_000));
    let error = read_by_us("Scalars", long.as_bytes(), false).expect_err("it is unknown");
    assert!(error.reason.len() < 300, "an error does not repeat all: {} bytes", error.reason.len());
}

/// Shapes that nest: message, the text that opens levels, the inside, the text that closes them, levels opened, levels
/// inside.
const NESTED: [(&str, &str, &str, &str, usize, usize); 10] = [
    ("Tree", r#"{"left":"#, "{}", "}", 1, 1),
    ("Tree", r#"{"children":["#, "{}", "]}", 2, 1),
    ("Tree", r#"{"named":{"k":"#, "{}", "}}", 2, 1),
    ("google.protobuf.Struct", r#"{"s":"#, "{}", "}", 1, 1),
    ("google.protobuf.ListValue", "[", "[]", "]", 1, 1),
    ("google.protobuf.Value", r#"[{"a":"#, "1", "}]", 2, 0),
    ("google.protobuf.Any", r#"{"@type":"a/google.protobuf.Any","value":"#, "{}", "}", 1, 1),
    ("test.kinds2.Old", r#"{"onegroup":{"old":"#, "{}", "}}", 2, 1),
    ("Scalars", r#"{"unknown":"#, "{}", "}", 1, 1),
    ("google.protobuf.Any", r#"{"@type":"a/test.kinds.Scalars","unknown":["#, "[]", "]}", 2, 1),
];

#[test]
fn a_hundred_levels_and_no_more() {
    for (message, open, inside, close, levels, inside_levels) in NESTED {
        let nested = |count: usize| format!("{}{inside}{}", open.repeat(count), close.repeat(count));
        let read = |json: &str| {
            let options = ReadOptions { ignore_unknown_fields: true };
            read(schema(), message_id(message), json.as_bytes(), options, &mut Vec::new())
        };
        let most = (100 - inside_levels) / levels;
        assert_eq!(read(&nested(most)), Ok(()), "{message} {open}");
        let error = read(&nested(most + 1)).expect_err("one level more");
        assert!(error.reason.contains("nested deeper than 100"), "{message} {open}: {error}");
        let error = read(&open.repeat(500_000)).expect_err("far too many levels");
        assert!(error.reason.contains("nested deeper than 100"), "{message} {open}: {error}");
    }
}

#[test]
fn types_that_come_late_may_not_be_nested_without_end() {
    let late = |levels: usize| {
        let inner = r#"{"anInt32":1,"@type":"a/test.kinds.Scalars"}"#.to_owned();
        (1..levels).fold(inner, |json, _| format!(r#"{{"value":{json},"@type":"a/google.protobuf.Any"}}"#))
    };
    let four = read_by_us("google.protobuf.Any", late(4).as_bytes(), false).expect("four are few");
    let reference =
        read_by_reference("google.protobuf.Any", late(4).as_bytes(), false).expect("it knows them");
    assert!(same(&four, &reference), "{four}");
    let error = read_by_us("google.protobuf.Any", late(5).as_bytes(), false).expect_err("five are too many");
    assert!(error.reason.contains("must begin with its `@type`"), "{error}");
    let siblings = format!("[{}]", vec![late(4); 50].join(","));
    let json = format!(r#"{{"anys":{siblings}}}"#);
    assert!(read_by_us("WellKnown", json.as_bytes(), false).is_ok(), "side by side there may be any number");
}

#[test]
fn lengths_of_all_sizes_are_right() {
    for size in [0, 1, 100, 125, 126, 127, 128, 129, 16_370, 16_383, 16_384, 16_390, 2_097_150, 2_097_160] {
        let (plain, escaped) = ("x".repeat(size), format!("\\n{}", "y".repeat(size)));
        let json = format!(
            r#"{{"left":{{"label":"{plain}","right":{{"label":"{escaped}"}}}},
               "children":[{{"label":"{plain}"}},{{"label":"s"}},{{"label":"{escaped}"}},{{}}]}}"#
        );
        let ours = read_by_us("Tree", json.as_bytes(), false).expect("it is a tree");
        let reference = read_by_reference("Tree", json.as_bytes(), false).expect("it is a tree");
        assert!(same(&ours, &reference), "{size}");
    }
}

#[test]
fn more_fields_than_a_few_are_told_apart() {
    let fields: Vec<String> =
        (1..=600).map(|number| format!("optional int32 f{number} = {number};")).collect();
    let file = format!("syntax = \"proto3\"; message Wide {{ {} }}", fields.concat());
    let folder = std::env::temp_dir().join(format!("ringway-wide-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the file");
    std::fs::write(folder.join("wide.proto"), file).expect("a file of its own");
    let files = protox::compile(["wide.proto"], [&folder]).expect("it compiles");
    std::fs::remove_dir_all(&folder).expect("it was made above");
    let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(files).expect("a pool");
    let schema = ringway::transcode::plan::Schema::new(&pool);
    let id = schema.message_id("Wide").expect("it is there");
    let all: Vec<String> = (1..=600).map(|number| format!(r#""f{number}":{number}"#)).collect();
    let mut out = Vec::new();
    let json = format!("{{{}}}", all.join(","));
    read(&schema, id, json.as_bytes(), ReadOptions::default(), &mut out).expect("each is there once");
    for again in [1, 64, 65, 256, 257, 600] {
        let json = format!(r#"{{{},"f{again}":0}}"#, all.join(","));
        let error = read(&schema, id, json.as_bytes(), ReadOptions::default(), &mut out);
        assert!(error.expect_err("one is there twice").reason.contains("there twice"), "{again}");
    }
}

#[test]
fn one_field_is_read_by_itself() {
    let table = [
        ("Everything", "scalars", r#"{"anInt32":1}"#, r#"{"scalars":{"anInt32":1}}"#),
        ("Everything", "scalars", "null", "{}"),
        ("Scalars", "a_string", r#" "x" "#, r#"{"aString":"x"}"#),
        ("Scalars", "anInt64", r#""7""#, r#"{"anInt64":7}"#),
        ("Scalars", "aColour", r#""RED""#, r#"{"aColour":"RED"}"#),
        ("Lists", "int32s", "[1,2]", r#"{"int32s":[1,2]}"#),
        ("Lists", "messages", "[{},{\"aBool\":true}]", r#"{"messages":[{},{"aBool":true}]}"#),
        ("Maps", "byInt32", r#"{"1":2}"#, r#"{"byInt32":{"1":2}}"#),
        ("WellKnown", "value", "null", r#"{"value":null}"#),
        ("WellKnown", "timestamp", r#""1970-01-01T00:00:01Z""#, r#"{"timestamp":"1970-01-01T00:00:01Z"}"#),
        ("test.kinds2.Old", "onegroup", r#"{"inside":1}"#, r#"{"onegroup":{"inside":1}}"#),
    ];
    for (name, field, json, all) in table {
        let message = schema().message(message_id(name));
        let field = &message.fields()[message.by_name(field).expect(field)];
        let mut out = Vec::new();
        let result = read_field(schema(), field, json.as_bytes(), ReadOptions::default(), &mut out);
        assert_eq!(result, Ok(()), "{json}");
        let reference = read_by_reference(name, all.as_bytes(), false).expect(all);
        assert!(same(&super::reference::decode(name, &out), &reference), "{name} {json}");
        let trailing =
            read_field(schema(), field, format!("{json},").as_bytes(), ReadOptions::default(), &mut out);
        assert!(trailing.is_err(), "{json} and more");
    }
}
