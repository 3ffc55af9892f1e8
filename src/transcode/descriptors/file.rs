//! A descriptor file: its bytes, and what others need to know of it.

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::super::comments::Comments;
use super::super::editions::{self, Edition};
use super::super::fields::Fields;
use super::super::problem::Problem;
use super::super::sound;
use super::super::wire::put_bytes;

/// The numbers of the fields of `google.protobuf.FileDescriptorProto`.
const DEPENDENCY: u32 = 3;
const PUBLIC_DEPENDENCY: u32 = 10;
const WEAK_DEPENDENCY: u32 = 11;
const SYNTAX: u32 = 12;
const SOURCE_CODE_INFO: u32 = 9;

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: String,
    /// Where it came from, for people.
    pub(super) origin: String,
    /// As it came, but for what the library behind the descriptors does not know, and for `locations`.
    pub(super) bytes: Vec<u8>,
    /// Of a source, lines, columns and comments, as a field of `bytes`. The library takes time for each option times
    /// each of them, so it gets them only to say where an error is.
    pub(super) locations: Vec<u8>,
    pub(super) imports: Vec<String>,
    /// Imports that importers of this file see, too.
    pub(super) public: Vec<String>,
    /// Its definitions, without the parts that may differ between two copies.
    pub(super) content: FileDescriptorProto,
    /// Full names of its definitions.
    pub(super) symbols: Vec<String>,
    /// Whether it came by a service's reflection, which may send anything.
    pub(super) is_reflected: bool,
    /// Whether errors in it have lines and columns.
    pub(super) is_source: bool,
    /// Whether something that it imports is nowhere.
    pub(super) lacks_import: bool,
}

impl File {
    /// Reads an encoded `google.protobuf.FileDescriptorProto`.
    pub(super) fn read(origin: &str, bytes: &[u8]) -> Result<File, Problem> {
        Self::read_as(origin, bytes, None)
    }

    /// Reads a file whose edition is `known`, where the bytes do not say it.
    pub(super) fn read_as(origin: &str, bytes: &[u8], known: Option<Edition>) -> Result<File, Problem> {
        let content = FileDescriptorProto::decode(bytes)
            .map_err(|error| Problem::new(origin, format!("not a descriptor of a file: {error}")))?;
        let name = content.name().to_owned();
        let wrong = |reason: String| Problem::new(place(origin, &name), reason);
        let edition = known.map_or_else(|| editions::edition(bytes), Ok).map_err(wrong)?;
        sound::check(&content).map_err(wrong)?;
        let bytes = if sound::needs_other_words(&content, edition) {
            editions::to_proto2(bytes, edition).map_err(wrong)?
        } else if content.syntax.as_deref() == Some("") {
            without_syntax(bytes)
        } else {
            bytes.to_vec()
        };
        let imports = content.dependency.clone();
        let of_index = |index: &i32| imports.get(usize::try_from(*index).ok()?).cloned();
        let public = content.public_dependency.iter().filter_map(of_index).collect();
        let symbols = symbols(&content);
        let content = bare(content);
        let origin = origin.to_owned();
        Ok(File {
            name,
            origin,
            bytes,
            locations: Vec::new(),
            imports,
            public,
            content,
            symbols,
            is_reflected: false,
            is_source: false,
            lacks_import: false,
        })
    }

    /// The file as one whose errors have lines and columns.
    pub(super) fn into_source(mut self) -> File {
        let (mut bytes, mut locations) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        for field in Fields(&self.bytes).flatten() {
            let is_location = field.number == SOURCE_CODE_INFO;
            (if is_location { &mut locations } else { &mut bytes }).extend_from_slice(field.whole);
        }
        (self.bytes, self.locations) = (bytes, locations);
        File { is_source: true, ..self }
    }

    /// Comments of its source on its definitions.
    pub(super) fn comments(&self) -> Comments {
        let info = FileDescriptorProto::decode(self.locations.as_slice()).ok();
        Comments::of(info.and_then(|file| file.source_code_info).as_ref())
    }

    /// The fault of the file.
    pub(super) fn problem(&self, wrong: impl Into<String>) -> Problem {
        Problem::new(place(&self.origin, &self.name), wrong)
    }

    /// Its bytes with other imports.
    pub(super) fn with_imports<'i>(bytes: &[u8], imports: impl Iterator<Item = &'i str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for field in Fields(bytes).flatten() {
            if !matches!(field.number, DEPENDENCY | PUBLIC_DEPENDENCY | WEAK_DEPENDENCY) {
                out.extend_from_slice(field.whole);
            }
        }
        for import in imports {
            put_bytes(DEPENDENCY, import.as_bytes(), &mut out);
        }
        out
    }

    /// Full names of the types that it names, if they are written as compilers write them.
    pub(super) fn references(&self) -> impl Iterator<Item = &str> {
        let mut found = Vec::new();
        self.content.message_type.iter().for_each(|message| of_message(message, &mut found));
        self.content.extension.iter().for_each(|field| of_field(field, &mut found));
        for method in self.content.service.iter().flat_map(|service| &service.method) {
            found.extend([method.input_type(), method.output_type()]);
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|name| name.strip_prefix('.'))
    }
}

fn of_message<'f>(message: &'f DescriptorProto, found: &mut Vec<&'f str>) {
    message.field.iter().chain(&message.extension).for_each(|field| of_field(field, found));
    message.nested_type.iter().for_each(|nested| of_message(nested, found));
}

fn of_field<'f>(field: &'f FieldDescriptorProto, found: &mut Vec<&'f str>) {
    found.extend([field.type_name(), field.extendee()]);
}

/// Where a file is, for people.
fn place(origin: &str, name: &str) -> String {
    if origin == name { name.to_owned() } else { format!("{origin}: {name}") }
}

/// A file that says its syntax is nothing, which is proto2.
fn without_syntax(bytes: &[u8]) -> Vec<u8> {
    let kept = Fields(bytes).flatten().filter(|field| field.number != SYNTAX);
    kept.flat_map(|field| field.whole.iter().copied()).collect()
}

/// The definitions of a file alone: two builds of one file may differ in the rest.
fn bare(file: FileDescriptorProto) -> FileDescriptorProto {
    FileDescriptorProto {
        name: None,
        dependency: Vec::new(),
        public_dependency: Vec::new(),
        weak_dependency: Vec::new(),
        options: None,
        source_code_info: None,
        ..file
    }
}

fn symbols(file: &FileDescriptorProto) -> Vec<String> {
    let mut found = Vec::new();
    let scope = file.package();
    file.message_type.iter().for_each(|message| message_symbols(message, scope, &mut found));
    file.enum_type.iter().for_each(|one| enum_symbols(one, scope, &mut found));
    found.extend(file.service.iter().map(|service| full_name(scope, service.name())));
    found.extend(file.extension.iter().map(|extension| full_name(scope, extension.name())));
    found
}

fn message_symbols(message: &DescriptorProto, scope: &str, found: &mut Vec<String>) {
    let scope = full_name(scope, message.name());
    message.nested_type.iter().for_each(|nested| message_symbols(nested, &scope, found));
    message.enum_type.iter().for_each(|one| enum_symbols(one, &scope, found));
    found.extend(message.extension.iter().map(|extension| full_name(&scope, extension.name())));
    found.push(scope);
}

/// The values of an enum stand beside it.
fn enum_symbols(one: &EnumDescriptorProto, scope: &str, found: &mut Vec<String>) {
    found.push(full_name(scope, one.name()));
    found.extend(one.value.iter().map(|value| full_name(scope, value.name())));
}

pub(super) fn full_name(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
