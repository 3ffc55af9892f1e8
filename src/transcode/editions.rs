//! Files of editions, told in the words of proto2.
//!
//! The library behind the descriptors knows proto2 and proto3 only. The features of an edition are resolved here, from
//! the file down to each field. They become constructs of proto2: a label for `LEGACY_REQUIRED`, the option `packed`
//! for each list, the type of a group for a delimited field. Two features have no such words: implicit presence
//! of a field, and open enums. They stay as features of that field or enum, and the plan asks for them.
//!
//! `utf8_validation` changes nothing here, for JSON is UTF-8 in any case. `json_format` decides whether two names may
//! be one in JSON: where they may, the second field goes by its name in the file.

mod edition;
mod features;
mod message;
pub(super) mod source;

pub(super) use self::edition::Edition;
use self::edition::malformed;
pub(super) use self::features::Features;
pub(super) use self::message::camel_case;
use self::message::{enumeration, extension, message as rewrite};
use super::fields::Fields;
use super::wire::put_bytes;

/// The numbers of the fields of `google.protobuf.FileDescriptorProto`.
mod file {
    pub(super) const MESSAGE: u32 = 4;
    pub(super) const ENUM: u32 = 5;
    pub(super) const EXTENSION: u32 = 7;
    pub(super) const OPTIONS: u32 = 8;
    pub(super) const SYNTAX: u32 = 12;
    pub(super) const EDITION: u32 = 14;
    /// Imports that only options need; proto2 has them among all others.
    pub(super) const OPTION_DEPENDENCY: u32 = 15;
}

/// Which edition a file has; proto2 and proto3 are two of them.
///
/// # Errors
/// Why it is not known.
pub(super) fn edition(bytes: &[u8]) -> Result<Edition, String> {
    let (mut syntax, mut number) = ("", None);
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        match field.number {
            file::SYNTAX => syntax = field.text().ok_or("its syntax is not a text")?,
            file::EDITION => number = field.int(),
            _ => {}
        }
    }
    match (syntax, number) {
        ("" | "proto2", _) => Ok(Edition::Proto2),
        ("proto3", _) => Ok(Edition::Proto3),
        ("editions", Some(number)) => Edition::of_number(number),
        ("editions", None) => Err("it is of an edition and does not say which".to_owned()),
        (other, _) => Err(format!("the syntax {other:?} is not known: proto2, proto3 and editions are")),
    }
}

/// Rewrites a file of an edition as proto2, and keeps the features that proto2 has no words for.
///
/// # Errors
/// A description of the part that is not understood.
pub(super) fn to_proto2(bytes: &[u8], edition: Edition) -> Result<Vec<u8>, String> {
    let mut features = Features::of(edition);
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        if let (file::OPTIONS, Some(options)) = (field.number, field.payload()) {
            features.read_options(options, features::IN_FILE)?;
        }
    }
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        let payload = field.payload();
        match (field.number, payload) {
            (file::MESSAGE, Some(payload)) => {
                put_bytes(field.number, &rewrite(payload, features)?, &mut out);
            }
            (file::ENUM, Some(payload)) => {
                put_bytes(field.number, &enumeration(payload, features)?, &mut out);
            }
            (file::EXTENSION, Some(payload)) => {
                put_bytes(field.number, &extension(payload, features)?, &mut out);
            }
            (file::OPTIONS, Some(payload)) => {
                put_bytes(field.number, &features::without(payload, features::IN_FILE)?, &mut out);
            }
            (file::SYNTAX | file::EDITION | file::OPTION_DEPENDENCY, _) => {}
            _ => out.extend_from_slice(field.whole),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
