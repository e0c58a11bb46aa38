//! A PostgreSQL server of its own for a test: on a socket in a temporary folder, gone when dropped.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Until the server must answer. Generous, for machines under load.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    folder: TempDir,
    process: Child,
    programs: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Server {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a temporary folder");
        // PostgreSQL refuses to run as root: its own user runs it there.
        let owner = (fs::metadata("/proc/self").expect("/proc").uid() == 0).then(|| user("postgres"));
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).expect("giving the folder away");
        }
        let data = folder.path().join("data");
        let made = as_user(&programs.join("initdb"), owner)
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .current_dir("/")
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let process = as_user(&programs.join("postgres"), owner)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off", "-c", "wal_level=logical"])
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres");
        let server = Server { folder, process, programs };
        let started = Instant::now();
        while let Err(message) = server.run("postgres", &["select 1"]) {
            assert!(started.elapsed() < START_TIMEOUT, "the server does not answer: {message}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Runs texts one after another in one session, each as one simple Query. Rows without padding; or the error.
    pub(crate) fn run(&self, database: &str, texts: &[&str]) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]).arg(self.folder.path());
        for text in texts {
            psql.arg("-c").arg(text);
        }
        let done = psql.stdin(Stdio::null()).output().expect("psql");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server behind `setpriv` is the same process: it was replaced, not forked.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's folder of the newest version that is installed, or what PATH has.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|v| v.path().join("bin"));
    let mut found: Vec<PathBuf> = versions.filter(|p| p.join("initdb").exists()).collect();
    found.sort();
    let on_path = || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).find(|p| p.join("initdb").exists());
    found.pop().or_else(on_path).expect("PostgreSQL is not installed: the package `postgresql` has it")
}

fn user(name: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let fields: Vec<&str> = users.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f[0] == name).expect("the user postgres");
    (fields[2].parse().expect("a user id"), fields[3].parse().expect("a group id"))
}

fn as_user(program: &Path, owner: Option<(u32, u32)>) -> Command {
    match owner {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(program);
            command
        }
    }
}
