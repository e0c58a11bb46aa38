//! `assize demo`: the story that `make demo` tells, with this binary and nothing of the source tree.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// It checks what it shows, and cleans up behind itself.
const SCRIPT: &str = include_str!("../../../chaos/demo/run");

/// Becomes the demo; returns only when that is impossible.
pub(crate) fn run(keep: bool) -> ExitCode {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => {
            eprintln!("assize demo: where this program lies is not known: {error}");
            return ExitCode::FAILURE;
        }
    };
    let error = Command::new("bash").args(["-c", SCRIPT, "assize demo"]).arg(own).args(keep.then_some("--keep")).exec();
    eprintln!("assize demo: bash cannot be started: {error}");
    ExitCode::FAILURE
}
