//! Messages, fields and enums of an edition in the words of proto2.

use std::collections::HashSet;

use super::edition::malformed;
use super::features::{self, Features, IN_ENUM, IN_FIELD, IN_MESSAGE, IN_ONEOF, Presence};
use crate::transcode::fields::{Fields, put_int};
use crate::transcode::wire::put_bytes;

/// The numbers of the fields of `google.protobuf.DescriptorProto`.
mod in_message {
    pub(super) const NAME: u32 = 1;
    pub(super) const FIELD: u32 = 2;
    pub(super) const NESTED: u32 = 3;
    pub(super) const ENUM: u32 = 4;
    pub(super) const EXTENSION: u32 = 6;
    pub(super) const OPTIONS: u32 = 7;
    pub(super) const ONEOF: u32 = 8;
}

/// The numbers of the fields of `google.protobuf.FieldDescriptorProto`.
mod in_field {
    pub(super) const NAME: u32 = 1;
    pub(super) const LABEL: u32 = 4;
    pub(super) const TYPE: u32 = 5;
    pub(super) const TYPE_NAME: u32 = 6;
    pub(super) const DEFAULT: u32 = 7;
    pub(super) const OPTIONS: u32 = 8;
    pub(super) const ONEOF_INDEX: u32 = 9;
    pub(super) const JSON_NAME: u32 = 10;
    pub(super) const PROTO3_OPTIONAL: u32 = 17;
}

const REQUIRED: i32 = 2;
const REPEATED: i32 = 3;
const STRING: i32 = 9;
const GROUP: i32 = 10;
const MESSAGE: i32 = 11;
const BYTES: i32 = 12;
/// `FieldOptions.packed`
const PACKED: u32 = 2;
/// `MessageOptions.map_entry`
const MAP_ENTRY: u32 = 7;
/// `OneofDescriptorProto.options`
const ONEOF_OPTIONS: u32 = 2;
/// `EnumDescriptorProto.options`
const ENUM_OPTIONS: u32 = 3;

/// The parts of a message that its fields' conversion needs.
struct Around<'a> {
    features: Features,
    /// Of its oneofs, in their order.
    oneofs: Vec<Features>,
    name: &'a str,
    /// Names of its fields.
    names: HashSet<&'a str>,
    /// Names of the messages in it that are entries of maps.
    entries: HashSet<&'a str>,
    is_entry: bool,
}

/// A `DescriptorProto`.
pub(super) fn message(bytes: &[u8], inherited: Features) -> Result<Vec<u8>, String> {
    let around = Around::of(bytes, inherited)?;
    let features = around.features;
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut json_names = HashSet::new();
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        let Some(payload) = field.payload() else {
            out.extend_from_slice(field.whole);
            continue;
        };
        let rewritten = match field.number {
            in_message::FIELD => {
                let one = One::read(payload)?;
                let other_name = one.other_json_name(features, &around.names, &mut json_names);
                one.write(payload, Some(&around), other_name, features)?
            }
            in_message::NESTED => message(payload, features)?,
            in_message::ENUM => enumeration(payload, features)?,
            in_message::EXTENSION => extension(payload, features)?,
            in_message::OPTIONS => features::without(payload, IN_MESSAGE)?,
            in_message::ONEOF => oneof(payload)?,
            _ => {
                out.extend_from_slice(field.whole);
                continue;
            }
        };
        put_bytes(field.number, &rewritten, &mut out);
    }
    Ok(out)
}

/// A `FieldDescriptorProto` outside its message.
pub(super) fn extension(bytes: &[u8], inherited: Features) -> Result<Vec<u8>, String> {
    One::read(bytes)?.write(bytes, None, None, inherited)
}

/// An `EnumDescriptorProto`.
pub(super) fn enumeration(bytes: &[u8], inherited: Features) -> Result<Vec<u8>, String> {
    let (mut features, mut options) = (inherited, Vec::new());
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        match (field.number, field.payload()) {
            (ENUM_OPTIONS, Some(payload)) => {
                features.read_options(payload, IN_ENUM)?;
                options.extend(features::without(payload, IN_ENUM)?);
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    features::put(IN_ENUM, 2, if features.is_open { 1 } else { 2 }, &mut options);
    put_bytes(ENUM_OPTIONS, &options, &mut out);
    Ok(out)
}

/// A `OneofDescriptorProto`.
fn oneof(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        match (field.number, field.payload()) {
            (ONEOF_OPTIONS, Some(payload)) => {
                put_bytes(ONEOF_OPTIONS, &features::without(payload, IN_ONEOF)?, &mut out);
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    Ok(out)
}

impl<'a> Around<'a> {
    fn of(bytes: &'a [u8], inherited: Features) -> Result<Self, String> {
        let (mut features, mut name, mut entries) = (inherited, "", HashSet::new());
        let (mut oneofs, mut names, mut is_entry) = (Vec::new(), HashSet::new(), false);
        for field in Fields(bytes) {
            let field = field.map_err(malformed)?;
            match (field.number, field.payload()) {
                (in_message::NAME, Some(_)) => name = field.text().unwrap_or_default(),
                (in_message::OPTIONS, Some(options)) => {
                    features.read_options(options, IN_MESSAGE)?;
                    is_entry |= has_map_entry(options);
                }
                (in_message::FIELD, Some(payload)) => names.extend(name_of(payload)),
                (in_message::ONEOF, Some(payload)) => oneofs.push(payload),
                (in_message::NESTED, Some(payload)) => entries.extend(entry_name(payload)),
                _ => {}
            }
        }
        let of_oneof = |payload: &[u8]| {
            let mut features = features;
            for field in Fields(payload) {
                let field = field.map_err(malformed)?;
                if let (ONEOF_OPTIONS, Some(options)) = (field.number, field.payload()) {
                    features.read_options(options, IN_ONEOF)?;
                }
            }
            Ok::<_, String>(features)
        };
        let oneofs = oneofs.into_iter().map(of_oneof).collect::<Result<_, _>>()?;
        Ok(Self { features, oneofs, name, names, entries, is_entry })
    }

    /// Whether a type is the entry of a map in this message.
    fn is_map(&self, type_name: &str) -> bool {
        let mut parts = type_name.rsplit('.');
        let is_entry = parts.next().is_some_and(|last| self.entries.contains(last));
        is_entry && parts.next().is_none_or(|before| before == self.name || before.is_empty())
    }
}

fn has_map_entry(options: &[u8]) -> bool {
    Fields(options).flatten().any(|field| field.number == MAP_ENTRY && field.int() == Some(1))
}

fn name_of(descriptor: &[u8]) -> Option<&str> {
    Fields(descriptor).flatten().find(|field| field.number == in_field::NAME)?.text()
}

/// The name of a message that is the entry of a map.
fn entry_name(bytes: &[u8]) -> Option<&str> {
    let find = |number| Fields(bytes).flatten().find(move |field| field.number == number);
    let is_entry = find(in_message::OPTIONS)?.payload().is_some_and(has_map_entry);
    if is_entry { find(in_message::NAME)?.text() } else { None }
}

/// The parts of a field that its conversion needs.
#[derive(Default)]
struct One<'a> {
    name: &'a str,
    json_name: Option<&'a str>,
    label: i32,
    /// Of a `.proto` file that was parsed, 0 for all that has a name.
    kind: i32,
    type_name: &'a str,
    oneof: Option<usize>,
    is_proto3_optional: bool,
    options: &'a [u8],
}

impl<'a> One<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut one = Self { label: 1, ..Self::default() };
        for field in Fields(bytes) {
            let field = field.map_err(malformed)?;
            let text = field.text().unwrap_or_default();
            match field.number {
                in_field::NAME => one.name = text,
                in_field::LABEL => one.label = field.int().unwrap_or_default(),
                in_field::TYPE => one.kind = field.int().unwrap_or_default(),
                in_field::TYPE_NAME => one.type_name = text,
                in_field::OPTIONS => one.options = field.payload().unwrap_or_default(),
                in_field::ONEOF_INDEX => {
                    one.oneof = field.int().and_then(|index| usize::try_from(index).ok())
                }
                in_field::JSON_NAME => one.json_name = Some(text),
                in_field::PROTO3_OPTIONAL => one.is_proto3_optional = field.int() == Some(1),
                _ => {}
            }
        }
        Ok(one)
    }

    /// The name to go by in JSON, if another field has the name that this one would have and that is allowed. The field
    /// that has it in the file keeps it.
    fn other_json_name(
        &self,
        features: Features,
        names: &HashSet<&str>,
        taken: &mut HashSet<String>,
    ) -> Option<&'a str> {
        let own = self.json_name.map_or_else(|| camel_case(self.name), str::to_owned);
        let is_of_other = own != self.name && names.contains(own.as_str());
        let is_free = !is_of_other && taken.insert(own);
        (!is_free && !features.names_json).then_some(self.name)
    }

    fn write(
        &self,
        bytes: &[u8],
        around: Option<&Around<'_>>,
        json_name: Option<&str>,
        inherited: Features,
    ) -> Result<Vec<u8>, String> {
        let of_oneof = around.and_then(|around| around.oneofs.get(self.oneof?).copied());
        let mut features = of_oneof.unwrap_or(inherited);
        features.read_options(self.options, IN_FIELD)?;
        let mut options = features::without(self.options, IN_FIELD)?;
        let mut label = self.label;
        if label == REPEATED {
            if !matches!(self.kind, STRING | BYTES | MESSAGE | GROUP) && !has_packed(&options) {
                put_int(PACKED, u32::from(features.is_packed), &mut options);
            }
        } else if around.is_some() && self.oneof.is_none() && !self.is_proto3_optional {
            match features.presence {
                Presence::Explicit => {}
                Presence::Implicit => features::put(IN_FIELD, 1, 2, &mut options),
                Presence::Required => label = REQUIRED,
            }
        }
        let is_map = around.is_some_and(|around| around.is_entry || around.is_map(self.type_name));
        let is_named = matches!(self.kind, 0 | MESSAGE) && !self.type_name.is_empty();
        let kind = if is_named && features.is_delimited && !is_map { GROUP } else { self.kind };

        let mut out = Vec::with_capacity(bytes.len() + 8);
        for field in Fields(bytes) {
            let field = field.map_err(malformed)?;
            match field.number {
                in_field::LABEL | in_field::TYPE | in_field::OPTIONS => {}
                in_field::JSON_NAME if json_name.is_some() => {}
                _ => out.extend_from_slice(field.whole),
            }
        }
        put_int(in_field::LABEL, label.cast_unsigned(), &mut out);
        if kind != 0 {
            put_int(in_field::TYPE, kind.cast_unsigned(), &mut out);
        }
        if let Some(name) = json_name {
            put_bytes(in_field::JSON_NAME, name.as_bytes(), &mut out);
        }
        // How bytes are escaped there is of no use: nobody asks for the default.
        if self.kind != BYTES
            && let Some(text) = features::default(self.options)?
        {
            put_bytes(in_field::DEFAULT, text.as_bytes(), &mut out);
        }
        if !options.is_empty() {
            put_bytes(in_field::OPTIONS, &options, &mut out);
        }
        Ok(out)
    }
}

fn has_packed(options: &[u8]) -> bool {
    Fields(options).flatten().any(|field| field.number == PACKED)
}

/// The name that a field has in JSON if nothing else is said.
pub(in crate::transcode) fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut is_next_upper = false;
    for character in name.chars() {
        match character {
            '_' => is_next_upper = true,
            _ if std::mem::take(&mut is_next_upper) => out.push(character.to_ascii_uppercase()),
            _ => out.push(character),
        }
    }
    out
}
