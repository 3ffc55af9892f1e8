//! Descriptors from everywhere into pools.
//!
//! Files keep their bytes, so that options nobody here knows of survive. Where two sources have a file of one name, the
//! first counts and the other must define the same; a file that stands under two names with the same content is one.
//! An import that no source has comes from the built-in files: `google/protobuf` and the usual ones of `google/api`.
//!
//! Files that the configuration names have to be right as a whole. Responses of server reflection are taken as far as
//! they can be described. There, a file that is wrong, or lacks an import, costs only the methods that need it. A
//! cluster that has another version of a file than the sources before it gets a pool of its own.

mod builtin;
mod file;
mod group;
mod pool;
mod prune;
mod reflected;
mod sources;

use std::collections::{BTreeSet, HashSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use self::file::File;
use self::group::Group;
pub(super) use self::pool::Pool;
pub use self::reflected::Reflected;
use super::fields::Fields;
use super::options;
use super::problem::Problem;
use crate::config::Transcoding;

/// The largest descriptor set that is read.
const SET_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Descriptor files on their way into pools, and what was wrong with them.
#[derive(Debug)]
pub struct Descriptors {
    /// The first has what the configuration names.
    groups: Vec<Group>,
    problems: Vec<Problem>,
    refused: Vec<Problem>,
}

/// All that could be described.
#[derive(Debug)]
pub(super) struct Pools {
    /// At least one.
    pub(super) pools: Vec<Pool>,
    /// Problems of reflected parts that could not be described.
    pub(super) refused: Vec<Problem>,
}

impl Descriptors {
    /// Reads the files that the configuration names. Relative paths begin at `directory`.
    pub fn read(settings: &Transcoding, directory: &Path) -> Self {
        let mut descriptors =
            Self { groups: vec![Group::default()], problems: Vec::new(), refused: Vec::new() };
        for path in &settings.descriptor_sets {
            match read_set(&directory.join(path)) {
                Ok(bytes) => descriptors.add_set(&path.display().to_string(), &bytes),
                Err(error) => {
                    let place = path.display().to_string();
                    descriptors.problems.push(Problem::new(place, format!("cannot be read: {error}")));
                }
            }
        }
        if !settings.protos.is_empty() {
            sources::read(settings, directory, &mut descriptors.groups[0], &mut descriptors.problems);
        }
        descriptors
    }

    /// Adds the files of an encoded `google.protobuf.FileDescriptorSet`.
    fn add_set(&mut self, origin: &str, bytes: &[u8]) {
        let mut found = 0;
        for field in Fields(bytes) {
            match field {
                Ok(field) => {
                    if let (1, Some(file)) = (field.number, field.payload()) {
                        found += 1;
                        match File::read(origin, file) {
                            Ok(file) => self.groups[0].add(file, &mut self.problems),
                            Err(problem) => self.problems.push(problem),
                        }
                    }
                }
                Err(_) => {
                    let hint = "protoc writes one with --include_imports --descriptor_set_out=FILE";
                    self.problems.push(Problem::new(origin, "not a FileDescriptorSet").hint(hint));
                    return;
                }
            }
        }
        if found == 0 {
            self.problems.push(Problem::new(origin, "no file is in it"));
        }
    }

    /// Adds what a cluster's reflection has sent.
    pub fn add_reflected(&mut self, reflected: &Reflected) {
        let origin = &reflected.origin;
        self.refused.extend(reflected.untold.iter().map(|untold| Problem::new(origin, untold)));
        let mut files = Vec::new();
        for bytes in &reflected.files {
            match File::read(origin, bytes) {
                Ok(file) => files.push(Arc::new(File { is_reflected: true, ..file })),
                Err(problem) => self.refused.push(problem),
            }
        }
        let fitting = self.groups.iter().position(|group| files.iter().all(|file| group.takes(file)));
        let at = fitting.unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        for file in files {
            self.groups[at].add_shared(file, &mut self.refused);
        }
        if fitting.is_none() {
            let (configured, own) = self.groups.split_at_mut(at);
            own[0].add_fitting(&configured[0]);
        }
    }

    /// The pools of all files.
    ///
    /// # Errors
    /// Everything that was wrong with what the configuration names, with what is wrong between the files.
    pub(super) fn into_pools(mut self) -> Result<Pools, Vec<Problem>> {
        let mut pools = Vec::new();
        for (number, group) in self.groups.into_iter().enumerate() {
            let mut problems = Vec::new();
            let mut pool = group.into_pool(&mut problems, &mut self.refused);
            pool.incomplete.extend(options::undecodable(&pool.descriptors));
            pools.push(pool);
            // Later groups repeat the configured files, which the first group has judged.
            if number == 0 {
                self.problems.append(&mut problems);
            }
        }
        if self.problems.is_empty() { Ok(Pools { pools, refused: self.refused }) } else { Err(self.problems) }
    }
}

/// Full names of types that files name which import one of `absent`, and that none of the files defines. Files that
/// cannot be read name nothing.
pub fn missing_types<'f>(
    files: impl Iterator<Item = &'f [u8]>,
    absent: &BTreeSet<String>,
) -> BTreeSet<String> {
    let files: Vec<File> = files.filter_map(|bytes| File::read("", bytes).ok()).collect();
    let defined: HashSet<&str> = files.iter().flat_map(|file| &file.symbols).map(String::as_str).collect();
    let lack = files.iter().filter(|file| file.imports.iter().any(|import| absent.contains(import)));
    let named = lack.flat_map(File::references).filter(|name| !defined.contains(name));
    // Those are built in.
    let is_ours = |name: &&str| name.starts_with("google.protobuf.") || name.starts_with("google.api.");
    named.filter(|name| !is_ours(name)).map(str::to_owned).collect()
}

/// Reads a file up to a size that no descriptor set has.
fn read_set(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.is_dir() {
        return Err(std::io::Error::other("it is a folder: name its files, each by itself"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SET_BYTES_MAX {
        return Err(std::io::Error::other("larger than 64MiB"));
    }
    Ok(bytes)
}
