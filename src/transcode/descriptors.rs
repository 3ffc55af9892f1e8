//! Descriptors from everywhere into one pool.
//!
//! Files keep their bytes, so that options nobody here knows of survive. Where two sources have a file of one name, the
//! first counts and the other must define the same; a file that stands under two names with the same content is one.
//! What is imported and in no source comes from what is built in: `google/protobuf` and the usual files of `google/api`.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use prost_reflect::prost::{Message as _, encoding};
use prost_reflect::prost_types::FileDescriptorProto;
use protox::file::{ChainFileResolver, FileResolver, GoogleFileResolver, IncludeFileResolver};

use super::problem::Problem;
use crate::config::Transcoding;

/// The largest descriptor set that is read.
const SET_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file of the option that makes rules.
const ANNOTATIONS: &str = "google/api/annotations.proto";

/// Files of `google/api` that services import for their options.
const EMBEDDED: &[(&str, &str)] = &[
    (ANNOTATIONS, include_str!("../../proto/google/api/annotations.proto")),
    ("google/api/http.proto", include_str!("../../proto/google/api/http.proto")),
    ("google/api/httpbody.proto", include_str!("../../proto/google/api/httpbody.proto")),
    ("google/api/field_behavior.proto", include_str!("../../proto/google/api/field_behavior.proto")),
    ("google/api/resource.proto", include_str!("../../proto/google/api/resource.proto")),
    ("google/api/client.proto", include_str!("../../proto/google/api/client.proto")),
];

/// Descriptor files on their way into a pool, and what was wrong with them.
#[derive(Debug, Default)]
pub struct Descriptors {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    /// Names of files that are left out, and the name they go by.
    aliases: HashMap<String, String>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct File {
    name: String,
    /// Where it came from, for people.
    origin: String,
    /// As it came.
    bytes: Vec<u8>,
    imports: Vec<String>,
    /// What it defines, without what may differ between two copies.
    content: FileDescriptorProto,
}

impl Descriptors {
    /// Reads the files that the configuration names. Relative paths begin at `directory`.
    pub fn read(settings: &Transcoding, directory: &Path) -> Self {
        let mut descriptors = Self::default();
        for path in &settings.descriptor_sets {
            match read_set(&directory.join(path)) {
                Ok(bytes) => descriptors.add_set(&path.display().to_string(), &bytes),
                Err(error) => descriptors.refuse(path, format!("cannot be read: {error}")),
            }
        }
        if !settings.protos.is_empty() {
            descriptors.compile(settings, directory);
        }
        descriptors
    }

    /// Adds the files of an encoded `google.protobuf.FileDescriptorSet`.
    pub fn add_set(&mut self, origin: &str, bytes: &[u8]) {
        let mut found = 0;
        for field in Fields(bytes) {
            match field {
                Ok(Field { number: 1, payload: Some(file), .. }) => self.add_file(origin, file),
                Ok(_) => continue,
                Err(Broken) => {
                    let hint = "protoc writes one with --include_imports --descriptor_set_out=FILE";
                    self.problems.push(Problem::new(origin, "not a FileDescriptorSet").hint(hint));
                    return;
                }
            }
            found += 1;
        }
        if found == 0 {
            self.problems.push(Problem::new(origin, "no file is in it"));
        }
    }

    /// Adds an encoded `google.protobuf.FileDescriptorProto`, such as server reflection answers.
    pub fn add_file(&mut self, origin: &str, bytes: &[u8]) {
        let content = match FileDescriptorProto::decode(bytes) {
            Ok(content) => content,
            Err(error) => {
                self.problems.push(Problem::new(origin, format!("not a descriptor of a file: {error}")));
                return;
            }
        };
        let (name, imports) = (content.name().to_owned(), content.dependency.clone());
        let content = bare(content);
        if let Some(first) = self.by_name.get(&name).map(|position| &self.files[*position]) {
            if first.content != content && !is_built_in(&name) {
                let wrong = format!("{name} is another one than in {}", first.origin);
                let hint = "both must be built from the same sources";
                self.problems.push(Problem::new(origin, wrong).hint(hint));
            }
            return;
        }
        let defines = |file: &FileDescriptorProto| {
            let types = !file.message_type.is_empty() || !file.enum_type.is_empty();
            types || !file.service.is_empty() || !file.extension.is_empty()
        };
        if let Some(same) = self.files.iter().find(|file| file.content == content && defines(&content)) {
            self.aliases.insert(name, same.name.clone());
            return;
        }
        self.by_name.insert(name.clone(), self.files.len());
        self.files.push(File { name, origin: origin.to_owned(), bytes: bytes.to_vec(), imports, content });
    }

    /// Compiles `.proto` files.
    fn compile(&mut self, settings: &Transcoding, directory: &Path) {
        let here = [PathBuf::new()];
        let includes = if settings.proto_paths.is_empty() { &here[..] } else { &settings.proto_paths };
        let mut resolver = ChainFileResolver::new();
        for include in includes {
            let folder = directory.join(include);
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            if !folder.is_dir() {
                self.refuse(include, "no such directory");
            }
            resolver.add(IncludeFileResolver::new(folder));
        }
        resolver.add(Embedded);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).include_source_info(true);
        for path in &settings.protos {
            let file = directory.join(path);
            if !file.is_file() {
                self.refuse(path, "no such file");
                continue;
            }
            // Debug, for it begins with line and column.
            match compiler.open_file(&file) {
                Err(error) if error.is_file_not_found() && error.file().is_none() => {
                    let hint = "add the directory that its imports are relative to";
                    let wrong = "it lies below none of transcoding.proto_paths";
                    self.problems.push(Problem::new(path.display().to_string(), wrong).hint(hint));
                }
                Err(error) => self.refuse(path, format!("{error:?}")),
                Ok(_) => {}
            }
        }
        if compiler.files().len() > 0 {
            self.add_set("transcoding.protos", &compiler.encode_file_descriptor_set());
        }
    }

    fn refuse(&mut self, path: &Path, wrong: impl Into<String>) {
        self.problems.push(Problem::new(path.display().to_string(), wrong));
    }

    /// The pool of all files.
    ///
    /// # Errors
    /// Everything that was wrong, with what is wrong between the files.
    pub fn into_pool(mut self) -> Result<DescriptorPool, Vec<Problem>> {
        self.supply();
        let mut pool = DescriptorPool::new();
        let mut waiting = std::mem::take(&mut self.files);
        let mut known: HashSet<String> = waiting.iter().map(|file| file.name.clone()).collect();
        // A file is added when all that it imports has been; each round adds at least one, or the rest is a circle.
        while !waiting.is_empty() {
            let before = waiting.len();
            let names: HashSet<String> = waiting.iter().map(|file| file.name.clone()).collect();
            let mut later = Vec::new();
            for file in waiting {
                if file.imports.iter().any(|import| names.contains(self.name_of(import))) {
                    later.push(file);
                } else if file.imports.iter().all(|import| known.contains(self.name_of(import))) {
                    self.add_to(&mut pool, &file, &mut known);
                } else {
                    // What it imports has been refused; its own turn would only say so again.
                    known.remove(&file.name);
                }
            }
            if later.len() == before {
                let circle: Vec<&str> = later.iter().map(|file| file.name.as_str()).collect();
                let wrong = format!("these files import each other: {}", circle.join(", "));
                self.problems.push(Problem::new(&later[0].origin, wrong));
                break;
            }
            waiting = later;
        }
        if self.problems.is_empty() { Ok(pool) } else { Err(self.problems) }
    }

    fn add_to(&mut self, pool: &mut DescriptorPool, file: &File, known: &mut HashSet<String>) {
        let bytes = with_imports(&file.bytes, |import| self.name_of(import));
        if let Err(error) = pool.decode_file_descriptor_proto(bytes.as_slice()) {
            known.remove(&file.name);
            let place = if file.origin == file.name {
                file.name.clone()
            } else {
                format!("{}: {}", file.origin, file.name)
            };
            self.problems.push(Problem::new(place, error.to_string()));
        }
    }

    fn name_of<'a>(&'a self, import: &'a str) -> &'a str {
        self.aliases.get(import).map_or(import, String::as_str)
    }

    /// Adds what is imported and built in; what is imported and nowhere is a problem.
    fn supply(&mut self) {
        let defines_rules = |file: &File| {
            let content = &file.content;
            content.package() == "google.api" && content.extension.iter().any(|one| one.name() == "http")
        };
        if !self.files.iter().any(defines_rules) {
            self.add_embedded(ANNOTATIONS);
        }
        let mut at = 0;
        while at < self.files.len() {
            for import in self.files[at].imports.clone() {
                let is_there = self.by_name.contains_key(self.name_of(&import));
                if !is_there && !self.add_embedded(&import) {
                    let File { origin, name, .. } = &self.files[at];
                    let wrong = format!("{name} imports {import}, which is nowhere");
                    let hint = "make descriptor sets with --include_imports";
                    self.problems.push(Problem::new(origin, wrong).hint(hint));
                }
            }
            at += 1;
        }
    }

    /// Adds a file that is built in, if there is one of that name.
    fn add_embedded(&mut self, name: &str) -> bool {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Embedded);
        resolver.add(GoogleFileResolver::new());
        if resolver.open_file(name).is_err() {
            return false;
        }
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        // Its own imports are asked for in their turn, so that those of the sources go before.
        compiler.open_file(name).expect("the tests compile every file that is built in");
        self.add_set("built in", &compiler.encode_file_descriptor_set());
        true
    }
}

/// Reads a file up to a size that no descriptor set has.
fn read_set(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SET_BYTES_MAX {
        return Err(std::io::Error::other("larger than 64MiB"));
    }
    Ok(bytes)
}

/// What a file defines: two builds of one file may differ in the rest.
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

/// Files that everybody has, in versions that need not be the same.
fn is_built_in(name: &str) -> bool {
    name.starts_with("google/protobuf/") || name.starts_with("google/api/")
}

/// The sources that are built in.
struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        let source = EMBEDDED.iter().find(|(known, _)| *known == name);
        let (name, source) = source.ok_or_else(|| protox::Error::file_not_found(name))?;
        protox::file::File::from_source(name, source)
    }
}

/// The bytes of a file descriptor with other names for what it imports.
fn with_imports<'a>(bytes: &'a [u8], name_of: impl Fn(&'a str) -> &'a str) -> Vec<u8> {
    const DEPENDENCY: u32 = 3;
    let mut out = Vec::with_capacity(bytes.len());
    for field in Fields(bytes).flatten() {
        match field.payload.map(std::str::from_utf8) {
            Some(Ok(import)) if field.number == u64::from(DEPENDENCY) => {
                let name = name_of(import);
                encoding::string::encode(DEPENDENCY, &name.to_owned(), &mut out);
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    out
}

/// The fields of an encoded message, one after the other.
struct Fields<'a>(&'a [u8]);

/// A field as it is encoded.
struct Field<'a> {
    number: u64,
    /// Of fields with a length.
    payload: Option<&'a [u8]>,
    /// Its tag included.
    whole: &'a [u8],
}

/// Not protobuf, or a group, which no descriptor has.
struct Broken;

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Broken))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let before = self.0;
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| None)?,
            _ => return None,
        };
        let whole = &before[..before.len() - self.0.len()];
        Some(Field { number: tag >> 3, payload, whole })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.skip(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (skipped, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(skipped)
    }
}
