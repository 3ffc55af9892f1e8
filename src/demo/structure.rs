//! How a university is built: universities, branches, faculties, groups, and who manages the departments.

mod plan;
mod state;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::proto::structure::structure_service_server::{StructureService, StructureServiceServer};
use super::proto::structure::{
    AssignDepartmentManagerRequest, Branch, CreateBranchRequest, CreateFacultyRequest, CreateGroupRequest,
    CreateUniversityRequest, DepartmentManager, Faculty, GetBranchRequest, GetTreeRequest,
    GetUniversityRequest, Group, ImportStructureRequest, ImportStructureResponse, ListBranchesRequest,
    ListBranchesResponse, ListDepartmentManagersRequest, ListDepartmentManagersResponse,
    ListFacultiesRequest, ListFacultiesResponse, ListGroupsRequest, ListGroupsResponse,
    ListUniversitiesRequest, ListUniversitiesResponse, Node, RenameUniversityRequest, University,
};
use super::shared::{Shared, invalid, now, page};
use state::{State, get};

/// The service: its state behind its lock.
pub(super) struct Structure(Shared<State>);

impl Structure {
    pub(super) fn served() -> StructureServiceServer<Self> {
        StructureServiceServer::new(Self(Shared::new(seeded())))
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

/// Two small universities.
fn seeded() -> State {
    let lines = "Ringway University;North Campus;Engineering;E-101\n\
                 Ringway University;North Campus;Engineering;E-102\n\
                 Ringway University;North Campus;Sciences;S-101\n\
                 Ringway University;South Campus;Arts;A-101\n\
                 Harbour Institute;Docks;Navigation;N-101\n";
    let mut state = State::default();
    let plan = plan::read_lines(lines.as_bytes()).expect("the lines above are well formed");
    plan::build(&plan, &mut state, Timestamp::default()).expect("the lines above build on an empty state");
    for faculty in state.faculties.values_mut() {
        faculty.departments =
            vec![format!("{} Office", faculty.title), format!("{} Laboratory", faculty.title)];
    }
    state
}
