//! The types of `google.protobuf` that JSON treats in their own way.

use std::borrow::Cow;

use super::super::plan::{Message, Shape};
use super::lexer::shortened;
use super::output::Output;
use super::times::{self, Time};
use super::{Key, ReadError, Reader};

/// To find the type of an `Any` that does not come first, its members are passed over once more. That many may lie in
/// each other; so nothing is looked at more often than this.
const LATE_TYPES_MAX: u32 = 4;

/// Tags of the fields in these types.
mod tag {
    pub(super) const LIST_VALUES: u8 = 0x0A;
    pub(super) const STRUCT_FIELDS: u8 = 0x0A;
    pub(super) const ENTRY_KEY: u8 = 0x0A;
    pub(super) const ENTRY_VALUE: u8 = 0x12;
    pub(super) const NULL: u8 = 0x08;
    pub(super) const NUMBER: u8 = 0x11;
    pub(super) const STRING: u8 = 0x1A;
    pub(super) const BOOL: u8 = 0x20;
    pub(super) const STRUCT: u8 = 0x2A;
    pub(super) const LIST: u8 = 0x32;
    pub(super) const ANY_TYPE: u8 = 0x0A;
    pub(super) const ANY_VALUE: u8 = 0x12;
    pub(super) const SECONDS: u8 = 0x08;
    pub(super) const NANOS: u8 = 0x10;
    pub(super) const MASK_PATHS: u8 = 0x0A;
}

impl<'s, 'j> Reader<'s, 'j, '_> {
    /// The bytes of a message that is not an object of its fields.
    pub(super) fn well_known(&mut self, shape: Shape) -> Result<(), ReadError> {
        match shape {
            Shape::Value => self.any_value(),
            Shape::Struct => self.structure(),
            Shape::ListValue => self.list_value(),
            Shape::Any => self.any(),
            Shape::Wrapper(kind) => {
                self.out.byte(1 << 3 | kind.wire_type() as u8);
                self.scalar(kind)
            }
            shape => {
                let text = self.lexer.string(match shape {
                    Shape::Timestamp => "a timestamp such as \"1972-01-01T10:00:20.021Z\"",
                    Shape::Duration => "a duration such as \"1.5s\"",
                    _ => "field paths such as \"name,address.street\"",
                })?;
                let characters = text.characters()?;
                from_text(shape, &characters, &mut self.out).map_err(|reason| text.fault(reason))
            }
        }
    }

    /// A `Value`.
    fn any_value(&mut self) -> Result<(), ReadError> {
        match self.lexer.peek() {
            b'"' => {
                self.out.byte(tag::STRING);
                let text = self.lexer.string("a string")?;
                self.text(text)?;
            }
            b'{' => {
                self.out.byte(tag::STRUCT);
                let open = self.out.begin();
                self.structure()?;
                self.out.end(open);
            }
            b'[' => {
                self.out.byte(tag::LIST);
                let open = self.out.begin();
                self.list_value()?;
                self.out.end(open);
            }
            b't' | b'f' => {
                let value = self.lexer.boolean()?;
                self.out.bytes(&[tag::BOOL, u8::from(value)]);
            }
            b'n' => {
                self.lexer.word("null", "a value")?;
                self.out.bytes(&[tag::NULL, 0]);
            }
            _ => {
                let at = self.lexer.at();
                let number = self.lexer.number("a value")?;
                let value = number.double().map_err(|reason| ReadError::new(at, reason))?;
                self.out.byte(tag::NUMBER);
                self.out.bytes(&value.to_le_bytes());
            }
        }
        Ok(())
    }

    fn structure(&mut self) -> Result<(), ReadError> {
        let mut more = self.lexer.open(b'{')?;
        while more {
            self.out.byte(tag::STRUCT_FIELDS);
            let entry = self.out.begin();
            self.out.byte(tag::ENTRY_KEY);
            let key = self.lexer.string("a key")?;
            self.text(key)?;
            self.lexer.colon()?;
            self.out.byte(tag::ENTRY_VALUE);
            let value = self.out.begin();
            self.any_value()?;
            self.out.end(value);
            self.out.end(entry);
            more = self.lexer.another(b'}')?;
        }
        Ok(())
    }

    fn list_value(&mut self) -> Result<(), ReadError> {
        let mut more = self.lexer.open(b'[')?;
        while more {
            self.out.byte(tag::LIST_VALUES);
            let value = self.out.begin();
            self.any_value()?;
            self.out.end(value);
            more = self.lexer.another(b']')?;
        }
        Ok(())
    }

    /// An `Any`: the members of its message, or its `value` if that is no object of its fields, and `@type`.
    fn any(&mut self) -> Result<(), ReadError> {
        let at = self.lexer.at();
        if !self.lexer.open(b'{')? {
            return Ok(());
        }
        let late = !self.lexer.is_next(b"\"@type\"");
        if late && self.late_types == LATE_TYPES_MAX {
            let reason =
                format!("an Any in {LATE_TYPES_MAX} others must begin with its `@type`, or they must");
            return Err(ReadError::new(at, reason));
        }
        self.late_types += u32::from(late);
        let (url, message) = self.any_type(at)?;
        self.out.byte(tag::ANY_TYPE);
        self.out.text(&url);
        self.out.byte(tag::ANY_VALUE);
        let value = self.out.begin();
        match message.shape() {
            Shape::Plain => self.members(message, true)?,
            shape => self.any_members(message, shape)?,
        }
        self.out.end(value);
        self.late_types -= u32::from(late);
        Ok(())
    }

    /// Looks for the type of the `Any` whose first member comes next, and goes back to that.
    fn any_type(&mut self, any_at: usize) -> Result<(Cow<'j, str>, &'s Message), ReadError> {
        let (first, depth) = (self.lexer.at(), self.lexer.depth());
        loop {
            let is_type = self.lexer.string("a key")?.characters()? == "@type";
            self.lexer.colon()?;
            if is_type {
                break;
            }
            self.lexer.skip()?;
            if !self.lexer.another(b'}')? {
                return Err(ReadError::new(any_at, "an Any without its `@type`"));
            }
        }
        let text = self.lexer.string("the URL of a type")?;
        let url = text.characters()?;
        let name = url.rsplit_once('/').map(|(_, name)| name);
        let name =
            name.ok_or_else(|| text.fault("expected a URL such as \"type.googleapis.com/the.Message\""))?;
        let Some(id) = self.schema.message_id(name) else {
            return Err(text.fault(format!("unknown type `{}`", shortened(name))));
        };
        self.lexer.back_to(first, depth);
        Ok((url, self.schema.message(id)))
    }

    /// The members of an `Any` around one of these types. Only an `Empty` may be without its `value`.
    fn any_members(&mut self, message: &'s Message, shape: Shape) -> Result<(), ReadError> {
        let (mut has_type, mut has_value) = (false, false);
        loop {
            let text = self.lexer.string("a key")?;
            let name = text.characters()?;
            self.lexer.colon()?;
            let key = match &*name {
                "@type" if !has_type => Key::Type,
                "value" if !has_value => Key::Field(0),
                "@type" | "value" => return Err(text.fault(format!("`{name}` is there twice"))),
                _ if self.options.ignore_unknown_fields => Key::Unknown,
                _ => {
                    let reason = format!("unknown field `{}` beside `value`", shortened(&name));
                    return Err(text.fault(reason));
                }
            };
            has_type |= matches!(key, Key::Type);
            if let Key::Field(_) = key {
                has_value = true;
                match shape {
                    Shape::Empty if self.lexer.open(b'{')? => self.members(message, false)?,
                    Shape::Empty => (),
                    shape => self.well_known(shape)?,
                }
            } else {
                self.lexer.skip()?;
            }
            let at = self.lexer.at();
            if !self.lexer.another(b'}')? {
                let is_whole = has_value || shape == Shape::Empty;
                return if is_whole { Ok(()) } else { Err(ReadError::new(at, "expected a `value`")) };
            }
        }
    }
}

/// The bytes of a message that is a string in JSON.
pub(in crate::transcode) fn from_text(
    shape: Shape,
    text: &str,
    out: &mut Output<'_>,
) -> Result<(), &'static str> {
    match shape {
        Shape::Timestamp => put_time(times::timestamp(text)?, out),
        Shape::Duration => put_time(times::duration(text)?, out),
        _ => return field_mask(text, false, out),
    }
    Ok(())
}

fn put_time(time: Time, out: &mut Output<'_>) {
    if time.seconds != 0 {
        out.byte(tag::SECONDS);
        out.varint(time.seconds.cast_unsigned());
    }
    if time.nanos != 0 {
        out.byte(tag::NANOS);
        out.varint(i64::from(time.nanos).cast_unsigned());
    }
}

/// `fooBar.baz,qux` is the paths `foo_bar.baz` and `qux`. `foo_bar` is a path as it is, where that is allowed.
pub(in crate::transcode) fn field_mask(
    text: &str,
    allows_snake_case: bool,
    out: &mut Output<'_>,
) -> Result<(), &'static str> {
    if text.is_empty() {
        return Ok(());
    }
    for path in text.split(',') {
        if path.is_empty() {
            return Err("an empty field path");
        }
        let is_snake_case = path.contains('_');
        if is_snake_case && !allows_snake_case {
            return Err("field paths are in camelCase here");
        }
        out.byte(tag::MASK_PATHS);
        if is_snake_case { out.text(path) } else { put_camel_case(path, out) }
    }
    Ok(())
}

/// Its length and characters, with `_` and a lower case letter for each upper case one.
fn put_camel_case(path: &str, out: &mut Output<'_>) {
    let upper = path.bytes().filter(u8::is_ascii_uppercase).count();
    out.varint((path.len() + upper) as u64);
    for byte in path.bytes() {
        if byte.is_ascii_uppercase() {
            out.byte(b'_');
        }
        out.byte(byte.to_ascii_lowercase());
    }
}
