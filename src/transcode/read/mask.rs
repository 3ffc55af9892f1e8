//! The fields of a message that a JSON object sets, as the paths of a `google.protobuf.FieldMask`.

use super::super::plan::{Cardinality, Field, Kind, MessageId, Schema, Shape};
use super::error::ReadError;
use super::lexer::Lexer;
use super::output::Output;

/// The tag of a path in a mask.
const PATH: u8 = 0x0A;

/// Appends the bytes of the mask. An object of fields, a `Struct`, and an object as a `Value`, is its members; all else,
/// and an empty object, is one path. Names that a message does not have are passed over: whether they may be there is for
/// who reads the message.
pub fn field_mask(schema: &Schema, id: MessageId, json: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
    let json = std::str::from_utf8(json).map_err(|error| ReadError::new(error.valid_up_to(), "not UTF-8"))?;
    let mut paths = Paths { schema, lexer: Lexer::new(json), path: String::new(), out: Output::new(out) };
    paths.members(id)?;
    paths.lexer.end()
}

struct Paths<'s, 'j, 'o> {
    schema: &'s Schema,
    lexer: Lexer<'j>,
    /// Where we are, as in the `.proto` file.
    path: String,
    out: Output<'o>,
}

impl Paths<'_, '_, '_> {
    fn members(&mut self, id: MessageId) -> Result<(), ReadError> {
        let message = self.schema.message(id);
        let length = self.path.len();
        let mut more = self.lexer.open(b'{')?;
        if !more && length > 0 {
            self.put();
        }
        while more {
            let name = self.lexer.string("a key")?.characters()?;
            self.lexer.colon()?;
            let field = message.by_name(&name).map(|index| &message.fields()[index]);
            match field.filter(|field| !field.is_extension) {
                None => self.lexer.skip()?,
                Some(field) => {
                    if length > 0 {
                        self.path.push('.');
                    }
                    let key = String::from_utf8_lossy(&field.proto_key);
                    self.path.push_str(key.trim_end_matches(':').trim_matches('"'));
                    self.value(field)?;
                    self.path.truncate(length);
                }
            }
            more = self.lexer.another(b'}')?;
        }
        Ok(())
    }

    fn value(&mut self, field: &Field) -> Result<(), ReadError> {
        if let (Cardinality::Singular { .. }, Kind::Message(id) | Kind::Group(id)) =
            (field.cardinality, field.kind)
            && self.lexer.peek() == b'{'
        {
            match self.schema.message(id).shape() {
                Shape::Plain => return self.members(id),
                Shape::Struct | Shape::Value => return self.anything(),
                _ => {}
            }
        }
        self.lexer.skip()?;
        self.put();
        Ok(())
    }

    /// A value of which nothing is described.
    fn anything(&mut self) -> Result<(), ReadError> {
        if self.lexer.peek() != b'{' {
            self.lexer.skip()?;
            self.put();
            return Ok(());
        }
        let length = self.path.len();
        let mut more = self.lexer.open(b'{')?;
        if !more {
            self.put();
        }
        while more {
            let name = self.lexer.string("a key")?.characters()?;
            self.lexer.colon()?;
            self.path.push('.');
            self.path.push_str(&name);
            self.anything()?;
            self.path.truncate(length);
            more = self.lexer.another(b'}')?;
        }
        Ok(())
    }

    fn put(&mut self) {
        self.out.byte(PATH);
        self.out.text(&self.path);
    }
}
