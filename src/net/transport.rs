//! A pipe as an engine of ours sees it.

use std::cell::RefMut;

use super::pipe::Pipe;
use crate::buffer::{Output, Slice, Transport};

impl Transport for Pipe {
    fn next_input(&self) -> Option<Slice> {
        self.next_slice()
    }

    fn put_back(&self, input: Slice) {
        self.inward.borrow_mut().put_back(input);
    }

    fn output(&self) -> RefMut<'_, Output> {
        self.stage()
    }

    fn flush(&self) {
        Pipe::flush(self);
    }

    fn notify_room(&self) {
        self.outward.borrow_mut().notify_room();
    }
}
