//! Hostile bytes never panic, nor pile anything up: whole exchanges, mutated by chance.
//!
//! `RINGWAY_CASES` says how many inputs are run; fuzz/ runs the same functions with coverage.

mod entry;

use ringway::buffer::{Output, Slice};
use ringway::http2::{Bounds, Connection, Ending, Head, Heads, Memory, Name};
use ringway::random::Random;
use ringway::time::Moment;
use std::rc::Rc;

/// Behind preface and settings, the bytes that a client and a server of ours send in a few calls.
fn exchange(random: &mut Random) -> [Vec<u8>; 2] {
    let (heads, now) = (Heads::new(), Moment::from_nanos(1));
    let (mut up, mut down) = (Output::default(), Output::default());
    let mut client = Connection::client(Rc::new(Bounds::default()), Memory::new(&heads), &mut up);
    let mut server = Connection::server(Rc::new(Bounds::default()), Memory::new(&heads), &mut down);
    let mut sent = [vec![], vec![]];
    for _ in 0..1 + random.below(4) {
        let mut head = heads.head();
        head.set_method(b"POST");
        head.set_scheme(b"http");
        head.set_path(b"/a.B/C");
        head.push(Name::TE, b"trailers");
        let key = client.open(&head, false, now, &mut up).expect("it is open");
        client.finish(key, body(random), ending(&heads, random), now, &mut up);
        deliver(&mut up, &mut server, &mut down, &mut sent[0]);
        while let Some(incoming) = server.accept() {
            let mut head = heads.head();
            head.set_status(200);
            head.push_named(b"x-again", b"and again");
            server.send_head(incoming.key, &head, false, &mut down).expect("it is open");
            server.finish(incoming.key, body(random), ending(&heads, random), now, &mut down);
            server.let_go(incoming.key, now, &mut down);
        }
        deliver(&mut down, &mut client, &mut up, &mut sent[1]);
        client.let_go(key, now, &mut up);
    }
    // The client's preface and each side's settings are 24, and 33 bytes; those are not mutated.
    [sent[0].split_off(24 + 33), sent[1].split_off(33)]
}

fn body(random: &mut Random) -> Slice {
    Slice::copy_of(&vec![7; random.below(300) as usize])
}

fn ending(heads: &Rc<Heads>, random: &mut Random) -> Ending {
    let mut trailers: Head = heads.head();
    trailers.push(Name::GRPC_STATUS, b"0");
    if random.below(2) == 0 { Ending::EndStream } else { Ending::Trailers(trailers) }
}

fn deliver(from: &mut Output, to: &mut Connection, out: &mut Output, sent: &mut Vec<u8>) {
    let bytes = from.parts(0).collect::<Vec<_>>().concat();
    from.clear();
    sent.extend_from_slice(&bytes);
    to.receive(&mut Slice::copy_of(&bytes), Moment::from_nanos(1), out);
}

/// Where frames begin, as far as the bytes are frames.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some(head) = bytes.get(starts[starts.len() - 1]..).and_then(|rest| rest.first_chunk::<9>()) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        starts.push(starts[starts.len() - 1] + 9 + length);
    }
    starts.retain(|at| *at <= bytes.len());
    starts
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let starts = frames(bytes);
    let start = starts[random.below(starts.len() as u32) as usize];
    let at = random.below(bytes.len() as u32 + 1) as usize;
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.bits() as u8,
        2 => bytes.insert(at, random.bits() as u8),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        // A frame's head: its kind, its flags, its stream.
        4 if start + 9 <= bytes.len() => bytes[start + 3] = random.below(11) as u8,
        5 if start + 9 <= bytes.len() => bytes[start + 4] ^= 1 << random.below(6),
        6 if start + 9 <= bytes.len() => bytes[start + 8] = random.below(12) as u8,
        // A frame comes twice, or one of any kind comes.
        7 => {
            let end = starts.iter().copied().find(|end| *end > start).unwrap_or(bytes.len());
            let frame = bytes[start..end].to_vec();
            bytes.splice(start..start, frame);
        }
        _ => {
            let length = [0, 4, 5, 6, 8, random.below(40)][random.below(6) as usize] as u8;
            let mut frame = vec![
                0,
                0,
                length,
                random.below(11) as u8,
                random.bits() as u8,
                0,
                0,
                0,
                random.below(10) as u8,
            ];
            frame.extend((0..length).map(|_| if random.below(2) == 0 { 0 } else { random.bits() as u8 }));
            bytes.splice(start..start, frame);
        }
    }
}

#[test]
fn mutated_exchanges_end_in_order_or_in_errors() {
    let cases = std::env::var("RINGWAY_CASES").map_or(20_000, |cases| cases.parse().expect("a number"));
    for seed in 0..cases {
        let mut random = Random::seeded(seed);
        let told = SeedOnPanic(seed);
        let [mut up, mut down] = exchange(&mut random);
        for bytes in [&mut up, &mut down] {
            for _ in 0..1 + random.below(6) {
                mutate(bytes, &mut random);
            }
            bytes.splice(0..0, (0..16).map(|_| random.bits() as u8));
        }
        entry::server(&up);
        entry::client(&down);
        entry::hpack(&up[16..]);
        std::mem::forget(told);
        if seed % 1_000_000 == 999_999 {
            println!("{} of {cases}", seed + 1);
        }
    }
}

/// Inputs that are kept: each function takes each of them.
#[test]
fn kept_inputs_are_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/inputs/http2");
    let inputs: Vec<Vec<u8>> = std::fs::read_dir(&folder)
        .expect("fuzz/inputs/http2 is there")
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("it can be read"))
        .collect();
    assert!(inputs.len() >= 8, "{} in {}", inputs.len(), folder.display());
    for input in &inputs {
        entry::server(input);
        entry::client(input);
        entry::hpack(input);
    }
}

/// Tells the seed of an input that has made a panic.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        println!("the seed is {}", self.0);
    }
}
