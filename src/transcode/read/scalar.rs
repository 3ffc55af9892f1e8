//! Values that are not messages, from JSON and from plain text.

use super::super::plan::{EnumId, Kind};
use super::lexer::{Text, shortened};
use super::number::Number;
use super::output::Output;
use super::{ReadError, Reader, base64};

impl<'j> Reader<'_, 'j, '_> {
    /// A value of any kind but a message or an enum.
    #[inline]
    pub(super) fn scalar(&mut self, kind: Kind) -> Result<(), ReadError> {
        match kind {
            Kind::String => {
                let text = self.lexer.string("a string")?;
                self.text(text)
            }
            Kind::Bytes => self.base64(),
            Kind::Bool => {
                let value = self.lexer.boolean()?;
                self.out.byte(u8::from(value));
                Ok(())
            }
            kind => self.numeric(kind),
        }
    }

    fn numeric(&mut self, kind: Kind) -> Result<(), ReadError> {
        if self.lexer.peek() == b'"' {
            let text = self.lexer.string("a number")?;
            let characters = text.characters()?;
            return quoted(kind, &characters, &mut self.out).map_err(|reason| text.fault(reason));
        }
        let at = self.lexer.at();
        let number = self.lexer.number("a number")?;
        put(kind, number, &mut self.out).map_err(|reason| at_number(at, number, kind, reason))
    }

    /// A string with its length. Its escapes are resolved where it comes to lie.
    #[inline]
    pub(super) fn text(&mut self, text: Text<'j>) -> Result<(), ReadError> {
        if let Some(plain) = text.plain() {
            self.out.text(plain);
            return Ok(());
        }
        let open = self.out.begin_about(text.bytes_max());
        text.unescape(|piece| self.out.bytes(piece.as_bytes()))?;
        self.out.end(open);
        Ok(())
    }

    fn base64(&mut self) -> Result<(), ReadError> {
        let text = self.lexer.string("a string of base64")?;
        let open = self.out.begin_about(text.bytes_max() / 4 * 3);
        text.unescape(|piece| self.out.bytes(piece.as_bytes()))?;
        let (bytes, start) = self.out.since(&open);
        base64::decode(bytes, start).map_err(|reason| text.fault(reason))?;
        self.out.end(open);
        Ok(())
    }

    /// A value of an enum, by its name or number. Says whether there is one: an unknown name may be none.
    pub(super) fn enumeration(&mut self, id: EnumId) -> Result<bool, ReadError> {
        let one = self.schema.enumeration(id);
        let number = match self.lexer.peek() {
            b'"' => {
                let text = self.lexer.string("a name")?;
                let name = text.characters()?;
                match one.number(&name) {
                    Some(number) => number,
                    None if self.options.ignore_unknown_fields => return Ok(false),
                    None => {
                        return Err(text.fault(format!("unknown value `{}` of an enum", shortened(&name))));
                    }
                }
            }
            b'n' if one.is_null() => {
                self.lexer.word("null", "null")?;
                0
            }
            _ => {
                let at = self.lexer.at();
                let number = self.lexer.number("a name or number")?;
                let whole = number.whole().and_then(|whole| whole.as_i32());
                whole.map_err(|reason| at_number(at, number, Kind::Int32, reason))?
            }
        };
        self.out.varint(i64::from(number).cast_unsigned());
        Ok(true)
    }
}

#[cold]
fn at_number(at: usize, number: Number<'_>, kind: Kind, reason: &str) -> ReadError {
    ReadError::new(at, format!("`{}` is {reason} for {kind:?}", shortened(number.text)))
}

/// A value that is all of a text: no message and no enum.
pub(in crate::transcode) fn from_text(kind: Kind, text: &str, out: &mut Output<'_>) -> Result<(), String> {
    match kind {
        Kind::String => out.text(text),
        Kind::Bytes => {
            let open = out.begin_about(text.len() / 4 * 3);
            out.bytes(text.as_bytes());
            let (bytes, start) = out.since(&open);
            base64::decode(bytes, start)?;
            out.end(open);
        }
        Kind::Bool => match text {
            "true" => out.byte(1),
            "false" => out.byte(0),
            _ => return Err("expected true or false".to_owned()),
        },
        kind => return quoted(kind, text, out),
    }
    Ok(())
}

/// A number in quotes, or as a key or parameter.
pub(super) fn quoted(kind: Kind, text: &str, out: &mut Output<'_>) -> Result<(), String> {
    let number = Number::whole_text(text);
    let special = match (kind, text) {
        (Kind::Double | Kind::Float, "NaN") => Some(f64::NAN),
        (Kind::Double | Kind::Float, "Infinity") => Some(f64::INFINITY),
        (Kind::Double | Kind::Float, "-Infinity") => Some(f64::NEG_INFINITY),
        _ => None,
    };
    match (kind, number, special) {
        (Kind::Double, _, Some(special)) => out.bytes(&special.to_le_bytes()),
        (_, _, Some(special)) => out.bytes(&(special as f32).to_le_bytes()),
        (_, Some(number), None) => {
            put(kind, number, out).map_err(|reason| at_number(0, number, kind, reason).reason)?;
        }
        (_, None, None) => return Err(format!("`{}` is not a number", shortened(text))),
    }
    Ok(())
}

/// A number as its kind has it on the wire.
#[inline]
fn put(kind: Kind, number: Number<'_>, out: &mut Output<'_>) -> Result<(), &'static str> {
    match kind {
        Kind::Double => out.bytes(&number.double()?.to_le_bytes()),
        Kind::Float => out.bytes(&number.float()?.to_le_bytes()),
        Kind::Int32 => out.varint(i64::from(number.whole()?.as_i32()?).cast_unsigned()),
        Kind::Int64 => out.varint(number.whole()?.as_i64()?.cast_unsigned()),
        Kind::Uint32 => out.varint(u64::from(number.whole()?.as_u32()?)),
        Kind::Uint64 => out.varint(number.whole()?.as_u64()?),
        Kind::Sint32 => out.varint(zigzag(i64::from(number.whole()?.as_i32()?))),
        Kind::Sint64 => out.varint(zigzag(number.whole()?.as_i64()?)),
        Kind::Fixed32 => out.bytes(&number.whole()?.as_u32()?.to_le_bytes()),
        Kind::Fixed64 => out.bytes(&number.whole()?.as_u64()?.to_le_bytes()),
        Kind::Sfixed32 => out.bytes(&number.whole()?.as_i32()?.to_le_bytes()),
        Kind::Sfixed64 => out.bytes(&number.whole()?.as_i64()?.to_le_bytes()),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => {
            return Err("no number");
        }
    }
    Ok(())
}

/// Small numbers of either sign become small ones without.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
