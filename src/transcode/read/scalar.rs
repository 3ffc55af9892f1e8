//! Values that are not messages, from JSON and from plain text.

use super::super::plan::{EnumId, Kind};
use super::Reader;
use super::base64;
use super::error::ReadError;
use super::lexer::{Text, shortened};

use super::plain::{at_number, put, quoted};

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
