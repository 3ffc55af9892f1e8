//! JSON into the wire bytes of a message, in one pass.
//!
//! No tree is built: each value is written as soon as it is read, and strings are copied once. Nothing is allocated
//! while `out` has room, but for a message of more than 256 fields (to know which were there) and for names, numbers
//! and dates that are written with escapes. Time is linear in the text. [`read::output`](self::output) says what lengths cost.
//!
//! Stricter than some other readers: a field may be there only once, by whichever of its names, and a oneof too.

mod base64;
mod error;
mod lexer;
pub mod mask;
mod number;
pub(super) mod output;
pub(super) mod plain;
mod scalar;
mod times;
pub(super) mod well_known;

pub use self::error::ReadError;
use self::lexer::{Lexer, Text};
pub(super) use self::lexer::{end_of_plain, shortened};
use self::output::Output;
use super::plan::{Cardinality, Field, Kind, Message, MessageId, Schema, Shape};

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Passes over fields that the message does not have, and over names that an enum does not have.
    pub ignore_unknown_fields: bool,
}

/// Appends the message that `json` is. After an error `out` is as it was.
pub fn read(
    schema: &Schema,
    id: MessageId,
    json: &[u8],
    options: ReadOptions,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    all(schema, json, options, out, |reader| reader.message(id))
}

/// Appends one field, with its tag, whose value `json` is: of a repeated field an array, of a map an object. `null` is
/// an absent field. After an error `out` is as it was.
pub fn read_field(
    schema: &Schema,
    field: &Field,
    json: &[u8],
    options: ReadOptions,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    all(schema, json, options, out, |reader| reader.field(field).map(drop))
}

/// Runs `value` over all of the text.
fn all(
    schema: &Schema,
    json: &[u8],
    options: ReadOptions,
    out: &mut Vec<u8>,
    value: impl FnOnce(&mut Reader<'_, '_, '_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let json = std::str::from_utf8(json).map_err(|error| ReadError::new(error.valid_up_to(), "not UTF-8"))?;
    let length = out.len();
    let mut reader =
        Reader { schema, options, lexer: Lexer::new(json), out: Output::new(out), late_types: 0 };
    let result = value(&mut reader).and_then(|()| reader.lexer.end());
    if result.is_err() {
        out.truncate(length);
    }
    result
}

struct Reader<'s, 'j, 'o> {
    schema: &'s Schema,
    options: ReadOptions,
    lexer: Lexer<'j>,
    out: Output<'o>,
    /// How many `Any`s we are in whose type did not come first.
    late_types: u32,
}

/// The target of a key in an object.
enum Key {
    /// The field with this index.
    Field(usize),
    /// The type of an `Any`.
    Type,
    /// Nothing that the message has.
    Unknown,
}

impl<'s, 'j> Reader<'s, 'j, '_> {
    /// The bytes of a message, whatever it is in JSON.
    fn message(&mut self, id: MessageId) -> Result<(), ReadError> {
        let message = self.schema.message(id);
        match message.shape() {
            Shape::Plain | Shape::Empty => {
                if self.lexer.open(b'{')? {
                    self.members(message, false)?;
                }
                Ok(())
            }
            shape => self.well_known(shape),
        }
    }

    /// The members of an object up to its end. In an `Any` one of them is its type, which has been read.
    fn members(&mut self, message: &'s Message, is_any: bool) -> Result<(), ReadError> {
        let fields = message.fields();
        let mut seen = Set::of(fields.len());
        let mut oneofs = Set::of(usize::from(message.oneof_count()));
        let mut has_type = false;
        // Fields mostly come in their order.
        let mut next = 0;
        loop {
            let at = self.lexer.at();
            let key = match fields.get(next) {
                Some(field) if self.lexer.take(&field.json_key) => Key::Field(next),
                _ => self.key(message, is_any)?,
            };
            match key {
                Key::Field(index) => {
                    let field = &fields[index];
                    if !seen.insert(index) {
                        return Err(ReadError::new(at, format!("field {} is there twice", name(field))));
                    }
                    let is_set = self.field(field)?;
                    if is_set && field.oneof.is_some_and(|oneof| !oneofs.insert(usize::from(oneof))) {
                        let reason = format!("field {}: another of its oneof is there", name(field));
                        return Err(ReadError::new(at, reason));
                    }
                    next = index + 1;
                }
                Key::Type if has_type => return Err(ReadError::new(at, "`@type` is there twice")),
                Key::Type => {
                    has_type = true;
                    self.lexer.skip()?;
                }
                Key::Unknown => self.lexer.skip()?,
            }
            if !self.lexer.another(b'}')? {
                return Ok(());
            }
        }
    }

    /// Takes a key, with its colon, that is not the next field's.
    fn key(&mut self, message: &Message, is_any: bool) -> Result<Key, ReadError> {
        let text = self.lexer.string("a key")?;
        let name = text.characters()?;
        self.lexer.colon()?;
        if is_any && name == "@type" {
            return Ok(Key::Type);
        }
        match message.by_name(&name) {
            Some(index) => Ok(Key::Field(index)),
            None if self.options.ignore_unknown_fields => Ok(Key::Unknown),
            None => Err(text.fault(format!("unknown field `{}` in {}", shortened(&name), message.name()))),
        }
    }

    /// A field with its tag. Says whether there is any: `null` is none.
    fn field(&mut self, field: &Field) -> Result<bool, ReadError> {
        if self.lexer.peek() == b'n' && !self.takes_null(field) {
            self.lexer.word("null", "a value")?;
            return Ok(false);
        }
        match field.cardinality {
            Cardinality::Singular { .. } => self.single(field),
            Cardinality::Repeated { is_packed } => self.list(field, is_packed).map(|()| true),
            Cardinality::Map { key } => self.map(field, key).map(|()| true),
        }
    }

    /// Is `null` a value of the field, not its absence?
    fn takes_null(&self, field: &Field) -> bool {
        let is_singular = matches!(field.cardinality, Cardinality::Singular { .. });
        is_singular
            && match field.kind {
                Kind::Enum(id) => self.schema.enumeration(id).is_null(),
                Kind::Message(id) => self.schema.message(id).shape() == Shape::Value,
                _ => false,
            }
    }

    /// Reads a value, and writes its tag before it. False if there is none: an unknown name of an enum may be none.
    fn single(&mut self, field: &Field) -> Result<bool, ReadError> {
        let before = self.out.mark();
        self.out.tag(&field.tag);
        let is_set = self.value(field)?;
        if !is_set {
            self.out.forget(before);
        }
        Ok(is_set)
    }

    /// Reads a value, as it stands behind its tag.
    #[inline]
    fn value(&mut self, field: &Field) -> Result<bool, ReadError> {
        match field.kind {
            Kind::Message(id) => {
                let open = self.out.begin();
                self.message(id)?;
                self.out.end(open);
            }
            Kind::Group(id) => {
                self.message(id)?;
                self.out.tag(&field.end_tag);
            }
            Kind::Enum(id) => return self.enumeration(id),
            kind => self.scalar(kind)?,
        }
        Ok(true)
    }

    fn list(&mut self, field: &Field, is_packed: bool) -> Result<(), ReadError> {
        if !self.lexer.open(b'[')? {
            return Ok(());
        }
        if !is_packed {
            loop {
                self.single(field)?;
                if !self.lexer.another(b']')? {
                    return Ok(());
                }
            }
        }
        self.out.tag(&field.packed_tag);
        let open = self.out.begin();
        loop {
            self.value(field)?;
            if !self.lexer.another(b']')? {
                self.out.end(open);
                return Ok(());
            }
        }
    }

    /// Entries, each a message of its own. Of those with the same key the last one counts, as on the wire.
    fn map(&mut self, field: &Field, key: Kind) -> Result<(), ReadError> {
        let mut more = self.lexer.open(b'{')?;
        while more {
            let before = self.out.mark();
            self.out.tag(&field.tag);
            let open = self.out.begin();
            self.out.byte(1 << 3 | key.wire_type() as u8);
            let text = self.lexer.string("a key")?;
            self.map_key(key, text)?;
            self.lexer.colon()?;
            self.out.byte(2 << 3 | field.kind.wire_type() as u8);
            if self.value(field)? {
                self.out.end(open);
            } else {
                self.out.forget(before);
            }
            more = self.lexer.another(b'}')?;
        }
        Ok(())
    }

    fn map_key(&mut self, kind: Kind, text: Text<'j>) -> Result<(), ReadError> {
        match kind {
            Kind::String => self.text(text),
            Kind::Bool => {
                let value = match &*text.characters()? {
                    "true" => 1,
                    "false" => 0,
                    _ => return Err(text.fault("expected a key of \"true\" or \"false\"")),
                };
                self.out.byte(value);
                Ok(())
            }
            kind => {
                let characters = text.characters()?;
                plain::quoted(kind, &characters, &mut self.out).map_err(|reason| text.fault(reason))
            }
        }
    }
}

/// The name of a field in JSON, in quotes.
fn name(field: &Field) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(field.json_key.strip_suffix(b":").unwrap_or(&field.json_key))
}

/// Which of a message's fields were there.
struct Set {
    few: [u64; 4],
    /// For those that `few` has no room for.
    many: Vec<u64>,
}

impl Set {
    #[inline]
    fn of(count: usize) -> Self {
        let words = count.div_ceil(64);
        Self { few: [0; 4], many: if words > 4 { vec![0; words] } else { Vec::new() } }
    }

    /// Says whether it is new.
    #[inline]
    fn insert(&mut self, index: usize) -> bool {
        let words = if self.many.is_empty() { &mut self.few[..] } else { &mut self.many };
        let (word, bit) = (&mut words[index / 64], 1 << (index % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}
