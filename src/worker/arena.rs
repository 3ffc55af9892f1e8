//! Room for the header values that the gateway writes itself and that differ from call to call: `grpc-timeout`.
//!
//! A header value owns its bytes, so each would be an allocation. These are cut off one buffer that is allocated anew
//! only when it is used up, once for very many calls.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderValue;

/// Bytes of one buffer.
const BUFFER: usize = 16 * 1024;

/// The buffer of one worker.
#[derive(Debug, Default)]
pub(super) struct Arena(RefCell<BytesMut>);

impl Arena {
    /// A header value with these bytes, which must be visible ASCII.
    pub(super) fn header(&self, bytes: &[u8]) -> HeaderValue {
        let mut buffer = self.0.borrow_mut();
        if buffer.capacity() < bytes.len() {
            *buffer = BytesMut::with_capacity(BUFFER.max(bytes.len()));
        }
        buffer.extend_from_slice(bytes);
        HeaderValue::from_maybe_shared(buffer.split().freeze()).expect("written by us, in visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_bytes_while_the_buffer_moves_on() {
        let arena = Arena::default();
        let values: Vec<_> = (0..2_000).map(|n| (n, arena.header(format!("{n}m").as_bytes()))).collect();
        for (n, value) in values {
            assert_eq!(value, format!("{n}m"));
        }
    }
}
