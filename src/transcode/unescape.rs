//! Decodes the escapes of a path. [`transcode::rules`](super::rules) has the rule for it.

/// The reason why a captured part of a path cannot be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// The escaped bytes are not UTF-8.
    NotUtf8,
    /// A segment is `.` or `..`, escaped or not.
    LeadsOut,
}

impl Unreadable {
    /// A sentence for the caller.
    pub const fn message(self) -> &'static str {
        match self {
            Unreadable::Escape => "the path has a percent sign that two hexadecimal digits do not follow",
            Unreadable::NotUtf8 => "what the path escapes is not UTF-8",
            Unreadable::LeadsOut => "a segment of the path is `.` or `..`",
        }
    }
}

pub(super) fn escapes_are_whole(path: &[u8]) -> bool {
    let is_whole = |(at, byte): (usize, &u8)| {
        *byte != b'%' || path.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    path.iter().enumerate().all(is_whole)
}

/// Decodes whole escapes; with `keep_reserved`, all but those of reserved characters.
pub(super) fn unescape(text: &[u8], keep_reserved: bool, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let decoded = match text[at..] {
            [b'%', high, low, ..] => Some(hex(high) * 16 + hex(low)),
            _ => None,
        };
        match decoded {
            Some(byte) if keep_reserved && b":/?#[]@!$&'()*+,;=".contains(&byte) => {
                out.extend_from_slice(&text[at..at + 3]);
                at += 3;
            }
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A') + 10,
    }
}

/// Whether some part between slashes, escaped ones included, is `.` or `..`.
pub(super) fn leads_out(value: &str) -> bool {
    let parts = value.split('/').flat_map(|part| part.split("%2F")).flat_map(|part| part.split("%2f"));
    value.contains('.') && parts.into_iter().any(|part| matches!(part, "." | ".."))
}
