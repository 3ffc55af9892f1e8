//! Edits of a configuration's text that look random and are the same each time: bytes replaced, taken out, put in, lines
//! moved, tokens swapped in that mean something to TOML or to Ringway, the end cut off.

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).expect("it is below a usize")
    }
}

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

/// Edits `text` once to five times.
pub fn edit(text: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        edit_once(text, dice);
    }
}

fn edit_once(text: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(text.len() + 1);
    match dice.below(7) {
        0 => text.truncate(at),
        1 => text.insert(at, u8::try_from(dice.below(256)).expect("a byte")),
        2 if at < text.len() => text[at] = u8::try_from(dice.below(128)).expect("a byte"),
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
