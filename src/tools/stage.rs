//! What measurements run against unless told otherwise: the demo's services and a gateway before them, in this
//! process, on free ports.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::Method;
use prost::Message as _;

use super::load::{Request, Target};
use super::usage::{Side, threads_named};
use crate::config;
use crate::demo::{self, Demo, proto};
use crate::supervisor::Gateway;

/// The running demo and gateway; dropping it ends both.
#[derive(Debug)]
pub struct Stage {
    gateway: Gateway,
    demo: Demo,
    /// The gateway's threads and the services' thread.
    pub sides: Vec<Side>,
}

impl Stage {
    /// Starts both.
    ///
    /// # Errors
    /// When a thread, a port or a ring cannot be had.
    pub fn start() -> io::Result<Stage> {
        let demo = demo::start()?;
        let text = demo.config("127.0.0.1:0", "127.0.0.1:0");
        let config = config::parse(&text, Path::new("(embedded)"))
            .map_err(|errors| io::Error::other(errors.to_string()))?;
        let before = threads_named("worker-");
        let gateway = Gateway::start(config).map_err(io::Error::other)?;
        let workers = threads_named("worker-").difference(&before).copied().collect();
        let sides = vec![Side::threads("gateway", workers), Side::threads("service", threads_named("demo"))];
        Ok(Stage { gateway, demo, sides })
    }

    /// What runs, in a line.
    pub fn describe(&self) -> String {
        let (rung, workers) = (self.gateway.rung(), self.gateway.workers());
        format!("the embedded demo behind {workers} workers on {}", rung.backend())
    }

    /// One employee is asked for: by gRPC through the gateway.
    pub fn grpc(&self) -> Target {
        Target { address: self.gateway.listeners()[0], request: get_employee() }
    }

    /// The same call to the service itself.
    pub fn grpc_straight(&self) -> Target {
        let service = self.demo.service("employee").expect("the demo has a service of this name");
        Target { address: service.address, request: get_employee() }
    }

    /// The same as JSON through the gateway.
    pub fn json(&self) -> Target {
        Target { address: self.gateway.listeners()[0], request: get_employee_as_json() }
    }

    /// The same as JSON to the service itself.
    pub fn json_straight(&self) -> Target {
        Target { address: self.grpc_straight().address, request: get_employee_as_json() }
    }

    /// Where the gateway's clients connect.
    pub fn address(&self) -> SocketAddr {
        self.gateway.listeners()[0]
    }
}

fn get_employee() -> Request {
    let message = proto::employee::GetEmployeeRequest { employee_id: 1, department: String::new() };
    Request::Grpc {
        path: "/ringway.demo.employee.v1.EmployeeService/GetEmployee".to_owned(),
        message: message.encode_to_vec().into(),
        headers: Vec::new(),
    }
}

/// What the method's `google.api.http` says.
fn get_employee_as_json() -> Request {
    Request::Json { method: Method::GET, path: "/v1/employees/1".to_owned(), body: Bytes::new() }
}
