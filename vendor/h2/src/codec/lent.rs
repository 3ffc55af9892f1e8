//! Buffers that the connections of a thread share.
//!
//! A connection has one only while bytes are in it, so that an idle one holds
//! none. Last in, first out: the next connection uses what the caches hold.

use bytes::BytesMut;
use std::cell::RefCell;

/// What a buffer is for, and which list it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For {
    Reading,
    Writing,
    Strings,
}

/// How many free buffers of each list a thread keeps. All but those of
/// connections whose bytes cannot leave come back within the turn.
const KEPT: usize = 8;

/// Larger ones are not kept: those that had to take frames as large as few are.
const LARGEST: usize = 256 * 1_024;

thread_local! {
    static FREE: RefCell<[Vec<BytesMut>; 3]> =
        const { RefCell::new([const { Vec::new() }; 3]) };
}

impl For {
    /// Bytes that a new buffer has room for, and bytes that one must have left
    /// to be lent as it is.
    fn sizes(self) -> (usize, usize) {
        match self {
            // As `tokio_util::codec::FramedRead` begins.
            For::Reading => (8 * 1_024, 1_024),
            // The minimum MAX_FRAME_SIZE is 16kb, so always be able to send a
            // HEADERS frame that big.
            For::Writing => (16 * 1_024, 16 * 1_024),
            For::Strings => (4_096, 0),
        }
    }
}

/// An empty buffer.
pub(crate) fn lend(what: For) -> BytesMut {
    let (new, least) = what.sizes();
    let free = FREE.try_with(|free| free.borrow_mut()[what as usize].pop());
    match free {
        Ok(Some(mut buf)) => {
            if buf.capacity() < least {
                buf.reserve(new);
            }
            buf
        }
        _ => BytesMut::with_capacity(new),
    }
}

/// Takes a buffer back if nothing is in it, and leaves none in its place.
pub(crate) fn give(what: For, buf: &mut BytesMut) {
    if !buf.is_empty() || buf.capacity() == 0 {
        return;
    }
    let buf = std::mem::take(buf);
    if buf.capacity() <= LARGEST {
        let _ = FREE.try_with(|free| {
            let free = &mut free.borrow_mut()[what as usize];
            if free.len() < KEPT {
                free.push(buf);
            }
        });
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_an_empty_buffer_is_taken() {
        let mut buf = lend(For::Writing);
        buf.extend_from_slice(b"x");
        give(For::Writing, &mut buf);
        assert_eq!(&buf[..], b"x");
        buf.clear();
        let at = buf.as_ptr();
        give(For::Writing, &mut buf);
        assert_eq!(buf.capacity(), 0);
        assert_eq!(lend(For::Writing).as_ptr(), at);
    }

    #[test]
    fn what_is_lent_has_room() {
        let mut buf = lend(For::Reading);
        buf.resize(buf.capacity() - 10, 0);
        let held = buf.split();
        give(For::Reading, &mut buf);
        assert!(lend(For::Reading).capacity() >= 1_024);
        drop(held);
    }
}
