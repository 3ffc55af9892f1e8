//! Imports: a tree or a list of lines, read into one form, and built from it.
//!
//! A university, branch or faculty that exists already by its name is built upon; a group that exists is left alone.

use prost_types::Timestamp;
use tonic::Status;

use super::super::proto::structure::import_structure_request::Source;
use super::super::proto::structure::{
    Branch, Faculty, Group, ImportStructureResponse, Node, NodeKind, University,
};
use super::super::shared::invalid;
use super::state::State;

/// The names from a university down to a part of it, one to four of them.
type Path = Vec<String>;

/// Reads either form. A tree becomes one path for each of its parts, every part after the one it is in.
pub(super) fn read(source: Option<Source>) -> Result<Vec<Path>, Status> {
    match source {
        Some(Source::Lines(bytes)) => read_lines(&bytes),
        Some(Source::Tree(tree)) => {
            let mut paths = Vec::new();
            walk(tree, &mut Vec::new(), &mut paths)?;
            Ok(paths)
        }
        None => Err(invalid("either tree or lines is needed")),
    }
}

pub(super) fn read_lines(bytes: &[u8]) -> Result<Vec<Path>, Status> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| invalid(format!("lines are not UTF-8: {error}")))?;
    let mut paths = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let path: Path = line.split(';').map(|part| part.trim().to_owned()).collect();
        if KINDS.len() < path.len() || path.iter().any(String::is_empty) {
            return Err(invalid(format!("line {number} is not of the form university;branch;faculty;group")));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn walk(node: Node, above: &mut Path, paths: &mut Vec<Path>) -> Result<(), Status> {
    let kind = KINDS.get(above.len()).ok_or_else(|| invalid("the tree has more than four levels"))?;
    if node.kind() != *kind && node.kind() != NodeKind::Unspecified {
        return Err(invalid(format!(
            "{:?} is a {}, where a {} is wanted",
            node.name,
            node.kind().as_str_name(),
            kind.as_str_name()
        )));
    }
    above.push(node.name);
    paths.push(above.clone());
    for child in node.children {
        walk(child, above, paths)?;
    }
    above.pop();
    Ok(())
}

/// Makes what is missing.
pub(super) fn build(
    paths: &[Path],
    state: &mut State,
    now: Timestamp,
) -> Result<ImportStructureResponse, Status> {
    if PATHS_MAX < paths.len() {
        return Err(invalid(format!(
            "an import has {PATHS_MAX} parts or lines at most, not {}",
            paths.len()
        )));
    }
    let mut answer = ImportStructureResponse::default();
    for path in paths {
        let mut above = String::new();
        for (kind, name) in KINDS.into_iter().zip(path) {
            let (id, is_new) = find_or_make(state, kind, &above, name, now)?;
            if is_new {
                *answer.created_by_kind.entry(kind.as_str_name().into()).or_default() += 1;
            }
            if kind == NodeKind::University && !answer.university_ids.contains(&id) {
                answer.university_ids.push(id.clone());
            }
            above = id;
        }
    }
    Ok(answer)
}

/// The id of the part of that name in the part above, and whether it had to be made.
fn find_or_make(
    state: &mut State,
    kind: NodeKind,
    above: &str,
    name: &str,
    now: Timestamp,
) -> Result<(String, bool), Status> {
    let title = name.to_owned();
    let known = match kind {
        NodeKind::Unspecified => None,
        NodeKind::University => {
            state.universities.values().find(|part| part.name == name).map(|part| part.university_id.clone())
        }
        NodeKind::Branch => {
            state.branches_of(above).find(|part| part.title == name).map(|part| part.branch_id.clone())
        }
        NodeKind::Faculty => {
            state.faculties_of(above).find(|part| part.title == name).map(|part| part.faculty_id.clone())
        }
        NodeKind::Group => {
            state.groups_of(above).find(|part| part.title == name).map(|part| part.group_id.clone())
        }
    };
    if let Some(id) = known {
        return Ok((id, false));
    }
    let id = match kind {
        NodeKind::Unspecified => return Err(invalid("a part needs a kind")),
        NodeKind::University => {
            let university = University { name: title, ..University::default() };
            state.create_university(university, now)?.university_id
        }
        NodeKind::Branch => {
            let branch = Branch { university_id: above.into(), title, ..Branch::default() };
            state.create_branch(branch)?.branch_id
        }
        NodeKind::Faculty => {
            let faculty = Faculty { branch_id: above.into(), title, ..Faculty::default() };
            state.create_faculty(faculty)?.faculty_id
        }
        NodeKind::Group => {
            let group = Group { faculty_id: above.into(), title, ..Group::default() };
            state.create_group(group)?.group_id
        }
    };
    Ok((id, true))
}

/// From the top down.
const KINDS: [NodeKind; 4] = [NodeKind::University, NodeKind::Branch, NodeKind::Faculty, NodeKind::Group];

/// Each is looked up among all parts of its kind, so this bounds how long one call holds the thread.
const PATHS_MAX: usize = 1000;
