//! Header blocks to heads (RFC 7541 sections 3 and 6).

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
use super::steady::Steady;
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
    /// Whether the table stays as it is.
    steady: Steady,
}

impl Decoder {
    /// The number by which heads of this table are kept, if any are.
    pub fn table_number(&self) -> Option<u64> {
        self.steady.id()
    }

    /// A table whose size the peer may set up to `max_table_size`, our SETTINGS_HEADER_TABLE_SIZE (at most 65,536).
    ///
    /// The table has 4,096 bytes until the peer says something else.
    pub fn new(max_table_size: usize) -> Decoder {
        Decoder {
            table: Table::new(INITIAL_SIZE),
            max_table_size: max_table_size as u32,
            steady: Steady::default(),
        }
    }

    /// Gives back memory that the table does not need as it is.
    pub fn shrink(&mut self) {
        self.table.shrink();
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
        let key = self.steady.table().map(|table| Key::of_block(table, kind as u8, limits.pair()));
        let hash = key.as_ref().and_then(|key| key.hash(block));
        if let (Some(key), Some(hash)) = (&key, hash)
            && head.recall(key, block, hash)
        {
            self.steady.hit();
            return Ok(Verdict::Good);
        }
        let verdict = self.read(block, kind, limits, head)?;
        if let (Some(key), Some(hash)) = (&key, hash)
            && verdict == Verdict::Good
            && self.steady.is_steady()
        {
            head.remember(key, block, hash);
        }
        self.steady.end();
        Ok(verdict)
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
            self.steady.changed();
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
            self.steady.changed();
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
