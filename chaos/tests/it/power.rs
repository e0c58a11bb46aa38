//! The disk that loses what was not synced, before anything is judged by it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use chaos::fault::{Shim, compile};
use chaos::power::{Chance, Disk, Mercy};
use chaos::process::run;

/// Any program that calls libc.
const WRITER: &str = r#"
import os, sys
at = lambda name: os.path.join(sys.argv[1], name)
def sync(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
fd = os.open(at("log"), os.O_CREAT | os.O_RDWR, 0o600)
os.write(fd, b"synced"); os.fdatasync(fd)
open(at("old"), "w").write("was here"); sync(at("old"))
open(at("target"), "w").write("first"); sync(at("target"))
sync(sys.argv[1])
os.write(fd, b" and not"); os.pwrite(fd, b"SYN", 0)
os.unlink(at("old"))
open(at("new"), "w").write("second"); sync(at("new")); os.rename(at("new"), at("target"))
os.mkdir(at("folder")); open(at("folder/file"), "w").write("x")
"#;

struct Bench {
    dir: tempfile::TempDir,
    disk: Disk,
    shim: Shim,
    env: Vec<(String, String)>,
}

impl Bench {
    fn new(library: &Path) -> Result<Bench> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("data"))?;
        let disk = Disk::new(&dir.path().join("data"))?;
        let (shim, mut env) = Shim::new(library, dir.path().join("faults"))?;
        env.extend(disk.env());
        Ok(Bench { dir, disk, shim, env })
    }

    fn write(&self) -> Result<()> {
        run(Command::new("python3").args(["-c", WRITER]).arg(self.data()).envs(self.env.iter().cloned())).map(drop)
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn content(&self, name: &str) -> Option<String> {
        std::fs::read(self.data().join(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whatever chance says: what was synced is there, what was not is there in some legal part, and both ends are seen.
#[test]
fn what_was_synced_stays_and_the_rest_may_go() -> Result<()> {
    let (mut all_lost, mut some_kept) = (0, 0);
    let folder = tempfile::tempdir()?;
    let library = compile(folder.path())?;
    for seed in 0..16 {
        let bench = Bench::new(&library)?;
        bench.write()?;
        bench.disk.lose_power(&mut Chance::new(seed))?;
        let log = bench.content("log").unwrap_or_default();
        let tail = log.strip_prefix("synced").or_else(|| log.strip_prefix("SYNced"));
        ensure!(tail.is_some_and(|tail| " and not".starts_with(tail)), "{log:?}");
        let target = bench.content("target");
        ensure!(matches!(target.as_deref(), Some("first" | "second")), "never neither: {target:?}");
        if log == "synced" && bench.content("old").as_deref() == Some("was here") && !bench.data().join("folder").exists() {
            ensure!(target.as_deref() == Some("first"), "the rename came after the removal");
            all_lost += 1;
        }
        some_kept += u32::from(target.as_deref() == Some("second"));
        ensure!(bench.disk.lose_power(&mut Chance::new(seed))?.names == 0, "what was left is durable");
    }
    ensure!(all_lost > 0 && some_kept > 0, "{all_lost} lost all, {some_kept} kept some");
    Ok(())
}

/// A sync that lies covers nothing: not even the names.
#[test]
fn a_lying_sync_covers_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bench = Bench::new(&compile(folder.path())?)?;
    bench.shim.lying_disk(true)?;
    bench.write()?;
    ensure!(bench.shim.syncs()? > 4, "it asked");
    let empty = |path: &Path| std::fs::read_dir(path).map(|mut entries| entries.next().is_none());
    bench.disk.lose_power(&mut Chance::with(1, Mercy::Nothing))?;
    ensure!(empty(&bench.data())?, "all of it is lost");
    Ok(())
}
