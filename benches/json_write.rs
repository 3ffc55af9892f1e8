//! How long wire bytes take to become JSON, beside prost-reflect.
//!
//! `cargo bench --bench json_write`. Compare the two of one run; bytes are those of the JSON.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use ringway::config::PrintOptions;
use ringway::transcode::plan::Schema;
use ringway::transcode::write::write;
use std::hint::black_box;

/// A record of some 300 bytes, with values that services answer: names, numbers, a time, labels.
fn record(number: usize) -> String {
    format!(
        r#"{{"scalars":{{"aDouble":{number}.25,"anInt32":{number},"anInt64":"{number}000000000","aBool":true,
"aString":"a text of ordinary length, number {number}","aBytes":"AQIDBAUGBwgJCgsMDQ4PEA==","aColour":"GREEN"}},
"lists":{{"int32s":[1,20,300],"strings":["first","second"]}},"maps":{{"strings":{{"label":"with \"quotes\""}}}},
"wellKnown":{{"timestamp":"2017-01-15T01:30:15.010Z"}}}}"#
    )
}

fn records(count: usize) -> String {
    let records: Vec<String> = (0..count).map(record).collect();
    format!(r#"{{"inner":[{}]}}"#, records.join(","))
}

fn writing(criterion: &mut Criterion) {
    let files = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled");
    let schema = Schema::new(&pool);
    let id = schema.message_id("test.kinds.Everything").expect("it is there");
    let descriptor = schema.message(id).descriptor().clone();
    let options = PrintOptions::default();

    let text = format!(r#"{{"names":{{"fooBarBaz":"{}"}}}}"#, "plain text without escapes ".repeat(2_400));
    for (name, json) in [("1 KiB", records(3)), ("64 KiB", records(190)), ("64 KiB of one string", text)] {
        let message =
            DynamicMessage::deserialize(descriptor.clone(), &mut serde_json::Deserializer::from_str(&json));
        let wire = message.expect("it is JSON of the message").encode_to_vec();
        let mut out = Vec::with_capacity(2 * json.len());
        write(&schema, id, &wire, &options, &mut out).expect("it is a message");
        println!("{name}: {} bytes of wire, {} of JSON", wire.len(), out.len());
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(BenchmarkId::from_parameter("ringway"), |bencher| {
            bencher.iter(|| {
                out.clear();
                write(&schema, id, black_box(&wire), &options, &mut out)
            });
        });
        group.bench_function(BenchmarkId::from_parameter("prost-reflect"), |bencher| {
            bencher.iter(|| {
                let message = DynamicMessage::decode(descriptor.clone(), black_box(&wire[..]));
                serde_json::to_vec(&message.expect("it is a message")).expect("it has JSON")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, writing);
criterion_main!(benches);
