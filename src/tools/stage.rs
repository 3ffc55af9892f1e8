//! [`Stage`]: the subject of measurements unless they are told otherwise. It consists of the demo's services and a
//! gateway before them, on free ports. Each is a process of its own, with its own memory and CPU time.
//!
//! The processes are this program again, as players of a part. A player prints where it is as a line of JSON. It ends
//! when its standard input does: when the process that started it has gone, for whatever reason.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::Method;
use prost::Message as _;
use serde_json::{Value, json};

use super::load::{Request, Target};
use super::usage::Side;
use crate::config;
use crate::demo::{self, proto};
use crate::supervisor::Gateway;

/// The part of a process on the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The demo's services.
    Services,
    /// A gateway of this configuration.
    Gateway(String),
}

/// Plays a part until standard input ends.
///
/// # Errors
/// When a thread, a port or a ring cannot be had.
pub fn play(part: &Part) -> io::Result<()> {
    match part {
        Part::Services => {
            let demo = demo::start()?;
            let straight = demo.service("employee").expect("the demo has a service of this name").address;
            say(&json!({ "config": demo.config("127.0.0.1:0", "127.0.0.1:0"), "straight": straight }))
        }
        Part::Gateway(text) => {
            let config = config::parse(text, Path::new("(embedded)"))
                .map_err(|errors| io::Error::other(errors.to_string()))?;
            let gateway = Gateway::start(config).map_err(io::Error::other)?;
            let (backend, workers) = (gateway.backend(), gateway.workers());
            say(&json!({ "listener": gateway.listeners()[0], "backend": backend.name(), "workers": workers }))
        }
    }
}

/// Says where the part is, and waits for the end.
fn say(place: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{place}")?;
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

/// A process that plays a part. Dropping it ends it.
#[derive(Debug)]
struct Player {
    child: Child,
    place: Value,
}

impl Player {
    fn start(part: &Part) -> io::Result<Player> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("stage").env("RINGWAY_LOG", "warn").stdin(Stdio::piped()).stdout(Stdio::piped());
        match part {
            Part::Services => command.arg("services"),
            Part::Gateway(config) => command.args(["gateway", config]),
        };
        let mut child = command.spawn()?;
        let mut line = String::new();
        let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let mut player = Player { child, place: Value::Null };
        said.transpose()?;
        player.place = serde_json::from_str(&line).map_err(|_| {
            io::Error::other("a process of the embedded demo ended before it was ready; see what it said")
        })?;
        Ok(player)
    }

    fn address(&self, name: &str) -> io::Result<SocketAddr> {
        let address = self.place[name].as_str().and_then(|address| address.parse().ok());
        address.ok_or_else(|| io::Error::other(format!("no {name} in {}", self.place)))
    }

    fn side(&self, name: &'static str) -> Side {
        Side::process(name, self.child.id())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The running demo and gateway; dropping it ends both.
#[derive(Debug)]
pub struct Stage {
    // Dropped first.
    gateway: Player,
    _services: Player,
    listener: SocketAddr,
    straight: SocketAddr,
    /// The two processes.
    pub sides: Vec<Side>,
}

impl Stage {
    /// Starts both.
    ///
    /// # Errors
    /// When a process, a port or a ring cannot be had.
    pub fn start() -> io::Result<Stage> {
        let services = Player::start(&Part::Services)?;
        let config = services.place["config"].as_str().unwrap_or_default().to_owned();
        let gateway = Player::start(&Part::Gateway(config))?;
        let sides = vec![gateway.side("gateway"), services.side("service")];
        let (listener, straight) = (gateway.address("listener")?, services.address("straight")?);
        Ok(Stage { gateway, _services: services, listener, straight, sides })
    }

    /// A description of the stage, in a line.
    pub fn describe(&self) -> String {
        let place = &self.gateway.place;
        let backend = place["backend"].as_str().unwrap_or("unknown");
        format!("the embedded demo behind {} workers on {backend}", place["workers"])
    }

    /// A gRPC call through the gateway, which asks for one employee.
    pub fn grpc(&self) -> Target {
        Target { address: self.listener, request: get_employee() }
    }

    /// The gRPC call of [`Stage::grpc`], to the service itself.
    pub fn grpc_straight(&self) -> Target {
        Target { address: self.straight, request: get_employee() }
    }

    /// A JSON call through the gateway, which asks for that employee.
    pub fn json(&self) -> Target {
        Target { address: self.listener, request: get_employee_as_json() }
    }

    /// The JSON call of [`Stage::json`], to the service itself.
    pub fn json_straight(&self) -> Target {
        Target { address: self.straight, request: get_employee_as_json() }
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

/// The JSON call that the method's `google.api.http` defines.
fn get_employee_as_json() -> Request {
    Request::Json { method: Method::GET, path: "/v1/employees/1".to_owned(), body: Bytes::new() }
}
