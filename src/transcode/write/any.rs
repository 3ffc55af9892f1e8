//! `google.protobuf.Any`: a message with the name of its type.

use super::super::plan::{MessageId, Shape};
use super::super::wire::{Raw, Wire};
use super::message::Writer;
use super::{Fault, Stop, normal};

impl Writer<'_> {
    /// `{"@type": "type.googleapis.com/package.Message", ...}` with the fields of the message beside it, or with
    /// `"value"` if the message has a shape of its own.
    pub(super) fn any(&mut self, wire: &[u8]) -> Result<(), Stop> {
        let (url, value) = self.url_and_value(wire)?;
        if url.is_empty() && value.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        let id = self.type_of(url)?;
        self.out.extend_from_slice(b"{\"@type\":");
        self.string(url)?;
        if self.is_normal {
            let value = normal(self.schema, id, value)?;
            self.inside(id, &value)?;
        } else {
            self.inside(id, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn inside(&mut self, id: MessageId, value: &[u8]) -> Result<(), Stop> {
        if self.schema.message(id).shape() == Shape::Plain {
            return self.deeper(|writer| writer.fields(id, value));
        }
        self.out.extend_from_slice(b",\"value\":");
        self.message(id, value)
    }

    fn url_and_value<'w>(&self, wire: &'w [u8]) -> Result<(&'w [u8], &'w [u8]), Stop> {
        let mut parts = [&[][..]; 2];
        let mut wire = Wire::new(wire);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire.raw(number, wire_type, self.depth)?) {
                (1, Raw::Length(url)) => parts[0] = url,
                (2, Raw::Length(value)) => parts[1] = value,
                (1 | 2, _) => return Err(Fault::OtherType.into()),
                _ => {}
            }
        }
        Ok((parts[0], parts[1]))
    }

    /// "the last segment of the URL's path must represent the fully qualified name of the type"
    fn type_of(&self, url: &[u8]) -> Result<MessageId, Fault> {
        let url = std::str::from_utf8(url).map_err(|_| Fault::NotText)?;
        let (_, name) = url.rsplit_once('/').ok_or(Fault::UnknownType)?;
        self.schema.message_id(name).ok_or(Fault::UnknownType)
    }
}
