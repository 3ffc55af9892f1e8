//! A message as an object of its fields.

use std::collections::HashMap;

use super::super::plan::{Cardinality, Field, Kind, Message, MessageId, Schema, Shape, WireType};
use super::super::wire::{Raw, Wire};
use super::error::{DEPTH_MAX, Fault, Stop};
use super::keys::Keys;
use super::text;
use crate::config::PrintOptions;

/// Prints one message.
pub(super) struct Writer<'a> {
    pub(super) schema: &'a Schema,
    options: &'a PrintOptions,
    pub(super) out: &'a mut Vec<u8>,
    /// How many more messages may be in each other.
    pub(super) depth: u32,
    /// Was the message made by an encoder of ours? What is inside an `Any` was not.
    pub(super) is_normal: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        options: &'a PrintOptions,
        out: &'a mut Vec<u8>,
        is_normal: bool,
    ) -> Self {
        Self { schema, options, out, depth: DEPTH_MAX + 1, is_normal }
    }

    pub(super) fn outermost(&mut self, id: MessageId, wire: &[u8]) -> Result<(), Stop> {
        self.message(id, wire)
    }

    /// A message in its shape.
    pub(super) fn message(&mut self, id: MessageId, wire: &[u8]) -> Result<(), Stop> {
        self.deeper(|writer| match writer.schema.message(id).shape() {
            Shape::Plain => {
                writer.out.push(b'{');
                writer.fields(id, wire)?;
                writer.out.push(b'}');
                Ok(())
            }
            Shape::Timestamp => writer.timestamp(wire),
            Shape::Duration => writer.duration(wire),
            Shape::FieldMask => writer.field_mask(wire),
            Shape::Struct => writer.structure(wire),
            Shape::Value => writer.any_value(wire),
            Shape::ListValue => writer.list_value(wire),
            Shape::Any => writer.any(wire),
            Shape::Wrapper(kind) => writer.wrapper(kind, wire),
            Shape::Empty => writer.empty(wire),
        })
    }

    /// Does this one message further inside.
    pub(super) fn deeper(&mut self, print: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.depth = self.depth.checked_sub(1).ok_or(Fault::TooDeep)?;
        print(self)?;
        self.depth += 1;
        Ok(())
    }

    /// All fields with their keys, in the order in which they come.
    pub(super) fn fields(&mut self, id: MessageId, wire: &[u8]) -> Result<(), Stop> {
        let message = self.schema.message(id);
        let mut wire = Wire::new(wire);
        let mut seen = PresentFields::default();
        let mut next = 0;
        let mut defaults_up_to = 0;
        while let Some((number, wire_type)) = wire.tag()? {
            let at = match message.fields().get(next) {
                Some(field) if field.number == number => next,
                _ => match message.by_number(number) {
                    Some(at) => at,
                    None => {
                        wire.raw(number, wire_type, self.depth)?;
                        continue;
                    }
                },
            };
            next = at + 1;
            let field = &message.fields()[at];
            // Some encoders write a oneof where its first member would stand, so defaults do not wait for it.
            if self.options.always_print_primitive_fields
                && (field.oneof.is_none() || at >= PresentFields::FIELDS)
            {
                self.defaults(message, defaults_up_to..at, &mut seen)?;
                defaults_up_to = at + 1;
            }
            seen.mark(at, field)?;
            self.field(field, wire_type, &mut wire).map_err(|stop| stop.at(id, number))?;
        }
        if self.options.always_print_primitive_fields {
            self.defaults(message, defaults_up_to..message.fields().len(), &mut seen)?;
        }
        Ok(())
    }

    /// A field with its key, of which the first tag was read.
    #[inline]
    fn field(&mut self, field: &Field, wire_type: WireType, wire: &mut Wire<'_>) -> Result<(), Stop> {
        let begin = self.out.len();
        match field.cardinality {
            Cardinality::Singular { has_presence } => {
                let raw = wire.raw(field.number, wire_type, self.depth)?;
                let is_absent =
                    !has_presence && raw.is_zero(field.kind) && wire_type == field.kind.wire_type();
                if !is_absent || self.options.always_print_primitive_fields {
                    self.key(field);
                    self.value(field.kind, raw)?;
                }
            }
            Cardinality::Repeated { .. } => {
                self.key(field);
                let is_empty = self.list(field, wire_type, wire)?;
                if is_empty && !self.options.always_print_primitive_fields {
                    self.out.truncate(begin);
                }
            }
            Cardinality::Map { key } => {
                self.key(field);
                self.map(field, key, wire_type, wire)?;
            }
        }
        Ok(())
    }

    /// Writes the comma and the key of an object's next member.
    #[inline]
    fn key(&mut self, field: &Field) {
        self.comma(b'{');
        let is_proto = self.options.preserve_proto_field_names;
        self.out.extend_from_slice(if is_proto { &field.proto_key } else { &field.json_key });
    }

    /// A comma, unless an object or list has just been opened. No value ends like one is opened.
    #[inline]
    pub(super) fn comma(&mut self, open: u8) {
        if self.out.last() != Some(&open) {
            self.out.push(b',');
        }
    }

    /// A list, all in one piece or tag by tag. Says if it was empty.
    fn list(&mut self, field: &Field, wire_type: WireType, wire: &mut Wire<'_>) -> Result<bool, Stop> {
        self.out.push(b'[');
        let begin = self.out.len();
        if wire_type == WireType::Length && field.kind.is_packable() {
            loop {
                let Raw::Length(piece) = wire.raw(field.number, wire_type, 0)? else {
                    return Err(Fault::OtherType.into());
                };
                let mut piece = Wire::new(piece);
                while !piece.is_empty() {
                    let raw = piece.packed(field.kind)?;
                    self.comma(b'[');
                    self.value(field.kind, raw)?;
                }
                if !wire.take_tag(field.packed_tag.as_bytes()) {
                    break;
                }
            }
        } else {
            loop {
                let raw = wire.raw(field.number, wire_type, self.depth)?;
                self.comma(b'[');
                self.value(field.kind, raw)?;
                if !wire.take_tag(field.tag.as_bytes()) {
                    break;
                }
            }
        }
        let is_empty = self.out.len() == begin;
        self.out.push(b']');
        Ok(is_empty)
    }

    fn map(
        &mut self,
        field: &Field,
        key: Kind,
        wire_type: WireType,
        wire: &mut Wire<'_>,
    ) -> Result<(), Stop> {
        self.out.push(b'{');
        let (begin, first) = (self.out.len(), *wire);
        let mut keys = Keys::default();
        loop {
            let (key_raw, value) = self.pair(field, key, wire_type, wire)?;
            if !keys.add(Keys::normal(key, key_raw)) {
                self.out.truncate(begin);
                *wire = first;
                self.last_of_each(field, key, wire_type, wire)?;
                break;
            }
            self.member(field, (key, key_raw), value)?;
            if !wire.take_tag(field.tag.as_bytes()) {
                break;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The entries of a map in which a key comes twice: the last one counts.
    #[cold]
    fn last_of_each(
        &mut self,
        field: &Field,
        key: Kind,
        wire_type: WireType,
        wire: &mut Wire<'_>,
    ) -> Result<(), Stop> {
        let mut last = HashMap::new();
        let mut pairs = Vec::new();
        loop {
            let (key_raw, value) = self.pair(field, key, wire_type, wire)?;
            last.insert(Keys::normal(key, key_raw), pairs.len());
            pairs.push((key_raw, value));
            if !wire.take_tag(field.tag.as_bytes()) {
                break;
            }
        }
        for (at, (key_raw, value)) in pairs.into_iter().enumerate() {
            // Entries that do not count have to be valid all the same.
            let before = self.out.len();
            self.member(field, (key, key_raw), value)?;
            if last.get(&Keys::normal(key, key_raw)) != Some(&at) {
                self.out.truncate(before);
            }
        }
        Ok(())
    }

    /// Key and value of the next entry.
    fn pair<'w>(
        &self,
        field: &Field,
        key: Kind,
        wire_type: WireType,
        wire: &mut Wire<'w>,
    ) -> Result<(Raw<'w>, Raw<'w>), Stop> {
        let Raw::Length(entry) = wire.raw(field.number, wire_type, self.depth)? else {
            return Err(Fault::OtherType.into());
        };
        let (key_raw, value) = self.entry(entry)?;
        Ok((key_raw.unwrap_or(Raw::zero(key)), value.unwrap_or(self.zero(field.kind))))
    }

    /// An entry of a map.
    fn member(&mut self, field: &Field, (key, key_raw): (Kind, Raw<'_>), value: Raw<'_>) -> Result<(), Stop> {
        self.comma(b'{');
        self.map_key(key, key_raw)?;
        self.out.push(b':');
        self.value(field.kind, value)
    }

    /// The default of a kind: of an enum the value that its file has first.
    fn zero(&self, kind: Kind) -> Raw<'static> {
        match kind {
            Kind::Enum(id) => Raw::Varint(i64::from(self.schema.enumeration(id).default()).cast_unsigned()),
            kind => Raw::zero(kind),
        }
    }

    /// Key and value of an entry of a map, as far as they are there.
    pub(super) fn entry<'w>(&self, entry: &'w [u8]) -> Result<(Option<Raw<'w>>, Option<Raw<'w>>), Stop> {
        let mut parts = (None, None);
        let mut wire = Wire::new(entry);
        while let Some((number, wire_type)) = wire.tag()? {
            let raw = wire.raw(number, wire_type, self.depth)?;
            let part = match number {
                1 => &mut parts.0,
                2 => &mut parts.1,
                _ => continue,
            };
            if part.replace(raw).is_some() {
                return Err(Stop::Rare);
            }
        }
        Ok(parts)
    }

    fn map_key(&mut self, kind: Kind, raw: Raw<'_>) -> Result<(), Stop> {
        match kind {
            // These have quotes as values, too.
            Kind::String | Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                self.value(kind, raw)
            }
            _ => {
                self.out.push(b'"');
                self.value(kind, raw)?;
                self.out.push(b'"');
                Ok(())
            }
        }
    }

    /// A value of any kind.
    #[inline]
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the format says so")]
    pub(super) fn value(&mut self, kind: Kind, raw: Raw<'_>) -> Result<(), Stop> {
        let out = &mut *self.out;
        match (kind, raw) {
            (Kind::Double, Raw::Fixed64(bits)) => text::float(out, f64::from_bits(bits)),
            (Kind::Float, Raw::Fixed32(bits)) => text::float(out, f32::from_bits(bits)),
            (Kind::Int32, Raw::Varint(value)) => text::integer(out, value as i32),
            (Kind::Uint32, Raw::Varint(value)) => text::integer(out, value as u32),
            (Kind::Sint32, Raw::Varint(value)) => text::integer(out, unzigzag(value & 0xffff_ffff)),
            (Kind::Fixed32, Raw::Fixed32(value)) => text::integer(out, value),
            (Kind::Sfixed32, Raw::Fixed32(value)) => text::integer(out, value as i32),
            (Kind::Int64, Raw::Varint(value)) => text::quoted_integer(out, value as i64),
            (Kind::Uint64, Raw::Varint(value)) => text::quoted_integer(out, value),
            (Kind::Sint64, Raw::Varint(value)) => text::quoted_integer(out, unzigzag(value)),
            (Kind::Fixed64, Raw::Fixed64(value)) => text::quoted_integer(out, value),
            (Kind::Sfixed64, Raw::Fixed64(value)) => text::quoted_integer(out, value as i64),
            (Kind::Bool, Raw::Varint(value)) => {
                out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
            }
            (Kind::String, Raw::Length(bytes)) => return self.string(bytes),
            (Kind::Bytes, Raw::Length(bytes)) => text::base64(out, bytes),
            (Kind::Enum(id), Raw::Varint(value)) => {
                let number = value as i32;
                let values = self.schema.enumeration(id);
                if values.is_null() {
                    out.extend_from_slice(b"null");
                    return Ok(());
                }
                match values.quoted(number) {
                    Some(name) if !self.options.always_print_enums_as_ints => out.extend_from_slice(name),
                    _ => text::integer(out, number),
                }
            }
            (Kind::Message(id), Raw::Length(bytes)) | (Kind::Group(id), Raw::Group(bytes)) => {
                return self.message(id, bytes);
            }
            _ => return Err(Fault::OtherType.into()),
        }
        Ok(())
    }

    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if text::string(self.out, bytes) { Ok(()) } else { Err(Fault::NotText.into()) }
    }

    /// The defaults of those fields in a range that have one and were not there.
    fn defaults(
        &mut self,
        message: &Message,
        range: std::ops::Range<usize>,
        seen: &mut PresentFields,
    ) -> Result<(), Stop> {
        for at in range {
            let field = &message.fields()[at];
            if has_default(field) && !seen.has(at) {
                seen.mark(at, field)?;
                self.key(field);
                self.default(field)?;
            }
        }
        Ok(())
    }

    fn default(&mut self, field: &Field) -> Result<(), Stop> {
        match field.cardinality {
            Cardinality::Repeated { .. } => self.out.extend_from_slice(b"[]"),
            Cardinality::Map { .. } => self.out.extend_from_slice(b"{}"),
            Cardinality::Singular { has_presence: true } => self.out.extend_from_slice(b"null"),
            Cardinality::Singular { has_presence: false } => {
                self.value(field.kind, Raw::zero(field.kind))?;
            }
        }
        Ok(())
    }

    /// The value of one field without its key, or what stands for it if it is not there.
    pub(super) fn only_field(&mut self, id: MessageId, at: usize, wire: &[u8]) -> Result<(), Stop> {
        let message = self.schema.message(id);
        let field = &message.fields()[at];
        let mut wire = Wire::new(wire);
        let (mut is_there, mut is_other_there) = (false, false);
        self.depth -= 1; // the message that is not printed around it
        while let Some((number, wire_type)) = wire.tag()? {
            if number != field.number {
                let other = message.by_number(number).and_then(|at| message.fields()[at].oneof);
                is_other_there |= other.is_some() && other == field.oneof;
                wire.raw(number, wire_type, self.depth)?;
                continue;
            }
            if std::mem::replace(&mut is_there, true) {
                return Err(Stop::Rare);
            }
            match field.cardinality {
                Cardinality::Singular { .. } => {
                    let raw = wire.raw(number, wire_type, self.depth)?;
                    self.value(field.kind, raw)
                }
                Cardinality::Repeated { .. } => self.list(field, wire_type, &mut wire).map(drop),
                Cardinality::Map { key } => self.map(field, key, wire_type, &mut wire),
            }
            .map_err(|stop| stop.at(id, number))?;
        }
        match (is_there, is_other_there) {
            // The one that came last counts.
            (true, true) => Err(Stop::Rare),
            (true, false) => Ok(()),
            (false, _) => self.default(field),
        }
    }
}

/// Has the field a value even where it is not there?
fn has_default(field: &Field) -> bool {
    !field.is_extension && field.cardinality != Cardinality::Singular { has_presence: true }
}

#[expect(clippy::cast_possible_wrap, reason = "the format says so")]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Which fields and oneofs of a message were there. More than fit into it need a tree, unless their numbers ascend.
#[derive(Default)]
struct PresentFields {
    fields: [u64; Self::FIELDS / 64],
    oneofs: u64,
    beyond: usize,
}

impl PresentFields {
    /// Fields below this index may come in any order.
    const FIELDS: usize = 256;

    /// Notes a field by its index. A second time is rare, and so is a second member of a oneof.
    #[inline]
    fn mark(&mut self, at: usize, field: &Field) -> Result<(), Stop> {
        let is_new = match self.fields.get_mut(at / 64) {
            Some(word) => is_new_in(word, at % 64),
            None => std::mem::replace(&mut self.beyond, at) < at,
        };
        let is_only = match field.oneof {
            None => true,
            Some(oneof) if oneof < 64 => is_new_in(&mut self.oneofs, usize::from(oneof)),
            Some(_) => false,
        };
        if is_new && is_only { Ok(()) } else { Err(Stop::Rare) }
    }

    fn has(&self, at: usize) -> bool {
        match self.fields.get(at / 64) {
            Some(word) => word & 1 << (at % 64) != 0,
            None => at <= self.beyond,
        }
    }
}

#[inline]
fn is_new_in(word: &mut u64, bit: usize) -> bool {
    let before = *word;
    *word |= 1 << bit;
    *word != before
}
