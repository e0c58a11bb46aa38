//! Three real nodes on loopback in front of a real PostgreSQL, driven by the real CLI.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::arena::{self, Ways};
use crate::cluster::node::{Node, Place};
use crate::fault::{self, Shim};
use crate::postgres::{GATEWAY_PASSWORD, GATEWAY_USER, Postgres, Release};
use crate::power::{Chance, Disk, Lost};
use crate::process::{Background, output, run};
use crate::wait;

pub mod node;
mod recovery;

/// How long a step of the set-up, or of what a test waits for, may take on a machine with two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// What the fixture declares: who may do what. `bot` has its real work and nothing else, `builder` owns the schema
/// `public`, `bob` answers for both, `carol` and `dave` review, `erin` audits.
const ACCESS: &str = include_str!("cluster/access.yaml");

/// What differs between fixtures.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub release: Release,
    /// Two more listeners a node: `tls` (SCRAM, TLS if asked for) and `password` (TLS only, bound to `orders`), and
    /// TLS with verification between the gateway and PostgreSQL.
    pub tls: bool,
    /// How long a held statement keeps its client waiting, in seconds.
    pub hold: u64,
    pub nodes: usize,
    /// Each node in a network namespace of its own, and the target behind a [`crate::recorder::Recorder`].
    pub arena: bool,
    /// Each node with a [`Shim`].
    pub shims: bool,
    /// Each node with a [`Disk`] whose power can be lost, and a [`Shim`].
    pub power: bool,
    /// What every process does at named points of its code; each it reaches is noted in the file [`Cluster::points`] reads.
    pub points: Option<&'static str>,
    /// Each node of a release that knows feature levels up to this one only.
    pub older: Option<u32>,
    /// What carries frames between nodes in the arena.
    pub ways: Ways,
    /// Places in the arena for nodes that join later.
    pub spare: usize,
    /// What `ASSIZE_PLANTED_BUG` says to every node.
    pub planted: Option<&'static str>,
}

impl Setup {
    /// Where the node of this number (from 1) runs.
    fn place(self, number: usize) -> Place {
        if self.arena { arena::place(number - 1) } else { Place::loopback() }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            release: Release::Fifteen,
            tls: false,
            hold: 20,
            nodes: 3,
            arena: false,
            shims: false,
            power: false,
            points: None,
            older: None,
            ways: Ways::Bridge,
            spare: 0,
            planted: None,
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output of a command that must succeed.
    ///
    /// # Errors
    /// With everything it printed when its status is not 0.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "status {}\n{}{}", self.code, self.out, self.err);
        Ok(self.out)
    }

    /// What a command said that must fail with this status.
    ///
    /// # Errors
    /// When its status is another one.
    pub fn fails(self, code: i32) -> Result<String> {
        ensure!(self.code == code, "status {} instead of {code}\n{}{}", self.code, self.out, self.err);
        Ok(format!("{}{}", self.out, self.err))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started.
pub fn said(command: &mut Command) -> Result<Said> {
    let output = output(command)?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    /// One for each of the first nodes. Only with [`Setup::shims`].
    pub shims: Vec<Shim>,
    /// The same, with [`Setup::power`].
    pub disks: Vec<Disk>,
    pub postgres: Postgres,
    /// The line an auditor keeps outside: what `cluster init` printed.
    pub genesis: String,
    pub recovery_key: String,
    /// Folder of the first admin's certificate.
    admin: PathBuf,
    setup: Setup,
    dir: TempDir,
}

/// Starts a cluster, runs `test`, and prints the ends of the nodes' logs when it fails.
///
/// # Panics
/// When the test fails.
pub fn with(setup: Setup, test: impl FnOnce(&mut Cluster) -> Result<()>) {
    let mut cluster = Cluster::start(setup).unwrap_or_else(|error| panic!("the cluster did not start: {error:#}"));
    if let Err(error) = test(&mut cluster) {
        panic!("{error:#}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- end of the log of node {}\n{}", node.number, node.log_tail());
            }
        }
    }
}

/// The binary under test: `ASSIZE_BIN`, or the one beside this test's.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ASSIZE_BIN") {
        return PathBuf::from(path);
    }
    let exe = std::env::current_exe().expect("a test has a path");
    let profile = exe.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    profile.join("assize")
}

impl Cluster {
    /// Voters that serve, a PostgreSQL with the fixture's tables, and the fixture's access.
    ///
    /// # Errors
    /// When any of it does not come up.
    pub fn start(setup: Setup) -> Result<Cluster> {
        let dir = tempfile::Builder::new().prefix("assize-cluster-").tempdir()?;
        if setup.tls {
            certificates(dir.path())?;
        }
        let folder = dir.path().to_owned();
        let database = std::thread::spawn(move || database(setup, &folder));
        let mut nodes: Vec<Node> =
            (1..=setup.nodes).map(|number| Node::prepare(number, setup.place(number), dir.path(), setup.tls)).collect::<Result<_>>()?;
        for (node, bug) in nodes.iter_mut().zip(setup.planted.iter().cycle()) {
            node.env = vec![("ASSIZE_PLANTED_BUG".into(), (*bug).into())];
        }
        for node in &mut nodes {
            node.older(setup.older);
            node.at_points(setup.points.unwrap_or_default(), setup.points.map(|_| points_file(dir.path())));
        }
        let (mut shims, mut disks) = (Vec::new(), Vec::new());
        if setup.shims || setup.power {
            let library = fault::compile(dir.path())?;
            for node in &mut nodes {
                let (shim, env) = Shim::new(&library, dir.path().join(format!("node{}.faults", node.number)))?;
                node.env.extend(env);
                shims.push(shim);
                if setup.power {
                    let disk = Disk::new(&node.data)?;
                    node.env.extend(disk.env());
                    disks.push(disk);
                }
            }
        }
        let admin = dir.path().join("admin");
        let first = run(nodes[0]
            .equipped(command())
            .args(["cluster", "init", "--admin", "alice", "--config"])
            .arg(&nodes[0].config)
            .arg("--admin-out")
            .arg(&admin))?;
        nodes[0].start(&binary())?;
        let postgres = database.join().map_err(|_| anyhow::anyhow!("setting PostgreSQL up panicked"))??;
        let genesis = value_of(&first, "genesis").with_context(|| first.clone())?;
        let recovery_key = value_of(&first, "recovery key").with_context(|| first.clone())?;
        let mut cluster = Cluster { nodes, shims, disks, postgres, genesis, recovery_key, admin, setup, dir };
        cluster.nodes[0].ready()?;
        for index in 1..setup.nodes {
            cluster.join(index)?;
        }
        for node in &cluster.nodes {
            node.ready()?;
        }
        cluster.declare("access.yaml", &cluster.access())?;
        cluster.cli(&["apply", "-f", &cluster.path("access.yaml")])?.ok()?;
        cluster.settled()?;
        Ok(cluster)
    }

    fn join(&mut self, index: usize) -> Result<()> {
        self.join_through(index, 0)
    }

    fn join_through(&mut self, index: usize, peer: usize) -> Result<()> {
        self.ask_to_join(&self.nodes[index], peer)?;
        self.nodes[index].start(&binary())
    }

    /// Has a node that is prepared ask this one (from 0) to be taken in.
    ///
    /// # Errors
    /// When it is not.
    pub fn ask_to_join(&self, node: &Node, peer: usize) -> Result<()> {
        let file = self.dir.path().join(format!("join{}", node.number));
        let token = self.cli_at(peer, &["cluster", "join-token"])?.ok()?;
        std::fs::write(&file, token)?;
        let peer = format!("{}:{}", self.nodes[peer].place.host, self.nodes[peer].cluster);
        let mut join = node.equipped(clean(node.place.command(&binary())));
        run(join.args(["cluster", "join", "--peer", &peer, "--config"]).arg(&node.config).arg("--token-file").arg(&file)).map(drop)
    }

    /// A new node, with the next number, in place of one that was removed (both from 0).
    ///
    /// # Errors
    /// When it does not become a voter that serves.
    pub fn replace(&mut self, node: usize, peer: usize) -> Result<()> {
        let number = self.nodes.iter().map(|node| node.number).max().unwrap_or(0) + 1;
        self.nodes[node] = self.prepare(number)?;
        self.join_through(node, peer)?;
        self.nodes[node].ready()?;
        self.settled()
    }

    /// The fixture's access, with this cluster's addresses.
    pub fn access(&self) -> String {
        let tls = if self.setup.tls { "{ rootsFile: ca.pem, serverName: localhost }" } else { "{ mode: \"off\" }" };
        let target = if self.setup.arena { arena::TARGET.to_owned() } else { format!("localhost:{}", self.postgres.port) };
        ACCESS
            .replace("localhost:$PORT", &target)
            .replace("$TLS", tls)
            .replace("${HOLD}", &self.setup.hold.to_string())
            .replace("$GATEWAY", GATEWAY_USER)
    }

    /// A file of the fixture's folder, where `apply` also finds the password.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn declare(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.dir.path().join("gateway-password"), GATEWAY_PASSWORD)?;
        std::fs::write(self.dir.path().join(name), text)?;
        Ok(())
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Waits until all nodes hold a lease, serve and have applied the same.
    ///
    /// # Errors
    /// When they do not within [`PATIENCE`].
    pub fn settled(&self) -> Result<()> {
        self.nodes.iter().try_for_each(Node::ready)?;
        wait::until("serving nodes that agree", PATIENCE, || {
            let status = self.json(&["cluster", "status"])?;
            let committed = status["committed"].clone();
            let nodes = status["nodes"].as_array().context("nodes")?;
            let good = |n: &&Value| n["serving"] == true && n["reachable"] == true && n["role"] == "NODE_ROLE_VOTER";
            let near = nodes.iter().filter(good).filter(|n| number(&n["matched"]) + 8 >= number(&committed)).count();
            if near == self.nodes.len() { Ok(Some(())) } else { bail!("{status:#}") }
        })
    }

    /// The CLI as the first admin, at whichever node answers.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn cli(&self, args: &[&str]) -> Result<Said> {
        said(self.admin().args(args))
    }

    /// The CLI as the first admin, at this node only (from 0).
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn cli_at(&self, node: usize, args: &[&str]) -> Result<Said> {
        said(self.admin().env("ASSIZE_ADDR", self.nodes[node].admin_address()).args(args))
    }

    /// What a command as the first admin answers, as JSON.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = said(self.admin().args(args).args(["-o", "json"]))?.ok()?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Folder with the first admin's `cert.pem` and `key.pem`, and the cluster's `ca.pem`.
    pub fn admin_folder(&self) -> &Path {
        &self.admin
    }

    fn admin(&self) -> Command {
        let mut command = self.anybody();
        command.env("ASSIZE_CERT", self.admin.join("cert.pem")).env("ASSIZE_KEY", self.admin.join("key.pem"));
        command
    }

    fn anybody(&self) -> Command {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.admin_address()).collect();
        let mut command = command();
        command.env("ASSIZE_ADDR", addresses.join(",")).env("ASSIZE_CA", self.admin.join("ca.pem"));
        command
    }

    /// The CLI as somebody with an admin token of their own, at this node only (from 0).
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn cli_as(&self, token: &str, node: usize, args: &[&str]) -> Result<Said> {
        let address = self.nodes[node].admin_address();
        said(self.anybody().env("ASSIZE_TOKEN", token).env("ASSIZE_ADDR", address).args(args))
    }

    /// A new gateway token of an agent.
    ///
    /// # Errors
    /// When it is refused.
    pub fn token(&self, agent: &str) -> Result<String> {
        secret(&self.json(&["token", "issue", agent])?)
    }

    /// A new admin token of a person.
    ///
    /// # Errors
    /// When it is refused.
    pub fn admin_token(&self, person: &str) -> Result<String> {
        secret(&self.json(&["token", "issue", person, "--admin"])?)
    }

    /// Where an agent connects: a node from 0.
    pub fn url(&self, node: usize, agent: &str, token: &str) -> String {
        let node = &self.nodes[node];
        format!("postgresql://{agent}:{token}@{}:{}/orders", node.place.host, node.postgres)
    }

    /// psql against this connection string, with nothing from the caller's environment or home.
    pub fn psql(&self, url: &str) -> Command {
        let mut psql = tool("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-A", "-t", "-q"]).arg(url);
        psql
    }

    /// One statement through psql.
    ///
    /// # Errors
    /// When psql cannot be run.
    pub fn sql(&self, url: &str, sql: &str) -> Result<Said> {
        said(self.psql(url).args(["-v", "VERBOSITY=verbose", "-c", sql]))
    }

    /// psql in the background; both its outputs go to the file that [`Background::log`] names.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn psql_in_background(&self, name: &str, url: &str, sql: &str) -> Result<Background> {
        let log = self.dir.path().join(format!("{name}.out"));
        Background::start(name, self.psql(url).args(["-v", "VERBOSITY=verbose", "-c", sql]), &log)
    }

    /// Waits for the id of the request that a held statement's notice names.
    ///
    /// # Errors
    /// When no notice comes.
    pub fn held(&self, client: &Background) -> Result<String> {
        wait::until("a notice with a request's id", PATIENCE, || Ok(id_in(&std::fs::read_to_string(&client.log)?, "request-")))
    }

    /// SIGKILL: what it had not put on disk is gone.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// The power of these nodes goes at once: what they had not made durable is gone, as far as `chance` says.
    ///
    /// # Errors
    /// When what is lost cannot be taken away.
    pub fn lose_power(&mut self, nodes: &[usize], chance: &mut Chance) -> Result<Lost> {
        let pids: Vec<String> = nodes.iter().filter_map(|node| self.nodes[*node].pid()).map(|pid| pid.to_string()).collect();
        // One that has died by itself is no error.
        output(Command::new("kill").arg("-KILL").args(pids))?;
        let mut lost = Lost::default();
        for node in nodes {
            self.nodes[*node].kill();
            lost += self.disks[*node].lose_power(chance)?;
        }
        Ok(lost)
    }

    /// Starts a killed node again on its disk, and returns at once.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start(&binary())
    }

    /// Points of the code that some process has reached, of those there are. Only with [`Setup::points`].
    ///
    /// # Errors
    /// When the binary does not name them.
    pub fn points(&self) -> Result<(Vec<String>, Vec<String>)> {
        let seen = std::fs::read_to_string(points_file(self.dir.path())).unwrap_or_default();
        let mut reached: Vec<String> = seen.lines().map(str::to_owned).collect();
        reached.sort();
        reached.dedup();
        Ok((reached, points()?))
    }

    /// A node's commands that need no cluster: `cluster recover` and the like.
    pub fn offline(&self) -> Command {
        command()
    }

    /// The export of the whole audit log in a new file.
    ///
    /// # Errors
    /// When the cluster does not give it.
    pub fn export(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        self.cli(&["audit", "export", "--out", &path.display().to_string()])?.ok()?;
        Ok(path)
    }

    /// Waits until every record has a signed checkpoint above it.
    ///
    /// # Errors
    /// When it has not within [`PATIENCE`].
    pub fn signed(&self) -> Result<()> {
        wait::until("every record to be signed", PATIENCE, || {
            let status = self.json(&["cluster", "status"])?;
            let logs = status["logs"].as_array().context("logs")?;
            Ok((!logs.is_empty() && logs.iter().all(|log| log["size"] == log["checkpointSize"])).then_some(()))
        })
    }

    /// `audit verify` with the genesis that `cluster init` or `cluster recover` printed, and with no address of any cluster.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn verify(&self, export: &Path, more: &[&str]) -> Result<Said> {
        said(command().args(["audit", "verify", "--genesis", &self.genesis]).arg(export).args(more))
    }
}

fn points_file(dir: &Path) -> PathBuf {
    dir.join("points")
}

/// The points of the binary's code; it names them when it is told of one that it has not.
///
/// # Errors
/// When it does not.
pub fn points() -> Result<Vec<String>> {
    let told = said(command().env("ASSIZE_POINTS", "?").arg("version"))?;
    let names = told.err.split_once("points: ").with_context(|| told.err.clone())?.1;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// The binary with nothing inherited that could point it at another cluster.
fn command() -> Command {
    clean(Command::new(binary()))
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ASSIZE_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// One of PostgreSQL's own clients, with nothing inherited that could point it elsewhere.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(Path::new("/usr/lib/postgresql/15/bin").join(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("PG") {
            command.env_remove(variable);
        }
    }
    command.env("PGCONNECT_TIMEOUT", "10").env("LC_ALL", "C");
    command
}

/// What stands after the colon in the first line that begins with `start`.
fn value_of(text: &str, start: &str) -> Option<String> {
    let found = text.lines().find(|line| line.starts_with(start))?;
    found.split_once(": ").map(|(_, value)| value.trim().to_owned())
}

/// The first `PREFIX` with digits in a text, such as `request-12`.
pub fn id_in(text: &str, prefix: &str) -> Option<String> {
    text.match_indices(prefix).find_map(|(at, _)| {
        let digits: String = text[at + prefix.len()..].chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| format!("{prefix}{digits}"))
    })
}

/// A 64-bit number in proto3 JSON: a string.
pub fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_u64()).unwrap_or(0)
}

fn secret(answer: &Value) -> Result<String> {
    answer["secret"].as_str().map(str::to_owned).with_context(|| format!("no secret in {answer}"))
}

/// The database the fixture's access speaks of.
fn database(setup: Setup, dir: &Path) -> Result<Postgres> {
    let postgres = Postgres::start(setup.release)?;
    if setup.tls {
        postgres.enable_tls(&dir.join("server.pem"), &dir.join("server.key"))?;
    }
    postgres.superuser(
        "app",
        &format!(
            "SET ROLE {GATEWAY_USER}; \
             CREATE TABLE orders (id int PRIMARY KEY, note text); \
             CREATE TABLE payroll (name text, salary int); \
             INSERT INTO payroll VALUES ('eve', 4100), ('dan', 3900)"
        ),
    )?;
    Ok(postgres)
}

/// A certificate authority and a certificate for `localhost`, as an operator would make them.
fn certificates(dir: &Path) -> Result<()> {
    let openssl = |args: &str| run(Command::new("openssl").current_dir(dir).args(args.split(' ')));
    openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=Test-CA -keyout ca.key -out ca.pem")?;
    openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr")?;
    std::fs::write(dir.join("server.ext"), "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")?;
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem")?;
    Ok(())
}
