//! The end of a command that cannot be obeyed.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Says why, on standard error.
pub(super) fn refuse(errors: &impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "{errors}");
    ExitCode::FAILURE
}
