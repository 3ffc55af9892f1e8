//! The gateway as it is run: `ringway run` as a process of its own.

use ringway::tools::usage::Side;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// The program that Cargo has built for the bench.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway");

/// A running gateway. Dropping it ends it at once.
pub struct Process {
    child: Kill,
    /// Where clients call.
    pub listener: SocketAddr,
    /// Where operators look.
    pub admin: SocketAddr,
}

impl Process {
    /// Runs this program with this configuration, until it serves.
    pub fn start(program: &Path, config: &str) -> Result<Process, Box<dyn Error>> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("ringway-bench-{}-{number}.toml", std::process::id()));
        std::fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&file).env_remove("RINGWAY_LOG").stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Process::ready(Kill { child, config: file })
    }

    fn ready(mut child: Kill) -> Result<Process, Box<dyn Error>> {
        let mut lines = BufReader::new(child.child.stderr.take().ok_or("no log")?).lines();
        let mut addresses = None;
        while addresses.is_none() {
            let Some(line) = lines.next().transpose()? else { break };
            let after = |name: &str| line.split_once(name)?.1.split([',', ']', ' ']).next()?.parse().ok();
            addresses = after("listeners=[").zip(after("admin="));
            if addresses.is_none() {
                eprintln!("{line}");
            }
        }
        // Later lines are for people to see, but for those of calls that failed, and must not fill the pipe.
        let shown = |line: String| {
            if !line.starts_with('{') {
                eprintln!("{line}")
            }
        };
        thread::spawn(move || lines.map_while(Result::ok).for_each(shown));
        let (listener, admin) = addresses.ok_or("the gateway has ended before it served")?;
        Ok(Process { child, listener, admin })
    }

    /// Whose usage is read.
    pub fn side(&self) -> Side {
        Side::process("gateway", self.child.child.id())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> Result<(), Box<dyn Error>> {
        Command::new("kill").arg(self.child.child.id().to_string()).status()?;
        let status = self.child.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the gateway ended with {status}").into()) }
    }
}

/// Ends with this process, whatever becomes of it.
struct Kill {
    child: Child,
    /// The file with its configuration, which it looks at as long as it runs.
    config: PathBuf,
}

impl Drop for Kill {
    fn drop(&mut self) {
        // It has ended if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}
