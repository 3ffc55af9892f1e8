//! Any bytes yield a configuration or a list of errors, each at a place in the file.
//!
//! Random edits of the full example: bytes replaced, taken out, put in, lines moved, tokens swapped in that mean
//! something to TOML or to us, the end cut off. The seed is fixed; a failure prints its round.
//! `RINGWAY_MUTATIONS=10000` makes so many rounds.

use std::path::Path;

use super::super::parse;
use super::errors;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
    }
}

const EXAMPLE: &str = include_str!("../../../examples/ringway.toml");

/// Where it stands: it names a file beside it.
const EXAMPLE_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ringway.toml");

const TOKENS: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "=",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ".",
    ",",
    "\n",
    "\r\n",
    "\r",
    "#",
    "\t",
    "0",
    "-1",
    "9999999999999999999999999999999999999999999999",
    "0x10",
    "1e400",
    "nan",
    "-inf",
    "1979-05-27",
    "true",
    "\"0s\"",
    "\"99999999999999h\"",
    "\"0.0000000000000001us\"",
    "\"..s\"",
    "\"18446744073709551616GiB\"",
    "\"\"",
    "\"é\"",
    "\"\\u0000\"",
    "\"[::1]:80\"",
    "\"[]:1\"",
    "\":\"",
    "\"*.\"",
    "{}",
    "[]",
    "[[]]",
    "[{}]",
    "[1]",
    "match.headers.x",
    "clusters",
    "routes",
    "listeners",
    "transcoding = 1\n",
    "[clusters.retry]\n",
    "\u{feff}",
    "\u{2028}",
];

fn edit(text: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(text.len() + 1);
    match dice.below(7) {
        0 => text.truncate(at),
        1 => text.insert(at, u8::try_from(dice.below(256)).unwrap()),
        2 if at < text.len() => text[at] = u8::try_from(dice.below(128)).unwrap(),
        3 if at < text.len() => drop(text.drain(at..(at + 1 + dice.below(20)).min(text.len()))),
        4 => drop(text.splice(at..at, TOKENS[dice.below(TOKENS.len())].bytes())),
        5 => {
            // In place of a value.
            let Some(equals) = text[at..].iter().position(|byte| *byte == b'=') else {
                return;
            };
            let from = at + equals + 1;
            let to = text[from..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| from + end);
            drop(text.splice(from..to, TOKENS[dice.below(TOKENS.len())].bytes()));
        }
        _ => {
            // A line, to somewhere else.
            let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let line = lines.remove(dice.below(lines.len()));
            lines.insert(dice.below(lines.len() + 1), line);
            *text = lines.join(&b'\n');
        }
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut dice = Dice(7);
    let mut taken = 0;
    let rounds = std::env::var("RINGWAY_MUTATIONS").map_or(6_000, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..=dice.below(4) {
            edit(&mut bytes, &mut dice);
        }
        let text = String::from_utf8_lossy(&bytes);
        let Err(errors) = parse(&text, Path::new(EXAMPLE_PATH)) else {
            taken += 1;
            continue;
        };
        let lines = u32::try_from(text.matches('\n').count() + 1).unwrap();
        for error in &errors {
            let place = error.place.unwrap();
            assert!((1..=lines).contains(&place.line) && place.column >= 1, "round {round}: {error}");
            assert!(!error.to_string().contains('\n'), "round {round}: {error}");
        }
        assert!(
            errors.iter().count() > 0 && errors.iter().is_sorted_by_key(|error| error.place),
            "round {round}"
        );
    }
    // Both ends are seen: edits that do no harm, and edits that do.
    assert!((rounds / 20..rounds / 6 * 5).contains(&taken), "{taken} of {rounds} were taken");
    println!("{rounds} texts, {taken} taken");
}

#[test]
fn every_beginning_of_the_example_is_taken_or_refused() {
    for end in (0..EXAMPLE.len()).filter(|end| EXAMPLE.is_char_boundary(*end)) {
        let _ = errors(&EXAMPLE[..end]);
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!errors(&deep).is_empty());
    let dotted = format!("{}x = 1", "x.".repeat(100_000));
    assert!(!errors(&dotted).is_empty());
    let many: String = (0..10_000).map(|n| format!("unknown_{n} = 1\n")).collect();
    assert_eq!(errors(&many).len(), 200);
}
