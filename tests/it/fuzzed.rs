//! What strangers and operators write never panics, and keeps what is promised of it: the inputs that are kept for fuzz/,
//! and changes of them by chance.

mod entry;
mod operations;
mod policies;

use ringway::random::Random;
use std::fs;
use std::path::Path;

/// The name of a target, and what it runs.
type Target = (&'static str, fn(&[u8]));

/// The targets that have a folder of inputs in fuzz/inputs.
const TARGETS: [Target; 8] = [
    ("http2_operations", operations::operations),
    ("breaker", policies::breaker),
    ("retries", policies::retries),
    ("http1", entry::http1),
    ("grpc_web", entry::grpc_web),
    ("json", entry::json),
    ("configuration", entry::configuration),
    ("descriptors", entry::descriptors),
];

/// The kept inputs of a target.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/inputs").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs = files.map(|file| fs::read(file.expect("an entry").path()).expect("it can be read"));
    let inputs: Vec<Vec<u8>> = inputs.collect();
    assert!(inputs.len() >= 2, "{} in {}", inputs.len(), folder.display());
    inputs
}

#[test]
fn kept_inputs_keep_what_is_promised() {
    for (target, run) in TARGETS {
        kept(target).iter().for_each(|input| run(input));
    }
}

/// Whole, cut, repeated, and with other bytes in between.
fn changed(input: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len() as u32 + 1) as usize;
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.below(16) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.insert(at, random.bits() as u8),
        }
    }
    bytes
}

/// `RINGWAY_CASES` says how many inputs are run of each target.
#[test]
fn changed_inputs_keep_what_is_promised() {
    let cases = std::env::var("RINGWAY_CASES").map_or(300, |cases| cases.parse().expect("a number"));
    for (target, run) in TARGETS {
        let inputs = kept(target);
        for seed in 0..cases {
            let mut random = Random::seeded(seed);
            let input = &inputs[random.below(inputs.len() as u32) as usize];
            let told = SeedOnPanic(target, seed);
            run(&changed(input, &mut random));
            std::mem::forget(told);
        }
    }
}

/// Tells the seed of an input that has made a panic.
struct SeedOnPanic(&'static str, u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        println!("{}: the seed is {}", self.0, self.1);
    }
}
