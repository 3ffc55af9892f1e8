//! `.proto` files, parsed with all that they import.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use protox::file::{FileResolver as _, IncludeFileResolver};

use super::super::editions::{Edition, source};
use super::super::problem::{Problem, guarded};
use super::builtin;
use super::file::File;
use super::group::Group;
use crate::config::Transcoding;

/// The largest `.proto` file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files that one file may need, all in all.
const FILES_MAX: usize = 65_536;

/// Reads all files that are named, with what they import, into a group.
pub(super) fn read(settings: &Transcoding, directory: &Path, group: &mut Group, problems: &mut Vec<Problem>) {
    let here = [PathBuf::new()];
    let includes = if settings.proto_paths.is_empty() { &here[..] } else { &settings.proto_paths };
    let mut folders = Vec::new();
    for include in includes {
        let folder = directory.join(include);
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        if !folder.is_dir() {
            problems.push(Problem::new(include.display().to_string(), "no such directory"));
        }
        folders.push(folder);
    }
    for path in &settings.protos {
        let place = path.display().to_string();
        let file = directory.join(path);
        if !file.is_file() {
            let problem = match file.is_dir() {
                true => Problem::new(place, "a folder").hint("name its .proto files, each by itself"),
                false => Problem::new(place, "no such file")
                    .hint("a relative path begins at the configuration's folder"),
            };
            problems.push(problem);
            continue;
        }
        let mut reader = Reader { folders: &folders, origin: &place, group: &mut *group };
        if let Err(problem) = reader.named(&file) {
            problems.push(problem);
        }
    }
}

/// Reads one file that is named.
struct Reader<'a> {
    folders: &'a [PathBuf],
    /// The file as the configuration names it.
    origin: &'a str,
    group: &'a mut Group,
}

impl Reader<'_> {
    fn named(&mut self, file: &Path) -> Result<(), Problem> {
        let name_in = |folder: &PathBuf| IncludeFileResolver::new(folder.clone()).resolve_path(file);
        let found = self.folders.iter().enumerate().find_map(|(at, folder)| Some((at, name_in(folder)?)));
        let Some((at, name)) = found else {
            let hint = "add the directory that its imports are relative to";
            return Err(self.problem("it lies below none of transcoding.proto_paths").hint(hint));
        };
        if let Some(other) =
            self.folders[..at].iter().map(|folder| folder.join(&name)).find(|path| path.is_file())
        {
            return Err(self.problem(format!("it is imported as {name}, which is {}", other.display())));
        }
        let mut wanted = vec![name];
        let mut count = 0;
        while let Some(name) = wanted.pop() {
            count += 1;
            if self.group.has(&name) || count > FILES_MAX {
                continue;
            }
            let Some(path) = self.find(&name) else { continue };
            let (file, imports) = self.parse(&name, &path)?;
            self.group.add(file, &mut Vec::new());
            wanted.extend(imports);
        }
        Ok(())
    }

    fn problem(&self, wrong: impl Into<String>) -> Problem {
        Problem::new(self.origin, wrong)
    }

    /// Where a file that is imported lies.
    fn find(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// A file, and what it imports.
    fn parse(&self, name: &str, path: &Path) -> Result<(File, Vec<String>), Problem> {
        let text = text(path).map_err(|reason| self.problem(format!("{name}: {reason}")))?;
        let translated =
            source::to_proto3(&text).map_err(|reason| self.problem(format!("{name}:1:1: {reason}")))?;
        let (text, edition) = match &translated {
            Some((text, edition)) => (text.as_str(), Some(*edition)),
            None => (text.as_str(), None),
        };
        // Debug, for it begins with line and column.
        let parsed = guarded(name, || protox::file::File::from_source(name, text))
            .map_err(|defect| Problem { place: self.origin.to_owned(), ..defect })?
            .map_err(|error| self.problem(format!("{error:?}")))?;
        let descriptor = parsed.file_descriptor_proto();
        for (at, import) in descriptor.dependency.iter().enumerate() {
            let is_there = self.group.has(import) || self.find(import).is_some();
            if !is_there && !builtin::has(import) {
                let place = position(descriptor, at);
                let folders: Vec<String> =
                    self.folders.iter().map(|folder| folder.display().to_string()).collect();
                let hint = format!(
                    "looked for in {}; transcoding.proto_paths lists the folders that imports are relative to",
                    folders.join(", ")
                );
                let wrong = format!("{name}:{place} import '{import}' not found");
                return Err(self.problem(wrong).hint(hint));
            }
        }
        let file = self.file(descriptor, edition)?;
        Ok((file, descriptor.dependency.clone()))
    }

    fn file(&self, descriptor: &FileDescriptorProto, edition: Option<Edition>) -> Result<File, Problem> {
        Ok(File::read_as(self.origin, &descriptor.encode_to_vec(), edition)?.into_source())
    }
}

fn text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("larger than 16MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

/// Line and column of an import.
fn position(file: &FileDescriptorProto, import: usize) -> String {
    let path = [3, i32::try_from(import).unwrap_or(i32::MAX)];
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    match locations.filter(|location| location.path == path).find_map(|location| location.span.get(..2)) {
        Some([line, column]) => format!("{}:{}:", i64::from(*line) + 1, i64::from(*column) + 1),
        _ => String::new(),
    }
}
