//! How long JSON takes to become wire bytes, beside prost-reflect and beside serde_json's tree, which is no message yet.
//!
//! `cargo bench --bench json_read`. Compare the three of one run; bytes are those of the JSON.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use ringway::transcode::plan::Schema;
use ringway::transcode::read::{ReadOptions, read};
use std::hint::black_box;

/// A record of some 250 bytes.
fn record(number: usize) -> String {
    format!(
        r#"{{"before":"order {number}","scalars":{{"aDouble":{number}.25,"anInt32":{number},"anInt64":"{number}000000000",
"aBool":true,"aString":"a text of ordinary length, number {number}","aBytes":"AQIDBAUGBwgJCgsMDQ4PEA==","aColour":"GREEN"}},
"after":"with \"quotes\" and a \n line"}}"#
    )
}

fn records(count: usize) -> String {
    let records: Vec<String> = (1..=count).map(record).collect();
    format!(r#"{{"choices":[{}]}}"#, records.join(","))
}

fn reading(criterion: &mut Criterion) {
    let files = protox::compile(["kinds.proto"], ["tests/protos"]).expect("the test's files compile");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("a pool of what was compiled");
    let schema = Schema::new(&pool);
    let id = schema.message_id("test.kinds.Everything").expect("it is there");
    let descriptor = schema.message(id).descriptor().clone();

    let text = format!(r#"{{"names":{{"fooBarBaz":"{}"}}}}"#, "plain text without escapes ".repeat(2_400));
    for (name, json) in [("1 KiB", records(4)), ("64 KiB", records(264)), ("64 KiB of one string", text)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(json.len() as u64));
        let mut out = Vec::with_capacity(json.len());
        read(&schema, id, json.as_bytes(), ReadOptions::default(), &mut out).expect("it is JSON");
        let wire = DynamicMessage::decode(descriptor.clone(), &out[..]).expect("it is a message");
        assert_eq!(wire.fields().count(), 1, "all of it was read");
        group.bench_function(BenchmarkId::from_parameter("ringway"), |bencher| {
            bencher.iter(|| {
                out.clear();
                read(&schema, id, black_box(json.as_bytes()), ReadOptions::default(), &mut out)
                    .expect("it is JSON");
            });
        });
        group.bench_function(BenchmarkId::from_parameter("prost-reflect"), |bencher| {
            bencher.iter(|| {
                let mut text = serde_json::Deserializer::from_slice(black_box(json.as_bytes()));
                let message = DynamicMessage::deserialize(descriptor.clone(), &mut text);
                message.expect("it is JSON of the message").encode_to_vec()
            });
        });
        group.bench_function(BenchmarkId::from_parameter("serde_json tree"), |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(json.as_bytes())));
        });
        group.finish();
    }
}

criterion_group!(benches, reading);
criterion_main!(benches);
