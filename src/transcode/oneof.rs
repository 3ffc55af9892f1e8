//! Two members of one oneof, from different parts of a request: path, query and body.
//!
//! On the wire the later one would win, and what the path said would be gone. JSON by itself is checked where it is read
//! ([`read`](super::read)), so only messages in which path or query have set a member need this.

use super::plan::{Cardinality, Field, Kind, MessageId, Schema, Shape};
use super::wire::{BadWire, Raw, Wire};

/// Messages in each other that are looked into.
const DEPTH_MAX: u32 = 100;

/// Two members of one oneof that a message has, for the caller; none if there are none.
pub fn conflict(schema: &Schema, id: MessageId, wire: &[u8]) -> Option<String> {
    // The writer's own output can always be read.
    find(schema, id, wire, DEPTH_MAX).ok().flatten()
}

fn find(schema: &Schema, id: MessageId, wire: &[u8], depth: u32) -> Result<Option<String>, BadWire> {
    let message = schema.message(id);
    if message.shape() != Shape::Plain {
        return Ok(None);
    }
    let mut members: Vec<(u16, usize)> = Vec::new();
    // Each message that comes in several pieces, joined: one piece was checked where it was made.
    let mut inner: Vec<(usize, MessageId, Vec<u8>, u32)> = Vec::new();
    let mut rest = Wire::new(wire);
    while let Some((number, wire_type)) = rest.tag()? {
        let raw = rest.raw(number, wire_type, DEPTH_MAX)?;
        let Some(at) = message.by_number(number) else { continue };
        let field = &message.fields()[at];
        if let Some(oneof) = field.oneof {
            match members.iter().find(|(known, _)| *known == oneof) {
                Some((_, other)) if *other != at => {
                    let other = &message.fields()[*other];
                    return Ok(Some(format!("`{}` and `{}` are of one oneof", name(other), name(field))));
                }
                Some(_) => {}
                None => members.push((oneof, at)),
            }
        }
        if let (Cardinality::Singular { .. }, Kind::Message(id) | Kind::Group(id)) =
            (field.cardinality, field.kind)
            && let Raw::Length(bytes) | Raw::Group(bytes) = raw
        {
            match inner.iter_mut().find(|(known, ..)| *known == at) {
                Some((_, _, all, pieces)) => {
                    all.extend_from_slice(bytes);
                    *pieces += 1;
                }
                None => inner.push((at, id, bytes.to_vec(), 1)),
            }
        }
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    for (_, id, bytes, pieces) in inner {
        if pieces > 1
            && let Some(found) = find(schema, id, &bytes, depth)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The name of a field in JSON.
fn name(field: &Field) -> String {
    String::from_utf8_lossy(&field.json_key).trim_end_matches(':').trim_matches('"').to_owned()
}
