//! Values that are numbers, strings or bytes, as text.

use super::super::plan::Kind;
use super::base64;
use super::error::ReadError;
use super::lexer::shortened;
use super::number::Number;
use super::output::Output;

/// An error about a number.
#[cold]
pub(super) fn at_number(at: usize, number: Number<'_>, kind: Kind, reason: &str) -> ReadError {
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
pub(super) fn put(kind: Kind, number: Number<'_>, out: &mut Output<'_>) -> Result<(), &'static str> {
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
