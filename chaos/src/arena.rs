//! A machine of its own for one test: network, process and mount namespaces that end with it, whatever ends it.
//!
//! The test binary starts itself again inside new namespaces and is process 1 there, so that the kernel takes every
//! node, server and namespace along when it ends, by itself or by SIGKILL. Inside, each node has a network namespace
//! with one veth pair whose other end is a port of a bridge:
//!
//! ```text
//!   n1 ─ v1 ┐
//!   n2 ─ v2 ┼─ bridge (10.77.0.1: clients, administrators; 10.77.0.2: the target)
//!   n3 ─ v3 ┘
//! ```
//!
//! Frames are dropped at the ingress of the sender's port, where no node can notice: one direction at a time. Where they
//! must be late as well, a [`Switch`] in user space takes the place of bridge and ports.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::cluster::node::Place;
use crate::process::{Background, run};
use crate::wait;

/// What the nodes dial as the target.
pub const TARGET: &str = "10.77.0.2:5432";
const TARGET_HOST: &str = "10.77.0.2";
/// Set in the copy of the test that runs inside.
const INSIDE: &str = "ASSIZE_ARENA";
/// Each is needed; the packages are those of `.ci/packages`.
const PROGRAMS: [&str; 6] = ["ip", "nft", "unshare", "nsenter", "setpriv", "chrt"];

/// The node's place, from 0.
pub fn place(node: usize) -> Place {
    Place { host: host(node), through: vec!["nsenter".into(), format!("--net=/run/netns/n{}", node + 1)] }
}

fn host(node: usize) -> String {
    format!("10.77.0.{}", 11 + node)
}

/// Runs the test of this module and name in an arena with so many nodes. Says so and returns where only root could.
///
/// # Panics
/// When the test fails, or a program it needs is missing.
pub fn within(module: &str, name: &str, nodes: usize, ways: Ways, test: impl FnOnce(Arena) -> Result<()>) {
    if std::env::var_os(INSIDE).is_some() {
        let arena = Arena::build(nodes, ways).unwrap_or_else(|error| panic!("the arena was not built: {error:#}"));
        if let Err(error) = test(arena) {
            panic!("{error:#}");
        }
        return;
    }
    if !is_root() {
        eprintln!("NOT RUN, only root may make namespaces: {module}::{name}");
        return;
    }
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !installed(program)).collect();
    assert!(missing.is_empty(), "these programs are missing (.ci/packages installs them): {missing:?}");
    let test = module.split_once("::").map_or_else(|| name.to_owned(), |(_, rest)| format!("{rest}::{name}"));
    let scratch = tempfile::Builder::new().prefix("assize-arena-").tempdir().expect("a folder for the arena");
    std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", &test, "--include-ignored", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .status()
        .expect("setpriv is installed");
    assert!(status.success(), "{test} failed in its arena: {status}");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn installed(program: &str) -> bool {
    let folders = std::env::var("PATH").unwrap_or_default();
    folders.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).exists())
}

/// What carries frames between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// The kernel's bridge, whose ports can drop.
    Bridge,
    /// A [`Switch`] with this seed.
    Switch(u64),
}

pub struct Arena {
    nodes: usize,
    switch: Option<Switch>,
}

/// A switch in user space that delays, loses and repeats what passes between two nodes.
pub struct Switch {
    told: File,
    _process: Background,
    _dir: TempDir,
}

impl Switch {
    fn start(nodes: usize, seed: u64) -> Result<Switch> {
        let dir = tempfile::Builder::new().prefix("assize-switch-").tempdir()?;
        let (program, control, log) = (dir.path().join("switch"), dir.path().join("control"), dir.path().join("log"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/switch.c");
        run(Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(&program).arg(source))?;
        let told = File::options().create(true).truncate(true).read(true).write(true).open(&control)?;
        told.set_len(7 * 8)?;
        let mut command = Command::new(&program);
        let process = Background::start("switch", command.arg(control).arg(seed.to_string()).arg(nodes.to_string()), &log)?;
        wait::until("the switch", Duration::from_secs(5), || Ok(std::fs::read_to_string(&log)?.contains("ready").then_some(())))?;
        Ok(Switch { told, _process: process, _dir: dir })
    }

    /// From now on, between nodes: each frame this late at least, by up to `jitter` more, and so many of a thousand lost or
    /// repeated.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn tell(&self, delay: Duration, jitter: Duration, lost: u32, repeated: u32) -> Result<()> {
        let numbers = [i64::try_from(delay.as_micros())?, i64::try_from(jitter.as_micros())?, i64::from(lost), i64::from(repeated)];
        Ok(self.told.write_all_at(&numbers.map(i64::to_ne_bytes).concat(), 0)?)
    }

    /// Frames it has delayed, lost and repeated.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn counted(&self) -> Result<[i64; 3]> {
        let mut bytes = [[0; 8]; 3];
        for (at, number) in bytes.iter_mut().enumerate() {
            self.told.read_exact_at(number, 8 * (4 + at as u64))?;
        }
        Ok(bytes.map(i64::from_ne_bytes))
    }
}

impl Arena {
    fn build(nodes: usize, ways: Ways) -> Result<Arena> {
        match ways {
            Ways::Bridge => Arena::bridged(nodes),
            Ways::Switch(seed) => Arena::switched(nodes, seed),
        }
    }

    fn switched(nodes: usize, seed: u64) -> Result<Arena> {
        let prepare = "set -e; mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip link set lo up; ";
        run(&mut sh(prepare))?;
        let switch = Switch::start(nodes, seed)?;
        let mut script =
            String::from("set -e; ip addr add 10.77.0.1/24 dev hub0; ip addr add 10.77.0.2/24 dev hub0; ip link set hub0 up; ");
        for node in 0..nodes {
            let n = node + 1;
            script += &format!(
                "ip netns add n{n}; ip link set node{n} netns n{n}; ip -n n{n} link set lo up; \
                 ip -n n{n} addr add {}/24 dev node{n}; ip -n n{n} link set node{n} up; ",
                host(node)
            );
        }
        run(&mut sh(&script))?;
        Ok(Arena { nodes, switch: Some(switch) })
    }

    /// # Errors
    /// Without one.
    pub fn switch(&self) -> Result<&Switch> {
        self.switch.as_ref().context("this arena has a bridge")
    }

    fn bridged(nodes: usize) -> Result<Arena> {
        let mut script = String::from(
            "set -e; mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip link set lo up; \
             ip link add hub type bridge; ip addr add 10.77.0.1/24 dev hub; ip addr add 10.77.0.2/24 dev hub; ip link set hub up; ",
        );
        let mut rules = String::from("table netdev arena {\n");
        for node in 0..nodes {
            let n = node + 1;
            script += &format!(
                "ip netns add n{n}; ip link add v{n} type veth peer name eth0 netns n{n}; ip link set v{n} master hub up; \
                 ip -n n{n} link set lo up; ip -n n{n} addr add {}/24 dev eth0; ip -n n{n} link set eth0 up; ",
                host(node)
            );
            rules += &format!("chain from{n} {{ type filter hook ingress device \"v{n}\" priority 0; }}\n");
        }
        rules += "}\n";
        run(&mut sh(&script))?;
        nft(&rules)?;
        Ok(Arena { nodes, switch: None })
    }

    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Nothing that `from` sends arrives at `to`; the other direction stays.
    ///
    /// # Errors
    /// When the kernel does not take the rule.
    pub fn cut_one_way(&self, from: usize, to: usize) -> Result<()> {
        nft(&format!("add rule netdev arena from{} ip daddr {} drop\n", from + 1, host(to)))
    }

    /// # Errors
    /// When the kernel does not take the rules.
    pub fn cut(&self, one: usize, other: usize) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// No other node hears this one, nor it them; clients and the target do.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn isolate(&self, node: usize) -> Result<()> {
        self.others(node).try_for_each(|other| self.cut(node, other))
    }

    /// It hears no other node, and they all hear it.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn deafen(&self, node: usize) -> Result<()> {
        self.others(node).try_for_each(|other| self.cut_one_way(other, node))
    }

    /// No other node hears it, and it hears them all.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn silence(&self, node: usize) -> Result<()> {
        self.others(node).try_for_each(|other| self.cut_one_way(node, other))
    }

    /// What it sends to the target does not arrive, and stays in its kernel.
    ///
    /// # Errors
    /// When the kernel does not take the rule.
    pub fn cut_from_target(&self, node: usize) -> Result<()> {
        nft(&format!("add rule netdev arena from{} ip daddr {TARGET_HOST} drop\n", node + 1))
    }

    /// So many of a hundred frames between nodes are lost, and as many arrive twice.
    ///
    /// # Errors
    /// When the kernel does not take the rules.
    pub fn lose_and_repeat(&self, percent: u32) -> Result<()> {
        let mut rules = String::new();
        for from in 0..self.nodes {
            for to in self.others(from) {
                rules += &format!(
                    "add rule netdev arena from{} ip daddr {} numgen random mod 100 < {percent} drop\n\
                     add rule netdev arena from{} ip daddr {} numgen random mod 100 < {percent} dup to \"v{}\"\n",
                    from + 1,
                    host(to),
                    from + 1,
                    host(to),
                    to + 1
                );
            }
        }
        nft(&rules)
    }

    /// All goes through again.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn heal(&self) -> Result<()> {
        if let Some(switch) = &self.switch {
            return switch.tell(Duration::ZERO, Duration::ZERO, 0, 0);
        }
        nft(&(1..=self.nodes).map(|n| format!("flush chain netdev arena from{n}\n")).collect::<String>())
    }

    fn others(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes).filter(move |other| *other != node)
    }
}

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(script).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    sh
}

fn nft(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .spawn()
        .context("starting nft")?;
    std::io::Write::write_all(&mut nft.stdin.take().context("a pipe")?, rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused\n{rules}");
    Ok(())
}
