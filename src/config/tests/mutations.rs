//! Any bytes yield a configuration or a list of errors, each at a place in the file.
//!
//! Random edits of the full example. The seed is fixed; a failure prints its round. `RINGWAY_MUTATIONS=10000` makes so
//! many rounds.

#[path = "../../../tests/support/edits.rs"]
#[allow(unreachable_pub, reason = "integration tests use it, too")]
mod edits;

use std::path::Path;

use super::super::parse;
use super::errors;
use edits::{Dice, edit};

const EXAMPLE: &str = include_str!("../../../examples/ringway.toml");

/// Where it stands: it names a file beside it.
const EXAMPLE_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ringway.toml");

#[test]
fn no_text_makes_the_parser_panic() {
    let mut dice = Dice(7);
    let mut taken = 0;
    let rounds = std::env::var("RINGWAY_MUTATIONS").map_or(1_500, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        edit(&mut bytes, &mut dice);
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
fn beginnings_of_the_example_are_taken_or_refused() {
    // Ends fall on all that a line has; all of them take some ten times as long.
    let step = if std::env::var_os("RINGWAY_MUTATIONS").is_some() { 1 } else { 31 };
    for end in (0..EXAMPLE.len()).step_by(step).filter(|end| EXAMPLE.is_char_boundary(*end)) {
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
