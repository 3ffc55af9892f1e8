//! Updates, one by one and many at a time.

use std::collections::HashMap;

use tonic::Code;

use super::super::proto::employee::employee_service_client::EmployeeServiceClient;
use super::super::proto::employee::{self, Employee, JobStatus, UpdateEmployeeRequest};
use super::{code, with_demo};

#[test]
fn an_update_changes_what_its_mask_names() {
    with_demo(|clients| async move {
        let mut client = EmployeeServiceClient::new(clients.channel("employee"));
        let given = Employee { employee_id: 1, salary_cents: 5, room: None, ..Employee::default() };
        let update = |paths: &[&str]| UpdateEmployeeRequest {
            employee: Some(given.clone()),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).into()).collect(),
            }),
        };
        let masked = client.update_employee(update(&["room"])).await.unwrap().into_inner();
        assert_eq!((masked.salary_cents, masked.room), (720_000, None));
        let unmasked = client.update_employee(update(&[])).await.unwrap().into_inner();
        assert_eq!((unmasked.salary_cents, unmasked.full_name.as_str()), (5, "Grace Hopper"));
        assert_eq!(code(client.update_employee(update(&["nonsense"])).await), Code::InvalidArgument);
        assert_eq!(code(client.update_employee(update(&["mail"])).await), Code::InvalidArgument);

        let taken = Employee { full_name: "X".into(), mail: unmasked.mail, ..Employee::default() };
        let create = employee::CreateEmployeeRequest { employee: Some(taken) };
        assert_eq!(code(client.create_employee(create).await), Code::AlreadyExists);
        let delete = employee::DeleteEmployeeRequest { employee_id: 1 };
        client.delete_employee(delete).await.unwrap();
        assert_eq!(code(client.delete_employee(delete).await), Code::NotFound);
    });
}

#[test]
fn a_batch_says_what_it_could_not_change() {
    with_demo(|clients| async move {
        let mut client = EmployeeServiceClient::new(clients.channel("employee"));
        let change = |employee_id| UpdateEmployeeRequest {
            employee: Some(Employee { employee_id, department: "Moved".into(), ..Employee::default() }),
            update_mask: None,
        };
        let batch = employee::BatchUpdateEmployeesRequest { updates: vec![change(2), change(77), change(3)] };
        let mut job = client.batch_update_employees(batch).await.unwrap().into_inner();
        assert_eq!((job.total_count, job.status()), (3, JobStatus::Pending));
        while job.finished_at.is_none() {
            let get = employee::GetJobRequest { job_id: job.job_id };
            job = client.get_job(get).await.unwrap().into_inner();
        }
        assert_eq!((job.done_count, job.status()), (3, JobStatus::Failed));
        assert_eq!(job.failures, HashMap::from([(77, "no employee 77".to_owned())]));
        let list = employee::ListEmployeesRequest { department: "Moved".into(), ..Default::default() };
        assert_eq!(client.list_employees(list).await.unwrap().into_inner().total_count, 2);
    });
}
