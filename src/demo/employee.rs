//! The staff: employees, and jobs that change many of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::proto::employee::employee::Contract;
use super::proto::employee::employee_service_server::{EmployeeService, EmployeeServiceServer};
use super::proto::employee::{
    Address, BatchUpdateEmployeesRequest, CreateEmployeeRequest, DeleteEmployeeRequest, Employee,
    FixedTermContract, GetEmployeeRequest, GetJobRequest, Job, JobStatus, ListEmployeesRequest,
    ListEmployeesResponse, PermanentContract, Position, SearchEmployeesRequest, SearchEmployeesResponse,
    UpdateEmployeeRequest,
};
use super::shared::{PAGE_SIZE_MAX, Shared, check_mail, check_name, check_room, invalid, now, page};

/// The service: its state behind its lock, which its jobs hold on to as well.
pub(super) struct Employees(Arc<Shared<State>>);

impl Employees {
    pub(super) fn served() -> EmployeeServiceServer<Self> {
        EmployeeServiceServer::new(Self(Arc::new(Shared::new(State::seeded()))))
    }
}

#[tonic::async_trait]
impl EmployeeService for Employees {
    async fn list_employees(
        &self,
        request: Request<ListEmployeesRequest>,
    ) -> Result<Response<ListEmployeesResponse>, Status> {
        self.0.answer(|state| state.list(&request.into_inner()))
    }

    async fn search_employees(
        &self,
        request: Request<SearchEmployeesRequest>,
    ) -> Result<Response<SearchEmployeesResponse>, Status> {
        self.0.answer(|state| Ok(state.search(&request.into_inner())))
    }

    async fn get_employee(&self, request: Request<GetEmployeeRequest>) -> Result<Response<Employee>, Status> {
        let GetEmployeeRequest { employee_id, department } = request.into_inner();
        self.0.answer(|state| {
            let employee = state.get(employee_id)?;
            if !department.is_empty() && employee.department != department {
                return Err(Status::not_found(format!(
                    "employee {employee_id} does not work in {department:?}"
                )));
            }
            Ok(employee.clone())
        })
    }

    async fn create_employee(
        &self,
        request: Request<CreateEmployeeRequest>,
    ) -> Result<Response<Employee>, Status> {
        let employee = request.into_inner().employee.ok_or_else(|| invalid("employee is needed"))?;
        self.0.answer(|state| state.create(employee))
    }

    async fn update_employee(
        &self,
        request: Request<UpdateEmployeeRequest>,
    ) -> Result<Response<Employee>, Status> {
        self.0.answer(|state| state.update(&request.into_inner()))
    }

    async fn delete_employee(&self, request: Request<DeleteEmployeeRequest>) -> Result<Response<()>, Status> {
        self.0.answer(|state| state.delete(request.into_inner().employee_id))
    }

    async fn batch_update_employees(
        &self,
        request: Request<BatchUpdateEmployeesRequest>,
    ) -> Result<Response<Job>, Status> {
        let updates = request.into_inner().updates;
        let job = self.0.with(|state| state.open_job(&updates, now()))?;
        tokio::spawn(run_job(Arc::clone(&self.0), job.job_id.clone(), updates));
        Ok(Response::new(job))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<Job>, Status> {
        let job_id = request.into_inner().job_id;
        self.0.answer(|state| {
            let job = number_of(&job_id).and_then(|number| state.jobs.get(&number));
            job.cloned().ok_or_else(|| Status::not_found(format!("no job {job_id:?}")))
        })
    }
}

/// Makes the changes of a job one by one, letting other calls through between them.
async fn run_job(state: Arc<Shared<State>>, job_id: String, updates: Vec<UpdateEmployeeRequest>) {
    for update in &updates {
        tokio::task::yield_now().await;
        state.with(|state| {
            let outcome = state.update(update);
            state.with_job(&job_id, |job| {
                job.set_status(JobStatus::Running);
                job.done_count += 1;
                if let Err(status) = outcome {
                    let employee_id = update.employee.as_ref().map_or(0, |employee| employee.employee_id);
                    job.failures.insert(employee_id, status.message().into());
                }
            });
        });
    }
    state.with(|state| {
        state.with_job(&job_id, |job| {
            job.set_status(if job.failures.is_empty() { JobStatus::Done } else { JobStatus::Failed });
            job.finished_at = Some(now());
        });
    });
}

#[derive(Default)]
pub(super) struct State {
    employees: BTreeMap<i64, Employee>,
    by_mail: HashMap<String, i64>,
    employee_id_last: i64,
    /// The newest jobs.
    jobs: BTreeMap<u64, Job>,
    job_number_last: u64,
}

impl State {
    fn seeded() -> Self {
        let mut state = Self::default();
        let people = [
            ("Grace Hopper", "grace", Position::Professor, "Computing", 720_000, "compilers"),
            ("Leonhard Euler", "leonhard", Position::Professor, "Mathematics", 690_000, "graphs"),
            ("Katherine Johnson", "katherine", Position::Lecturer, "Mathematics", 540_000, "orbits"),
            ("Margaret Hamilton", "margaret", Position::Lecturer, "Computing", 560_000, "guidance"),
            ("Tim Berners-Lee", "tim", Position::Assistant, "Computing", 380_000, "documents"),
            ("Florence Nightingale", "florence", Position::Staff, "Administration", 410_000, "statistics"),
        ];
        for (number, (full_name, user, position, department, salary_cents, skill)) in (1..).zip(people) {
            let contract = match position {
                Position::Assistant => Contract::FixedTerm(FixedTermContract { until: Some(day(2030)) }),
                _ => Contract::Permanent(PermanentContract { notice_months: 3 }),
            };
            let employee = Employee {
                full_name: full_name.into(),
                mail: format!("{user}@ringway.example"),
                position: position as i32,
                department: department.into(),
                salary_cents,
                room: Some(100 + number),
                hired_at: Some(day(2010 + i64::from(number))),
                skills: vec![skill.into()],
                hours_by_subject: HashMap::from([(skill.into(), 4)]),
                address: Some(Address {
                    street: "Ringway 1".into(),
                    city: "Oxford".into(),
                    country_code: "GB".into(),
                }),
                active: true,
                workload: 1.0,
                contract: Some(contract),
                rating: 4.5,
                floors: vec![-1, 2],
                ..Employee::default()
            };
            state.create(employee).expect("the people above are valid and differ");
        }
        state
    }

    fn list(&self, request: &ListEmployeesRequest) -> Result<ListEmployeesResponse, Status> {
        let fits = |employee: &&Employee| {
            (request.positions.is_empty() || request.positions.contains(&employee.position))
                && (request.department.is_empty() || request.department == employee.department)
        };
        let found = || self.employees.values().filter(fits);
        let (employees, next_page_token) = page(found().cloned(), request.page_size, &request.page_token)?;
        let total_count = i64::try_from(found().count()).unwrap_or(i64::MAX);
        Ok(ListEmployeesResponse { employees, next_page_token, total_count })
    }

    fn search(&self, request: &SearchEmployeesRequest) -> SearchEmployeesResponse {
        let query = request.query.to_lowercase();
        let salary = request.salary.unwrap_or_default();
        let fits = |employee: &&Employee| {
            let texts = [&employee.full_name, &employee.mail].into_iter().chain(&employee.skills);
            texts.into_iter().any(|text| text.to_lowercase().contains(&query))
                && salary.min_cents <= employee.salary_cents
                && (salary.max_cents == 0 || employee.salary_cents <= salary.max_cents)
                && request.active.is_none_or(|active| active == employee.active)
        };
        let employees = self.employees.values().filter(fits).take(PAGE_SIZE_MAX).cloned().collect();
        SearchEmployeesResponse { employees }
    }

    fn get(&self, employee_id: i64) -> Result<&Employee, Status> {
        self.employees
            .get(&employee_id)
            .ok_or_else(|| Status::not_found(format!("no employee {employee_id}")))
    }

    fn create(&mut self, mut employee: Employee) -> Result<Employee, Status> {
        check(&employee)?;
        if self.by_mail.contains_key(&employee.mail) {
            return Err(Status::already_exists("this mail belongs to another employee"));
        }
        check_room("employees", self.employees.len(), EMPLOYEES_MAX)?;
        self.employee_id_last += 1;
        employee.employee_id = self.employee_id_last;
        self.by_mail.insert(employee.mail.clone(), employee.employee_id);
        self.employees.insert(employee.employee_id, employee.clone());
        Ok(employee)
    }

    fn update(&mut self, request: &UpdateEmployeeRequest) -> Result<Employee, Status> {
        let given = request.employee.as_ref().ok_or_else(|| invalid("employee is needed"))?;
        let before = self.get(given.employee_id)?;
        let mut after = before.clone();
        match &request.update_mask {
            Some(mask) if mask.paths.iter().any(|path| path == "*") => {
                PATHS.iter().try_for_each(|path| copy_field(path, given, &mut after))?;
            }
            Some(mask) if !mask.paths.is_empty() => {
                mask.paths.iter().try_for_each(|path| copy_field(path, given, &mut after))?;
            }
            _ => {
                for path in PATHS.iter().filter(|path| is_given(path, given)) {
                    copy_field(path, given, &mut after)?;
                }
            }
        }
        check(&after)?;
        if self.by_mail.get(&after.mail).is_some_and(|owner| *owner != after.employee_id) {
            return Err(Status::already_exists("this mail belongs to another employee"));
        }
        let mail_before = before.mail.clone();
        self.by_mail.remove(&mail_before);
        self.by_mail.insert(after.mail.clone(), after.employee_id);
        self.employees.insert(after.employee_id, after.clone());
        Ok(after)
    }

    fn delete(&mut self, employee_id: i64) -> Result<(), Status> {
        self.get(employee_id)?;
        if let Some(gone) = self.employees.remove(&employee_id) {
            self.by_mail.remove(&gone.mail);
        }
        Ok(())
    }

    fn open_job(&mut self, updates: &[UpdateEmployeeRequest], now: Timestamp) -> Result<Job, Status> {
        if updates.is_empty() || UPDATES_MAX < updates.len() {
            return Err(invalid(format!("a batch has 1 to {UPDATES_MAX} updates, not {}", updates.len())));
        }
        let mut ids = HashSet::new();
        for update in updates {
            let employee_id =
                update.employee.as_ref().ok_or_else(|| invalid("employee is needed"))?.employee_id;
            if !ids.insert(employee_id) {
                return Err(invalid(format!("employee {employee_id} is named twice in the batch")));
            }
        }
        self.job_number_last += 1;
        let job = Job {
            job_id: format!("job-{}", self.job_number_last),
            status: JobStatus::Pending as i32,
            total_count: u32::try_from(updates.len()).unwrap_or(u32::MAX),
            created_at: Some(now),
            ..Job::default()
        };
        if JOBS_MAX <= self.jobs.len() {
            self.jobs.pop_first();
        }
        self.jobs.insert(self.job_number_last, job.clone());
        Ok(job)
    }

    /// Changes a job, unless it is so old that it was forgotten.
    fn with_job(&mut self, job_id: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = number_of(job_id).and_then(|number| self.jobs.get_mut(&number)) {
            change(job);
        }
    }
}

fn number_of(job_id: &str) -> Option<u64> {
    job_id.strip_prefix("job-")?.parse().ok()
}

fn check(employee: &Employee) -> Result<(), Status> {
    check_name("full_name", &employee.full_name)?;
    check_mail(&employee.mail)?;
    if Position::try_from(employee.position).is_err() {
        return Err(invalid(format!("there is no position number {}", employee.position)));
    }
    if employee.salary_cents < 0 {
        return Err(invalid("salary_cents must not be negative"));
    }
    if !(0.0..=1.0).contains(&employee.workload) {
        return Err(invalid("workload must be from 0 to 1"));
    }
    if employee.rating != 0.0 && !(1.0..=5.0).contains(&employee.rating) {
        return Err(invalid("rating must be from 1 to 5"));
    }
    if PHOTO_BYTES_MAX < employee.photo.len() {
        return Err(invalid("photo is too big"));
    }
    Ok(())
}

/// Would copying this field into an empty employee change it?
fn is_given(path: &str, employee: &Employee) -> bool {
    let mut copy = Employee::default();
    copy_field(path, employee, &mut copy).is_ok() && copy != Employee::default()
}

/// Copies the field of that path; INVALID_ARGUMENT if there is none, or if it may not be changed.
fn copy_field(path: &str, from: &Employee, to: &mut Employee) -> Result<(), Status> {
    if let Some(part) = path.strip_prefix("address.") {
        let from = from.address.clone().unwrap_or_default();
        let to = to.address.get_or_insert_default();
        match part {
            "street" => to.street = from.street,
            "city" => to.city = from.city,
            "country_code" => to.country_code = from.country_code,
            _ => return Err(invalid(format!("update_mask names {path:?}, which is no field"))),
        }
        return Ok(());
    }
    match path {
        "full_name" => to.full_name.clone_from(&from.full_name),
        "mail" => to.mail.clone_from(&from.mail),
        "position" => to.position = from.position,
        "department" => to.department.clone_from(&from.department),
        "salary_cents" => to.salary_cents = from.salary_cents,
        "room" => to.room = from.room,
        "hired_at" => to.hired_at = from.hired_at,
        "skills" => to.skills.clone_from(&from.skills),
        "hours_by_subject" => to.hours_by_subject.clone_from(&from.hours_by_subject),
        "address" => to.address.clone_from(&from.address),
        "active" => to.active = from.active,
        "workload" => to.workload = from.workload,
        "photo" => to.photo.clone_from(&from.photo),
        "permanent" | "fixed_term" => to.contract = from.contract,
        "note" => to.note.clone_from(&from.note),
        "badge" => to.badge = from.badge,
        "rating" => to.rating = from.rating,
        "floors" => to.floors.clone_from(&from.floors),
        "employee_id" => return Err(invalid("employee_id cannot be changed")),
        _ => return Err(invalid(format!("update_mask names {path:?}, which is no field"))),
    }
    Ok(())
}

/// Every field that an update may change; the contract stands once for both of its kinds.
const PATHS: [&str; 18] = [
    "full_name",
    "mail",
    "position",
    "department",
    "salary_cents",
    "room",
    "hired_at",
    "skills",
    "hours_by_subject",
    "address",
    "active",
    "workload",
    "photo",
    "permanent",
    "note",
    "badge",
    "rating",
    "floors",
];

/// About the first of January of a year.
fn day(year: i64) -> Timestamp {
    const YEAR_SECONDS: i64 = 31_556_952;
    Timestamp { seconds: (year - 1970) * YEAR_SECONDS, nanos: 0 }
}

const EMPLOYEES_MAX: usize = 100_000;
const JOBS_MAX: usize = 1000;
const UPDATES_MAX: usize = 1000;
const PHOTO_BYTES_MAX: usize = 64 * 1024;
