//! Guesses the known word that an unknown one was meant to be.

/// The word nearest to `text`, if one is near enough that it was probably meant.
pub fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    // A longer word is not worth the comparison: no key and no sensible name comes near.
    if length > 100 {
        return None;
    }
    let near_enough = (length / 3).max(1);
    words
        .map(|word| (distance(text, word), word))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The key for which other programs have this name.
pub(super) fn of_others(name: &str) -> Option<&'static str> {
    match name {
        "certificate" | "cert" | "certificate_file" | "cert_file" | "ssl_certificate" => {
            Some("certificate_chain")
        }
        "key_file" | "certificate_key" | "ssl_certificate_key" => Some("private_key"),
        _ => None,
    }
}

/// Whether one slip of the finger turns one word into the other.
pub(super) fn is_slip(text: &str, word: &str) -> bool {
    text.len() <= 100 && distance(text, word) <= 1
}

/// How many characters have to be put in, taken out, changed or swapped with their neighbour to get from one to the
/// other (optimal string alignment). Case is free: `Timeout` is `timeout`.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().map(|c| c.to_ascii_lowercase()).collect();
    let to: Vec<char> = to.chars().map(|c| c.to_ascii_lowercase()).collect();
    // Three rows of the table are enough: a swap looks two rows back.
    let mut before_last: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.iter().enumerate() {
        let mut row = vec![i + 1; to.len() + 1];
        for (j, right) in to.iter().enumerate() {
            let changed = last[j] + usize::from(left != right);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == to[j - 1] && from[i - 1] == *right {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}
