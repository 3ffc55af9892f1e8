//! Heads to header blocks (RFC 7541 section 6).
//!
//! A value goes into the dynamic table when it comes for the second time in a while, so values that never repeat push
//! nothing out. From the third time on it is one byte.

use super::super::bytes::{mix, same};
use super::super::head::{Head, Key, Line};
use super::super::name::Name;
use super::fixed;
use super::huffman;
use super::integer::put;
use super::names;
use super::steady::Steady;
use super::table::{ENTRY_OVERHEAD, Entry, Table};

/// The size of a table before any SETTINGS, and the largest that is used: more would only hold more memory.
const MAX_SIZE: usize = 4096;
/// A string as short as this is not worth the time a Huffman code takes, here and at the peer's. Nor is any that comes
/// with each head: a token of 269 bytes took 5,100 instructions, and its code is a fifth shorter.
const PLAIN_MAX: usize = 15;
/// Places for fields of the table; a field is in one of some that follow each other.
const PLACES: usize = 64;
const WINDOW: usize = 4;
/// Groups of fields that were seen once.
const GROUPS: usize = 8;

/// Bits before the prefix of an integer, and the length of that prefix.
type Pattern = (u8, u32);
const INDEXED: Pattern = (0x80, 7);
const INSERTED: Pattern = (0x40, 6);
const SIZE_UPDATE: Pattern = (0x20, 5);
const NEVER_INDEXED: Pattern = (0x10, 4);
const NOT_INDEXED: Pattern = (0x00, 4);

/// The writing side of a connection.
#[derive(Default)]
pub struct Encoder {
    /// None until a field is worth a look-up.
    lookup: Option<Box<Lookup>>,
    /// How much less than [`MAX_SIZE`] the table may hold.
    less: u16,
    /// The smallest and the last size since the last block.
    update: Option<(u16, u16)>,
}

/// The dynamic table, and where fields are found in it.
struct Lookup {
    table: Table<Mark>,
    /// The numbers of entries modulo 256, which is more than the table can hold, near the places of their hashes.
    places: [u8; PLACES],
    /// Parts of hashes, of the last fields that were not in the table, the newest first.
    seen: [[u16; WINDOW]; GROUPS],
    /// The entries that kinds of heads begin with, by their numbers modulo 256.
    starts: [u8; KINDS],
    /// The entry that was found last, or the kind of head if none was yet.
    last: Last,
    /// The entry that is looked at first: the one that followed last time.
    guess: u8,
    /// Whether the table stays as it is, and would if a head came again.
    steady: Steady,
}

/// Requests, responses, trailers.
const KINDS: usize = 3;

#[derive(Clone, Copy)]
enum Last {
    Start(u8),
    Entry(u8),
}

/// A part of an entry's hash, and the number modulo 256 of the entry that followed it in the last head that had it.
/// Heads repeat, so this one is nearly always the next again, and found without a hash.
#[derive(Clone, Copy, Default)]
struct Mark {
    hash: [u8; 2],
    next: u8,
}

/// The result of looking a field up in the dynamic table.
enum Found {
    /// It stands at this index.
    At(usize),
    /// It was seen once, and stands there now.
    Added,
    Not,
}

impl Encoder {
    /// The number by which heads of this table are kept, if any are.
    pub fn table_number(&self) -> Option<u64> {
        self.lookup.as_ref()?.steady.id()
    }

    /// Gives back the memory of an empty table, and the number by which heads of it were kept, if any were.
    pub fn shrink(&mut self) -> Option<u64> {
        let lookup = self.lookup.take_if(|lookup| lookup.table.is_empty())?;
        lookup.steady.id()
    }

    /// An encoder whose peer has not yet sent settings.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells the peer what is used of it.
    pub fn set_max_table_size(&mut self, size: usize) {
        let size = size.min(MAX_SIZE) as u16;
        let smallest = self.update.map_or(size, |(smallest, _)| smallest.min(size));
        self.update = (self.update.is_some() || size != self.size()).then_some((smallest, size));
    }

    /// Appends the header block of this head to `out`.
    pub fn encode(&mut self, head: &Head, out: &mut Vec<u8>) {
        self.update_size(out);
        // The key and the hash of a head that is not kept, and where its block begins.
        let mut missed = None;
        if head.may_be_kept()
            && let Some(lookup) = &mut self.lookup
            && let Some(table) = lookup.steady.table()
        {
            let key = Key::of_head(table);
            let hash = head.hash(&key);
            if head.recall_block(&key, hash, out) {
                return lookup.steady.hit();
            }
            missed = Some((key, hash, out.len()));
        }
        self.write(head, out);
        if head.may_be_kept() {
            self.end_block(head, missed, out);
        }
    }

    /// Keeps the block of a head, if the table is still as it was when the head was looked for.
    #[inline(never)]
    fn end_block(&mut self, head: &Head, missed: Option<(Key, u64, usize)>, out: &[u8]) {
        let Some(lookup) = &mut self.lookup else {
            return;
        };
        if let Some((key, hash, start)) = missed
            && lookup.steady.is_steady()
        {
            head.remember_block(&key, &out[start..], hash);
        }
        lookup.steady.end();
    }

    /// Writes field by field.
    #[inline(always)]
    fn write(&mut self, head: &Head, out: &mut Vec<u8>) {
        if let Some(lookup) = &mut self.lookup {
            lookup.start(if head.status().is_some() { 1 } else { 2 * u8::from(head.method().is_none()) });
        }
        if let Some(status) = head.status() {
            self.status(status, out);
        }
        if let Some(method) = head.method() {
            match method {
                b"POST" => out.push(0x83),
                b"GET" => out.push(0x82),
                _ => self.pseudo(Name::METHOD, method, out),
            }
        }
        if let Some(scheme) = head.scheme() {
            match scheme {
                b"http" => out.push(0x86),
                b"https" => out.push(0x87),
                _ => self.pseudo(Name::SCHEME, scheme, out),
            }
        }
        if let Some(authority) = head.authority() {
            self.pseudo(Name::AUTHORITY, authority, out);
        }
        if let Some(path) = head.path() {
            match path {
                b"/" => out.push(0x84),
                _ => self.pseudo(Name::PATH, path, out),
            }
        }
        for line in head.lines() {
            self.field(line, out);
        }
    }

    fn size(&self) -> u16 {
        MAX_SIZE as u16 - self.less
    }

    fn update_size(&mut self, out: &mut Vec<u8>) {
        let Some((smallest, last)) = self.update.take() else {
            return;
        };
        let sizes = if smallest < last { &[smallest, last][..] } else { &[last] };
        for size in sizes {
            put(out, SIZE_UPDATE.0, SIZE_UPDATE.1, usize::from(*size));
            if let Some(lookup) = &mut self.lookup {
                lookup.table.set_max_size(usize::from(*size));
                lookup.steady.changed();
            }
        }
        self.less = MAX_SIZE as u16 - last;
    }

    fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits =
                    [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
                return self.pseudo(Name::STATUS, &digits, out);
            }
        };
        put(out, INDEXED.0, INDEXED.1, index);
    }

    fn pseudo(&mut self, name: Name, value: &[u8], out: &mut Vec<u8>) {
        self.field(Line { name, name_length: 0, bytes: value, sensitive: false }, out);
    }

    #[inline(always)]
    fn field(&mut self, line: Line<'_>, out: &mut Vec<u8>) {
        if !line.sensitive
            && let Some(lookup) = &mut self.lookup
            && let Some(index) = lookup.guess(line)
            && index < 0x7f
        {
            out.push(INDEXED.0 | index as u8);
        } else {
            self.other_field(line, out);
        }
    }

    /// As [`Encoder::field`], for a field that did not follow the last one before.
    #[inline(never)]
    fn other_field(&mut self, line: Line<'_>, out: &mut Vec<u8>) {
        if line.sensitive {
            return literal(NEVER_INDEXED, line, out);
        }
        let length = line.name.as_bytes().len() + line.bytes.len() + ENTRY_OVERHEAD;
        let size = usize::from(self.size());
        if hardly_repeats(line) || length > size / 2 {
            return literal(NOT_INDEXED, line, out);
        }
        let lookup = match &mut self.lookup {
            Some(lookup) => lookup,
            none => none.insert(Lookup::new(size)),
        };
        match lookup.find(line) {
            Found::At(index) => put(out, INDEXED.0, INDEXED.1, index),
            Found::Added => literal(INSERTED, line, out),
            Found::Not => literal(NOT_INDEXED, line, out),
        }
    }

    /// The memory it holds on the heap.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.lookup.as_ref().map_or(0, |lookup| size_of::<Lookup>() + lookup.table.memory())
    }
}

impl Lookup {
    fn new(size: usize) -> Box<Lookup> {
        // An entry of this number would be older than any that the table can hold.
        let none = u8::MAX / 2;
        Box::new(Lookup {
            table: Table::new(size),
            places: [none; PLACES],
            seen: [[0; WINDOW]; GROUPS],
            starts: [none; KINDS],
            last: Last::Start(0),
            guess: none,
            steady: Steady::default(),
        })
    }

    /// Begins a head of this kind.
    fn start(&mut self, kind: u8) {
        self.last = Last::Start(kind);
        self.guess = self.starts[usize::from(kind) % KINDS];
    }

    /// The index of a field, if it is the one that followed the last one before.
    #[inline(always)]
    fn guess(&mut self, line: Line<'_>) -> Option<usize> {
        let age = self.age(self.guess);
        let entry = self.table.get(age)?;
        if !is_entry(&entry, line) {
            return None;
        }
        self.last = Last::Entry(self.guess);
        self.guess = entry.mark.next;
        Some(fixed::COUNT + 1 + age)
    }

    fn find(&mut self, line: Line<'_>) -> Found {
        let hash = hash(line);
        let first = hash as usize % PLACES;
        for at in 0..WINDOW {
            let number = self.places[(first + at) % PLACES];
            let age = self.age(number);
            if let Some(entry) = self.table.get(age)
                && entry.mark.hash == part(hash)
                && is_entry(&entry, line)
            {
                let next = entry.mark.next;
                self.follow(number, next);
                return Found::At(fixed::COUNT + 1 + age);
            }
        }
        self.miss(line, hash)
    }

    fn miss(&mut self, line: Line<'_>, hash: u32) -> Found {
        self.steady.changed();
        if !self.was_seen(hash) {
            return Found::Not;
        }
        let window = (0..WINDOW).map(|at| (hash as usize + at) % PLACES);
        if let Some(oldest) = window.max_by_key(|place| self.age(self.places[*place])) {
            let number = self.table.added();
            self.places[oldest] = number;
            let (other, value) = line.bytes.split_at(line.name_length);
            // Fields that come together for the first time follow each other in the table, too.
            let next = number.wrapping_add(1);
            self.table.insert(line.name, other, value, Mark { hash: part(hash), next });
            self.follow(number, next);
        }
        Found::Added
    }

    /// Notes that this entry came now, and which one came after it before.
    fn follow(&mut self, number: u8, next: u8) {
        match self.last {
            Last::Start(kind) => self.starts[usize::from(kind) % KINDS] = number,
            Last::Entry(last) => {
                let age = self.age(last);
                if let Some(mark) = self.table.mark_mut(age) {
                    mark.next = number;
                }
            }
        }
        self.last = Last::Entry(number);
        self.guess = next;
    }

    /// How many entries were added after the one with this number: its index, if it is still in the table.
    #[inline]
    fn age(&self, number: u8) -> usize {
        usize::from(self.table.added().wrapping_sub(number).wrapping_sub(1))
    }

    /// Whether a field with this hash came before; if it did not, it has come now.
    fn was_seen(&mut self, hash: u32) -> bool {
        let group = &mut self.seen[(hash >> 16) as usize % GROUPS];
        let part = (hash >> 19) as u16 | 1; // 0 is no field
        if let Some(seen) = group.iter_mut().find(|seen| **seen == part) {
            *seen = 0;
            return true;
        }
        group.rotate_right(1);
        group[0] = part;
        false
    }
}

#[inline(always)]
fn is_entry(entry: &Entry<'_, Mark>, line: Line<'_>) -> bool {
    entry.name == line.name
        && entry.name_length == line.name_length
        && entry.length == line.bytes.len()
        && same(&entry.bytes[..entry.length], line.bytes)
}

/// Fields that are not looked up, as they are hardly ever sent again with the same value.
fn hardly_repeats(line: Line<'_>) -> bool {
    let is_message = line.name == Name::GRPC_MESSAGE && !line.bytes.is_empty();
    is_message
        || matches!(
            line.name,
            Name::GRPC_TIMEOUT
                | Name::GRPC_STATUS_DETAILS_BIN
                | Name::GRPC_TRACE_BIN
                | Name::TRACEPARENT
                | Name::X_REQUEST_ID
                | Name::X_REQUEST_TIMEOUT
                | Name::X_RINGWAY_TIMING
                | Name::SERVER_TIMING
                | Name::CONTENT_LENGTH
                | Name::ETAG
                | Name::AGE
        )
}

fn literal(pattern: Pattern, line: Line<'_>, out: &mut Vec<u8>) {
    let (other, value) = line.bytes.split_at(line.name_length);
    let is_kept = pattern == INSERTED;
    match line.name.static_index() {
        Some(index) => put(out, pattern.0, pattern.1, usize::from(index)),
        None => {
            out.push(pattern.0);
            match line.name {
                Name::OTHER => string(other, is_kept, out),
                known => names::append(known, out),
            }
        }
    }
    string(value, is_kept, out);
}

/// `is_kept`: it goes into the table, and comes as its number from then on.
fn string(text: &[u8], is_kept: bool, out: &mut Vec<u8>) {
    if is_kept && text.len() > PLAIN_MAX {
        let length = huffman::encoded_length(text);
        if length < text.len() {
            put(out, 0x80, 7, length);
            return huffman::encode(text, out);
        }
    }
    put(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// The part of a hash that stands beside an entry.
fn part(hash: u32) -> [u8; 2] {
    ((hash >> 8) as u16).to_le_bytes()
}

/// Of the name, the value, and their lengths; of long ones, of the start, the middle and the end.
fn hash(line: Line<'_>) -> u32 {
    let (other, value) = line.bytes.split_at(line.name_length);
    let mut all = line.name.number() as u64;
    if !other.is_empty() {
        all = mix(all, other);
    }
    (mix(all, value) >> 32) as u32
}
