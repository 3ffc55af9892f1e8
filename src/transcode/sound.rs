//! Checks of a descriptor that the library behind the descriptors relies on. Compilers always write sound ones. But
//! reflection may send anything, and a file may be damaged.

use std::collections::HashSet;

use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::editions::{Edition, camel_case};

/// Oneofs of one message.
const ONEOFS_MAX: usize = 65_535;

/// How often the library may compare a number of a file with a range. It compares each field of a message with each range
/// that is reserved there or left to extensions, and values of enums alike: so many take a quarter of a second.
const COMPARISONS_MAX: u64 = 100_000_000;
/// Ranges of a message that may have extensions, each of which is compared with all of them, in whatever file it is.
const RANGES_MAX: usize = 1_000;

/// Says what is wrong with a file, if anything is.
pub(super) fn check(file: &FileDescriptorProto) -> Result<(), String> {
    let messages = file.message_type.iter().map(comparisons);
    if messages.chain(file.enum_type.iter().map(comparisons_of_enum)).fold(0, u64::saturating_add)
        > COMPARISONS_MAX
    {
        return Err("too many ranges of numbers are reserved or left to extensions, beside too many fields"
            .to_owned());
    }
    if !file.package().is_empty() {
        name("a package", file.package(), true)?;
    }
    for one in &file.message_type {
        message(one, file.package())?;
    }
    file.enum_type.iter().try_for_each(enumeration)?;
    file.extension.iter().try_for_each(field)?;
    for service in &file.service {
        name("a service", service.name(), false)?;
        service.method.iter().try_for_each(|method| name("a method", method.name(), false))?;
    }
    Ok(())
}

/// Ranges of numbers that are reserved or left to extensions.
fn ranges(message: &DescriptorProto) -> usize {
    message.reserved_range.len() + message.extension_range.len()
}

fn comparisons(message: &DescriptorProto) -> u64 {
    let own = message.field.len() as u64 * ranges(message) as u64;
    let nested = message.nested_type.iter().map(comparisons);
    let enums = message.enum_type.iter().map(comparisons_of_enum);
    nested.chain(enums).fold(own, u64::saturating_add)
}

fn comparisons_of_enum(one: &EnumDescriptorProto) -> u64 {
    one.value.len() as u64 * one.reserved_range.len() as u64
}

/// Whether a name is one that protobuf has.
fn name(what: &str, name: &str, has_dots: bool) -> Result<(), String> {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_name = if has_dots { name.split('.').all(is_part) } else { is_part(name) };
    if is_name { Ok(()) } else { Err(format!("{what} has the name {name:?}, which is none")) }
}

fn message(message: &DescriptorProto, scope: &str) -> Result<(), String> {
    name("a message", message.name(), false)?;
    let full_name =
        if scope.is_empty() { message.name().to_owned() } else { format!("{scope}.{}", message.name()) };
    if message.oneof_decl.len() > ONEOFS_MAX {
        return Err(format!("{full_name} has more than {ONEOFS_MAX} oneofs"));
    }
    if !message.extension_range.is_empty() && ranges(message) > RANGES_MAX {
        return Err(format!(
            "{full_name} may have extensions, and has more than {RANGES_MAX} ranges of numbers"
        ));
    }
    message.field.iter().try_for_each(field)?;
    message.extension.iter().try_for_each(field)?;
    message.oneof_decl.iter().try_for_each(|oneof| name("a oneof", oneof.name(), false))?;
    message.enum_type.iter().try_for_each(enumeration)?;
    if message.options.as_ref().is_some_and(|options| options.map_entry()) && !is_map_entry(message) {
        return Err(format!(
            "{full_name} is to be the entry of a map, and its fields are not `key` and `value`"
        ));
    }
    if full_name.starts_with("google.protobuf.") {
        is_as_known(message, &full_name)?;
    }
    message.nested_type.iter().try_for_each(|nested| self::message(nested, &full_name))
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    let [key, value] = message.field.as_slice() else { return false };
    let (key, value) = if key.number() == 1 { (key, value) } else { (value, key) };
    let is_single = |field: &FieldDescriptorProto| field.label() == Label::Optional;
    let is_key = match key.r#type.and_then(|kind| Type::try_from(kind).ok()) {
        Some(Type::Double | Type::Float | Type::Bytes | Type::Enum | Type::Message | Type::Group) | None => {
            false
        }
        Some(_) => key.type_name().is_empty(),
    };
    let is_value = value.r#type() != Type::Group;
    key.number() == 1 && value.number() == 2 && is_single(key) && is_single(value) && is_key && is_value
}

fn field(field: &FieldDescriptorProto) -> Result<(), String> {
    name("a field", field.name(), false)?;
    if field.r#type() == Type::Bytes && !is_escaped(field.default_value()) {
        return Err(format!("the default of {} has an escape that is none", field.name()));
    }
    Ok(())
}

/// Whether a default of bytes is written as compilers do.
fn is_escaped(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let length = match (byte, after) {
            (b'\\', [b'0'..=b'7', ..]) => {
                let digits = after.iter().take(3).take_while(|digit| matches!(digit, b'0'..=b'7'));
                let value = digits.clone().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                if value > 255 {
                    return false;
                }
                digits.count()
            }
            (b'\\', [b'x' | b'X', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 3,
            (b'\\', [b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'?' | b'\'' | b'"', ..]) => 1,
            (b'\\', _) => return false,
            (byte, _) if byte.is_ascii() => 0,
            _ => return false,
        };
        rest = &after[length..];
    }
    true
}

fn enumeration(one: &EnumDescriptorProto) -> Result<(), String> {
    name("an enum", one.name(), false)?;
    one.value.iter().try_for_each(|value| name("a value of an enum", value.name(), false))
}

/// The messages that describe descriptors are known here, and the library reads them by what it knows. Another version
/// may have more fields, but none that are other ones.
fn is_as_known(message: &DescriptorProto, full_name: &str) -> Result<(), String> {
    let Some(known) = DescriptorPool::global().get_message_by_name(full_name) else { return Ok(()) };
    for field in &message.field {
        let number = u32::try_from(field.number()).unwrap_or_default();
        let Some(known) = known.get_field(number) else { continue };
        let known = known.field_descriptor_proto();
        let type_of = |field: &FieldDescriptorProto| {
            (
                field.r#type(),
                field.label() == Label::Repeated,
                field.type_name().rsplit('.').next().map(str::to_owned),
            )
        };
        // A parser leaves what has a name without its type.
        let is_parsed = field.r#type.is_none();
        if !is_parsed && type_of(known) != type_of(field) {
            return Err(format!("{full_name}.{} is another field than protobuf has", field.name()));
        }
    }
    Ok(())
}

/// Whether the library would refuse a file for what it holds to be the rules of proto2 and proto3, or does not know its
/// edition: it has to be told in other words.
pub(super) fn needs_other_words(file: &FileDescriptorProto, edition: Edition) -> bool {
    match edition {
        Edition::Of2023 | Edition::Of2024 => true,
        Edition::Proto2 => file.message_type.iter().any(|message| {
            any_alike(message, &|field| field.json_name.clone().unwrap_or_else(|| camel_case(field.name())))
        }),
        // It compares more than the names in JSON.
        Edition::Proto3 => file
            .message_type
            .iter()
            .any(|message| any_alike(message, &|field| field.name().replace('_', "").to_ascii_lowercase())),
    }
}

fn any_alike(message: &DescriptorProto, name: &impl Fn(&FieldDescriptorProto) -> String) -> bool {
    let mut names = HashSet::with_capacity(message.field.len());
    let is_alike = !message.field.iter().all(|field| names.insert(name(field)));
    is_alike || message.nested_type.iter().any(|nested| any_alike(nested, name))
}
