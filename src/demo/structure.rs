//! How a university is built: universities, branches, faculties, groups, and who manages the departments.

mod plan;

use std::collections::BTreeMap;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::proto::structure::structure_service_server::{StructureService, StructureServiceServer};
use super::proto::structure::{
    AssignDepartmentManagerRequest, Branch, CreateBranchRequest, CreateFacultyRequest, CreateGroupRequest,
    CreateUniversityRequest, DepartmentManager, Faculty, GetBranchRequest, GetTreeRequest,
    GetUniversityRequest, Group, ImportStructureRequest, ImportStructureResponse, ListBranchesRequest,
    ListBranchesResponse, ListDepartmentManagersRequest, ListDepartmentManagersResponse,
    ListFacultiesRequest, ListFacultiesResponse, ListGroupsRequest, ListGroupsResponse,
    ListUniversitiesRequest, ListUniversitiesResponse, Node, NodeKind, RenameUniversityRequest, University,
};
use super::shared::{Shared, check_name, check_room, invalid, now, page};

/// The service: its state behind its lock.
pub(super) struct Structure(Shared<State>);

impl Structure {
    pub(super) fn served() -> StructureServiceServer<Self> {
        StructureServiceServer::new(Self(Shared::new(State::seeded())))
    }
}

#[tonic::async_trait]
impl StructureService for Structure {
    async fn list_universities(
        &self,
        request: Request<ListUniversitiesRequest>,
    ) -> Result<Response<ListUniversitiesResponse>, Status> {
        let ListUniversitiesRequest { page_size, page_token } = request.into_inner();
        self.0.answer(|state| {
            let (universities, next_page_token) = page(
                state.universities.values().map(|university| state.counted(university)),
                page_size,
                &page_token,
            )?;
            Ok(ListUniversitiesResponse { universities, next_page_token })
        })
    }

    async fn get_university(
        &self,
        request: Request<GetUniversityRequest>,
    ) -> Result<Response<University>, Status> {
        let id = request.into_inner().university_id;
        self.0.answer(|state| Ok(state.counted(get(&state.universities, "university", &id)?)))
    }

    async fn create_university(
        &self,
        request: Request<CreateUniversityRequest>,
    ) -> Result<Response<University>, Status> {
        let university = request.into_inner().university.ok_or_else(|| invalid("university is needed"))?;
        self.0.answer(|state| state.create_university(university, now()))
    }

    async fn rename_university(
        &self,
        request: Request<RenameUniversityRequest>,
    ) -> Result<Response<University>, Status> {
        self.0.answer(|state| state.rename(request.into_inner()))
    }

    async fn get_tree(&self, request: Request<GetTreeRequest>) -> Result<Response<Node>, Status> {
        let GetTreeRequest { university_id, depth } = request.into_inner();
        self.0.answer(|state| {
            get(&state.universities, "university", &university_id)?;
            Ok(state.tree(&university_id, if depth == 0 { u32::MAX } else { depth }))
        })
    }

    async fn list_branches(
        &self,
        request: Request<ListBranchesRequest>,
    ) -> Result<Response<ListBranchesResponse>, Status> {
        let id = request.into_inner().university_id;
        self.0.answer(|state| {
            get(&state.universities, "university", &id)?;
            Ok(ListBranchesResponse { branches: state.branches_of(&id).cloned().collect() })
        })
    }

    async fn get_branch(&self, request: Request<GetBranchRequest>) -> Result<Response<Branch>, Status> {
        let name = request.into_inner().name;
        self.0.answer(|state| {
            let branch = state.branches.values().find(|branch| branch.name == name);
            branch.cloned().ok_or_else(|| Status::not_found(format!("no branch {name:?}")))
        })
    }

    async fn create_branch(&self, request: Request<CreateBranchRequest>) -> Result<Response<Branch>, Status> {
        let branch = request.into_inner().branch.ok_or_else(|| invalid("branch is needed"))?;
        self.0.answer(|state| state.create_branch(branch))
    }

    async fn list_faculties(
        &self,
        request: Request<ListFacultiesRequest>,
    ) -> Result<Response<ListFacultiesResponse>, Status> {
        let id = request.into_inner().branch_id;
        self.0.answer(|state| {
            get(&state.branches, "branch", &id)?;
            Ok(ListFacultiesResponse { faculties: state.faculties_of(&id).cloned().collect() })
        })
    }

    async fn create_faculty(
        &self,
        request: Request<CreateFacultyRequest>,
    ) -> Result<Response<Faculty>, Status> {
        let faculty = request.into_inner().faculty.ok_or_else(|| invalid("faculty is needed"))?;
        self.0.answer(|state| state.create_faculty(faculty))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        let ListGroupsRequest { faculty_id, modes } = request.into_inner();
        self.0.answer(|state| {
            get(&state.faculties, "faculty", &faculty_id)?;
            let fits = |group: &&Group| modes.is_empty() || modes.contains(&group.mode);
            Ok(ListGroupsResponse { groups: state.groups_of(&faculty_id).filter(fits).cloned().collect() })
        })
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Result<Response<Group>, Status> {
        let group = request.into_inner().group.ok_or_else(|| invalid("group is needed"))?;
        self.0.answer(|state| state.create_group(group))
    }

    async fn list_department_managers(
        &self,
        request: Request<ListDepartmentManagersRequest>,
    ) -> Result<Response<ListDepartmentManagersResponse>, Status> {
        let id = request.into_inner().faculty_id;
        self.0.answer(|state| {
            get(&state.faculties, "faculty", &id)?;
            let of_faculty = state.managers.iter().filter(|((faculty_id, _), _)| *faculty_id == id);
            Ok(ListDepartmentManagersResponse {
                managers: of_faculty.map(|(_, manager)| manager.clone()).collect(),
            })
        })
    }

    async fn assign_department_manager(
        &self,
        request: Request<AssignDepartmentManagerRequest>,
    ) -> Result<Response<DepartmentManager>, Status> {
        self.0.answer(|state| state.assign(request.into_inner(), now()))
    }

    async fn import_structure(
        &self,
        request: Request<ImportStructureRequest>,
    ) -> Result<Response<ImportStructureResponse>, Status> {
        let ImportStructureRequest { source, dry_run } = request.into_inner();
        let plan = plan::read(source)?;
        self.0.answer(|state| {
            // Built in a copy, so that a plan that fails half way leaves nothing behind.
            let mut built = state.clone();
            let answer = plan::build(&plan, &mut built, now())?;
            if !dry_run {
                *state = built;
            }
            Ok(answer)
        })
    }
}

/// Everything by its number; an id such as "branch-7" is a kind and a number.
#[derive(Clone, Default)]
struct State {
    universities: BTreeMap<u64, University>,
    branches: BTreeMap<u64, Branch>,
    faculties: BTreeMap<u64, Faculty>,
    groups: BTreeMap<u64, Group>,
    /// By faculty and department.
    managers: BTreeMap<(String, String), DepartmentManager>,
}

impl State {
    fn seeded() -> Self {
        let lines = "Ringway University;North Campus;Engineering;E-101\n\
                     Ringway University;North Campus;Engineering;E-102\n\
                     Ringway University;North Campus;Sciences;S-101\n\
                     Ringway University;South Campus;Arts;A-101\n\
                     Harbour Institute;Docks;Navigation;N-101\n";
        let mut state = Self::default();
        let plan = plan::read_lines(lines.as_bytes()).expect("the lines above are well formed");
        plan::build(&plan, &mut state, Timestamp::default())
            .expect("the lines above build on an empty state");
        for faculty in state.faculties.values_mut() {
            faculty.departments =
                vec![format!("{} Office", faculty.title), format!("{} Laboratory", faculty.title)];
        }
        state
    }

    fn create_university(
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

    fn rename(&mut self, request: RenameUniversityRequest) -> Result<University, Status> {
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

    fn create_branch(&mut self, mut branch: Branch) -> Result<Branch, Status> {
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

    fn create_faculty(&mut self, mut faculty: Faculty) -> Result<Faculty, Status> {
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

    fn create_group(&mut self, mut group: Group) -> Result<Group, Status> {
        check_name("title", &group.title)?;
        get(&self.faculties, "faculty", &group.faculty_id)?;
        check_free("group", &group.title, self.groups_of(&group.faculty_id).map(|other| &other.title))?;
        check_room("groups", self.groups.len(), PARTS_MAX)?;
        let number = next(&self.groups);
        group.group_id = format!("group-{number}");
        self.groups.insert(number, group.clone());
        Ok(group)
    }

    fn assign(
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
    fn counted(&self, university: &University) -> University {
        let count = self.branches_of(&university.university_id).count();
        University { branch_count: i32::try_from(count).unwrap_or(i32::MAX), ..university.clone() }
    }

    fn branches_of<'a>(&'a self, university_id: &'a str) -> impl Iterator<Item = &'a Branch> {
        self.branches.values().filter(move |branch| branch.university_id == university_id)
    }

    fn faculties_of<'a>(&'a self, branch_id: &'a str) -> impl Iterator<Item = &'a Faculty> {
        self.faculties.values().filter(move |faculty| faculty.branch_id == branch_id)
    }

    fn groups_of<'a>(&'a self, faculty_id: &'a str) -> impl Iterator<Item = &'a Group> {
        self.groups.values().filter(move |group| group.faculty_id == faculty_id)
    }

    /// A university and what is in it, as many levels down as asked.
    fn tree(&self, university_id: &str, depth: u32) -> Node {
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

fn get<'a, T>(parts: &'a BTreeMap<u64, T>, kind: &str, id: &str) -> Result<&'a T, Status> {
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
