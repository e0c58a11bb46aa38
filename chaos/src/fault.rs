//! Faults that a machine, not a network, has: clocks, disks, pauses, limits.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::run;

/// `EIO`, which is the same on every Linux we run on.
pub const EIO: i64 = 5;

/// What is preloaded into one node, and the file that tells it what to do.
#[derive(Debug)]
pub struct Shim {
    told: File,
    path: PathBuf,
}

/// Compiles what nodes preload.
///
/// # Errors
/// Without a C compiler.
pub fn compile(dir: &Path) -> Result<PathBuf> {
    let library = dir.join("shim.so");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults");
    let mut cc = Command::new("cc");
    cc.current_dir(sources).args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).args(["shim.c", "disk.c", "-ldl"]);
    run(&mut cc)?;
    Ok(library)
}

impl Shim {
    /// A node that is told nothing yet, and what its environment must say.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn new(library: &Path, path: PathBuf) -> Result<(Shim, Vec<(String, String)>)> {
        let told = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        told.set_len(4 * 8)?;
        let env = vec![("LD_PRELOAD".into(), library.display().to_string()), ("ASSIZE_FAULTS".into(), path.display().to_string())];
        Ok((Shim { told, path }, env))
    }

    /// The node's wall clock is off by this from now on.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn wall_clock(&self, milliseconds: i64) -> Result<()> {
        self.tell(0, milliseconds)
    }

    /// Each sync takes so much longer.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn slow_disk(&self, by: Duration) -> Result<()> {
        self.tell(1, i64::try_from(by.as_micros())?)
    }

    /// Each sync fails with this error number; 0 ends it.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn failing_disk(&self, errno: i64) -> Result<()> {
        self.tell(2, errno)
    }

    /// Each sync says that it is done and does nothing.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn lying_disk(&self, lies: bool) -> Result<()> {
        self.tell(2, -i64::from(lies))
    }

    /// How many syncs the node asked for: proof that it asks through the shim.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn syncs(&self) -> Result<i64> {
        let mut bytes = [0; 8];
        self.told.read_exact_at(&mut bytes, 3 * 8)?;
        Ok(i64::from_ne_bytes(bytes))
    }

    fn tell(&self, which: u64, value: i64) -> Result<()> {
        self.told.write_all_at(&value.to_ne_bytes(), which * 8).with_context(|| self.path.display().to_string())
    }
}

/// A cgroup (version 2) that can be frozen: its processes stand still, and SIGKILL still ends them.
pub struct Freezer(PathBuf);

impl Freezer {
    /// # Errors
    /// Where no cgroup 2 is mounted.
    pub fn new() -> Result<Freezer> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let root =
            mounts.into_iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists()).context("no cgroup 2 is mounted")?;
        let name = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let group = root.join(format!("assize-{}", name.trim()));
        std::fs::create_dir(&group)?;
        Ok(Freezer(group))
    }

    /// Freezes this process; frozen when it returns.
    ///
    /// # Errors
    /// When the kernel does not.
    pub fn freeze(&self, pid: u32) -> Result<()> {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string())?;
        std::fs::write(self.0.join("cgroup.freeze"), "1")?;
        crate::wait::until("the freezer", Duration::from_secs(2), || {
            Ok(std::fs::read_to_string(self.0.join("cgroup.events"))?.contains("frozen 1").then_some(()))
        })
    }

    /// # Errors
    /// When the kernel does not.
    pub fn thaw(&self) -> Result<()> {
        Ok(std::fs::write(self.0.join("cgroup.freeze"), "0")?)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = self.thaw();
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        let _ = crate::wait::until("an empty cgroup", Duration::from_secs(2), || Ok(std::fs::remove_dir(&self.0).ok()));
    }
}

/// From now on this process may have so many open files more than it has, or with `None` as many as it ever may.
///
/// # Errors
/// When it is gone.
pub fn limit_files(pid: u32, more: Option<usize>) -> Result<()> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("a limit")?;
    let hard: usize = line.split_whitespace().nth(4).context("a hard limit")?.parse()?;
    let limit = match more {
        Some(more) => std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() + more,
        None => hard,
    };
    run(Command::new("prlimit").arg("--pid").arg(pid.to_string()).arg(format!("--nofile={limit}:{hard}"))).map(drop)
}

/// Moves a folder onto a disk (in memory) of so many megabytes. Nothing may have it open.
///
/// # Errors
/// When it does not fit, or cannot be mounted.
pub fn onto_small_disk(folder: &Path, megabytes: usize) -> Result<()> {
    let aside = folder.with_extension("aside");
    std::fs::rename(folder, &aside)?;
    std::fs::create_dir(folder)?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none"]).arg(folder))?;
    run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(folder)).map(drop)
}

/// Leaves no byte free on the disk that holds `folder`. Removing the file it returns ends it.
///
/// # Errors
/// When the disk takes everything.
pub fn fill(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("ballast");
    let mut ballast = File::create(&file)?;
    let block = vec![0; 64 << 10];
    while std::io::Write::write(&mut ballast, &block).is_ok_and(|written| written > 0) {
        ensure!(ballast.metadata()?.len() < 4 << 30, "this is no small disk");
    }
    Ok(file)
}
