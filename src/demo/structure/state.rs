//! Universities with all their parts, and the operations on them.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use tonic::Status;

use super::super::proto::structure::{
    AssignDepartmentManagerRequest, Branch, DepartmentManager, Faculty, Group, Node, NodeKind,
    RenameUniversityRequest, University,
};
use super::super::shared::{check_name, check_room, invalid};

/// Everything by its number; an id such as "branch-7" is a kind and a number.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) universities: BTreeMap<u64, University>,
    pub(super) branches: BTreeMap<u64, Branch>,
    pub(super) faculties: BTreeMap<u64, Faculty>,
    groups: BTreeMap<u64, Group>,
    /// By faculty and department.
    pub(super) managers: BTreeMap<(String, String), DepartmentManager>,
}

impl State {
    pub(super) fn create_university(
        &mut self,
        mut university: University,
        now: Timestamp,
    ) -> Result<University, Status> {
        check_name("name", &university.name)?;
        self.check_university_name(&university.name)?;
        check_room("universities", self.universities.len(), PARTS_MAX)?;
        let number = next(&self.universities);
        university.university_id = format!("university-{number}");
        university.branch_count = 0;
        university.created_at = Some(now);
        self.universities.insert(number, university.clone());
        Ok(university)
    }

    pub(super) fn rename(&mut self, request: RenameUniversityRequest) -> Result<University, Status> {
        let RenameUniversityRequest { university_id, new_name } = request;
        check_name("new_name", &new_name)?;
        let before = get(&self.universities, "university", &university_id)?;
        if before.name != new_name {
            self.check_university_name(&new_name)?;
        }
        let renamed = University { name: new_name, ..before.clone() };
        self.universities
            .extend(number_of("university", &university_id).map(|number| (number, renamed.clone())));
        Ok(self.counted(&renamed))
    }

    fn check_university_name(&self, name: &str) -> Result<(), Status> {
        check_free("university", name, self.universities.values().map(|other| &other.name))
    }

    pub(super) fn create_branch(&mut self, mut branch: Branch) -> Result<Branch, Status> {
        check_name("title", &branch.title)?;
        get(&self.universities, "university", &branch.university_id)?;
        check_free(
            "branch",
            &branch.title,
            self.branches_of(&branch.university_id).map(|other| &other.title),
        )?;
        let point = branch.coordinates.unwrap_or_default();
        if !(-90.0..=90.0).contains(&point.latitude) || !(-180.0..=180.0).contains(&point.longitude) {
            return Err(invalid("coordinates are not on the map"));
        }
        check_room("branches", self.branches.len(), PARTS_MAX)?;
        let number = next(&self.branches);
        branch.branch_id = format!("branch-{number}");
        branch.name = format!("universities/{}/branches/{}", branch.university_id, branch.branch_id);
        self.branches.insert(number, branch.clone());
        Ok(branch)
    }

    pub(super) fn create_faculty(&mut self, mut faculty: Faculty) -> Result<Faculty, Status> {
        check_name("title", &faculty.title)?;
        get(&self.branches, "branch", &faculty.branch_id)?;
        check_free(
            "faculty",
            &faculty.title,
            self.faculties_of(&faculty.branch_id).map(|other| &other.title),
        )?;
        check_room("faculties", self.faculties.len(), PARTS_MAX)?;
        let number = next(&self.faculties);
        faculty.faculty_id = format!("faculty-{number}");
        self.faculties.insert(number, faculty.clone());
        Ok(faculty)
    }

    pub(super) fn create_group(&mut self, mut group: Group) -> Result<Group, Status> {
        check_name("title", &group.title)?;
        get(&self.faculties, "faculty", &group.faculty_id)?;
        check_free("group", &group.title, self.groups_of(&group.faculty_id).map(|other| &other.title))?;
        check_room("groups", self.groups.len(), PARTS_MAX)?;
        let number = next(&self.groups);
        group.group_id = format!("group-{number}");
        self.groups.insert(number, group.clone());
        Ok(group)
    }

    pub(super) fn assign(
        &mut self,
        request: AssignDepartmentManagerRequest,
        now: Timestamp,
    ) -> Result<DepartmentManager, Status> {
        let mut manager = request.manager.ok_or_else(|| invalid("manager is needed"))?;
        if manager.employee_id < 1 {
            return Err(invalid("employee_id must be 1 or more"));
        }
        let faculty = get(&self.faculties, "faculty", &request.faculty_id)?;
        if !faculty.departments.contains(&manager.department) {
            return Err(Status::not_found(format!("no department {:?} in this faculty", manager.department)));
        }
        manager.since.get_or_insert(now);
        self.managers.insert((request.faculty_id, manager.department.clone()), manager.clone());
        Ok(manager)
    }

    /// A university with its number of branches filled in.
    pub(super) fn counted(&self, university: &University) -> University {
        let count = self.branches_of(&university.university_id).count();
        University { branch_count: i32::try_from(count).unwrap_or(i32::MAX), ..university.clone() }
    }

    pub(super) fn branches_of<'a>(&'a self, university_id: &'a str) -> impl Iterator<Item = &'a Branch> {
        self.branches.values().filter(move |branch| branch.university_id == university_id)
    }

    pub(super) fn faculties_of<'a>(&'a self, branch_id: &'a str) -> impl Iterator<Item = &'a Faculty> {
        self.faculties.values().filter(move |faculty| faculty.branch_id == branch_id)
    }

    pub(super) fn groups_of<'a>(&'a self, faculty_id: &'a str) -> impl Iterator<Item = &'a Group> {
        self.groups.values().filter(move |group| group.faculty_id == faculty_id)
    }

    /// A university and what is in it, as many levels down as asked.
    pub(super) fn tree(&self, university_id: &str, depth: u32) -> Node {
        let university = get(&self.universities, "university", university_id).cloned().unwrap_or_default();
        let branches = self.branches_of(university_id).take(if depth < 1 { 0 } else { usize::MAX });
        let branches = branches.map(|branch| {
            let faculties = self.faculties_of(&branch.branch_id).take(if depth < 2 { 0 } else { usize::MAX });
            let faculties = faculties.map(|faculty| {
                let groups = self.groups_of(&faculty.faculty_id).take(if depth < 3 { 0 } else { usize::MAX });
                let groups =
                    groups.map(|group| node(NodeKind::Group, &group.group_id, &group.title, Vec::new()));
                node(NodeKind::Faculty, &faculty.faculty_id, &faculty.title, groups.collect())
            });
            node(NodeKind::Branch, &branch.branch_id, &branch.title, faculties.collect())
        });
        node(NodeKind::University, university_id, &university.name, branches.collect())
    }
}

fn node(kind: NodeKind, id: &str, name: &str, children: Vec<Node>) -> Node {
    Node { node_id: id.into(), kind: kind as i32, name: name.into(), children }
}

/// Nothing is ever removed, so the next number is one more than the last.
fn next<T>(parts: &BTreeMap<u64, T>) -> u64 {
    parts.last_key_value().map_or(1, |(number, _)| number + 1)
}

fn number_of(kind: &str, id: &str) -> Option<u64> {
    id.strip_prefix(kind)?.strip_prefix('-')?.parse().ok()
}

pub(super) fn get<'a, T>(parts: &'a BTreeMap<u64, T>, kind: &str, id: &str) -> Result<&'a T, Status> {
    let part = number_of(kind, id).and_then(|number| parts.get(&number));
    part.ok_or_else(|| Status::not_found(format!("no {kind} {id:?}")))
}

fn check_free<'a>(kind: &str, name: &str, mut taken: impl Iterator<Item = &'a String>) -> Result<(), Status> {
    if taken.any(|other| other == name) {
        return Err(Status::already_exists(format!("there is a {kind} {name:?} already")));
    }
    Ok(())
}

/// Of each kind.
const PARTS_MAX: usize = 10_000;
