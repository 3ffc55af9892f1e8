//! Messages that exist only as bytes: rare shapes, unknown fields, and bytes that are no message.

use super::*;
use crate::transcode::plan::Schema;
use prost_reflect::DescriptorPool;
use prost_reflect::prost::encoding::encode_varint;

fn pool() -> DescriptorPool {
    let files = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
    DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled")
}

fn schema() -> Schema {
    Schema::new(&pool())
}

fn id(schema: &Schema, message: &str) -> MessageId {
    let name = if message.contains('.') { message.to_owned() } else { format!("test.kinds.{message}") };
    schema.message_id(&name).unwrap_or_else(|| panic!("no {name}"))
}

const COMPACT: PrintOptions = PrintOptions {
    add_whitespace: false,
    always_print_primitive_fields: false,
    always_print_enums_as_ints: false,
    preserve_proto_field_names: false,
};
const DEFAULTS: PrintOptions = PrintOptions { always_print_primitive_fields: true, ..COMPACT };

fn text(schema: &Schema, message: &str, wire: &[u8], options: &PrintOptions) -> Result<String, WriteError> {
    let mut out = b"before".to_vec();
    let result = write(schema, id(schema, message), wire, options, &mut out);
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let text = text.strip_prefix("before").expect("it is appended").to_owned();
    assert!(result.is_ok() || text.is_empty(), "an error leaves {text}");
    result.map(|()| text)
}

/// Bytes of hex digits; words in quotes stand for themselves.
fn hex(text: &str) -> Vec<u8> {
    text.split(' ')
        .flat_map(|word| match word.strip_prefix('\'') {
            Some(word) => word.as_bytes().to_vec(),
            None => {
                let digit = |at| u8::from_str_radix(&word[at..at + 2], 16).expect("two hex digits");
                (0..word.len()).step_by(2).map(digit).collect()
            }
        })
        .collect()
}

fn check(options: &PrintOptions, table: &[(&str, &str, &str, Result<&str, Fault>)]) {
    let schema = schema();
    let wrong = table.iter().filter_map(|(name, message, wire, wanted)| {
        let written = text(&schema, message, &hex(wire), options);
        let got = written.as_deref().map_err(|error| error.fault);
        (got != *wanted).then(|| format!("{name}\n  wanted {wanted:?}\n  wrote  {written:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rare_shapes_mean_what_the_format_says() {
    check(
        &COMPACT,
        &[
            ("in another order", "Scalars", "2001 1805", Ok(r#"{"anInt64":"1","anInt32":5}"#)),
            ("a scalar twice", "Scalars", "1801 2001 1805", Ok(r#"{"anInt32":5,"anInt64":"1"}"#)),
            ("a scalar twice in a row", "Scalars", "1801 1805", Ok(r#"{"anInt32":5}"#)),
            ("the last one is zero", "Scalars", "1801 1800", Ok("{}")),
            ("a zero that is written", "Scalars", "1800 7200 6800 8001 00", Ok("{}")),
            ("only the low half of 32 bits counts", "Scalars", "18 8080808010", Ok("{}")),
            ("only the low half is printed", "Scalars", "18 8180808010", Ok(r#"{"anInt32":1}"#)),
            ("a bool of many bits", "Scalars", "68 8080808010", Ok(r#"{"aBool":true}"#)),
            ("minus zero", "Scalars", "09 0000000000000080", Ok(r#"{"aDouble":-0.0}"#)),
            (
                "a message in two parts",
                "Everything",
                "0a021805 0a022006",
                Ok(r#"{"scalars":{"anInt32":5,"anInt64":"6"}}"#),
            ),
            ("parts apart", "Everything", "0a021805 6001 0a022006", {
                Ok(r#"{"scalars":{"anInt32":5,"anInt64":"6"},"aliased":"FIRST"}"#)
            }),
            (
                "a list in pieces",
                "Lists",
                "1a020102 720161 1a0103",
                Ok(r#"{"int32s":[1,2,3],"strings":["a"]}"#),
            ),
            ("packed in two pieces", "Lists", "1a020102 1a0103", Ok(r#"{"int32s":[1,2,3]}"#)),
            ("packed where it is not", "Lists", "92010201ff01", Err(Fault::Malformed)),
            ("packed where it should not", "Lists", "92010301ff01", Ok(r#"{"unpacked":[1,255]}"#)),
            ("not packed where it should", "Lists", "1801 1802", Ok(r#"{"int32s":[1,2]}"#)),
            ("packed and not", "Lists", "1a0101 1802 1a0103", Ok(r#"{"int32s":[1,2,3]}"#)),
            ("an empty piece", "Lists", "1a00", Ok("{}")),
            ("an empty piece and a full one", "Lists", "1a00 1a0101", Ok(r#"{"int32s":[1]}"#)),
            ("an empty piece between others", "Lists", "1a00 720161", Ok(r#"{"strings":["a"]}"#)),
            ("two members of a oneof", "Choice", "1005 1a0161", Ok(r#"{"text":"a"}"#)),
            ("the first of them last", "Choice", "1a0161 1005", Ok(r#"{"number":5}"#)),
            ("a member twice", "Choice", "1005 1006", Ok(r#"{"number":6}"#)),
        ],
    );
}

#[test]
fn rare_entries_and_types_mean_what_the_format_says() {
    check(
        &COMPACT,
        &[
            ("a map in pieces", "Maps", "5a0408011000 62020a00 5a0408011001", {
                Ok(r#"{"byBool":{"true":true},"strings":{"":""}}"#)
            }),
            ("an entry's value first", "Maps", "0a0410020801", Ok(r#"{"byInt32":{"1":2}}"#)),
            ("an entry with nothing", "Maps", "0a00", Ok(r#"{"byInt32":{"0":0}}"#)),
            ("an entry with more", "Maps", "0a0608011002 1803", Ok(r#"{"byInt32":{"1":2}}"#)),
            ("an entry's key twice", "Maps", "0a06080110020803", Ok(r#"{"byInt32":{"3":2}}"#)),
            ("an entry's message in two parts", "Maps", "8a010b 0a0161 12021805 12022006", {
                Ok(r#"{"messages":{"a":{"anInt32":5,"anInt64":"6"}}}"#)
            }),
            (
                "a key twice, and the last counts",
                "Maps",
                "0a0408011002 0a0408011003",
                Ok(r#"{"byInt32":{"1":3}}"#),
            ),
            ("a value with two members", "WellKnown", "2a05 1a0161 2001", Ok(r#"{"value":true}"#)),
            ("a value without", "WellKnown", "2a00", Ok(r#"{"value":null}"#)),
            ("a wrapper twice", "WellKnown", "72020801 72020802", Ok(r#"{"int32Value":2}"#)),
            ("a wrapper's value twice", "WellKnown", "720408010802", Ok(r#"{"int32Value":2}"#)),
            ("a time with its parts apart", "WellKnown", "0a06 1080897a 0801", {
                Ok(r#"{"timestamp":"1970-01-01T00:00:01.002Z"}"#)
            }),
            ("a wrapped NaN", "WellKnown", "520909 000000000000f87f", Ok(r#"{"doubleValue":"NaN"}"#)),
            ("the greatest float", "Scalars", "15ffff7f7f", Ok(r#"{"aFloat":3.4028235e38}"#)),
            ("a wrapped infinity", "WellKnown", "5a050d000080ff", Ok(r#"{"floatValue":"-Infinity"}"#)),
            ("any with nothing", "WellKnown", "4200", Ok(r#"{"any":{}}"#)),
            ("any with its type at the end", "WellKnown", "421a 12021805 0a14 'x/test.kinds.Scalars", {
                Ok(r#"{"any":{"@type":"x/test.kinds.Scalars","anInt32":5}}"#)
            }),
            ("a rare one in any", "WellKnown", "421c 0a14 'x/test.kinds.Scalars 120418051806", {
                Ok(r#"{"any":{"@type":"x/test.kinds.Scalars","anInt32":6}}"#)
            }),
            (
                "a group in two parts, one of another type",
                "test.kinds2.Old",
                "43080144 43180244",
                Err(Fault::Malformed),
            ),
            (
                "a group in two",
                "test.kinds2.Old",
                "43080144 431a016144",
                Ok(r#"{"onegroup":{"inside":1,"many":["a"]}}"#),
            ),
        ],
    );
}

#[test]
fn what_no_descriptor_knows_is_passed_over() {
    check(
        &COMPACT,
        &[
            ("a varint", "Nothing", "0805", Ok("{}")),
            ("a varint before and after", "Names", "880601 0a0161 880601", Ok(r#"{"fooBarBaz":"a"}"#)),
            ("64 bits", "Nothing", "090000000000000000", Ok("{}")),
            ("32 bits", "Nothing", "0d00000000", Ok("{}")),
            ("a string of no text", "Nothing", "0a01ff", Ok("{}")),
            ("a group", "Nothing", "0b1005130a01ff140c", Ok("{}")),
            ("between the elements of a list", "Lists", "1801 f80701 1802", Ok(r#"{"int32s":[1,2]}"#)),
            (
                "in a time",
                "WellKnown",
                "0a07 0801 1a01ff 2005",
                Ok(r#"{"timestamp":"1970-01-01T00:00:01Z"}"#),
            ),
            ("in empty", "WellKnown", "4a020805", Ok(r#"{"empty":{}}"#)),
            ("an extension", "test.kinds2.Old", "980601", Ok("{}")),
            ("a group that does not end", "Nothing", "0b1005", Err(Fault::Malformed)),
            ("a group that ends as another", "Nothing", "0b14", Err(Fault::Malformed)),
            ("an end without a group", "Nothing", "0c", Err(Fault::Malformed)),
            ("a broken one in empty", "WellKnown", "4a0108", Err(Fault::Malformed)),
        ],
    );
}

#[test]
fn what_is_wrong_is_an_error() {
    check(
        &COMPACT,
        &[
            ("a tag without a value", "Scalars", "18", Err(Fault::Malformed)),
            ("half a tag", "Scalars", "98", Err(Fault::Malformed)),
            ("field 0", "Scalars", "0005", Err(Fault::Malformed)),
            ("wire type 6", "Scalars", "0e05", Err(Fault::Malformed)),
            ("a tag of more than 32 bits", "Scalars", "98808080801005", Err(Fault::Malformed)),
            ("a varint of eleven bytes", "Scalars", "20 8080808080808080808001", Err(Fault::Malformed)),
            ("a varint of 65 bits", "Scalars", "20 ffffffffffffffffff02", Err(Fault::Malformed)),
            ("a string cut short", "Scalars", "720261", Err(Fault::Malformed)),
            ("a length beyond all", "Scalars", "72 ffffffffffffffffff01 61", Err(Fault::Malformed)),
            ("a double cut short", "Scalars", "0900000000000000", Err(Fault::Malformed)),
            ("a float cut short", "Scalars", "15000000", Err(Fault::Malformed)),
            ("packed doubles cut short", "Lists", "0a0400000000", Err(Fault::Malformed)),
            ("a message cut short inside", "Everything", "0a0118", Err(Fault::Malformed)),
            ("a message that runs out of its length", "Everything", "0a021881 01", Err(Fault::Malformed)),
            ("an entry cut short", "Maps", "0a0108", Err(Fault::Malformed)),
            ("a group without its end", "test.kinds2.Old", "430801", Err(Fault::Malformed)),
            ("a rare one cut short", "Scalars", "18011802 2001 18", Err(Fault::Malformed)),
            ("a varint for a string", "Scalars", "7001", Err(Fault::OtherType)),
            ("a zero for a string", "Scalars", "7000", Err(Fault::OtherType)),
            ("a string for a varint", "Scalars", "1a0161", Err(Fault::OtherType)),
            ("64 bits for 32", "Scalars", "11 0000000000000000", Err(Fault::OtherType)),
            ("a varint for a message", "Everything", "0801", Err(Fault::OtherType)),
            ("a group for a message", "Everything", "0b0c", Err(Fault::OtherType)),
            ("a varint for an entry", "Maps", "0801", Err(Fault::OtherType)),
            ("a string for a number in an entry", "Maps", "0a030a0161", Err(Fault::OtherType)),
            ("32 bits for packed varints", "Lists", "1d00000000", Err(Fault::OtherType)),
            ("packed strings", "Lists", "7001", Err(Fault::OtherType)),
            ("a varint for seconds in bytes", "WellKnown", "0a030a0161", Err(Fault::OtherType)),
            ("a number value as a varint", "WellKnown", "2a021001", Err(Fault::OtherType)),
        ],
    );
}

#[test]
fn what_cannot_be_json_is_an_error() {
    check(
        &COMPACT,
        &[
            ("a string that is not UTF-8", "Scalars", "7201ff", Err(Fault::NotText)),
            ("half a character", "Scalars", "7202e298", Err(Fault::NotText)),
            ("a surrogate", "Scalars", "7203eda080", Err(Fault::NotText)),
            ("a key that is not UTF-8", "Maps", "62030a01ff", Err(Fault::NotText)),
            ("a string value that is not UTF-8", "WellKnown", "2a031a01ff", Err(Fault::NotText)),
            ("a struct's key that is not UTF-8", "WellKnown", "22050a030a01ff", Err(Fault::NotText)),
            ("a mask that is not UTF-8", "WellKnown", "1a030a01ff", Err(Fault::NotText)),
            ("a url that is not UTF-8", "WellKnown", "42030a01ff", Err(Fault::NotText)),
            ("a time before the first", "WellKnown", "0a0b08 ff91b8c398feffffff01", Err(Fault::OutOfRange)),
            ("a time after the last", "WellKnown", "0a0708 8083d1ffaf07", Err(Fault::OutOfRange)),
            (
                "a time with negative nanoseconds",
                "WellKnown",
                "0a0b10 ffffffffffffffffff01",
                Err(Fault::OutOfRange),
            ),
            ("a time with a second of nanoseconds", "WellKnown", "0a0610 8094ebdc03", Err(Fault::OutOfRange)),
            ("a duration that is too long", "WellKnown", "120708 81bcaece9709", Err(Fault::OutOfRange)),
            (
                "a duration of both signs",
                "WellKnown",
                "120d 0801 10 ffffffffffffffffff01",
                Err(Fault::OutOfRange),
            ),
            ("a value that is NaN", "WellKnown", "2a0911 000000000000f87f", Err(Fault::NotFinite)),
            ("a value that is infinite", "WellKnown", "2a0911 000000000000f07f", Err(Fault::NotFinite)),
            ("a mask with a capital", "WellKnown", "1a050a03 'fOo", Err(Fault::BadPath)),
            ("a mask with a digit", "WellKnown", "1a050a03 'f_1", Err(Fault::BadPath)),
            ("a mask with two underscores", "WellKnown", "1a060a04 'f__o", Err(Fault::BadPath)),
            ("a mask with one at its end", "WellKnown", "1a040a02 'f_", Err(Fault::BadPath)),
            ("a mask with one before a dot", "WellKnown", "1a060a04 'f_.a", Err(Fault::BadPath)),
            ("a mask with a comma", "WellKnown", "1a050a03 'f,a", Err(Fault::BadPath)),
            ("a mask with an empty path", "WellKnown", "1a020a00", Err(Fault::BadPath)),
            ("any of an unknown type", "WellKnown", "42090a07 'x/y.zzz", Err(Fault::UnknownType)),
            ("any without a slash", "WellKnown", "42140a12 'test.kinds.Scalars", Err(Fault::UnknownType)),
            ("any without a type", "WellKnown", "4204 12021805", Err(Fault::UnknownType)),
            (
                "any with broken content",
                "WellKnown",
                "4219 0a14 'x/test.kinds.Scalars 120118",
                Err(Fault::Malformed),
            ),
        ],
    );
}

#[test]
fn an_error_says_where() {
    let schema = schema();
    let table = [
        ("Scalars", "7201ff", "test.kinds.Scalars.a_string is not UTF-8"),
        ("Everything", "0a037201ff", "test.kinds.Scalars.a_string is not UTF-8"),
        ("Everything", "320d0a0b10ffffffffffffffffff01", "test.kinds.WellKnown.timestamp is out of range"),
        ("Scalars", "18", "test.kinds.Scalars.an_int32 is not valid protobuf"),
        ("Nothing", "0c", "the message is not valid protobuf"),
        ("test.kinds2.Old", "a2060161", "test.kinds2.Old.100 has another type than in its descriptor"),
    ];
    for (message, wire, wanted) in table {
        let error = text(&schema, message, &hex(wire), &COMPACT).expect_err(wanted);
        assert_eq!(error.to_string(), wanted);
    }
}

/// A field of a length, with these bytes.
fn nested(number: u8, inside: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    encode_varint(inside.len() as u64, &mut field);
    field.extend_from_slice(inside);
    field
}

fn repeated(times: usize, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..times).fold(Vec::new(), |inside, _| wrap(&inside))
}

#[test]
fn a_hundred_messages_in_each_other_are_printed_and_no_more() {
    let schema = schema();
    let group = |inside: &[u8]| [&[0x0b], inside, &[0x0c]].concat();
    let any = |inside: &[u8]| {
        let url = nested(1, b"x/google.protobuf.Any");
        [url, nested(2, inside)].concat()
    };
    // Message, how one is put into another, and the most of them; outermost ones come on top.
    type Wrap<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let table: &[(&str, &str, Wrap<'_>, usize)] = &[
        ("messages", "Tree", &|inside| nested(2, inside), 100),
        ("messages in lists", "Tree", &|inside| nested(4, inside), 100),
        ("messages in maps", "Tree", &|inside| nested(5, &nested(2, inside)), 100),
        ("unknown groups", "Nothing", &group, 100),
        ("lists of values", "google.protobuf.ListValue", &|inside| nested(1, &nested(6, inside)), 50),
        ("objects", "google.protobuf.Struct", &|inside| nested(1, &nested(2, &nested(5, inside))), 50),
        ("any in any", "google.protobuf.Any", &any, 100),
    ];
    for (name, message, wrap, most) in table {
        let fits = text(&schema, message, &repeated(*most, wrap), &COMPACT);
        assert!(fits.is_ok(), "{name}: {fits:?}");
        for times in [most + 1, most + 2, 5_000] {
            let wire = repeated(times, wrap);
            let error = text(&schema, message, &wire, &COMPACT).expect_err(name);
            assert_eq!(error.fault, Fault::TooDeep, "{name}");
        }
    }
}

#[test]
fn a_rare_shape_does_not_lift_the_limit() {
    let schema = schema();
    // The label twice, so that a tree is made of it.
    let twice = |wire: Vec<u8>| [&nested(1, b"a")[..], &nested(1, b"b"), &wire].concat();
    let wrap = |inside: &[u8]| nested(2, inside);
    assert!(text(&schema, "Tree", &twice(repeated(100, wrap)), &COMPACT).is_ok());
    let error = text(&schema, "Tree", &twice(repeated(101, wrap)), &COMPACT).expect_err("too deep");
    assert_eq!(error.fault, Fault::TooDeep);
    let any = |inside: &[u8]| [nested(1, b"x/google.protobuf.Any"), nested(2, inside)].concat();
    let leaf = |inside: Vec<u8>| [nested(1, &[]), nested(1, &[]), nested(3, &inside)].concat();
    assert!(text(&schema, "Leaf", &leaf(repeated(99, any)), &COMPACT).is_ok());
    let error = text(&schema, "Leaf", &leaf(repeated(5_000, any)), &COMPACT).expect_err("too deep");
    assert_eq!(error.fault, Fault::TooDeep);
}

#[test]
fn one_field_alone_is_its_value_or_what_stands_for_it() {
    let schema = schema();
    let table: &[(&str, u32, &str, Result<&str, Fault>)] = &[
        ("Scalars", 3, "1805 2001", Ok("5")),
        ("Scalars", 14, "1805 720161", Ok("\"a\"")),
        ("Scalars", 3, "", Ok("0")),
        ("Scalars", 4, "1805", Ok("\"0\"")),
        ("Scalars", 14, "", Ok("\"\"")),
        ("Scalars", 16, "", Ok("\"COLOUR_UNSPECIFIED\"")),
        ("Scalars", 3, "1805 1806", Ok("6")),
        ("Optionals", 3, "", Ok("null")),
        ("Optionals", 3, "1800", Ok("0")),
        ("Lists", 3, "", Ok("[]")),
        ("Lists", 3, "1a00", Ok("[]")),
        ("Lists", 3, "1a020102", Ok("[1,2]")),
        ("Lists", 3, "1801 720161 1802", Ok("[1,2]")),
        ("Maps", 1, "", Ok("{}")),
        ("Maps", 1, "0a0408011002", Ok(r#"{"1":2}"#)),
        ("Everything", 1, "", Ok("null")),
        ("Everything", 1, "0a00", Ok("{}")),
        ("Everything", 1, "0a021805 6001", Ok(r#"{"anInt32":5}"#)),
        ("Choice", 2, "1005 1a0161", Ok("null")),
        ("Choice", 2, "1a0161", Ok("null")),
        ("Choice", 3, "1005 1a0161", Ok("\"a\"")),
        ("Choice", 3, "1801", Err(Fault::OtherType)),
        ("Scalars", 3, "1805 72", Err(Fault::Malformed)),
        ("Scalars", 14, "7201ff", Err(Fault::NotText)),
    ];
    for (message, number, wire, wanted) in table {
        let id = id(&schema, message);
        let at = schema.message(id).by_number(*number).expect("it has the field");
        let mut out = b"{".to_vec();
        let got = write_field(&schema, id, at, &hex(wire), &COMPACT, &mut out);
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        let got = got.map(|()| &text[1..]).map_err(|error| error.fault);
        assert_eq!(got, *wanted, "{message} {number} {wire}");
    }
    let (id, wire) = (id(&schema, "Tree"), repeated(101, |inside| nested(2, inside)));
    let left = schema.message(id).by_number(2).expect("it has the field");
    assert!(write_field(&schema, id, left, &nested(2, &[]), &COMPACT, &mut Vec::new()).is_ok());
    let error = write_field(&schema, id, left, &wire, &COMPACT, &mut Vec::new()).expect_err("too deep");
    assert_eq!(error.fault, Fault::TooDeep);
}

/// More fields than are noted one by one, in a message of its own.
#[test]
fn a_message_of_hundreds_of_fields_is_printed_whole() {
    let field = |number: u32| match number % 3 {
        0 => format!("optional int32 f{number} = {number};"),
        1 => format!("int32 f{number} = {number};"),
        _ => format!("repeated int32 f{number} = {number};"),
    };
    let fields: String = (1..=400).map(field).collect();
    let file = protox::file::File::from_source(
        "wide.proto",
        &format!("syntax = \"proto3\"; message Wide {{ {fields} }}"),
    );
    let mut pool = DescriptorPool::new();
    let file = file.expect("the file is well formed").file_descriptor_proto().clone();
    pool.add_file_descriptor_proto(file).expect("it stands alone");
    let schema = Schema::new(&pool);
    let id = schema.message_id("Wide").expect("it is there");

    let wire_of = |numbers: &[u32]| {
        let field = |number: &u32| {
            let mut field = Vec::new();
            encode_varint(u64::from(number << 3), &mut field);
            field.push(7);
            field
        };
        numbers.iter().flat_map(field).collect::<Vec<u8>>()
    };
    let orders: [&[u32]; 6] =
        [&[], &[1, 256, 300, 400], &[400, 300, 256, 1], &[300, 299, 301], &[257, 258, 257], &[390, 398]];
    for numbers in orders {
        for options in [COMPACT, DEFAULTS] {
            let wire = wire_of(numbers);
            let mut out = Vec::new();
            write(&schema, id, &wire, &options, &mut out).expect("it is well formed");
            let ours: serde_json::Value = serde_json::from_slice(&out).expect("it is JSON");
            let tree = DynamicMessage::decode(schema.message(id).descriptor().clone(), &*wire)
                .expect("it is well formed");
            let same = prost_reflect::SerializeOptions::new()
                .skip_default_fields(!options.always_print_primitive_fields);
            let theirs =
                tree.serialize_with_options(serde_json::value::Serializer, &same).expect("it has JSON");
            assert_eq!(ours, theirs, "{numbers:?}");
        }
    }
}
