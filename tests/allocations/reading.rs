//! Reading and binding ask for no memory, once there is room for the bytes.

use crate::support::any_message::pool;
use ringway::alloc::allocations_of_this_thread;
use ringway::transcode::bind::{FieldPath, bind};
use ringway::transcode::plan::{MessageId, Schema};
use ringway::transcode::query::{Query, QueryOptions};
use ringway::transcode::read::{ReadOptions, read};
use std::sync::LazyLock;

const TYPICAL: &[(&str, &str)] = &[
    (
        "Everything",
        r#"{"scalars":{"aDouble":1.5,"anInt32":7,"anInt64":"8","aBool":true,"aString":"some text with a \n escape",
           "aBytes":"\/AQIDBAUGBwg","aColour":"GREEN"},"lists":{"int32s":[1,2,3],"strings":["a","b"],
           "messages":[{"aString":"one"},{"aString":"two"}]},"maps":{"strings":{"k":"v"},"byInt32":{"1":2}},
           "choice":{"text":"chosen"},"names":{"fooBarBaz":"x","other":"y","unknown":{"a":[1,"x\n"]}}}"#,
    ),
    (
        "WellKnown",
        r#"{"timestamp":"2024-02-29T12:34:56.789Z","duration":"1.5s","fieldMask":"foo,barBaz",
           "struct":{"a":[1,"two",null,{"b":true}]},"int64Value":"7","bytesValue":"AQI=",
           "any":{"aString":"late","@type":"type.googleapis.com/test.kinds.Scalars"}}"#,
    ),
];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(&pool()));

fn message_id(name: &str) -> MessageId {
    SCHEMA.message_id(&format!("test.kinds.{name}")).expect("it is in the file")
}

#[test]
fn reading_allocates_nothing() {
    let mut out = Vec::with_capacity(64 << 10);
    for (name, json) in TYPICAL {
        let id = message_id(name);
        let options = ReadOptions { ignore_unknown_fields: true };
        let before = allocations_of_this_thread();
        let result = read(&SCHEMA, id, json.as_bytes(), options, &mut out);
        let after = allocations_of_this_thread();
        assert_eq!((result, after - before), (Ok(()), 0), "{name}");
    }
    let before = allocations_of_this_thread();
    drop(vec![0_u8; 100]);
    assert!(allocations_of_this_thread() > before, "the allocator does not count");
}

#[test]
fn binding_allocates_nothing() {
    let id = message_id("Everything");
    let path = FieldPath::resolve(&SCHEMA, id, "tree.left.label").expect("it is there");
    let mut out = Vec::with_capacity(64 << 10);
    let mut query = Query::default();
    let mut bind_all = |out: &mut Vec<u8>| {
        bind(&SCHEMA, &path, "some text", out).expect("it takes text");
        let text = "scalars.aString=two%20words&scalars.an_int32=7&lists.strings=a&lists.strings=b+c&\
                    wellKnown.timestamp=1970-01-01T00:00:01Z&well_known.fieldMask=a,bC&choice.colour=RED";
        let options = QueryOptions::default();
        query.bind(&SCHEMA, id, text, &[path], options, out).expect("all of it is known");
    };
    bind_all(&mut out);
    let before = allocations_of_this_thread();
    bind_all(&mut out);
    assert_eq!(allocations_of_this_thread() - before, 0);
}
