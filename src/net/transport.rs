//! A connection as an engine of ours sees it.

use std::cell::RefMut;

use super::buffered_conn::BufferedConn;
use crate::buffer::{Output, Slice, Transport};

impl Transport for BufferedConn {
    fn next_input(&self) -> Option<Slice> {
        self.next_slice()
    }

    fn put_back(&self, input: Slice) {
        self.read_buffer.borrow_mut().put_back(input);
    }

    fn output(&self) -> RefMut<'_, Output> {
        self.write_buf()
    }

    fn flush(&self) {
        BufferedConn::flush(self);
    }

    fn notify_room(&self) {
        self.write_buffer.borrow_mut().notify_room();
    }
}
