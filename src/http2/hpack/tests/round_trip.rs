//! Random heads there and back, while the size of the table changes.

use super::super::Encoder;
use super::*;
use crate::random::Random;

const NAMES: &[&[u8]] = &[
    b"content-type",
    b"te",
    b"grpc-timeout",
    b"grpc-status",
    b"user-agent",
    b"accept-encoding",
    b"date",
    b"x",
    b"x-tenant",
    b"x-a-name-that-is-longer-than-most-names-are",
    b"cookie",
    b"traceparent",
];

fn pick<'a>(random: &mut Random, from: &[&'a [u8]]) -> &'a [u8] {
    from[random.below(from.len() as u32) as usize]
}

/// A value that repeats more or less often; `te` has only one.
fn value(random: &mut Random, name: &[u8]) -> Vec<u8> {
    if name == b"te" {
        return b"trailers".to_vec();
    }
    let length = if random.below(20) == 0 { 300 + random.below(3000) } else { random.below(40) };
    let kind = random.below(12);
    let mut text = Random::seeded(if random.below(4) == 0 { random.bits() } else { u64::from(kind) });
    let byte = |_| match text.below(8) {
        0 => 0x80 | text.bits() as u8,
        _ => b'!' + text.below(94) as u8,
    };
    (0..if kind < 6 { kind * 5 } else { length }).map(byte).collect()
}

fn request(random: &mut Random, heads: &Rc<Heads>) -> Head {
    let mut head = heads.head();
    head.set_method(pick(random, &[b"POST", b"POST", b"GET", b"PUT"]));
    head.set_scheme(pick(random, &[b"http", b"https", b"grpc"]));
    head.set_path(pick(random, &[b"/", b"/index.html", b"/a.b.C/D", b"/package.Service/A"]));
    if random.below(3) > 0 {
        head.set_authority(pick(random, &[b"localhost:50051", b"[::1]"]));
    }
    head
}

fn random_head(random: &mut Random, heads: &Rc<Heads>) -> (Head, Kind) {
    let (mut head, kind) = match random.below(3) {
        0 => (request(random, heads), Kind::Request),
        1 => {
            let mut head = heads.head();
            head.set_status([200, 200, 204, 404, 418, 503][random.below(6) as usize]);
            (head, Kind::Response)
        }
        _ => (heads.head(), Kind::Trailers),
    };
    for _ in 0..random.below(15) {
        let name = pick(random, NAMES);
        let value = value(random, name);
        match random.below(6) {
            0 => head.push_named_sensitive(name, &value),
            _ => head.push_named(name, &value),
        }
    }
    (head, kind)
}

fn run(seed: u64) {
    let mut random = Random::seeded(seed);
    let heads = Heads::new();
    let (mut encoder, mut reader) = (Encoder::new(), Reader::new());
    let mut block = Vec::new();
    for step in 0..400 {
        while random.below(10) == 0 {
            encoder.set_max_table_size([0, 50, 300, 4096, 65_536][random.below(5) as usize]);
        }
        let (head, kind) = random_head(&mut random, &heads);
        block.clear();
        encoder.encode(&head, &mut block);
        let (verdict, again) = reader.read(&block, kind);
        assert_eq!(verdict, Ok(Verdict::Good), "seed {seed} step {step}: {head:?}");
        assert_eq!(fields(&again), fields(&head), "seed {seed} step {step}");
        assert!(again.iter().eq(head.iter()), "seed {seed} step {step}");
        assert!(encoder.memory() < 12 * 1024 && reader.decoder.memory() < 12 * 1024);
    }
}

#[test]
fn heads_come_back() {
    (0..150).for_each(run);
}

#[test]
fn hostile_bytes_end_in_a_verdict() {
    for seed in 0..300 {
        let mut random = Random::seeded(seed);
        let mut reader = Reader::new();
        for _ in 0..30 {
            let mut block = Vec::new();
            let (head, kind) = random_head(&mut random, &reader.heads);
            Encoder::new().encode(&head, &mut block);
            for _ in 0..random.below(4) {
                let at = random.below(block.len() as u32) as usize;
                match block.get_mut(at) {
                    Some(byte) => *byte = random.bits() as u8,
                    None => block.extend_from_slice(&random.bits().to_le_bytes()),
                }
            }
            let (_, head) = reader.read(&block, kind);
            assert!(head.list_size() <= LIMITS.list_size && head.len() <= LIMITS.fields);
        }
    }
}

/// Heads that repeat are kept, and come back as they were read first; not for another table, kind or bound.
#[test]
fn heads_that_are_kept_are_those_of_their_blocks() {
    let mut random = Random::seeded(17);
    let heads = Heads::new();
    let mut readers: Vec<Reader> =
        (0..2).map(|_| Reader { decoder: Decoder::new(4096), heads: Rc::clone(&heads) }).collect();
    let block = [0x83, 0x86, 0x84, 0xbe];
    let mut values = [0, 0];
    for (at, reader) in readers.iter_mut().enumerate() {
        let added = added(&[("x", at.to_string().as_bytes())]);
        assert_eq!(reader.read(&added, Kind::Trailers).0, Ok(Verdict::Good));
        values[at] = at;
    }
    for step in 2..4000 {
        let at = random.below(2) as usize;
        let reader = &mut readers[at];
        match random.below(20) {
            0 => {
                let added = added(&[("x", step.to_string().as_bytes())]);
                assert_eq!(reader.read(&added, Kind::Trailers).0, Ok(Verdict::Good));
                values[at] = step;
            }
            1 => {
                let limits = Limits { list_size: 64 * 1024, fields: 0 };
                assert_eq!(reader.read_within(&block, Kind::Request, limits).0, Ok(Verdict::TooMany));
            }
            2 => {
                let pseudo = Verdict::Malformed(super::super::Malformed::UnknownPseudo);
                assert_eq!(reader.read(&block, Kind::Response).0, Ok(pseudo));
            }
            _ => {
                let (verdict, head) = reader.read(&block, Kind::Request);
                let value = values[at].to_string();
                assert_eq!(verdict, Ok(Verdict::Good));
                assert_eq!(head.get_named(b"x"), Some(value.as_bytes()));
                assert_eq!(
                    (head.len(), head.path(), head.method()),
                    (1, Some(&b"/"[..]), Some(&b"POST"[..]))
                );
            }
        }
    }
}

#[test]
fn secrets_are_not_kept() {
    let mut reader = Reader::new();
    for _ in 0..8 {
        assert_eq!(reader.read(b"\x10\x01x\x06secret", Kind::Trailers).0, Ok(Verdict::Good));
        assert_eq!(reader.heads.kept(), 0);
    }
    // Peers whose blocks differ are asked seldom.
    for _ in 0..70 {
        assert_eq!(reader.read(b"\x00\x01x\x06public", Kind::Trailers).0, Ok(Verdict::Good));
    }
    assert_eq!(reader.heads.kept(), 1);
}

/// Blocks of heads that repeat are kept, and are read as those heads while the table changes between them.
#[test]
fn blocks_that_are_kept_are_those_of_their_heads() {
    for seed in 0..20 {
        let mut random = Random::seeded(seed);
        let heads = Heads::new();
        let (mut encoder, mut reader) =
            (Encoder::new(), Reader { heads: Rc::clone(&heads), ..Reader::new() });
        let all: Vec<(Head, Kind)> = (0..4).map(|_| random_head(&mut random, &heads)).collect();
        let (mut at, mut block) = (0, Vec::new());
        for step in 0..600 {
            match random.below(40) {
                0 => encoder.set_max_table_size([0, 300, 4096][random.below(3) as usize]),
                1..4 => at = random.below(4) as usize,
                _ => {}
            }
            block.clear();
            let other = random_head(&mut random, &heads);
            let (head, kind) = if random.below(30) == 0 { &other } else { &all[at] };
            encoder.encode(head, &mut block);
            let (verdict, again) = reader.read(&block, *kind);
            assert_eq!(verdict, Ok(Verdict::Good), "seed {seed} step {step}: {head:?}");
            assert_eq!(fields(&again), fields(head), "seed {seed} step {step}");
            assert!(again.iter().eq(head.iter()), "seed {seed} step {step}");
        }
    }
}
