//! Three nodes on loopback, made with the commands an operator would use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::machine::{Background, many_files, port, run, until};
use crate::postgres::{DATABASE, GATEWAY, GATEWAY_PASSWORD};

const NODES: usize = 3;
const START_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    nodes: Vec<Node>,
    program: PathBuf,
    home: PathBuf,
    /// Gateway tokens of the agent that may only read, and of the one that may write.
    pub(crate) reader: String,
    pub(crate) writer: String,
}

struct Node {
    peer: u16,
    admin: u16,
    http: u16,
    agents: u16,
    process: Option<Background>,
}

impl Cluster {
    /// # Errors
    /// When a node does not come up or a command is refused.
    pub(crate) fn start(program: &Path, home: &Path, postgres: u16, stub: u16) -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Node { peer: port()?, admin: port()?, http: port()?, agents: port()?, process: None });
        }
        let mut cluster =
            Cluster { nodes, program: program.to_owned(), home: home.to_owned(), reader: String::new(), writer: String::new() };
        for index in 0..NODES {
            cluster.write_config(index)?;
        }
        let admin = home.join("admin");
        run(Command::new(program)
            .args(["cluster", "init", "--admin", "alice", "--config"])
            .arg(cluster.config(0))
            .arg("--admin-out")
            .arg(&admin))?;
        cluster.start_node(0)?;
        for index in 1..NODES {
            let token = cluster.assize(&["cluster", "join-token"])?;
            let file = home.join(format!("join{index}"));
            std::fs::write(&file, token)?;
            let peer = format!("127.0.0.1:{}", cluster.nodes[0].peer);
            run(Command::new(program)
                .args(["cluster", "join", "--peer", &peer, "--config"])
                .arg(cluster.config(index))
                .arg("--token-file")
                .arg(&file))?;
            cluster.start_node(index)?;
        }
        until("three serving nodes", START_MAX, || {
            let status = cluster.assize(&["cluster", "status", "-o", "json"]).unwrap_or_default();
            status.matches("\"serving\": true").count() >= NODES
        })?;
        cluster.declare(postgres, stub)?;
        cluster.reader = cluster.assize(&["token", "issue", "reader"])?.trim().to_owned();
        cluster.writer = cluster.assize(&["token", "issue", "writer"])?.trim().to_owned();
        Ok(cluster)
    }

    /// Two agents: one whose permissions only read, so that its statements are forwarded before their record commits,
    /// and one that may write, whose statements wait for their record first.
    fn declare(&self, postgres: u16, stub: u16) -> Result<()> {
        let mut secret = std::fs::File::create(self.home.join("password"))?;
        secret.write_all(GATEWAY_PASSWORD.as_bytes())?;
        std::fs::set_permissions(self.home.join("password"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let mut text = format!(
            "kind: Person\nname: bob\nspec: {{ email: bob@example.com }}\n---\n\
             kind: Credential\nname: gateway\nspec: {{ username: {GATEWAY}, passwordFrom: {{ file: password }} }}\n---\n\
             kind: Job\nname: measure\nspec:\n  purpose: measures what the gateway costs\n  owner: bob\n  roles: [client]\n  permissions: [\"postgres:* on {DATABASE}.*.*\"]\n"
        );
        for (target, port) in [("bench", postgres), ("stub", stub)] {
            text += &format!(
                "---\nkind: Target\nname: {target}\nspec: {{ address: \"127.0.0.1:{port}\", tls: {{ mode: \"off\" }}, credential: gateway, defaultDatabase: {DATABASE} }}\n"
            );
        }
        for (agent, verbs) in [("reader", "select,copy"), ("writer", "select,insert,update,delete,copy")] {
            text += &format!("---\nkind: Agent\nname: {agent}\nspec: {{ owner: bob, job: measure }}\n");
            for target in ["bench", "stub"] {
                text += &format!(
                    "---\nkind: Grant\nname: {agent}-{target}\nspec:\n  principal: {agent}\n  target: {target}\n  roles: [client]\n  permissions: [\"postgres:{verbs} on {DATABASE}.public.*\"]\n  expires: 90d\n"
                );
            }
        }
        let file = self.home.join("bench.yaml");
        std::fs::write(&file, text)?;
        run(self.command().arg("apply").arg("-f").arg(&file))?;
        Ok(())
    }

    fn config(&self, index: usize) -> PathBuf {
        self.home.join(format!("node{}.toml", index + 1))
    }

    fn write_config(&self, index: usize) -> Result<()> {
        let Node { peer, admin, http, agents, .. } = &self.nodes[index];
        let data = self.home.join(format!("node{}", index + 1));
        let text = format!(
            "data_dir = \"{}\"\n[cluster]\nlisten = \"127.0.0.1:{peer}\"\nadvertise = \"127.0.0.1:{peer}\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\nadvertise = \"127.0.0.1:{admin}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [[listener]]\nprotocol = \"postgres\"\nlisten = \"127.0.0.1:{agents}\"\n[log]\nlevel = \"info\"\n",
            data.display()
        );
        Ok(std::fs::write(self.config(index), text)?)
    }

    fn start_node(&mut self, index: usize) -> Result<()> {
        let log = self.home.join(format!("node{}.log", index + 1));
        let mut command = many_files(&self.program);
        command.args(["node", "--config"]).arg(self.config(index));
        self.nodes[index].process = Some(Background::start(&mut command, &log)?);
        let http = self.nodes[index].http;
        until(&format!("node {} ready (see {})", index + 1, log.display()), START_MAX, || {
            fetch(http, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"))
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let admin = self.home.join("admin");
        command
            .current_dir(&self.home)
            .env("ASSIZE_ADDR", format!("127.0.0.1:{}", self.nodes[0].admin))
            .env("ASSIZE_CA", admin.join("ca.pem"))
            .env("ASSIZE_CERT", admin.join("cert.pem"))
            .env("ASSIZE_KEY", admin.join("key.pem"));
        command
    }

    /// Runs an `assize` command as the first admin, at node 1.
    ///
    /// # Errors
    /// With what it printed.
    pub(crate) fn assize(&self, arguments: &[&str]) -> Result<String> {
        run(self.command().args(arguments))
    }

    /// Node 1 first: the one that the load goes through.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).map(Background::pid).collect()
    }

    /// Where agents connect, a port for each node.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.agents).collect()
    }

    /// A line of node `index`'s `/metrics`, by its beginning.
    ///
    /// # Errors
    /// When the node does not answer or has no such line.
    pub(crate) fn metric(&self, index: usize, name: &str) -> Result<f64> {
        let text = fetch(self.nodes[index].http, "/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no metric {name}"))?.trim().parse().with_context(|| name.to_owned())
    }
}

fn fetch(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
