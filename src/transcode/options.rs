//! Options of fields and enums. The library decodes them when they are asked for, with extensions that other files
//! bring, and panics where that fails: after the pool was found to be right.

use std::collections::{HashMap, HashSet};

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, Syntax};

use super::editions::Features;
use super::problem::guarded;

/// A field's options; `None` if they cannot be decoded.
pub(super) fn of_field(field: &FieldDescriptor) -> Option<DynamicMessage> {
    guarded(field.full_name(), || field.options()).ok()
}

/// Whether a file of an edition says that the field has no presence, where proto2 has no word for that; `None` if the
/// field's options cannot be decoded.
pub(super) fn is_implicit(field: &FieldDescriptor) -> Option<bool> {
    let may_be = field.containing_oneof().is_none()
        && field.field_descriptor_proto().options.is_some()
        && field.parent_file().syntax() == Syntax::Proto2
        && !matches!(field.kind(), Kind::Message(_));
    if !may_be {
        return Some(false);
    }
    of_field(field).map(|options| Features::is_implicit(&options.encode_to_vec()))
}

/// Whether an enum of proto2 or an edition knows no numbers but its own; `None` if its options cannot be decoded.
pub(super) fn is_closed(descriptor: &EnumDescriptor) -> Option<bool> {
    if descriptor.parent_file().syntax() != Syntax::Proto2 {
        return Some(false);
    }
    if descriptor.enum_descriptor_proto().options.is_none() {
        return Some(true);
    }
    let options = guarded(descriptor.full_name(), || descriptor.options()).ok()?;
    Some(!Features::is_open(&options.encode_to_vec()))
}

/// Messages whose form in JSON is not known, for the options that decide it cannot be decoded; and why.
pub(super) fn undecodable(pool: &DescriptorPool) -> HashMap<String, String> {
    let enums: HashSet<String> = pool
        .all_enums()
        .filter(|one| is_closed(one).is_none())
        .map(|one| one.full_name().to_owned())
        .collect();
    let of_enum = |field: &FieldDescriptor| {
        let name = field.kind().as_enum()?.full_name().to_owned();
        enums.contains(&name).then(|| format!("the options of {name} cannot be decoded"))
    };
    let of = |field: FieldDescriptor| match is_implicit(&field) {
        None => Some(format!("the options of its field {} cannot be decoded", field.name())),
        Some(_) => of_enum(&field),
    };
    let all = pool.all_messages();
    all.filter_map(|message| Some((message.full_name().to_owned(), message.fields().find_map(of)?))).collect()
}

#[cfg(test)]
mod tests;
