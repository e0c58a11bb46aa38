//! Everything the load can be sent to, all in front of the same PostgreSQL.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::machine::{Background, find, listens, port, unprivileged, until};
use crate::postgres::{DATABASE, OWNER, Postgres};

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: &'static str,
    /// For named prepared statements: old PgBouncer has them only with a server session for each client session.
    pub(crate) session_database: &'static str,
    /// The process the load goes through; none for a direct connection.
    pub(crate) road: Vec<u32>,
    /// With the other nodes that replicate its records.
    pub(crate) whole: Vec<u32>,
}

impl Target {
    /// Arguments for psql and pgbench.
    pub(crate) fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PGPASSWORD", &self.password).env("PGSSLMODE", "disable").args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            &self.user,
        ]);
        command
    }

    pub(crate) fn conninfo(&self) -> String {
        let password = if self.password.is_empty() { String::new() } else { format!(" password={}", self.password) };
        format!("host=127.0.0.1 port={} user={}{password} dbname={} sslmode=disable", self.port, self.user, self.database)
    }

    pub(crate) fn is_gateway(&self) -> bool {
        self.whole.len() > 1
    }
}

/// The targets in the order they take their turns, and what must stay alive for them.
pub(crate) struct Targets {
    pub(crate) list: Vec<Target>,
    pub(crate) servers: Vec<Background>,
    pub(crate) notes: Vec<String>,
}

impl Targets {
    /// # Errors
    /// When one that is installed does not start.
    pub(crate) fn start(home: &Path, postgres: &Postgres, cluster: &Cluster) -> Result<Self> {
        let plain = |name, port, session_database, road: Vec<u32>| Target {
            name,
            port,
            user: OWNER.to_owned(),
            password: String::new(),
            database: DATABASE,
            session_database,
            whole: road.clone(),
            road,
        };
        let mut targets =
            Targets { list: vec![plain("direct", postgres.port, DATABASE, Vec::new())], servers: Vec::new(), notes: Vec::new() };

        let listen = port()?;
        let mut relay = Command::new(std::env::current_exe()?);
        relay.arg("relay").arg(format!("127.0.0.1:{listen}")).arg(format!("127.0.0.1:{}", postgres.port));
        let pid = targets.server(&mut relay, home, "relay", listen)?;
        targets.list.push(plain("relay", listen, DATABASE, vec![pid]));

        if let Some(program) = find("pgbouncer") {
            let listen = port()?;
            let config = pgbouncer_config(home, listen, postgres.port)?;
            let pid = targets.server(unprivileged(&program).arg(config), home, "pgbouncer", listen)?;
            targets.list.push(plain("PgBouncer", listen, "bench_session", vec![pid]));
        } else {
            targets.notes.push("PgBouncer is not installed (Debian: pgbouncer), so its rows are missing.".to_owned());
        }

        let nodes = cluster.pids();
        for (name, user, secret) in [("Assize, reads", "reader", &cluster.reader), ("Assize, strict", "writer", &cluster.writer)] {
            targets.list.push(Target {
                name,
                port: cluster.ports()[0],
                user: user.to_owned(),
                password: secret.clone(),
                database: "bench",
                session_database: "bench",
                road: nodes[..1].to_vec(),
                whole: nodes.clone(),
            });
        }
        Ok(targets)
    }

    fn server(&mut self, command: &mut Command, home: &Path, name: &str, port: u16) -> Result<u32> {
        let server = Background::start(command, &home.join(format!("{name}.log")))?;
        until(name, Duration::from_secs(10), || listens(port))?;
        let pid = server.pid();
        self.servers.push(server);
        Ok(pid)
    }
}

/// Transaction mode, 64 server connections, trust on both sides, as in the anchors that the goals come from.
fn pgbouncer_config(home: &Path, listen: u16, postgres: u16) -> Result<std::path::PathBuf> {
    let users = home.join("pgbouncer.users");
    std::fs::write(&users, format!("\"{OWNER}\" \"\"\n"))?;
    let file = home.join("pgbouncer.ini");
    let server = format!("host=127.0.0.1 port={postgres} dbname={DATABASE} user={OWNER}");
    std::fs::write(
        &file,
        format!(
            "[databases]\n{DATABASE} = {server} pool_mode=transaction\nbench_session = {server} pool_mode=session\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {listen}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\nmax_client_conn = 500\n\
             default_pool_size = 64\nignore_startup_parameters = extra_float_digits\nlog_connections = 0\nlog_disconnections = 0\n",
            users.display()
        ),
    )?;
    Ok(file)
}
