//! Which file of `src` imports which, for `tests/tidy.rs`.
//!
//! An import is a path that leads into another file, followed through re-exports to the file that defines the item.
//! `mod` lines are none, nor are re-exports that the file itself does not use, and `#[cfg(test)]` does not count. Like `source.rs` this is no
//! parser: it knows modules, `use` trees, and paths that begin with one of these.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, Word};

/// An import: from a file, on a line, to a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub line: usize,
    pub to: String,
}

type Path = Vec<String>;

/// A file and its statements about modules.
struct Module {
    file: String,
    words: Vec<Word>,
    uses: Vec<Use>,
    /// Where each word stands: inside how many inline modules, and whether in a `use`.
    places: Vec<(usize, bool)>,
}

impl Module {
    /// Whether this name stands in code that is no `use`, and is not a part of a longer path.
    fn says(&self, name: Option<&String>) -> bool {
        (0..self.words.len()).any(|at| {
            let is_part = at > 0 && ["::", ".", "mod"].contains(&self.words[at - 1].text.as_str());
            !self.places[at].1 && !is_part && Some(&self.words[at].text) == name
        })
    }
}

/// A leaf of a `use` tree.
struct Use {
    path: Path,
    /// The name it brings; none for `*`.
    name: Option<String>,
    line: usize,
    is_reexport: bool,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Module(Path),
    /// An item that this module's file defines.
    Item(Path),
}

/// The modules of the crate, by their paths.
pub struct Tree(BTreeMap<Path, Module>);

impl Tree {
    /// Reads files, given as path and text; `src/lib.rs` is the root. Files that no `mod` outside of tests leads to are
    /// left out.
    pub fn new(files: impl Iterator<Item = (String, String)>) -> Tree {
        let mut files: BTreeMap<Path, (String, String)> =
            files.filter_map(|(path, text)| Some((module_of(&path)?, (path, text)))).collect();
        let mut found = BTreeMap::new();
        let mut open = vec![Path::new()];
        while let Some(path) = open.pop() {
            let Some((file, text)) = files.remove(&path) else { continue };
            let words = without_tests(source::read(&text).words);
            for pair in words.windows(3) {
                if pair[0].text == "mod" && pair[2].text == ";" {
                    open.push([path.clone(), vec![pair[1].text.clone()]].concat());
                }
            }
            let (uses, places) = read_uses(&words);
            found.insert(path, Module { file, words, uses, places });
        }
        Tree(found)
    }

    /// All imports between different files.
    pub fn imports(&self) -> BTreeSet<Import> {
        let mut all = BTreeSet::new();
        for (path, module) in &self.0 {
            let mut add = |line: usize, to: &Path| {
                if to != path {
                    let (from, to) = (module.file.clone(), self.0[to].file.clone());
                    all.insert(Import { from, line, to });
                }
            };
            let mut aliases = BTreeMap::new();
            for import in &module.uses {
                // A re-export that the file uses itself is an import, too.
                let is_passed_on = import.is_reexport && !module.says(import.name.as_ref());
                match (self.resolve(path, &import.path, 0, &BTreeMap::new()), &import.name) {
                    (Some(Target::Item(to)), _) if !(is_passed_on && to.starts_with(path)) => {
                        add(import.line, &to);
                    }
                    (Some(Target::Module(to)), None) if !import.is_reexport => add(import.line, &to),
                    (Some(Target::Module(to)), Some(name)) => drop(aliases.insert(name.clone(), to)),
                    _ => {}
                }
            }
            for at in 0..module.words.len() {
                let (inline, is_use) = module.places[at];
                let begins = at == 0 || module.words[at - 1].text != "::";
                if is_use || !begins {
                    continue;
                }
                let segments = path_at(&module.words, at);
                if segments.len() > 1
                    && let Some(Target::Item(to)) = self.resolve(path, &segments, inline, &aliases)
                {
                    add(module.words[at].line, &to);
                }
            }
        }
        all
    }

    /// Follows a path that stands in the file of module `from`, inside so many inline modules.
    fn resolve(
        &self,
        from: &Path,
        path: &[String],
        inline: usize,
        aliases: &BTreeMap<String, Path>,
    ) -> Option<Target> {
        let first = path.first()?.as_str();
        let child = [from.clone(), vec![first.to_owned()]].concat();
        let (begin, rest) = match first {
            "crate" => (Path::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => {
                let supers = path.iter().take_while(|segment| *segment == "super").count();
                let up = supers.checked_sub(inline).filter(|up| *up > 0 || inline == 0)?;
                (from[..from.len().checked_sub(up)?].to_vec(), &path[supers..])
            }
            _ if aliases.contains_key(first) => (aliases[first].clone(), &path[1..]),
            _ if self.0.contains_key(&child) => (child, &path[1..]),
            _ => return None,
        };
        self.walk(begin, rest, 0)
    }

    fn walk(&self, mut module: Path, path: &[String], depth: usize) -> Option<Target> {
        for (at, segment) in path.iter().enumerate() {
            let child = [module.clone(), vec![segment.clone()]].concat();
            if self.0.contains_key(&child) {
                module = child;
                continue;
            }
            let here = self.0.get(&module)?;
            let brings = |import: &&Use| import.name.as_ref() == Some(segment);
            let target = here.uses.iter().find(brings).filter(|_| depth < 9).and_then(|import| {
                let is_child = self.0.contains_key(&[module.clone(), vec![import.path[0].clone()]].concat());
                let known = is_child || ["crate", "self", "super"].contains(&import.path[0].as_str());
                known.then(|| self.resolve(&module, &import.path, 0, &BTreeMap::new())).flatten()
            });
            match target {
                Some(Target::Module(to)) => return self.walk(to, &path[at + 1..], depth + 1),
                Some(item) => return Some(item),
                None => return Some(Target::Item(module)),
            }
        }
        self.0.contains_key(&module).then_some(Target::Module(module))
    }
}

/// The module that a file of `src` is.
fn module_of(path: &str) -> Option<Path> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Path = inside.split('/').map(str::to_owned).collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") || inside == "lib" {
        parts.pop();
    }
    Some(parts)
}

/// The words that are compiled outside of tests.
fn without_tests(words: Vec<Word>) -> Vec<Word> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let is_marked =
            MARK.iter().enumerate().all(|(i, mark)| words.get(at + i).is_some_and(|w| w.text == *mark));
        if !is_marked {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let is_use = words.get(at).is_some_and(|word| word.text == "use");
        let mut depth = 0;
        while at < words.len() {
            let text = words[at].text.as_str();
            depth += i32::from(matches!(text, "{" | "[" | "(")) - i32::from(matches!(text, "}" | "]" | ")"));
            at += 1;
            if depth == 0 && (text == ";" || text == "}" && !is_use) {
                break;
            }
        }
    }
    kept
}

/// The leaves of all `use` trees, and where each word stands.
fn read_uses(words: &[Word]) -> (Vec<Use>, Vec<(usize, bool)>) {
    let (mut uses, mut places, mut braces) = (Vec::new(), Vec::new(), Vec::new());
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let mut at = 0;
    while at < words.len() {
        match text(at) {
            "{" => braces.push(at >= 2 && text(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        let inline = braces.iter().filter(|is_module| **is_module).count();
        if text(at) != "use" {
            places.push((inline, false));
            at += 1;
            continue;
        }
        let end = (at..words.len()).find(|end| text(*end) == ";").unwrap_or(words.len());
        let is_reexport = at > 0 && (text(at - 1) == "pub" || text(at - 1) == ")");
        // An inline module's imports are its own; none of this crate's do with more than one name.
        if inline == 0 {
            leaves(&words[at + 1..end], &Path::new(), is_reexport, &mut uses);
        }
        places.extend((at..end).map(|_| (inline, true)));
        at = end;
    }
    (uses, places)
}

/// Takes a `use` tree apart.
fn leaves(words: &[Word], prefix: &Path, is_reexport: bool, uses: &mut Vec<Use>) {
    let mut depth = 0;
    let mut begin = 0;
    for at in 0..=words.len() {
        let text = words.get(at).map_or(",", |word| word.text.as_str());
        depth += i32::from(text == "{") - i32::from(text == "}");
        if depth != 0 || text != "," {
            continue;
        }
        let branch = &words[begin..at];
        begin = at + 1;
        let mut path = prefix.clone();
        let mut rest = branch;
        while let [name, colons, more @ ..] = rest {
            if colons.text != "::" {
                break;
            }
            path.push(name.text.clone());
            rest = more;
        }
        let Some(last) = rest.first() else { continue };
        let line = last.line;
        let alias =
            rest.get(2).map(|word| word.text.clone()).filter(|_| rest[rest.len().min(2) - 1].text == "as");
        match last.text.as_str() {
            "{" => leaves(&rest[1..rest.len() - 1], &path, is_reexport, uses),
            "*" => uses.push(Use { path, name: None, line, is_reexport }),
            "self" if !path.is_empty() => {
                let name = alias.or_else(|| path.last().cloned());
                uses.push(Use { path, name, line, is_reexport });
            }
            name => {
                path.push(name.to_owned());
                let name = alias.or_else(|| path.last().cloned());
                uses.push(Use { path, name, line, is_reexport });
            }
        }
    }
}

/// The segments of the path that begins here.
fn path_at(words: &[Word], mut at: usize) -> Path {
    let is_name = |word: &Word| word.text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut path = Path::new();
    while let Some(word) = words.get(at).filter(|word| is_name(word)) {
        path.push(word.text.clone());
        if words.get(at + 1).is_none_or(|word| word.text != "::") {
            break;
        }
        at += 2;
    }
    path
}

/// The imports that are part of a circle: those whose end leads back to where they begin.
pub fn circular(imports: &BTreeSet<Import>) -> Vec<Import> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
        while let Some(file) = open.pop() {
            if file == to {
                return true;
            }
            open.extend(next.get(file).into_iter().flatten().copied().filter(|next| seen.insert(next)));
        }
        false
    };
    imports.iter().filter(|import| reaches(&import.to, &import.from)).cloned().collect()
}
