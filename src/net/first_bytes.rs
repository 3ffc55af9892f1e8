//! The first bytes of a connection, looked at before its protocol is known.

use super::buffered_conn::BufferedConn;
use super::read_buffer::ReadBuffer;

impl BufferedConn {
    /// Shows the bytes that have arrived, in one piece, without taking them. `look` gives `None` if it needs more of
    /// them; then the protocol is polled again when there are more.
    pub fn look<T>(&self, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        self.read_buffer.borrow_mut().look(look)
    }

    /// Drops the first bytes that have arrived.
    pub fn skip(&self, bytes: usize) {
        self.read_buffer.borrow_mut().skip(bytes);
    }
}

impl ReadBuffer {
    fn look<T>(&mut self, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        if self.slices.len() > 1 {
            self.join();
        }
        let found = look(self.slices.front().map_or(&[][..], |first| first));
        self.too_few = found.is_none();
        found
    }

    fn skip(&mut self, mut bytes: usize) {
        while let Some(first) = self.slices.front_mut()
            && bytes > 0
        {
            let taken = first.len().min(bytes);
            first.advance(taken);
            bytes -= taken;
            if first.is_empty() {
                self.slices.pop_front();
            }
        }
    }
}
