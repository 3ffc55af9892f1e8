//! Imports, names and managers.

use tonic::Code;

use super::super::proto::structure::import_structure_request::Source;
use super::super::proto::structure::structure_service_client::StructureServiceClient;
use super::super::proto::structure::{self, NodeKind};
use super::{code, with_demo};

#[test]
fn an_import_builds_all_or_nothing() {
    with_demo(|clients| async move {
        let mut client = StructureServiceClient::new(clients.channel("structure"));
        let import = |lines: &str, dry_run| structure::ImportStructureRequest {
            source: Some(Source::Lines(lines.as_bytes().to_vec())),
            dry_run,
        };
        let lines = "Ringway University;East Campus;Law;L-1\nNew One";
        let planned = client.import_structure(import(lines, true)).await.unwrap().into_inner();
        let built = client.import_structure(import(lines, false)).await.unwrap().into_inner();
        assert_eq!(planned, built);
        assert_eq!(built.created_by_kind[NodeKind::University.as_str_name()], 1);
        assert_eq!(built.university_ids, ["university-1", "university-3"]);
        assert_eq!(code(client.import_structure(import("A;;C", false)).await), Code::InvalidArgument);

        let get = structure::GetTreeRequest { university_id: "university-1".into(), depth: 1 };
        let tree = client.get_tree(get).await.unwrap().into_inner();
        let names: Vec<&str> = tree.children.iter().map(|branch| branch.name.as_str()).collect();
        assert_eq!(names, ["North Campus", "South Campus", "East Campus"]);
        assert!(tree.children.iter().all(|branch| branch.children.is_empty()));
    });
}

#[test]
fn names_are_unique_and_managers_need_a_department() {
    with_demo(|clients| async move {
        let mut client = StructureServiceClient::new(clients.channel("structure"));
        let rename = |new_name: &str| structure::RenameUniversityRequest {
            university_id: "university-2".into(),
            new_name: new_name.into(),
        };
        assert_eq!(code(client.rename_university(rename("Ringway University")).await), Code::AlreadyExists);
        assert_eq!(client.rename_university(rename("Docks")).await.unwrap().into_inner().branch_count, 1);
        let name = "universities/university-1/branches/branch-2".to_owned();
        let branch = client.get_branch(structure::GetBranchRequest { name }).await.unwrap().into_inner();
        assert_eq!(branch.title, "South Campus");

        let assign = |department: &str| structure::AssignDepartmentManagerRequest {
            faculty_id: "faculty-1".into(),
            manager: Some(structure::DepartmentManager {
                department: department.into(),
                employee_id: 2,
                since: None,
            }),
        };
        assert_eq!(code(client.assign_department_manager(assign("Kitchen")).await), Code::NotFound);
        client.assign_department_manager(assign("Engineering Office")).await.unwrap();
        let list = structure::ListDepartmentManagersRequest { faculty_id: "faculty-1".into() };
        let managers = client.list_department_managers(list).await.unwrap().into_inner().managers;
        assert_eq!(managers.len(), 1);
    });
}
