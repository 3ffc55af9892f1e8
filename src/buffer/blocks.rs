//! Memory for messages that a worker writes itself, used again once nobody refers to them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::slice::Slice;

/// How much memory is kept: blocks, and bytes of a block.
const KEPT_MAX: usize = 64;
const KEPT_BYTES_MAX: usize = 4096;

/// Blocks that are looked at for a free one. They become free nearly in the order in which they were written.
const LOOKED_AT: usize = 4;

/// The blocks of one worker.
#[derive(Default)]
pub struct Blocks {
    /// Free as soon as nobody else refers to them.
    kept: RefCell<VecDeque<Rc<Vec<u8>>>>,
}

impl Blocks {
    /// Gives `write` an empty block, and returns all that it has appended.
    ///
    /// # Errors
    /// When `write` fails; what it has written is forgotten.
    ///
    /// # Panics
    /// When it has written 4 GiB.
    pub fn write<E>(&self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Slice, E> {
        let mut block = self.free();
        let bytes = Rc::get_mut(&mut block).expect("nobody else refers to a free block");
        bytes.clear();
        let written = write(bytes);
        let slice = written.map(|()| Slice::of_block(Rc::clone(&block)));
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX && block.capacity() <= KEPT_BYTES_MAX {
            kept.push_back(block);
        }
        slice
    }

    fn free(&self) -> Rc<Vec<u8>> {
        let mut kept = self.kept.borrow_mut();
        for _ in 0..LOOKED_AT.min(kept.len()) {
            let block = kept.pop_front().expect("there are so many");
            if Rc::strong_count(&block) == 1 {
                return block;
            }
            kept.push_back(block);
        }
        Rc::default()
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("kept", &self.kept.borrow().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(blocks: &Blocks, bytes: &[u8]) -> Slice {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(bytes);
            Ok::<(), ()>(())
        };
        blocks.write(write).expect("it writes")
    }

    #[test]
    fn a_block_is_written_again_once_nobody_refers_to_it() {
        let blocks = Blocks::default();
        let first = written(&blocks, b"first");
        let place = first.as_ptr();
        let part = first.part(1, 3);
        drop(first);
        let second = written(&blocks, b"second");
        assert_ne!(second.as_ptr(), place);
        assert_eq!((&*part, &*second), (&b"ir"[..], &b"second"[..]));
        drop(part);
        let third = written(&blocks, b"3rd");
        assert_eq!((&*third, third.as_ptr()), (&b"3rd"[..], place));
    }

    #[test]
    fn what_fails_and_what_is_large_is_not_kept() {
        let blocks = Blocks::default();
        let failed = blocks.write(|out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed.err(), Some("no"));
        assert_eq!(&*written(&blocks, b""), b"");
        assert_eq!(blocks.kept.borrow().len(), 1);
        let large = written(&blocks, &[7; KEPT_BYTES_MAX + 1]);
        assert_eq!((large.len(), blocks.kept.borrow().len()), (KEPT_BYTES_MAX + 1, 0));
        let many: Vec<Slice> = (0..2 * KEPT_MAX).map(|_| written(&blocks, b"x")).collect();
        assert_eq!((many.len(), blocks.kept.borrow().len()), (2 * KEPT_MAX, KEPT_MAX));
    }
}
