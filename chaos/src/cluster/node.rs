//! One node: its ports, its configuration, its process.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::PATIENCE;
use crate::process::Background;
use crate::{ports, wait};

/// Debug builds of `assize` know the feature levels up to what it says, as an older release does.
const OLDER: &str = "ASSIZE_FEATURE_LEVEL_MAX";

/// Debug builds do at points of their code what it says.
const POINTS: &str = "ASSIZE_POINTS";

/// Where a node runs: its address, and what its programs are started through.
#[derive(Debug, Clone)]
pub struct Place {
    pub host: String,
    pub through: Vec<String>,
}

impl Place {
    pub fn loopback() -> Place {
        Place { host: "127.0.0.1".into(), through: Vec::new() }
    }

    /// This program, started there.
    pub fn command(&self, program: &Path) -> Command {
        match self.through.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

pub struct Node {
    /// From 1.
    pub number: usize,
    pub place: Place,
    /// Set for the process at its next start: what a fault needs to be preloaded or told.
    pub env: Vec<(String, String)>,
    pub config: PathBuf,
    pub data: PathBuf,
    pub cluster: u16,
    pub admin: u16,
    pub http: u16,
    /// Shared listener, plain, SCRAM.
    pub postgres: u16,
    /// SCRAM, TLS for who asks. Only with [`super::Setup::tls`].
    pub tls: u16,
    /// The token as password inside TLS, bound to the target `orders`. Only with [`super::Setup::tls`].
    pub password: u16,
    /// AuthZEN. Only with [`super::Setup::tls`].
    pub authzen: u16,
    log: PathBuf,
    process: Option<Background>,
}

impl Node {
    /// Chooses ports and writes the configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prepare(number: usize, place: Place, dir: &Path, tls: bool) -> Result<Node> {
        let node = Node {
            number,
            place,
            env: Vec::new(),
            config: dir.join(format!("node{number}.toml")),
            data: dir.join(format!("node{number}")),
            cluster: ports::free(),
            admin: ports::free(),
            http: ports::free(),
            postgres: ports::free(),
            tls: ports::free(),
            password: ports::free(),
            authzen: ports::free(),
            log: dir.join(format!("node{number}.log")),
            process: None,
        };
        std::fs::write(&node.config, node.toml(dir, tls)?)?;
        Ok(node)
    }

    fn toml(&self, dir: &Path, tls: bool) -> Result<String> {
        let Node { cluster, admin, http, postgres, .. } = self;
        let host = &self.place.host;
        let mut text = format!(
            "data_dir = {:?}\n\
             [cluster]\nlisten = \"{host}:{cluster}\"\nadvertise = \"{host}:{cluster}\"\n\
             [admin]\nlisten = \"{host}:{admin}\"\nadvertise = \"{host}:{admin}\"\n\
             [http]\nlisten = \"{host}:{http}\"\n\
             [usage]\nreport_seconds = 2\n\
             [outbound]\nallow = [\"127.0.0.1\"]\n\
             [[listener]]\nprotocol = \"postgres\"\nlisten = \"{host}:{postgres}\"\n",
            self.data
        );
        if tls {
            let files = format!("certificate = {:?}\nkey = {:?}\n", dir.join("server.pem"), dir.join("server.key"));
            write!(text, "[[listener]]\nprotocol = \"postgres\"\nlisten = \"{host}:{}\"\n[listener.tls]\n{files}", self.tls)?;
            write!(
                text,
                "[[listener]]\nprotocol = \"postgres\"\nlisten = \"{host}:{}\"\ntarget = \"orders\"\nauth = \"password-over-tls\"\n\
                 [listener.tls]\n{files}required = true\n",
                self.password
            )?;
            write!(text, "[[listener]]\nprotocol = \"authzen\"\nlisten = \"{host}:{}\"\n[listener.tls]\n{files}", self.authzen)?;
        }
        Ok(text)
    }

    /// Makes its next process one of a release that knows feature levels up to this one only, or as built.
    pub fn older(&mut self, knows: Option<u32>) {
        self.env.retain(|(name, _)| name != OLDER);
        self.env.extend(knows.map(|level| (OLDER.to_owned(), level.to_string())));
    }

    /// What its next process does at points of its code (`POINT=crash:3;OTHER=pause:2`), and the file it notes them in.
    pub fn at_points(&mut self, what: &str, seen: Option<PathBuf>) {
        self.env.retain(|(name, _)| !name.starts_with(POINTS));
        if !what.is_empty() {
            self.env.push((POINTS.to_owned(), what.to_owned()));
        }
        self.env.extend(seen.map(|file| (format!("{POINTS}_SEEN"), file.display().to_string())));
    }

    /// A command with this node's environment.
    pub(super) fn equipped(&self, mut command: Command) -> Command {
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn start(&mut self, binary: &Path) -> Result<()> {
        let mut command = self.equipped(self.place.command(binary));
        command.arg("node").arg("--config").arg(&self.config);
        self.process = Some(Background::start(&format!("node {}", self.number), &mut command, &self.log)?);
        Ok(())
    }

    /// Waits until `/readyz` says that it serves.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn ready(&self) -> Result<()> {
        wait::until(&format!("node {} to be ready", self.number), PATIENCE, || {
            let answer = self.get("/readyz")?;
            if answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200") { Ok(Some(())) } else { bail!("{answer}") }
        })
    }

    /// An answer of its HTTP listener, with its head.
    ///
    /// # Errors
    /// When it does not listen or answer.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect((self.place.host.as_str(), self.http))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub fn admin_address(&self) -> String {
        format!("{}:{}", self.place.host, self.admin)
    }

    /// Of the running process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Background::pid)
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub fn is_up(&mut self) -> bool {
        self.process.as_mut().is_some_and(Background::is_running)
    }

    /// Waits until the node has ended without our doing. `Some` number of the signal that ended it.
    ///
    /// # Errors
    /// When it is not running, or has not ended within [`PATIENCE`].
    pub fn ended(&mut self) -> Result<Option<i32>> {
        let status = self.process.as_mut().context("the node is not running")?.ended(PATIENCE)?;
        Ok(std::os::unix::process::ExitStatusExt::signal(&status))
    }

    /// A signal by name: `STOP`, `CONT`, `TERM`.
    ///
    /// # Errors
    /// When the node is not running.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.as_ref().context("the node is not running")?.signal(signal)
    }

    /// What an operator would look at first, and last.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}
