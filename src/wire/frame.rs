//! The messages in a stream of bytes, as they pass.
//!
//! Source: `doc/PROTOCOL-HTTP2.md`: `Length-Prefixed-Message → Compressed-Flag Message-Length Message`, one byte of
//! flags, four of length in network order, then the message. Nothing is kept but the place in the current message, so
//! the bytes can be cut anywhere.

/// The flag of a message that is compressed.
pub const COMPRESSED: u8 = 1;

/// Walks over the bytes of one direction of a call.
#[derive(Clone, Debug, Default)]
pub struct Walker {
    /// The head of the message that is under way, as far as it has come.
    head: [u8; HEAD_BYTES],
    head_count: u8,
    /// Bytes of that message still to come, once its head is whole.
    left: u32,
}

/// The head of a message: its flags and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The flags; bit 0 says that the message is compressed, the others mean nothing.
    pub flags: u8,
    /// Bytes of the message.
    pub length: u32,
}

impl Head {
    /// Is the message compressed?
    pub const fn is_compressed(self) -> bool {
        self.flags & COMPRESSED != 0
    }
}

/// The result of one piece of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Messages that ended in it.
    pub ended: u32,
    /// Heads of messages that ended in it, though the messages need not.
    pub heads: u32,
    /// The greatest length that one of these heads declared.
    pub length_max: u32,
    /// The flags of all these heads, or-ed.
    pub flags: u8,
}

/// Writes the length of a message into the head of the frame that it has begun with.
pub fn set_length(frame: &mut [u8]) {
    let length = u32::try_from(frame.len().saturating_sub(HEAD_BYTES)).unwrap_or(u32::MAX);
    if let Some(head) = frame.get_mut(1..HEAD_BYTES) {
        head.copy_from_slice(&length.to_be_bytes());
    }
}

impl Walker {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Walks over the next piece of the stream.
    pub fn feed(&mut self, chunk: &[u8]) -> Fed {
        let mut fed = Fed::default();
        let mut rest = chunk;
        loop {
            if usize::from(self.head_count) == HEAD_BYTES {
                let step = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                rest = &rest[step..];
                // No more than `left`, which has 32 bits.
                self.left -= u32::try_from(step).unwrap_or(self.left);
                if self.left > 0 {
                    return fed;
                }
                self.head_count = 0;
                fed.ended += 1;
            }
            if rest.is_empty() {
                return fed;
            }
            let known = usize::from(self.head_count);
            let step = rest.len().min(HEAD_BYTES - known);
            self.head[known..known + step].copy_from_slice(&rest[..step]);
            self.head_count += step as u8;
            rest = &rest[step..];
            if let Some(head) = self.head() {
                self.left = head.length;
                fed.heads += 1;
                fed.length_max = fed.length_max.max(head.length);
                fed.flags |= head.flags;
            }
        }
    }

    /// Walks over the next piece, where nobody asks for what it brought.
    #[inline]
    pub fn pass(&mut self, chunk: &[u8]) {
        // Most pieces are a message each.
        if self.is_between()
            && let [_, a, b, c, d, message @ ..] = chunk
            && u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len()
        {
            return;
        }
        self.feed(chunk);
    }

    /// The head of the message that is under way, once it is whole.
    pub fn head(&self) -> Option<Head> {
        let [flags, length @ ..] = self.head;
        (usize::from(self.head_count) == HEAD_BYTES)
            .then(|| Head { flags, length: u32::from_be_bytes(length) })
    }

    /// Is no message under way? A stream that ends elsewhere was cut.
    pub fn is_between(&self) -> bool {
        self.head_count == 0
    }
}

/// Flags and length.
pub const HEAD_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn message(flags: u8, length: u32) -> Vec<u8> {
        let mut bytes = vec![flags];
        bytes.extend(length.to_be_bytes());
        bytes.resize(HEAD_BYTES + length as usize, 0xff);
        bytes
    }

    #[test]
    fn messages_in_one_piece_are_counted() {
        let table: [(&[(u8, u32)], Fed); 4] = [
            (&[], Fed::default()),
            (&[(0, 0)], Fed { ended: 1, heads: 1, length_max: 0, flags: 0 }),
            (&[(1, 7)], Fed { ended: 1, heads: 1, length_max: 7, flags: 1 }),
            (&[(0, 3), (1, 300), (0x80, 0)], Fed { ended: 3, heads: 3, length_max: 300, flags: 0x81 }),
        ];
        for (messages, wanted) in table {
            let bytes: Vec<u8> =
                messages.iter().flat_map(|&(flags, length)| message(flags, length)).collect();
            let mut walker = Walker::new();
            assert_eq!(walker.feed(&bytes), wanted);
            assert_eq!(wanted.ended as usize, messages.len());
            assert!(walker.is_between());
        }
    }

    #[test]
    fn a_length_is_known_before_the_message_is_there() {
        let mut walker = Walker::new();
        assert_eq!(walker.feed(&[0, 0xff, 0xff, 0xff]), Fed::default());
        assert_eq!(walker.head(), None);
        assert!(!walker.is_between());
        assert_eq!(walker.feed(&[0xff]), Fed { ended: 0, heads: 1, length_max: u32::MAX, flags: 0 });
        let head = walker.head().unwrap();
        assert_eq!(head, Head { flags: 0, length: u32::MAX });
        assert!(!head.is_compressed());
        assert_eq!(walker.feed(&[0; 100]), Fed::default());
        assert!(!walker.is_between());
    }

    #[test]
    fn flags_are_told() {
        for (flags, compressed) in [(0, false), (1, true), (2, false), (3, true)] {
            assert_eq!(Head { flags, length: 0 }.is_compressed(), compressed);
        }
    }

    #[test]
    fn it_does_not_matter_where_the_stream_is_cut() {
        let mut random = Random::seeded(51);
        for _ in 0..2_000 {
            let mut bytes = Vec::new();
            let mut whole = Fed::default();
            for _ in 0..random.below(6) {
                let (flags, length) = (u8::from(random.below(2) == 1), random.below(40) * random.below(2));
                bytes.extend(message(flags, length));
                whole.ended += 1;
                whole.heads += 1;
                whole.length_max = whole.length_max.max(length);
                whole.flags |= flags;
            }
            let (mut walker, mut passing) = (Walker::new(), Walker::new());
            let mut sum = Fed::default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((random.below(9) as usize).min(rest.len()));
                let fed = walker.feed(piece);
                passing.pass(piece);
                assert_eq!((passing.is_between(), passing.head()), (walker.is_between(), walker.head()));
                sum.ended += fed.ended;
                sum.heads += fed.heads;
                sum.length_max = sum.length_max.max(fed.length_max);
                sum.flags |= fed.flags;
                rest = after;
            }
            assert_eq!(sum, whole);
            assert!(walker.is_between());

            if !bytes.is_empty() {
                let mut cut = Walker::new();
                cut.feed(&bytes[..bytes.len() - 1]);
                assert!(!cut.is_between());
            }
        }
    }
}
