//! The program itself as a process: how it starts, what it says, which signals it gets, and how it ends.

use super::gateway::sum_of;
use super::{raw, within};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver};

const WAIT_MAX: Duration = Duration::from_secs(10);

/// A running `ringway run`. Dropping it kills it.
pub struct Process {
    child: Child,
    /// The lines of its log.
    lines: UnboundedReceiver<String>,
    /// Lines that were read already.
    read: Vec<String>,
    config: PathBuf,
    pub listener: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts the program with this configuration and waits until it says that it serves.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, |_| ()).await
    }

    /// Starts the program as [`Process::start`] does; `prepare` may put something around it.
    pub async fn start_with(config: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut process = Self::begin(config, |command| {
            prepare(command);
            command.spawn()
        });
        process.ready().await;
        process
    }

    /// Starts another build of the program, and waits until it says that it serves.
    pub async fn start_program(program: &Path, config: &str) -> Self {
        let mut process = Self::begin_program(program, config, |command| command.spawn());
        process.ready().await;
        process
    }

    /// Starts it in a way of the test's own, and does not wait.
    pub fn begin(config: &str, spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>) -> Self {
        Self::begin_program(Path::new(env!("CARGO_BIN_EXE_ringway")), config, spawn)
    }

    fn begin_program(
        program: &Path,
        config: &str,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Self {
        let path = unique_path();
        std::fs::write(&path, config).expect("the folder for temporary files takes one");
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&path).env_remove("RINGWAY_LOG").stderr(Stdio::piped());
        let mut child = spawn(&mut command).expect("the program was built for this test");
        let log = BufReader::new(child.stderr.take().expect("it was asked for"));
        let (tell, lines) = mpsc::unbounded_channel();
        // Ends with the process, which holds the other end of the pipe.
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let read = Vec::new();
        Self { child, lines, read, config: path, listener: nowhere, admin: nowhere }
    }

    /// Waits until it says that it serves.
    pub async fn ready(&mut self) {
        let line = self.says("ready").await;
        self.listener = address_after(&line, "listeners=[");
        self.admin = address_after(&line, "admin=");
    }

    /// Its number in Linux.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Waits for a line of its log with this word in it.
    pub async fn says(&mut self, word: &str) -> String {
        let work = async {
            while let Some(line) = self.lines.recv().await {
                self.read.push(line.clone());
                if line.contains(word) {
                    return line;
                }
            }
            panic!("the program has ended without {word:?}:\n{}", self.read.join("\n"));
        };
        within(WAIT_MAX, word, work).await
    }

    /// Whether a line of its log with this word was read already.
    pub fn has_said(&self, word: &str) -> bool {
        self.read.iter().any(|line| line.contains(word))
    }

    /// All that it has written to its log, once it has ended.
    pub async fn log(&mut self) -> Vec<String> {
        let rest = async {
            while let Some(line) = self.lines.recv().await {
                self.read.push(line);
            }
        };
        within(WAIT_MAX, "the program ends", rest).await;
        std::mem::take(&mut self.read)
    }

    /// The answer of its admin address.
    pub async fn page(&self, path: &str) -> String {
        self.told(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    /// The answer of its admin address to an order.
    pub async fn posted(&self, path: &str) -> String {
        let head = "host: x\r\ncontent-length: 0\r\nconnection: close";
        self.told(format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n")).await
    }

    async fn told(&self, request: String) -> String {
        let answer = raw::exchange(self.admin, request.as_bytes());
        let bytes = within(WAIT_MAX, "the admin address answers", answer).await;
        String::from_utf8(bytes).expect("text")
    }

    /// The sum of all samples of a family on its page of metrics.
    pub async fn metric(&self, family: &str) -> u64 {
        sum_of(&self.page("/metrics").await, family)
    }

    /// A line of what the system says of its memory, in bytes: `VmRSS`, `VmHWM`.
    pub fn memory(&self, what: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kilobytes = line.expect("every process has it").trim().trim_end_matches(" kB");
        kilobytes.parse::<usize>().expect("a number of kB") << 10
    }

    /// From now on `VmHWM` is the most that it has had since now.
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(path, "5").expect("a process of ours");
    }

    /// Sends a signal by its short name, as `kill` takes it.
    pub fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        let sent = command.arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("there is a kill command").success(), "SIG{name}");
    }

    /// Waits for its end, at most ten seconds.
    pub async fn ended(mut self) -> ExitStatus {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let look = async {
            loop {
                looks.tick().await;
                if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                    return status;
                }
            }
        };
        within(WAIT_MAX, "the program ends", look).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

fn unique_path() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ringway-test-{}-{number}.toml", std::process::id()))
}

fn address_after(line: &str, name: &str) -> SocketAddr {
    let rest = line.split_once(name).map(|(_, rest)| rest);
    let address = rest.and_then(|rest| rest.split([',', ']', ' ']).next()?.parse().ok());
    address.unwrap_or_else(|| panic!("no {name} in {line}"))
}
