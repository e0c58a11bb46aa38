//! Where the real clients are installed (`make test` does that from `chaos/clients`).

use std::path::PathBuf;
use std::process::Command;

/// Folder with `python/` (a virtual environment) and `node/` (node_modules).
///
/// # Panics
/// Without a home folder.
pub fn home() -> PathBuf {
    std::env::var_os("ASSIZE_CLIENTS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/assize/clients"))
}

/// A script of `chaos/clients` under the pinned Python.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(home().join("python/bin/python"));
    command.arg(source(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A script of `chaos/clients` under Node with the pinned node-postgres.
pub fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(source(script)).env("NODE_PATH", home().join("node/node_modules"));
    command
}

/// A single-file Java program with Debian's JDBC driver.
pub fn java(source_file: &str) -> Command {
    let mut command = Command::new("java");
    command.arg("-cp").arg("/usr/share/java/postgresql.jar").arg(source(source_file));
    command
}

fn source(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients").join(file)
}
