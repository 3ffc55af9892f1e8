//! Features that an edition leaves open, and their values by edition and options: `google.protobuf.FeatureSet`.

use super::edition::{Edition, malformed};
use super::source::DEFAULT;
use crate::transcode::fields::{Field, Fields, put_int};
use crate::transcode::wire::put_bytes;

/// Where a `FeatureSet` stands in the options of its kind.
pub(super) const IN_FILE: u32 = 50;
pub(super) const IN_MESSAGE: u32 = 12;
pub(super) const IN_FIELD: u32 = 21;
pub(super) const IN_ONEOF: u32 = 1;
pub(super) const IN_ENUM: u32 = 7;

/// `google.protobuf.UninterpretedOption`, which stands at one place in all options.
const UNINTERPRETED: u32 = 999;

/// Resolved features. Those of languages are of no concern here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transcode) struct Features {
    pub(super) presence: Presence,
    pub(super) is_open: bool,
    pub(super) is_packed: bool,
    pub(super) is_delimited: bool,
    /// Whether each field must have a name of its own in JSON.
    pub(super) names_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Explicit,
    Implicit,
    Required,
}

/// Number and name of a feature, and its values from 1 on.
const FEATURES: [(u32, &str, &[&str]); 8] = [
    (1, "field_presence", &["EXPLICIT", "IMPLICIT", "LEGACY_REQUIRED"]),
    (2, "enum_type", &["OPEN", "CLOSED"]),
    (3, "repeated_field_encoding", &["PACKED", "EXPANDED"]),
    (4, "utf8_validation", &["", "VERIFY", "NONE"]),
    (5, "message_encoding", &["LENGTH_PREFIXED", "DELIMITED"]),
    (6, "json_format", &["ALLOW", "LEGACY_BEST_EFFORT"]),
    (7, "enforce_naming_style", &["STYLE2024", "STYLE_LEGACY"]),
    (8, "default_symbol_visibility", &["EXPORT_ALL", "EXPORT_TOP_LEVEL", "LOCAL_ALL", "STRICT"]),
];

impl Features {
    pub(super) fn of(edition: Edition) -> Features {
        let of_2023 = Features {
            presence: Presence::Explicit,
            is_open: true,
            is_packed: true,
            is_delimited: false,
            names_json: true,
        };
        match edition {
            Edition::Of2023 | Edition::Of2024 => of_2023,
            Edition::Proto3 => Features { presence: Presence::Implicit, ..of_2023 },
            Edition::Proto2 => Features { is_open: false, is_packed: false, names_json: false, ..of_2023 },
        }
    }

    /// Takes over what options say; `at` is where features stand in them.
    pub(super) fn read_options(&mut self, options: &[u8], at: u32) -> Result<(), String> {
        for field in Fields(options) {
            let field = field.map_err(malformed)?;
            match field.payload() {
                Some(set) if field.number == at => self.read_set(set)?,
                Some(option) if field.number == UNINTERPRETED => self.read_uninterpreted(option)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_set(&mut self, set: &[u8]) -> Result<(), String> {
        for field in Fields(set) {
            let field = field.map_err(malformed)?;
            if let Some(feature) = FEATURES.iter().find(|feature| feature.0 == field.number) {
                let value = field.int().and_then(|value| usize::try_from(value).ok());
                let value = value.filter(|value| (1..=feature.2.len()).contains(value));
                let value = value.ok_or_else(|| format!("the feature {} has no such value", feature.1))?;
                self.set(feature.0, value);
            }
        }
        Ok(())
    }

    fn set(&mut self, feature: u32, value: usize) {
        match (feature, value) {
            (1, 1) => self.presence = Presence::Explicit,
            (1, 2) => self.presence = Presence::Implicit,
            (1, _) => self.presence = Presence::Required,
            (2, _) => self.is_open = value == 1,
            (3, _) => self.is_packed = value == 1,
            (5, _) => self.is_delimited = value == 2,
            (6, _) => self.names_json = value == 1,
            _ => {}
        }
    }

    /// `features.field_presence = IMPLICIT`, or `features = { field_presence: IMPLICIT }`, as the parser leaves it.
    fn read_uninterpreted(&mut self, option: &[u8]) -> Result<(), String> {
        let option = Uninterpreted::read(option)?;
        match option.names.as_slice() {
            [("features", false)] => {
                let words: Vec<&str> =
                    option.aggregate.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).collect();
                for pair in words.windows(2) {
                    if FEATURES.iter().any(|feature| feature.1 == pair[0]) {
                        self.set_named(pair[0], pair[1])?;
                    }
                }
                Ok(())
            }
            [("features", false), (name, false)] => self.set_named(name, option.identifier),
            _ => Ok(()),
        }
    }

    fn set_named(&mut self, name: &str, value: &str) -> Result<(), String> {
        let feature = FEATURES.iter().find(|feature| feature.1 == name);
        let feature = feature.ok_or_else(|| format!("there is no feature {name:?}"))?;
        let place = feature.2.iter().position(|known| *known == value && !value.is_empty());
        let place = place.ok_or_else(|| format!("the feature {name} has no value {value:?}"))?;
        self.set(feature.0, place + 1);
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// An option that is still as it was written.
#[derive(Default)]
struct Uninterpreted<'a> {
    /// Each with whether it stands in parentheses.
    names: Vec<(&'a str, bool)>,
    identifier: &'a str,
    aggregate: &'a str,
    /// As `default_value` has it.
    value: String,
}

impl<'a> Uninterpreted<'a> {
    fn read(option: &'a [u8]) -> Result<Self, String> {
        let mut read = Self::default();
        for field in Fields(option) {
            let field = field.map_err(malformed)?;
            let text = field.text().unwrap_or_default();
            match field.number {
                2 => read.names.push(part(field.payload().unwrap_or_default())?),
                3 => {
                    read.identifier = text;
                    text.clone_into(&mut read.value);
                }
                8 => read.aggregate = text,
                _ => read.value = value(&field).unwrap_or(read.value),
            }
        }
        Ok(read)
    }
}

/// A part of an option's name.
fn part(bytes: &[u8]) -> Result<(&str, bool), String> {
    let (mut name, mut is_extension) = ("", false);
    for field in Fields(bytes) {
        let field = field.map_err(malformed)?;
        match field.number {
            1 => name = field.text().ok_or("an option's name is not a text")?,
            2 => is_extension = field.int() == Some(1),
            _ => {}
        }
    }
    Ok((name, is_extension))
}

/// A value as the text of a default.
#[expect(clippy::cast_possible_wrap, reason = "the format says so")]
fn value(field: &Field<'_>) -> Option<String> {
    use crate::transcode::wire::Raw;
    match (field.number, field.value) {
        (4, Raw::Varint(value)) => Some(value.to_string()),
        (5, Raw::Varint(value)) => Some((value as i64).to_string()),
        (6, Raw::Fixed64(bits)) => Some(f64::from_bits(bits).to_string().to_ascii_lowercase()),
        (7, Raw::Length(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// Options without features.
pub(super) fn without(options: &[u8], at: u32) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(options.len());
    for field in Fields(options) {
        let field = field.map_err(malformed)?;
        let is_feature = match field.payload() {
            Some(option) if field.number == UNINTERPRETED => {
                let option = Uninterpreted::read(option)?;
                matches!(option.names.first(), Some((first, false)) if matches!(*first, "features" | DEFAULT))
            }
            _ => field.number == at,
        };
        if !is_feature {
            out.extend_from_slice(field.whole);
        }
    }
    Ok(out)
}

/// The default that a `.proto` file of an edition gives a field.
pub(super) fn default(options: &[u8]) -> Result<Option<String>, String> {
    for field in Fields(options) {
        let field = field.map_err(malformed)?;
        if let (UNINTERPRETED, Some(option)) = (field.number, field.payload()) {
            let option = Uninterpreted::read(option)?;
            if option.names == [(DEFAULT, false)] {
                return Ok(Some(option.value));
            }
        }
    }
    Ok(None)
}

/// Appends a `FeatureSet` that says `feature` alone.
pub(super) fn put(at: u32, feature: u32, value: u32, options: &mut Vec<u8>) {
    let mut set = Vec::with_capacity(2);
    put_int(feature, value, &mut set);
    put_bytes(at, &set, options);
}

/// The value of a feature that was put into options by [`put`].
fn kept(options: &[u8], at: u32, feature: u32) -> Option<i32> {
    let set = Fields(options).flatten().filter(|field| field.number == at).last()?;
    Fields(set.payload()?).flatten().filter(|field| field.number == feature).last()?.int()
}

impl Features {
    /// Whether the options of a field say that absent is no other value than the default.
    pub(in crate::transcode) fn is_implicit(options: &[u8]) -> bool {
        kept(options, IN_FIELD, 1) == Some(2)
    }

    /// Whether the options of an enum say that it takes numbers that it does not name.
    pub(in crate::transcode) fn is_open(options: &[u8]) -> bool {
        kept(options, IN_ENUM, 2) == Some(1)
    }
}
