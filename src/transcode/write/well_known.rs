//! The messages of `google.protobuf` that JSON treats in their own way; `Any` is in [`any`](super::any).

use std::collections::HashMap;

use super::super::plan::Kind;
use super::super::wire::{Raw, Wire};
use super::keys::Keys;
use super::message::Writer;
use super::{Fault, Stop, text, time};

impl Writer<'_> {
    pub(super) fn timestamp(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let (seconds, nanos) = self.seconds_and_nanos(wire)?;
        if time::timestamp(self.out, seconds, nanos) { Ok(()) } else { Err(Fault::OutOfRange.into()) }
    }

    pub(super) fn duration(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let (seconds, nanos) = self.seconds_and_nanos(wire)?;
        if time::duration(self.out, seconds, nanos) { Ok(()) } else { Err(Fault::OutOfRange.into()) }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the format says so")]
    fn seconds_and_nanos(&self, wire: &[u8]) -> Result<(i64, i32), Stop> {
        let mut time = (0, 0);
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, self.depth)?) {
                (1, Raw::Varint(seconds)) => time.0 = seconds as i64,
                (2, Raw::Varint(nanos)) => time.1 = nanos as i32,
                (1 | 2, _) => return Err(Fault::OtherType.into()),
                _ => {}
            }
        }
        Ok(time)
    }

    /// `"fooBar,baz.quux"`
    pub(super) fn field_mask(&mut self, wire: &[u8]) -> Result<(), Stop> {
        self.out.push(b'"');
        let begin = self.out.len();
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, self.depth)?) {
                (1, Raw::Length(path)) => {
                    if self.out.len() > begin {
                        self.out.push(b',');
                    }
                    self.path(path)?;
                }
                (1, _) => return Err(Fault::OtherType.into()),
                _ => {}
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    /// `foo_bar.baz` as `fooBar.baz`. Only what gives the same path when it is read again may be written.
    fn path(&mut self, path: &[u8]) -> Result<(), Stop> {
        let begin = self.out.len();
        if !text::unquoted(self.out, path) {
            return Err(Fault::NotText.into());
        }
        // Escaping has no capitals and no underscores, so the rest can be done in place.
        let mut end = begin;
        let mut after_underscore = false;
        for at in begin..self.out.len() {
            let byte = self.out[at];
            self.out[end] = match byte {
                b'a'..=b'z' if after_underscore => byte.to_ascii_uppercase(),
                b'A'..=b'Z' | b',' => return Err(Fault::BadPath.into()),
                _ if after_underscore => return Err(Fault::BadPath.into()),
                _ => byte,
            };
            after_underscore = byte == b'_';
            end += usize::from(!after_underscore);
        }
        if after_underscore || end == begin {
            return Err(Fault::BadPath.into());
        }
        self.out.truncate(end);
        Ok(())
    }

    /// A `Struct`: an object of values.
    pub(super) fn structure(&mut self, wire: &[u8]) -> Result<(), Stop> {
        self.out.push(b'{');
        let mut wire = Wire::new(wire);
        let mut keys = Keys::default();
        let mut is_twice = false;
        let (begin, first) = (self.out.len(), wire);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, self.depth)?) {
                (1, Raw::Length(entry)) => {
                    let (key, value) = self.entry(entry)?;
                    let (Raw::Length(key), Raw::Length(value)) =
                        (key.unwrap_or(Raw::Length(&[])), value.unwrap_or(Raw::Length(&[])))
                    else {
                        return Err(Fault::OtherType.into());
                    };
                    is_twice |= !keys.add(Keys::normal(Kind::String, Raw::Length(key)));
                    if is_twice {
                        break;
                    }
                    self.comma(b'{');
                    self.string(key)?;
                    self.out.push(b':');
                    self.deeper(|writer| writer.any_value(value))?;
                }
                (1, _) => return Err(Fault::OtherType.into()),
                _ => {}
            }
        }
        if is_twice {
            self.out.truncate(begin);
            self.last_members(first)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The members of a `Struct` in which a key comes twice: the last one counts.
    #[cold]
    fn last_members(&mut self, mut wire: Wire<'_>) -> Result<(), Stop> {
        let mut last = HashMap::new();
        let mut members = Vec::new();
        while let Some((number, wire_type)) = wire.tag()? {
            if let (1, Raw::Length(entry)) = (number, wire.raw(number, wire_type, self.depth)?) {
                let (key, value) = self.entry(entry)?;
                let (Raw::Length(key), Raw::Length(value)) =
                    (key.unwrap_or(Raw::Length(&[])), value.unwrap_or(Raw::Length(&[])))
                else {
                    return Err(Fault::OtherType.into());
                };
                last.insert(key, members.len());
                members.push((key, value));
            }
        }
        for (at, (key, value)) in members.into_iter().enumerate() {
            // Members that do not count have to be valid all the same.
            let before = self.out.len();
            self.comma(b'{');
            self.string(key)?;
            self.out.push(b':');
            self.deeper(|writer| writer.any_value(value))?;
            if last.get(key) != Some(&at) {
                self.out.truncate(before);
            }
        }
        Ok(())
    }

    /// A `Value`: what its one member is; `null` without one.
    pub(super) fn any_value(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let mut member = None;
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            let raw = wire.raw(number, wire_type, self.depth)?;
            if (1..=6).contains(&number) && member.replace((number, raw)).is_some() {
                return Err(Stop::Rare);
            }
        }
        match member {
            None | Some((1, Raw::Varint(_))) => self.out.extend_from_slice(b"null"),
            Some((2, Raw::Fixed64(bits))) => {
                let number = f64::from_bits(bits);
                if !number.is_finite() {
                    return Err(Fault::NotFinite.into());
                }
                text::float(self.out, number);
            }
            Some((3, Raw::Length(text))) => self.string(text)?,
            Some((4, raw @ Raw::Varint(_))) => self.value(Kind::Bool, raw)?,
            Some((5, Raw::Length(wire))) => self.deeper(|writer| writer.structure(wire))?,
            Some((6, Raw::Length(wire))) => self.deeper(|writer| writer.list_value(wire))?,
            Some(_) => return Err(Fault::OtherType.into()),
        }
        Ok(())
    }

    /// A `ListValue`: an array of values.
    pub(super) fn list_value(&mut self, wire: &[u8]) -> Result<(), Stop> {
        self.out.push(b'[');
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, self.depth)?) {
                (1, Raw::Length(value)) => {
                    self.comma(b'[');
                    self.deeper(|writer| writer.any_value(value))?;
                }
                (1, _) => return Err(Fault::OtherType.into()),
                _ => {}
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// A wrapper: its field 1 by itself, also if that is the default.
    pub(super) fn wrapper(&mut self, kind: Kind, wire: &[u8]) -> Result<(), Stop> {
        let mut value = Raw::zero(kind);
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            let raw = wire.raw(number, wire_type, self.depth)?;
            if number == 1 {
                value = raw;
            }
        }
        self.value(kind, value)
    }

    /// An `Empty`: all fields it may have are unknown.
    pub(super) fn empty(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            wire.raw(number, wire_type, self.depth)?;
        }
        self.out.extend_from_slice(b"{}");
        Ok(())
    }
}
