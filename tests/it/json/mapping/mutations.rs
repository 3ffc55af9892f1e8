//! Texts that were valid before a few bytes of them changed: none may bring us down, and where both we and prost-reflect
//! still read one, it means the same to both.

use super::reference::{decode, message_id, read_by_reference, read_by_us, same, schema};
use ringway::random::Random;
use ringway::transcode::query::{Query, QueryOptions};
use ringway::transcode::read::{ReadOptions, read};

const SEEDS: &[(&str, &str)] = &[
    (
        "Everything",
        r#"{"scalars":{"aDouble":-1.5e3,"aFloat":"NaN","anInt32":7,"anInt64":"8","aUint32":10,"aBool":true},"aliased":"FIRST"}"#,
    ),
    (
        "Scalars",
        r#"{"aSint32":-3,"aSint64":"-4","aFixed32":5,"aFixed64":"6","aString":"a\u20acb\n","aBytes":"AQID","aColour":"RED"}"#,
    ),
    (
        "Lists",
        r#"{"int32s":[1,20,300],"bools":[true,false],"strings":["a","b\\"],"messages":[{"aBool":true},{}],"colours":["RED",2]}"#,
    ),
    (
        "Maps",
        r#"{"byInt32":{"1":2,"3":4},"byBool":{"true":false},"strings":{"k":"v","l":""},"messages":{"m":{"anInt32":1}}}"#,
    ),
    ("Choice", r#"{"before":"x","text":"chosen","right":0.5,"after":null}"#),
    (
        "WellKnown",
        r#"{"timestamp":"2024-02-29T12:34:56.789+01:30","duration":"-1.5s","fieldMask":"foo,barBaz.qux"}"#,
    ),
    (
        "WellKnown",
        r#"{"struct":{"a":[1,"two",null,{"b":true}],"c":{}},"value":[null],"listValue":[1,[2]],"int64Value":"7"}"#,
    ),
    (
        "WellKnown",
        r#"{"any":{"@type":"a/test.kinds.Scalars","anInt32":1},"anys":[{"value":"1s","@type":"a/google.protobuf.Duration"}]}"#,
    ),
    ("Names", r#"{"fooBarBaz":"1","renamed":"2","@odd \"name\"\\":"3","other":"4","ünïcode☃":"5"}"#),
    (
        "test.kinds2.Old",
        r#"{"number":41,"closeds":["TWO",-7],"onegroup":{"inside":1,"many":["a"]},"[test.kinds2.extra]":3}"#,
    ),
];

/// Pieces that a mutation inserts.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "-",
    ".",
    "e",
    "E",
    "+",
    "0",
    "1",
    "9",
    "null",
    "true",
    "false",
    "\\u",
    "\\ud83d\\ude01",
    "\\/",
    "\\n",
    "1e3",
    "1.0",
    "-0",
    "NaN",
    "Infinity",
    "\"anInt32\":1,",
    "\"\"",
    "{}",
    "[]",
    "é",
    "\0",
    "\u{7f}",
    "=",
    "_",
    "@type",
    "value",
    "99999999999999999999",
    "Z",
    "s",
    "2147483648",
];

fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let length = u32::try_from(bytes.len()).expect("the seeds are short");
        let at = random.below(length + 1) as usize;
        let end = at + (random.below(4) as usize).min(bytes.len() - at);
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 | 2 => {
                let piece = PIECES[random.below(u32::try_from(PIECES.len()).expect("few")) as usize];
                drop(bytes.splice(at..at, piece.bytes()));
            }
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(length + 1) as usize;
                drop(bytes.splice(to..to, copy));
            }
            4 if at < bytes.len() => {
                let piece = PIECES[random.below(u32::try_from(PIECES.len()).expect("few")) as usize];
                drop(bytes.splice(at..=at, piece.bytes()));
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn changed_texts_mean_the_same_to_both() {
    let rounds =
        std::env::var("RINGWAY_MUTATIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(40_000);
    let mut random = Random::seeded(7);
    let (mut both, mut only_us, mut only_reference) = (0, 0, 0);
    for round in 0..rounds {
        let (name, seed) = SEEDS[round % SEEDS.len()];
        let text = mutate(seed, &mut random);
        let ignore = random.below(4) == 0;
        let ours = read_by_us(name, &text, ignore);
        let reference = read_by_reference(name, &text, ignore);
        match (ours, reference) {
            (Ok(ours), Ok(reference)) => {
                both += 1;
                let text = String::from_utf8_lossy(&text);
                assert!(same(&ours, &reference), "{name} {text}:\n{ours}\nthe reference:\n{reference}");
            }
            (Ok(_), Err(_)) => only_us += 1,
            (Err(_), Ok(_)) => only_reference += 1,
            (Err(_), Err(_)) => (),
        }
    }
    println!("{rounds}: {both} read by both, {only_us} by us alone, {only_reference} by the reference alone");
    assert!(both > rounds / 20, "{both} of {rounds} are too few to tell");
}

#[test]
fn no_bytes_bring_it_down() {
    let mut random = Random::seeded(11);
    let mut out = Vec::new();
    for round in 0..60_000 {
        let (name, seed) = SEEDS[round % SEEDS.len()];
        let mut text = mutate(seed, &mut random);
        text.truncate(random.below(200) as usize);
        out.clear();
        let ignore_unknown_fields = round % 2 == 0;
        if read(schema(), message_id(name), &text, ReadOptions { ignore_unknown_fields }, &mut out).is_ok() {
            decode(name, &out);
        }
    }
}

#[test]
fn no_query_brings_it_down() {
    let seed = "scalars.anInt32=7&scalars.aString=a%20b+c&lists.strings=x&wellKnown.timestamp=1970-01-01T00%3A00%3A01Z\
                &choice.colour=RED&tree.left.right.label=&wellKnown.bytesValue=AQI%3D&old.onegroup.inside=1&maps.byInt32[7]=1";
    let mut random = Random::seeded(13);
    let (mut query, mut out, mut read) = (Query::default(), Vec::new(), 0);
    for round in 0..40_000 {
        let bytes = mutate(seed, &mut random);
        let text = String::from_utf8_lossy(&bytes);
        let options = QueryOptions {
            ignore_unknown_parameters: round % 2 == 0,
            ignore_taken: round % 3 == 0,
            takes_entries: round % 5 < 3,
        };
        out.clear();
        if query.bind(schema(), message_id("Everything"), &text, &[], options, &mut out).is_ok() {
            decode("Everything", &out);
            read += 1;
        } else {
            assert!(out.is_empty());
        }
    }
    assert!(read > 1_000, "{read} are too few to tell");
}
