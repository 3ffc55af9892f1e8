//! Commands that write a text: a configuration to begin with, its schema, completions, the manual.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};

use super::refuse::refuse;
use crate::config;

/// Arguments of `ringway init`.
#[derive(Args, Debug)]
pub(super) struct Init {
    /// The file to write; `-` is standard output.
    #[arg(value_name = "FILE", default_value = "ringway.toml")]
    file: PathBuf,
    /// The address of the service that the gateway is to stand in front of.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    to: String,
    /// Overwrite a file that is there.
    #[arg(long)]
    force: bool,
}

/// A shell that completes arguments.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Writes a commented configuration.
pub(super) fn init(arguments: &Init) -> ExitCode {
    let text = config::template(&arguments.to);
    let path = &arguments.file;
    if let Err(errors) = config::parse(&text, path) {
        return refuse(&errors);
    }
    if path == Path::new("-") {
        return to_stdout(&text);
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).create_new(!arguments.force);
    match options.open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            let path = path.display();
            to_stdout(&format!("{path} is written. Next: ringway check {path}, then ringway run {path}\n"))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse(&format!("{} is there already (--force overwrites it)", path.display()))
        }
        Err(error) => refuse(&format!("{}: cannot be written: {error}", path.display())),
    }
}

/// Writes the JSON schema of a configuration.
pub(super) fn schema() -> ExitCode {
    to_stdout(&config::schema())
}

/// Writes the script with which a shell completes arguments.
pub(super) fn completions(shell: Shell, command: &mut Command) -> ExitCode {
    let mut text = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, command, "ringway", &mut text);
    to_stdout(&String::from_utf8_lossy(&text))
}

/// Writes the manual page: the program, then each command with its arguments.
pub(super) fn manual(mut command: Command) -> ExitCode {
    command.build();
    let mut text = Vec::new();
    let mut write = || {
        let page = clap_mangen::Man::new(command.clone());
        page.render(&mut text)?;
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let name = format!("ringway {}", sub.get_name());
            writeln!(text, ".SH \"{}\"", name.to_uppercase())?;
            let page = clap_mangen::Man::new(sub.clone());
            page.render_description_section(&mut text)?;
            page.render_options_section(&mut text)?;
        }
        Ok::<(), io::Error>(())
    };
    match write() {
        Ok(()) => to_stdout(&String::from_utf8_lossy(&text)),
        Err(error) => refuse(&error),
    }
}

/// Writes to standard output. A reader that has gone away, such as `head`, has had enough.
fn to_stdout(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => refuse(&error),
        _ => ExitCode::SUCCESS,
    }
}
