//! Files that go into one pool.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorError, DescriptorPool};

use super::super::problem::{Problem, guarded};
use super::file::File;
use super::pool::Pool;
use super::{builtin, prune};

/// The origin of files that are built in.
const BUILT_IN: &str = "built in";

/// Files, each of which goes with all others.
#[derive(Debug, Default)]
pub(super) struct Group {
    files: Vec<Arc<File>>,
    by_name: HashMap<String, usize>,
    /// Which file defines what.
    by_symbol: HashMap<String, usize>,
    /// Names of files that are left out, and the name they go by.
    aliases: HashMap<String, String>,
}

/// The relation of a file to the files of a group.
enum Place {
    New,
    Known,
    AliasOf(usize),
    /// It contradicts this file.
    Against(usize),
}

impl Group {
    fn place(&self, file: &File) -> Place {
        if let Some(known) = self.by_name.get(&file.name) {
            let is_same = self.files[*known].content == file.content || builtin::is_built_in(&file.name);
            return if is_same { Place::Known } else { Place::Against(*known) };
        }
        let Some(known) = file.symbols.iter().find_map(|symbol| self.by_symbol.get(symbol)) else {
            return Place::New;
        };
        if self.files[*known].content == file.content {
            Place::AliasOf(*known)
        } else {
            Place::Against(*known)
        }
    }

    /// Whether a file goes with those that are there.
    pub(super) fn takes(&self, file: &File) -> bool {
        !matches!(self.place(file), Place::Against(_))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(self.name_of(name))
    }

    /// Adds a file, or says why it cannot be one of these.
    pub(super) fn add(&mut self, file: File, problems: &mut Vec<Problem>) {
        self.add_shared(Arc::new(file), problems);
    }

    pub(super) fn add_shared(&mut self, file: Arc<File>, problems: &mut Vec<Problem>) {
        match self.place(&file) {
            Place::Known => {}
            Place::AliasOf(known) => {
                self.aliases.insert(file.name.clone(), self.files[known].name.clone());
            }
            Place::Against(known) if self.files[known].name == file.name => {
                let wrong = format!("{} is another one than in {}", file.name, self.files[known].origin);
                let hint = "both must be built from the same sources";
                problems.push(Problem::new(&file.origin, wrong).hint(hint));
            }
            // The pool says it with the name that stands twice.
            Place::New | Place::Against(_) => {
                let at = self.files.len();
                self.by_name.insert(file.name.clone(), at);
                for symbol in &file.symbols {
                    self.by_symbol.entry(symbol.clone()).or_insert(at);
                }
                self.files.push(file);
            }
        }
    }

    /// Adds those files of another group that go with these, so that a type which only an `Any` names is known.
    pub(super) fn add_fitting(&mut self, other: &Group) {
        for file in &other.files {
            if !file.is_reflected && self.takes(file) {
                self.add_shared(Arc::clone(file), &mut Vec::new());
            }
        }
    }

    fn name_of<'a>(&'a self, import: &'a str) -> &'a str {
        self.aliases.get(import).map_or(import, String::as_str)
    }

    /// The pool of all files. A fault in a configured file is a problem; a faulty part of a reflected file is left out.
    pub(super) fn into_pool(mut self, problems: &mut Vec<Problem>, refused: &mut Vec<Problem>) -> Pool {
        self.supply(problems, refused);
        let files = std::mem::take(&mut self.files);
        let mut building = Building::new(&self, &files);
        let mut waiting: Vec<&Arc<File>> = files.iter().collect();
        // A file is added when all that it imports has been; each round adds at least one, or the rest is a circle.
        while !waiting.is_empty() {
            let before = waiting.len();
            let names: HashSet<&str> = waiting.iter().map(|file| file.name.as_str()).collect();
            let is_ready =
                |file: &&Arc<File>| file.imports.iter().all(|import| !names.contains(self.name_of(import)));
            let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
            for file in ready {
                let wrong = if building.is_of_services(file) { &mut *refused } else { &mut *problems };
                building.add(file, wrong);
            }
            if later.len() == before {
                let circle: Vec<&str> = later.iter().map(|file| file.name.as_str()).collect();
                let wrong = format!("these files import each other: {}", circle.join(", "));
                let is_reflected = later.iter().all(|file| file.is_reflected);
                let problem = Problem::new(&later[0].origin, wrong);
                if is_reflected {
                    refused.push(problem)
                } else {
                    problems.push(problem)
                }
                break;
            }
            waiting = later;
        }
        building.pool
    }

    /// Adds built-in files that are imported. An import that is nowhere is a problem. A reflected file gets, in its
    /// place, the files that define what it needs.
    fn supply(&mut self, problems: &mut Vec<Problem>, refused: &mut Vec<Problem>) {
        let defines_rules = |file: &Arc<File>| {
            let content = &file.content;
            content.package() == "google.api" && content.extension.iter().any(|one| one.name() == "http")
        };
        if !self.files.iter().any(defines_rules) {
            self.add_built_in(builtin::ANNOTATIONS);
        }
        let mut at = 0;
        while at < self.files.len() {
            let file = Arc::clone(&self.files[at]);
            let is_missing = |import: &&String| !self.has(import);
            let missing: Vec<String> = file.imports.iter().filter(is_missing).cloned().collect();
            let missing: Vec<&String> = missing.iter().filter(|import| !self.add_built_in(import)).collect();
            if let Some(import) = missing.first() {
                let wrong = format!("{} imports {import}, which is nowhere", file.name);
                // A built-in file lacks another one only where a service's file has what that would define.
                if file.is_reflected || (file.origin == BUILT_IN && self.has_reflected()) {
                    self.replace_imports(at, refused, &wrong);
                } else {
                    let hint = "make descriptor sets with --include_imports";
                    problems.push(Problem::new(&file.origin, wrong).hint(hint));
                }
            }
            at += 1;
        }
    }

    fn has_reflected(&self) -> bool {
        self.files.iter().any(|file| file.is_reflected)
    }

    /// Lets a file import those that define what it names.
    fn replace_imports(&mut self, at: usize, refused: &mut Vec<Problem>, wrong: &str) {
        let file = Arc::clone(&self.files[at]);
        let mut imports: BTreeSet<String> =
            file.imports.iter().filter(|import| self.has(import)).cloned().collect();
        let mut is_whole = true;
        for name in file.references() {
            match self.by_symbol.get(name) {
                Some(known) if *known == at => {}
                Some(known) => drop(imports.insert(self.files[*known].name.clone())),
                None => is_whole = false,
            }
        }
        if !is_whole {
            refused.push(Problem::new(&file.origin, wrong));
        }
        let imports = imports.into_iter().collect();
        self.files[at] =
            Arc::new(File { imports, lacks_import: true, is_reflected: true, ..File::clone(&file) });
    }

    /// Adds a file that is built in, if there is one of that name.
    fn add_built_in(&mut self, name: &str) -> bool {
        let Some(file) = builtin::open(name) else { return false };
        let Ok(file) = File::read(BUILT_IN, &file.file_descriptor_proto().encode_to_vec()) else {
            return false;
        };
        if !self.takes(&file) {
            return false;
        }
        self.add(file, &mut Vec::new());
        true
    }
}

/// A pool while it is built.
struct Building<'g> {
    group: &'g Group,
    pool: Pool,
    files: &'g [Arc<File>],
    /// The bytes of those that are in it.
    added: Vec<Vec<u8>>,
    known: HashSet<String>,
}

impl<'g> Building<'g> {
    fn new(group: &'g Group, files: &'g [Arc<File>]) -> Self {
        let reflected = files.iter().filter(|file| file.is_reflected);
        let reflected = reflected.map(|file| (file.name.clone(), file.origin.clone())).collect();
        Self {
            group,
            pool: Pool { reflected, ..Pool::default() },
            files,
            added: Vec::new(),
            known: HashSet::new(),
        }
    }

    /// Whether a fault in this file is one of a service: it is reflected, or it is built in and imports such a file, which
    /// goes by the name of another built-in one.
    fn is_of_services(&self, file: &File) -> bool {
        let is_reflected = |import: &String| {
            let at = self.group.by_name.get(self.group.name_of(import));
            at.is_some_and(|at| self.files[*at].is_reflected)
        };
        file.is_reflected || (file.origin == BUILT_IN && file.imports.iter().any(is_reflected))
    }

    fn add(&mut self, file: &File, wrong: &mut Vec<Problem>) {
        let imports = self.imports(file);
        let is_whole = imports.iter().all(|import| self.known.contains(*import)) && !file.lacks_import;
        if !is_whole && !file.is_reflected {
            // Its refused import has been reported; its own failure would only repeat that.
            return;
        }
        let known = |import: &&str| self.known.contains(*import);
        let bytes = File::with_imports(&file.bytes, imports.iter().copied().filter(known));
        let bytes = if is_whole { bytes } else { self.pruned(file, &bytes, wrong) };
        let mut taken = self.take(file, &bytes);
        if matches!(taken, Ok(Err(_))) && !file.locations.is_empty() {
            // Once more, to say where.
            self.begin_again();
            taken = self.take(file, &[&bytes[..], &file.locations].concat());
        }
        let problem = match taken {
            Ok(Ok(())) => {
                self.known.insert(file.name.clone());
                if file.is_source {
                    self.pool.comments.insert(file.name.clone(), file.comments());
                }
                self.added.push(bytes);
                return;
            }
            Ok(Err(error)) if file.is_source => Problem::new(&file.origin, format!("{error:?}")),
            Ok(Err(error)) => file.problem(error.to_string()),
            Err(defect) => Problem { place: format!("{}: {}", file.origin, file.name), ..defect },
        };
        wrong.push(problem);
        self.begin_again();
    }

    fn take(&mut self, file: &File, bytes: &[u8]) -> Result<Result<(), DescriptorError>, Problem> {
        let pool = &mut self.pool.descriptors;
        guarded(&file.name, || pool.decode_file_descriptor_proto(bytes))
    }

    /// After a failure the pool keeps traces of the file that failed.
    fn begin_again(&mut self) {
        let mut pool = DescriptorPool::new();
        for bytes in &self.added {
            // It was taken before, and after the same ones.
            let _ = pool.decode_file_descriptor_proto(bytes.as_slice());
        }
        self.pool.descriptors = pool;
    }

    /// The imports of a file, with all public imports behind them. The library follows these through one level only.
    fn imports<'a>(&'a self, file: &'a File) -> BTreeSet<&'a str> {
        let mut imports: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = file.imports.iter().map(String::as_str).collect();
        while let Some(import) = next.pop() {
            let name = self.group.name_of(import);
            if name != file.name
                && imports.insert(name)
                && let Some(imported) = self.group.by_name.get(name)
            {
                let imported = &self.files[*imported];
                next.extend(imported.public.iter().map(String::as_str));
            }
        }
        imports
    }

    /// A file without what it cannot have: what stands in files that are not there.
    fn pruned(&mut self, file: &File, bytes: &[u8], wrong: &mut Vec<Problem>) -> Vec<u8> {
        let (group, files, known) = (self.group, self.files, &self.known);
        let is_known = |name: &str| {
            let definer = group.by_symbol.get(name).map(|at| &files[*at]);
            definer.is_some_and(|definer| definer.name == file.name || known.contains(&definer.name))
        };
        let pruned = prune::prune(bytes, file.content.package(), &is_known);
        for (message, field, kind) in pruned.incomplete {
            let reason = format!("its field {field} is a {kind}, of which nothing is known");
            self.pool.incomplete.insert(message, reason);
        }
        for (method, kind) in pruned.methods {
            wrong.push(file.problem(format!("{method} needs {kind}, of which nothing is known")));
        }
        pruned.bytes
    }
}
