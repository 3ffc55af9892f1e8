//! A dynamic table (RFC 7541 section 2.3.2): bytes in one piece of memory, and what is where.

use super::super::bytes::STEP;
use super::super::name::Name;

/// Bytes that each entry counts beyond its own (RFC 7541 section 4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;
/// The largest size of a table, so that 16 bits hold the length of a value.
pub(super) const MAX_SIZE: usize = 65_536;
/// The memory that a table begins with.
const FIRST_BYTES: usize = 64;
const FIRST_ENTRIES: usize = 4;

/// Entries from the newest, which has index 0, each with a mark of its user's.
pub(super) struct Table<Mark> {
    /// Entries in their order, and [`STEP`] bytes behind them. Those evicted leave a gap at the start.
    bytes: Vec<u8>,
    /// Where the last entry ends.
    used: u32,
    /// As many as a power of two; an entry's place is its number modulo that.
    entries: Vec<Stored<Mark>>,
    /// The number of the next entry.
    next: u32,
    count: u32,
    size: u32,
    max_size: u32,
}

#[derive(Clone, Copy, Default)]
struct Stored<Mark> {
    start: u32,
    name_length: u16,
    value_length: u16,
    name: Name,
    mark: Mark,
}

/// An entry as it is read.
pub(super) struct Entry<'a, Mark> {
    pub(super) name: Name,
    /// The length of the name if it has no number; else 0.
    pub(super) name_length: usize,
    /// The length of the name if it has no number, and of the value.
    pub(super) length: usize,
    /// The name if it has no number, the value, and more.
    pub(super) bytes: &'a [u8],
    pub(super) mark: Mark,
}

impl<Mark: Copy + Default> Table<Mark> {
    pub(super) fn new(max_size: usize) -> Table<Mark> {
        let max_size = max_size.min(MAX_SIZE) as u32;
        Table { bytes: Vec::new(), used: 0, entries: Vec::new(), next: 0, count: 0, size: 0, max_size }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// The entry with this index, from the newest on.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<Entry<'_, Mark>> {
        if index >= self.count as usize {
            return None;
        }
        let stored = self.entries.get(self.place(self.next.wrapping_sub(index as u32 + 1)))?;
        let name_length = usize::from(stored.name_length);
        let length = name_length + usize::from(stored.value_length);
        let bytes = self.bytes.get(stored.start as usize..)?;
        Some(Entry { name: stored.name, name_length, length, bytes, mark: stored.mark })
    }

    /// The mark of the entry with this index.
    pub(super) fn mark_mut(&mut self, index: usize) -> Option<&mut Mark> {
        if index >= self.count as usize {
            return None;
        }
        let place = self.place(self.next.wrapping_sub(index as u32 + 1));
        self.entries.get_mut(place).map(|stored| &mut stored.mark)
    }

    /// How many entries were ever added, modulo 256.
    #[inline]
    pub(super) fn added(&self) -> u8 {
        self.next as u8
    }

    fn place(&self, number: u32) -> usize {
        number as usize & self.entries.len().wrapping_sub(1)
    }

    /// Changes the size, and evicts what does not fit any more.
    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size.min(MAX_SIZE) as u32;
        self.evict(self.max_size);
    }

    /// Adds an entry, and evicts what does not fit any more. One larger than the table empties it, and is not added.
    ///
    /// `other` is the name if it has no number.
    pub(super) fn insert(&mut self, name: Name, other: &[u8], value: &[u8], mark: Mark) -> bool {
        let length = other.len() + value.len();
        let size = name.as_bytes().len() + length + ENTRY_OVERHEAD;
        if size > self.max_size as usize {
            self.evict(0);
            return false;
        }
        self.evict(self.max_size - size as u32);
        self.make_room(length);
        let place = self.place(self.next);
        self.entries[place] = Stored {
            start: self.used,
            name_length: other.len() as u16,
            value_length: value.len() as u16,
            name,
            mark,
        };
        self.bytes.truncate(self.used as usize);
        self.bytes.extend_from_slice(other);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(&[0; STEP]);
        self.used += length as u32;
        self.next = self.next.wrapping_add(1);
        self.count += 1;
        self.size += size as u32;
        true
    }

    /// Where the oldest entry is.
    fn oldest(&self) -> usize {
        self.place(self.next.wrapping_sub(self.count))
    }

    /// Evicts the oldest until at most `size` is left.
    fn evict(&mut self, size: u32) {
        while self.size > size {
            let oldest = self.entries[self.oldest()];
            let length = usize::from(oldest.name_length) + usize::from(oldest.value_length);
            self.size -= (oldest.name.as_bytes().len() + length + ENTRY_OVERHEAD) as u32;
            self.count -= 1;
        }
        if self.count == 0 {
            self.used = 0;
        }
    }

    /// Makes room for one more entry.
    fn make_room(&mut self, length: usize) {
        if self.used as usize + length + STEP > self.bytes.capacity() {
            self.make_bytes(length);
        }
        if self.count as usize == self.entries.len() {
            let length = (self.entries.len() * 2).max(FIRST_ENTRIES);
            let mut entries = vec![Stored::default(); length];
            for age in 1..=self.count {
                let number = self.next.wrapping_sub(age);
                entries[number as usize & (length - 1)] = self.entries[self.place(number)];
            }
            self.entries = entries;
        }
    }

    /// Makes room for `length` more bytes: closes the gap at the start if that frees a quarter of the memory, so that
    /// few bytes are moved for each that comes, else takes twice the memory.
    fn make_bytes(&mut self, length: usize) {
        let capacity = self.bytes.capacity();
        let gap = if self.count == 0 { self.used } else { self.entries[self.oldest()].start };
        self.bytes.truncate(self.used as usize);
        self.bytes.copy_within((gap as usize).., 0);
        self.used -= gap;
        self.bytes.truncate(self.used as usize);
        for age in 1..=self.count {
            let place = self.place(self.next.wrapping_sub(age));
            self.entries[place].start -= gap;
        }
        let needed = self.bytes.len() + length + STEP;
        if needed > capacity / 4 * 3 {
            let more = needed.max(capacity * 2).max(FIRST_BYTES) - self.bytes.len();
            self.bytes.reserve_exact(more);
        }
    }

    /// Gives back memory for bytes that it does not have.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The memory it holds on the heap.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Stored<Mark>>()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::random::Random;

    fn values(table: &Table<u8>) -> Vec<Vec<u8>> {
        (0..table.len())
            .map(|at| table.get(at).unwrap())
            .map(|entry| entry.bytes[..entry.length].to_vec())
            .collect()
    }

    #[test]
    fn the_oldest_go_first() {
        let mut table = Table::new(3 * (32 + 4 + 2));
        for value in [b"aa", b"bb", b"cc", b"dd"] {
            assert!(table.insert(Name::DATE, b"", value, 0));
        }
        assert_eq!(values(&table), [b"dd", b"cc", b"bb"]);
        table.set_max_size(2 * 38);
        assert_eq!(values(&table), [b"dd", b"cc"]);
        assert!(!table.insert(Name::DATE, b"", &[b'x'; 41], 0));
        assert_eq!((table.len(), table.size()), (0, 0));
        assert!(table.insert(Name::DATE, b"", &[b'x'; 40], 0));
        table.set_max_size(0);
        assert_eq!((table.len(), table.size()), (0, 0));
        assert!(table.get(0).is_none() && table.get(usize::MAX - 1).is_none());
    }

    #[test]
    fn a_table_is_what_a_list_would_be() {
        let mut random = Random::seeded(5);
        let mut table = Table::new(1000);
        let mut list: VecDeque<(Name, Vec<u8>, u8)> = VecDeque::new();
        for step in 0..20_000 {
            let name = if random.below(2) == 0 { Name::OTHER } else { Name::COOKIE };
            let bytes: Vec<u8> = (0..2 + random.below(90)).map(|_| random.bits() as u8).collect();
            let name_length = if name == Name::OTHER { 2 } else { 0 };
            table.insert(name, &bytes[..name_length], &bytes[name_length..], step as u8);
            list.push_front((name, bytes, step as u8));
            let size = |list: &VecDeque<(Name, Vec<u8>, u8)>| {
                list.iter().map(|(name, bytes, _)| name.as_bytes().len() + bytes.len() + 32).sum::<usize>()
            };
            while size(&list) > 1000 {
                list.pop_back();
            }
            assert_eq!((table.len(), table.size()), (list.len(), size(&list)));
            let at = random.below(list.len() as u32) as usize;
            let entry = table.get(at).unwrap();
            let bytes = &entry.bytes[..entry.length];
            assert_eq!((entry.name, bytes, entry.mark), (list[at].0, &list[at].1[..], list[at].2));
            assert!(table.get(list.len()).is_none());
        }
        assert!(table.memory() <= 2048 + 32 * 12, "{}", table.memory());
    }
}
