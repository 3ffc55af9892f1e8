//! The texts of a record: path, authority, chosen fields. They share room of a fixed size, so that no call allocates for
//! them; what finds no room is cut.

use std::fmt::{self, Write as _};

/// Bytes of all texts of a record together.
pub const TEXT_BYTES: usize = 512;

/// Chosen fields of requests and responses together, at most.
pub const HEADERS_MAX: usize = 16;

/// A text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextField {
    /// The path as the client sent it.
    Path,
    /// The path of the gRPC method that was called.
    GrpcMethod,
    /// The path of the rule that a request in JSON matched.
    HttpRoute,
    /// The authority, or `host`.
    Authority,
    /// `user-agent`.
    UserAgent,
    /// `x-request-id`.
    RequestId,
    /// A chosen field, by its position.
    Header(usize),
}

/// Texts that are not chosen fields.
const FIXED: usize = 6;

const PLACES: usize = FIXED + HEADERS_MAX;

/// Words that say where texts are.
pub(super) const INDEX_WORDS: usize = 1 + PLACES.div_ceil(2);

impl TextField {
    fn place(self) -> usize {
        match self {
            TextField::Path => 0,
            TextField::GrpcMethod => 1,
            TextField::HttpRoute => 2,
            TextField::Authority => 3,
            TextField::UserAgent => 4,
            TextField::RequestId => 5,
            TextField::Header(number) => (FIXED + number).min(PLACES - 1),
        }
    }

    /// The most bytes that are kept of it.
    const fn bytes_max(self) -> usize {
        match self {
            TextField::Path | TextField::GrpcMethod | TextField::HttpRoute => 128,
            TextField::UserAgent => 96,
            TextField::Authority | TextField::RequestId | TextField::Header(_) => 64,
        }
    }
}

/// The texts of a record.
#[derive(Clone, Copy)]
pub struct Texts {
    /// Beginning and length of each; the length is zero where there is none.
    places: [(u16, u16); PLACES],
    used: u16,
    /// Bits of texts that are longer than what is kept.
    cut: u32,
    bytes: [u8; TEXT_BYTES],
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { places: [(0, 0); PLACES], used: 0, cut: 0, bytes: [0; TEXT_BYTES] }
    }
}

impl Texts {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.places = [(0, 0); PLACES];
        (self.used, self.cut) = (0, 0);
    }

    /// Keeps a text, or its beginning. A text that is there already stays.
    pub fn set(&mut self, field: TextField, text: &[u8]) {
        if self.places[field.place()].1 == 0 {
            self.append(field, text);
        }
    }

    /// Keeps what is shown, or its beginning.
    pub fn write(&mut self, field: TextField, shown: &dyn fmt::Display) {
        if self.places[field.place()].1 == 0 {
            // Text that finds no room is cut.
            let _ = write!(Appending { texts: self, field }, "{shown}");
        }
    }

    /// Adds to a text, which has to be the last one.
    fn append(&mut self, field: TextField, text: &[u8]) {
        let (place, from) = (field.place(), usize::from(self.used));
        let length = usize::from(self.places[place].1);
        let room = (TEXT_BYTES - from).min(field.bytes_max().saturating_sub(length));
        let kept = text.len().min(room);
        self.bytes[from..from + kept].copy_from_slice(&text[..kept]);
        // Both are below `TEXT_BYTES`.
        self.places[place] = ((from - length) as u16, (length + kept) as u16);
        self.used = (from + kept) as u16;
        self.cut |= u32::from(kept < text.len()) << place;
    }

    /// The bytes that are kept of a text; `None` if there is none.
    pub fn get(&self, field: TextField) -> Option<&[u8]> {
        let (from, length) = self.places[field.place()];
        let (from, length) = (usize::from(from), usize::from(length));
        self.bytes.get(from..from + length).filter(|text| !text.is_empty())
    }

    /// A text for people: with an ellipsis where it is cut.
    pub fn show(&self, field: TextField) -> Option<String> {
        let mut text = String::from_utf8_lossy(self.get(field)?).into_owned();
        if self.cut >> field.place() & 1 == 1 {
            text.push('…');
        }
        Some(text)
    }

    /// The words that say where texts are.
    pub(super) fn index(&self) -> [u64; INDEX_WORDS] {
        let mut words = [0; INDEX_WORDS];
        words[0] = u64::from(self.cut) << 16 | u64::from(self.used);
        let half = |(from, length): (u16, u16)| u64::from(from) << 16 | u64::from(length);
        for (word, pair) in words[1..].iter_mut().zip(self.places.chunks(2)) {
            *word = pair.iter().fold(0, |word, place| word << 32 | half(*place));
        }
        words
    }

    /// The words that hold the texts.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        let used = usize::from(self.used).div_ceil(8);
        self.bytes.as_chunks().0.iter().take(used).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The texts of such words.
    pub(super) fn of(index: &[u64], text: impl Iterator<Item = u64>) -> Texts {
        let (cut, used) = ((index[0] >> 16) as u32, (index[0] as u16).min(TEXT_BYTES as u16));
        let mut texts = Texts { cut, used, ..Texts::default() };
        let place = |half: u64| ((half >> 16) as u16, half as u16);
        for (places, word) in texts.places.chunks_mut(2).zip(&index[1..]) {
            (places[0], places[1]) = (place(word >> 32), place(*word));
        }
        let used = usize::from(texts.used).div_ceil(8);
        for (bytes, word) in texts.bytes.as_chunks_mut().0.iter_mut().take(used).zip(text) {
            *bytes = word.to_le_bytes();
        }
        texts
    }
}

/// Appends what is written to one text.
struct Appending<'t> {
    texts: &'t mut Texts,
    field: TextField,
}

impl fmt::Write for Appending<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.texts.append(self.field, text.as_bytes());
        Ok(())
    }
}

impl PartialEq for Texts {
    fn eq(&self, other: &Texts) -> bool {
        let used = |texts: &Texts| (texts.places, texts.used, texts.cut);
        let length = usize::from(self.used);
        used(self) == used(other) && self.bytes[..length] == other.bytes[..length]
    }
}

impl Eq for Texts {}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.bytes[..usize::from(self.used)]).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(texts: &Texts) -> Texts {
        Texts::of(&texts.index(), texts.words())
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        let mut texts = Texts::default();
        assert_eq!(round_trip(&texts), texts);
        texts.set(TextField::Path, b"/a/b");
        texts.set(TextField::Header(3), "é".as_bytes());
        texts.set(TextField::Path, b"/another");
        texts.set(TextField::Authority, b"");
        texts.write(TextField::HttpRoute, &format_args!("/v1/{{{}}}", "name"));
        let texts = round_trip(&texts);
        assert_eq!(texts.show(TextField::Path).as_deref(), Some("/a/b"));
        assert_eq!(texts.show(TextField::Header(3)).as_deref(), Some("é"));
        assert_eq!(texts.show(TextField::HttpRoute).as_deref(), Some("/v1/{name}"));
        assert_eq!((texts.get(TextField::Authority), texts.get(TextField::Header(15))), (None, None));
    }

    #[test]
    fn what_finds_no_room_is_cut() {
        let mut texts = Texts::default();
        texts.set(TextField::Path, "/é".repeat(100).as_bytes());
        assert_eq!(texts.get(TextField::Path).map(<[u8]>::len), Some(128));
        assert!(texts.show(TextField::Path).is_some_and(|path| path.ends_with('…')));
        for number in 0..HEADERS_MAX {
            texts.set(TextField::Header(number), &[b'x'; 64]);
        }
        let kept: Vec<_> =
            (0..HEADERS_MAX).map(|at| texts.get(TextField::Header(at)).map(<[u8]>::len)).collect();
        assert_eq!(kept[..7], [Some(64), Some(64), Some(64), Some(64), Some(64), Some(64), None]);
        texts.clear();
        assert_eq!(texts, Texts::default());
    }
}
