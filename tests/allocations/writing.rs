//! Allocations of printing a message: none, into a buffer that has room.

use crate::support::any_message::pool;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use ringway::alloc::allocations_of_this_thread;
use ringway::config::PrintOptions;
use ringway::transcode::plan::Schema;
use ringway::transcode::write;

/// Something of everything but what is rare.
const MESSAGE: &str = r#"{
    "scalars": {"aDouble": 1.5, "aFloat": 0.1, "anInt64": "-5", "aString": "ünïcödé \"☃\" and\n so on", "aBytes": "AQIDBA==", "aColour": "BLUE"},
    "lists": {"int32s": [1, -2, 3], "strings": ["a", "b"], "messages": [{"aBool": true}, {}], "colours": ["RED", 9]},
    "maps": {"byInt32": {"1": 2}, "strings": {"a": "b"}, "messages": {"x": {"aUint64": "18446744073709551615"}}},
    "choice": {"before": "b", "text": "t", "after": "a"},
    "wellKnown": {
        "timestamp": "2017-01-15T01:30:15.123456789Z", "duration": "-1.500s", "fieldMask": "fooBar.baz,q",
        "struct": {"a": [1, "x", null, {"b": {}}]}, "int64Value": "5",
        "any": {"@type": "type.googleapis.com/test.kinds.Scalars", "anInt32": 5}
    },
    "tree": {"left": {"label": "x", "children": [{}, {}]}},
    "old": {"number": 1, "onegroup": {"inside": 2}, "needy": {"id": 1, "name": "n"}, "[test.kinds2.extra]": 7}
}"#;

#[test]
fn printing_into_a_buffer_with_room_allocates_nothing() {
    let schema = Schema::new(&pool());
    let id = schema.message_id("test.kinds.Everything").expect("it is in the file");
    let descriptor = schema.message(id).descriptor().clone();
    let message = DynamicMessage::deserialize(descriptor, &mut serde_json::Deserializer::from_str(MESSAGE));
    let wire = message.expect("it is a message").encode_to_vec();
    let scalars = schema.message(id).by_name("scalars").expect("it has the field");

    let mut out = Vec::with_capacity(64 << 10);
    let before = allocations_of_this_thread();
    assert!(before > 0, "the allocator does not count");
    for bits in 0..16 {
        let options = PrintOptions {
            add_whitespace: bits & 1 != 0,
            always_print_primitive_fields: bits & 2 != 0,
            always_print_enums_as_ints: bits & 4 != 0,
            preserve_proto_field_names: bits & 8 != 0,
        };
        out.clear();
        write::write(&schema, id, &wire, &options, &mut out).expect("it is well formed");
        assert!(out.len() > 700, "only {} bytes", out.len());
        write::write_field(&schema, id, scalars, &wire, &options, &mut out).expect("it is well formed");
    }
    assert_eq!(allocations_of_this_thread() - before, 0);
}
