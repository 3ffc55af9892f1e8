//! Random messages through the compiled transcoder and through `prost-reflect`, which must agree.
//!
//! `RINGWAY_DIFFERENTIAL_CASES` sets how many there are of each direction, `RINGWAY_DIFFERENTIAL_SEED` the first seed.
//! A failure names the seed of its message.

use crate::support::any_message::{Generator, pool};
use prost_reflect::{DynamicMessage, ReflectMessage as _, SerializeOptions};
use ringway::config::PrintOptions;
use ringway::transcode::plan::Schema;
use ringway::transcode::read::{self, ReadOptions};
use ringway::transcode::write::{self, Fault};
use std::thread;

/// In the debug profile; a release build does a hundred times as many in the same time.
const CASES: u64 = 30_000;
const THREADS: u64 = 2;

/// Messages that `prost-reflect` knows once it has their bytes. It reads the inside of an `Any` later, and takes
/// entries of a map with a tag of any wire type.
const ARE_JUDGED_ALIKE: [&str; 4] =
    ["test.kinds.Scalars", "test.kinds.Optionals", "test.kinds.Lists", "test.kinds.Sparse"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("the variable is a number"))
}

/// Runs the seeds of a test on a few threads.
fn for_each_seed(check: fn(&Schema, u64)) {
    let first = number("RINGWAY_DIFFERENTIAL_SEED", 1);
    let cases = number("RINGWAY_DIFFERENTIAL_CASES", CASES);
    let schema = &Schema::new(&pool());
    thread::scope(|scope| {
        for lane in 0..THREADS {
            scope.spawn(move || {
                (first..first + cases)
                    .skip(lane as usize)
                    .step_by(THREADS as usize)
                    .for_each(|seed| check(schema, seed));
            });
        }
    });
}

/// Every combination of options comes.
fn options(seed: u64) -> PrintOptions {
    PrintOptions {
        add_whitespace: seed & 16 != 0 && seed & 32 != 0,
        always_print_primitive_fields: seed & 2 != 0 && seed & 1 != 0,
        always_print_enums_as_ints: seed & 4 != 0,
        preserve_proto_field_names: seed & 8 != 0,
    }
}

/// The text that `prost-reflect` writes.
fn reference(message: &DynamicMessage, options: &PrintOptions) -> String {
    let same = SerializeOptions::new()
        .skip_default_fields(!options.always_print_primitive_fields)
        .use_enum_numbers(options.always_print_enums_as_ints)
        .use_proto_field_name(options.preserve_proto_field_names);
    let mut text = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &same)
        .expect("only messages that have JSON are generated");
    String::from_utf8(text).expect("serde writes UTF-8")
}

fn parsed(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn messages_become_the_json_that_prost_reflect_writes() {
    for_each_seed(|schema, seed| {
        let mut generator = Generator::new(schema.pool(), seed);
        let message = generator.message();
        let wire = generator.encode(&message);
        let options = options(seed);
        let id = schema.message_id(message.descriptor().full_name()).expect("the pool is the schema's");
        let mut json = b"before".to_vec();
        if let Err(error) = write::write(schema, id, &wire, &options, &mut json) {
            panic!("seed {seed}: {error}\n{message:?}");
        }
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        let json = json.strip_prefix("before").expect("it is appended");
        let wanted = reference(&message, &options);
        assert!(
            parsed(json) == parsed(&wanted),
            "seed {seed}, {options:?}\n  wrote  {json}\n  wanted {wanted}"
        );
    });
}

#[test]
fn json_becomes_the_message_it_came_from() {
    for_each_seed(|schema, seed| {
        let mut generator = Generator::new(schema.pool(), seed);
        let message = generator.message();
        let descriptor = message.descriptor();
        let id = schema.message_id(descriptor.full_name()).expect("the pool is the schema's");
        let mut options = options(seed);
        let mut json = Vec::new();
        let wire = generator.encode(&message);
        write::write(schema, id, &wire, &options, &mut json).expect("it has JSON");
        let has = |name: &[u8]| json.windows(name.len()).any(|window| window == name);
        if has(b"\"swapped\"") || has(b"\"other\"") {
            // A field's name in the file is another's in JSON, which goes first.
            options.preserve_proto_field_names = false;
            json.clear();
            write::write(schema, id, &wire, &options, &mut json).expect("it has JSON");
        }
        let mut read = Vec::new();
        if let Err(error) = read::read(schema, id, &json, ReadOptions::default(), &mut read) {
            panic!("seed {seed}: {error} in {}", String::from_utf8_lossy(&json));
        }
        // Their JSON, because NaN is not itself and inside an `Any` bytes may differ and mean the same.
        let again = DynamicMessage::decode(descriptor, &*read).expect("it was written as encoders do");
        let plain = PrintOptions::default();
        let (again, wanted) = (reference(&again, &plain), reference(&message, &plain));
        assert!(parsed(&again) == parsed(&wanted), "seed {seed}\n  read   {again}\n  wanted {wanted}");
    });
}

#[test]
fn damaged_messages_neither_panic_nor_pass_for_whole_ones() {
    for_each_seed(|schema, seed| {
        let mut generator = Generator::new(schema.pool(), seed);
        let message = generator.message();
        let mut wire = generator.encode(&message);
        generator.damage(&mut wire);
        let id = schema.message_id(message.descriptor().full_name()).expect("the pool is the schema's");
        let mut json = b"before".to_vec();
        match write::write(schema, id, &wire, &PrintOptions::default(), &mut json) {
            // It may be another message now; then prost-reflect reads it, too.
            Ok(()) => {
                let text = std::str::from_utf8(&json).expect("JSON is UTF-8").strip_prefix("before");
                drop(parsed(text.expect("it is appended")));
                let descriptor = schema.message(id).descriptor().clone();
                assert!(DynamicMessage::decode(descriptor, &*wire).is_ok(), "seed {seed}: only we read it");
            }
            Err(error) => {
                assert_eq!(json, b"before", "seed {seed}");
                let is_bytes = !matches!(error.fault, Fault::OutOfRange | Fault::NotFinite | Fault::BadPath);
                if is_bytes && ARE_JUDGED_ALIKE.contains(&schema.message(id).name()) {
                    let descriptor = schema.message(id).descriptor().clone();
                    let theirs = DynamicMessage::decode(descriptor, &*wire);
                    assert!(theirs.is_err(), "seed {seed}: only they read it; {error}");
                }
            }
        }
    });
}
