//! Protobuf to JSON: a message's bytes become text in one pass, without a tree in between.
//!
//! The format allows rare shapes that no encoder writes: a singular field twice, a list in pieces, two members of a
//! oneof. These need a tree. `prost-reflect` reads such a message and encodes it as usual, and that is then printed.
//!
//! Where the mapping differs from the JSON that `prost-reflect` writes, sentences from the specification
//! (<https://protobuf.dev/programming-guides/json/> and the comments in the .proto files of the types):
//!
//! - A `FloatValue` or `DoubleValue` that is no number is a string, not `null`: "Wrappers use the same representation
//!   in JSON as the wrapped primitive type".
//! - -0.0 is printed: "If a float or double value is set to +0 it will not be serialized, but -0 is considered distinct
//!   and will be serialized". Only where a tree was needed it is lost.
//! - Nanoseconds of a `Timestamp` out of range are an error: "non-negative values that count forward in time".
//! - Seconds and nanoseconds of a `Duration` with different signs are an error: "must be of the same sign as the
//!   `seconds` field".
//! - A `FieldMask` path that would not read back as it was, such as `a_`, is an error: "the mapping from FieldMask to
//!   JSON must be reversible"; so is an empty path.
//! - An `Any` without type and value is `{}`, as an unset one.

mod any;
mod error;
mod indent;
mod keys;
mod message;
mod text;
mod time;
mod well_known;

use super::plan::{MessageId, Schema};
use crate::config::PrintOptions;
use error::Stop;
pub use error::{DEPTH_MAX, Fault, WriteError};
use message::Writer;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;

/// Appends a message as JSON. After an error `out` is as it was.
pub fn write(
    schema: &Schema,
    id: MessageId,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    run(schema, id, wire, options, out, |writer, wire| writer.outermost(id, wire))
}

/// Appends the value of one field, by its index in the message's table, as JSON. If the field is not there, that is its
/// default, or `null` for a message and what else has presence. After an error `out` is as it was.
pub fn write_field(
    schema: &Schema,
    id: MessageId,
    field: usize,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    run(schema, id, wire, options, out, |writer, wire| writer.only_field(id, field, wire))
}

fn run(
    schema: &Schema,
    id: MessageId,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
    print: impl Fn(&mut Writer<'_>, &[u8]) -> Result<(), Stop>,
) -> Result<(), WriteError> {
    let begin = out.len();
    let result = match print(&mut Writer::new(schema, options, out, false), wire) {
        Err(Stop::Rare) => {
            out.truncate(begin);
            normal(schema, id, wire)
                .and_then(|wire| print(&mut Writer::new(schema, options, out, true), &wire))
        }
        result => result,
    };
    if let Err(stop) = result {
        out.truncate(begin);
        return Err(stop.told(schema));
    }
    if options.add_whitespace {
        indent::indent(out, begin);
    }
    Ok(())
}

/// The message in the form that encoders write.
#[cold]
fn normal(schema: &Schema, id: MessageId, wire: &[u8]) -> Result<Vec<u8>, Stop> {
    let tree = DynamicMessage::decode(schema.message(id).descriptor().clone(), wire);
    tree.map(|tree| tree.encode_to_vec()).map_err(|error| {
        // prost tells its reasons only as text.
        let is_deep = error.to_string().contains("recursion limit");
        Stop::from(if is_deep { Fault::TooDeep } else { Fault::Malformed })
    })
}

#[cfg(test)]
mod tests;
