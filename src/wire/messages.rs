//! Whole messages, cut out of the chunks that a stream of them comes in.
//!
//! A message that came in one chunk is a part of it, without a copy; one that did not is put together in memory of just
//! its size.

use super::frame::HEAD_BYTES;
use crate::buffer::Slice;

/// Cuts messages out of a stream.
#[derive(Debug, Default)]
pub struct Messages {
    /// Bytes that came and were not looked at.
    chunk: Slice,
    /// A message that is under way, with its head.
    partial: Vec<u8>,
}

/// A message without its head.
#[derive(Clone, Debug)]
pub struct Message {
    /// Whether it is compressed.
    pub is_compressed: bool,
    /// The message.
    pub bytes: Slice,
}

/// A message that is longer than allowed, and how long it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub u32);

impl Messages {
    /// Takes the next chunk, once [`Messages::next`] has given all of the one before.
    pub fn feed(&mut self, chunk: Slice) {
        debug_assert!(self.chunk.is_empty(), "what came before was not taken");
        self.chunk = chunk;
    }

    /// The next message that is whole.
    ///
    /// # Errors
    /// When its head says that it is longer than `length_max`; nothing is kept of it.
    pub fn next(&mut self, length_max: u32) -> Result<Option<Message>, TooLong> {
        if self.partial.is_empty()
            && let Some(length) = announced(&self.chunk, length_max)?
            && length <= self.chunk.len()
        {
            return Ok(Some(message(self.chunk.split_to(length))));
        }
        self.fill(HEAD_BYTES);
        let Some(length) = announced(&self.partial, length_max)? else { return Ok(None) };
        self.fill(length);
        if self.partial.len() < length {
            return Ok(None);
        }
        Ok(Some(message(std::mem::take(&mut self.partial).into())))
    }

    /// Whether nothing of a message has come that is not whole. A stream that ends elsewhere was cut.
    pub fn is_between(&self) -> bool {
        self.chunk.is_empty() && self.partial.is_empty()
    }

    /// Bytes that have come of messages that were not given.
    pub fn held_bytes(&self) -> usize {
        self.chunk.len() + self.partial.len()
    }

    /// Moves bytes from the chunk until `partial` has this many.
    fn fill(&mut self, length: usize) {
        let step = length.saturating_sub(self.partial.len()).min(self.chunk.len());
        if step > 0 {
            self.partial.reserve_exact(length - self.partial.len());
            self.partial.extend_from_slice(&self.chunk[..step]);
            self.chunk.advance(step);
        }
    }
}

/// The length of head and message together, once the head is there.
fn announced(bytes: &[u8], length_max: u32) -> Result<Option<usize>, TooLong> {
    let Some(&[_, a, b, c, d]) = bytes.get(..HEAD_BYTES) else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length > length_max { Err(TooLong(length)) } else { Ok(Some(HEAD_BYTES + length as usize)) }
}

fn message(mut bytes: Slice) -> Message {
    let is_compressed = bytes[0] & 1 != 0;
    bytes.advance(HEAD_BYTES);
    Message { is_compressed, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
            bytes.extend(message);
        }
        bytes
    }

    #[test]
    fn messages_come_back_whatever_the_chunks() {
        let mut random = Random::seeded(3);
        for _ in 0..500 {
            let sizes: Vec<u32> = (0..random.below(5)).map(|_| random.below(40)).collect();
            let sent: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size as usize]).collect();
            let bytes = stream(&sent);
            let (mut messages, mut received) = (Messages::default(), Vec::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + random.below_u64(rest.len() as u64) as usize);
                messages.feed(Slice::copy_of(chunk));
                while let Some(message) = messages.next(1_000).expect("none is long") {
                    received.push(message.bytes.to_vec());
                }
                rest = after;
            }
            assert!(messages.is_between());
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn a_message_in_one_chunk_is_not_copied() {
        let chunk = Slice::from(stream(&[vec![1, 2, 3]]));
        let mut messages = Messages::default();
        messages.feed(chunk.clone());
        let message = messages.next(10).expect("short enough").expect("whole");
        assert_eq!(message.bytes.as_ptr(), chunk[HEAD_BYTES..].as_ptr());
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_head() {
        let mut messages = Messages::default();
        messages.feed(Slice::copy_of(&[0, 0, 0, 0, 11]));
        assert_eq!(messages.next(10).err(), Some(TooLong(11)));
        let mut cut = Messages::default();
        cut.feed(Slice::copy_of(&[0, 0, 0]));
        assert!(cut.next(10).is_ok_and(|message| message.is_none()));
        assert!(!cut.is_between());
        cut.feed(Slice::copy_of(&[0, 2, 9]));
        assert!(cut.next(10).is_ok_and(|message| message.is_none()));
        cut.feed(Slice::copy_of(&[8]));
        assert_eq!(&*cut.next(10).expect("short").expect("whole").bytes, &[9, 8]);
    }
}
