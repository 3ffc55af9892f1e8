//! Header blocks to heads (RFC 7541 sections 3 and 6).

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::bytes::append_start;
use super::super::head::{Head, Key};
use super::super::name::Name;
use super::check;
use super::error::{HpackError, Malformed, Verdict};
use super::fixed;
use super::huffman;
use super::integer::Input;
use super::names;
use super::pass::{Kind, Last, Limits, Pass};
use super::table::Table;

/// The size of a table before any SETTINGS.
const INITIAL_SIZE: usize = 4096;
/// Updates of the size at the start of a block (RFC 7541 section 4.2).
const SIZE_UPDATES_MAX: u32 = 2;

/// The reading side of a connection: its dynamic table.
pub struct Decoder {
    /// An entry's mark is the rule that it breaks by itself.
    table: Table<Option<Malformed>>,
    max_table_size: u32,
    /// Blocks in a row whose heads were not kept.
    misses: u32,
    /// The number that the table has as it is, or one of the two below.
    state: u64,
}

/// The table has no number yet. It gets one with the first block that does not change it.
const UNKNOWN: u64 = 0;
/// This block has changed the table.
const CHANGED: u64 = 1;
/// Blocks in a row that are looked for. After those, it is some at the start of each period: a head is kept when its
/// block comes for the second time.
const MISSES_MAX: u32 = 8;
const MISSES_PERIOD: u32 = 64;
const MISSES_TRIED: u32 = 4;
/// Numbers of tables. No two are equal, so one stands for a connection and the entries that it has.
static STATES: AtomicU64 = AtomicU64::new(CHANGED + 1);

impl Decoder {
    /// A table whose size the peer may set up to `max_table_size`, our SETTINGS_HEADER_TABLE_SIZE (at most 65,536).
    ///
    /// The table has 4,096 bytes until the peer says something else.
    pub fn new(max_table_size: usize) -> Decoder {
        Decoder {
            table: Table::new(INITIAL_SIZE),
            max_table_size: max_table_size as u32,
            misses: 0,
            state: UNKNOWN,
        }
    }

    /// Reads a whole header block into `head`, which has to be empty. After a verdict other than `Good` the head
    /// holds the fields before the fault.
    ///
    /// # Errors
    /// When the block cannot be read; then no later block of the connection can be read either.
    pub fn decode(
        &mut self,
        block: &[u8],
        kind: Kind,
        limits: Limits,
        head: &mut Head,
    ) -> Result<Verdict, HpackError> {
        if self.state <= CHANGED {
            self.state = UNKNOWN;
            let verdict = self.read(block, kind, limits, head)?;
            if self.state == UNKNOWN {
                self.state = STATES.fetch_add(1, Ordering::Relaxed);
                self.misses = 0;
            }
            return Ok(verdict);
        }
        let key = Key { table: self.state, kind: kind as u8, limits: (limits.list_size, limits.fields) };
        let hash = if self.may_repeat() { key.hash(block) } else { None };
        if let Some(hash) = hash
            && head.recall(key, block, hash)
        {
            self.misses = 0;
            return Ok(Verdict::Good);
        }
        self.misses = self.misses.wrapping_add(1);
        let verdict = self.read(block, kind, limits, head)?;
        if let Some(hash) = hash
            && verdict == Verdict::Good
            && self.state == key.table
        {
            head.remember(key, block, hash);
        }
        Ok(verdict)
    }

    /// Whether a look for a kept head may be worth its time: peers whose blocks all differ are asked seldom.
    fn may_repeat(&self) -> bool {
        self.misses < MISSES_MAX || self.misses % MISSES_PERIOD < MISSES_TRIED
    }

    fn read(
        &mut self,
        block: &[u8],
        kind: Kind,
        limits: Limits,
        head: &mut Head,
    ) -> Result<Verdict, HpackError> {
        let mut input = Input(block);
        self.update_size(&mut input)?;
        let mut pass = Pass::new(kind, limits, head);
        while let Some(first) = input.peek() {
            match first {
                0x80.. => self.indexed(input.integer(7)?, &mut pass)?,
                0x40.. => self.literal(&mut input, 6, true, false, &mut pass)?,
                0x20.. => return Err(HpackError::TableSize),
                0x10.. => self.literal(&mut input, 4, false, true, &mut pass)?,
                _ => self.literal(&mut input, 4, false, false, &mut pass)?,
            }
        }
        Ok(pass.end())
    }

    fn update_size(&mut self, input: &mut Input<'_>) -> Result<(), HpackError> {
        for _ in 0..SIZE_UPDATES_MAX {
            if !matches!(input.peek(), Some(0x20..0x40)) {
                return Ok(());
            }
            let size = input.integer(5)?;
            if size > self.max_table_size as usize {
                return Err(HpackError::TableSize);
            }
            self.table.set_max_size(size);
            self.state = CHANGED;
        }
        Ok(())
    }

    /// A field that stands in a table. Nothing is read of one that would not be stored.
    #[inline(always)]
    fn indexed(&self, index: usize, pass: &mut Pass<'_>) -> Result<(), HpackError> {
        let (name, name_length, length, bytes, fault) = match index.checked_sub(fixed::COUNT + 1) {
            Some(at) => {
                let entry = self.table.get(at).ok_or(HpackError::Index)?;
                (entry.name, entry.name_length, entry.length, entry.bytes, entry.mark)
            }
            None => {
                let entry = fixed::get(index).ok_or(HpackError::Index)?;
                (entry.name, 0, entry.length(), &entry.bytes[..], entry.fault)
            }
        };
        if !pass.is_over() {
            let start = pass.head.bytes().len() as u32;
            append_start(pass.head.bytes(), bytes, length);
            pass.field(Last { name, start, name_length, length, sensitive: false, fault });
        }
        Ok(())
    }

    /// A field of which at least the value is in the block. Its bytes go to the end of the head's in any case, from
    /// where the table takes them.
    fn literal(
        &mut self,
        input: &mut Input<'_>,
        prefix: u32,
        insert: bool,
        sensitive: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(), HpackError> {
        let index = input.integer(prefix)?;
        let bytes = pass.head.bytes();
        let start = bytes.len();
        let name = if index == 0 { literal_name(input, bytes)? } else { self.indexed_name(index, bytes)? };
        let name_length = bytes.len() - start;
        let (value, is_huffman) = input.string()?;
        append(value, is_huffman, bytes)?;
        let (other, value) = bytes[start..].split_at(name_length);
        let fault = check::fault(name, other, value);
        if insert {
            self.table.insert(name, other, value, fault);
            self.state = CHANGED;
        }
        let length = bytes.len() - start;
        pass.field(Last { name, start: start as u32, name_length, length, sensitive, fault });
        Ok(())
    }

    /// The name of an entry, whose bytes are appended if it has no number.
    fn indexed_name(&self, index: usize, bytes: &mut Vec<u8>) -> Result<Name, HpackError> {
        if let Some(entry) = fixed::get(index) {
            return Ok(entry.name);
        }
        let entry = self.table.get(index.wrapping_sub(fixed::COUNT + 1)).ok_or(HpackError::Index)?;
        bytes.extend_from_slice(&entry.bytes[..entry.name_length]);
        Ok(entry.name)
    }

    /// The memory it holds on the heap.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.table.memory()
    }

    /// The entries of the dynamic table from the newest on, and its size.
    #[cfg(test)]
    pub(super) fn entries(&self) -> (Vec<(String, String)>, usize) {
        let entries = (0..self.table.len()).filter_map(|at| self.table.get(at)).map(|entry| {
            let (other, value) = entry.bytes[..entry.length].split_at(entry.name_length);
            let name = if entry.name == Name::OTHER { other } else { entry.name.as_bytes() };
            (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
        });
        (entries.collect(), self.table.size())
    }
}

/// A name in the block, whose bytes are appended if it has no number.
fn literal_name(input: &mut Input<'_>, bytes: &mut Vec<u8>) -> Result<Name, HpackError> {
    let (text, is_huffman) = input.string()?;
    if !is_huffman {
        let name = Name::of(text);
        if name == Name::OTHER {
            bytes.extend_from_slice(text);
        }
        return Ok(name);
    }
    if let Some(name) = names::of_code(text) {
        return Ok(name);
    }
    let start = bytes.len();
    huffman::decode(text, bytes)?;
    // A name that has a number has one code alone.
    debug_assert_eq!(Name::of(&bytes[start..]), Name::OTHER, "its code is known");
    Ok(Name::OTHER)
}

fn append(text: &[u8], is_huffman: bool, bytes: &mut Vec<u8>) -> Result<(), HpackError> {
    if is_huffman {
        return huffman::decode(text, bytes);
    }
    bytes.extend_from_slice(text);
    Ok(())
}
