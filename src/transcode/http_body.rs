//! `google.api.HttpBody`: a response that is no JSON, but a body of any type.

use super::wire::{BadWire, Raw, Wire};

/// The parts of such a message, where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpBody<'a> {
    /// The value of the header `content-type`. Whether it may be one is for who writes the header.
    pub content_type: &'a [u8],
    /// The body.
    pub data: &'a [u8],
}

impl<'a> HttpBody<'a> {
    /// Finds the parts in the bytes of the message.
    pub fn read(message: &'a [u8]) -> Result<Self, BadWire> {
        let [content_type, data] = last_of(message, [CONTENT_TYPE, DATA])?;
        Ok(Self { content_type: content_type.unwrap_or_default(), data: data.unwrap_or_default() })
    }
}

/// The bytes of a field that is a message or string, if it is there; for a `response_body` that is an [`HttpBody`].
///
/// Of several the last: who splits a message in two and expects them merged is not understood.
pub fn field_bytes(message: &[u8], number: u32) -> Result<Option<&[u8]>, BadWire> {
    last_of(message, [number]).map(|[bytes]| bytes)
}

fn last_of<const N: usize>(message: &[u8], numbers: [u32; N]) -> Result<[Option<&[u8]>; N], BadWire> {
    let mut found = [None; N];
    let mut wire = Wire::new(message);
    while let Some((number, wire_type)) = wire.tag()? {
        let raw = wire.raw(number, wire_type, GROUPS_MAX)?;
        let Some(at) = numbers.iter().position(|wanted| *wanted == number) else {
            continue;
        };
        match raw {
            Raw::Length(bytes) => found[at] = Some(bytes),
            _ => return Err(BadWire::Malformed),
        }
    }
    Ok(found)
}

const CONTENT_TYPE: u32 = 1;
const DATA: u32 = 2;
/// Groups in each other, among the fields that are passed over.
const GROUPS_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_found_where_they_lie() {
        let table: [(&[u8], &str, &str); 5] = [
            (b"", "", ""),
            (b"\x0a\x04a/bc\x12\x02\x01\x02", "a/bc", "\x01\x02"),
            (b"\x12\x01x\x0a\x03a/b", "a/b", "x"),
            (b"\x12\x01x\x12\x01y", "", "y"),
            (b"\x1a\x03any\x12\x01x", "", "x"),
        ];
        for (message, content_type, data) in table {
            let wanted = HttpBody { content_type: content_type.as_bytes(), data: data.as_bytes() };
            assert_eq!(HttpBody::read(message), Ok(wanted), "{message:x?}");
        }
        for broken in [&b"\x12\x02x"[..], b"\x10\x02", b"\x12", b"\x0c"] {
            assert_eq!(HttpBody::read(broken), Err(BadWire::Malformed), "{broken:x?}");
        }
        assert_eq!(field_bytes(b"\x0a\x01a\x22\x01b", 4), Ok(Some(&b"b"[..])));
        assert_eq!(field_bytes(b"\x0a\x01a", 4), Ok(None));
    }
}
