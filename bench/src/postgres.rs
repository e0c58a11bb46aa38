//! PostgreSQL 15 with pgbench's tables and two tables to stream.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::machine::{Background, port, run, unprivileged, until};

pub(crate) const BIN: &str = "/usr/lib/postgresql/15/bin";
pub(crate) const DATABASE: &str = "bench";
/// Logs in without a password: direct, through the relay and through PgBouncer.
pub(crate) const OWNER: &str = "owner";
/// What the gateway logs in as, by SCRAM.
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const GATEWAY_PASSWORD: &str = "upstream-secret";
/// pgbench's scale: 1,000,000 accounts, all in shared buffers.
const SCALE: &str = "10";

pub(crate) struct Postgres {
    pub(crate) port: u16,
    server: Background,
}

impl Postgres {
    /// # Errors
    /// When the server's programs are missing or it does not come up.
    pub(crate) fn start(home: &Path) -> Result<Self> {
        let dir = home.join("postgres");
        std::fs::create_dir(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))?;
        let data = dir.join("data");
        run(unprivileged(&bin("initdb")).args(["-A", "trust", "-U", OWNER, "-E", "UTF8", "--no-sync", "-D"]).arg(&data))
            .context("initdb")?;
        let rules = format!("host all {GATEWAY} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n");
        std::fs::write(data.join("pg_hba.conf"), rules)?;
        let port = port()?;
        let mut command = unprivileged(&bin("postgres"));
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=512MB",
            "max_wal_size=4GB",
            "autovacuum=off",
            "fsync=off",
        ] {
            command.arg("-c").arg(setting);
        }
        let postgres = Postgres { port, server: Background::start(&mut command, &dir.join("log"))? };
        until("PostgreSQL", Duration::from_secs(30), || postgres.sql("postgres", "SELECT 1").is_ok())?;
        postgres.lay_tables()?;
        Ok(postgres)
    }

    fn lay_tables(&self) -> Result<()> {
        self.sql("postgres", &format!("CREATE ROLE {GATEWAY} LOGIN PASSWORD '{GATEWAY_PASSWORD}'"))?;
        self.sql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        run(Command::new(bin("pgbench")).args(["-i", "-q", "-s", SCALE]).args(self.direct()).arg(DATABASE)).context("pgbench -i")?;
        for statement in [
            "CREATE TABLE wide AS SELECT i AS id, md5(i::text) a, 'customer-'||i b, i*3 c, i*1.5 d, now() e, i%2=0 f, \
             'address line '||(i%977) g, i%100 h, repeat('x', i%40) k FROM generate_series(1,100000) i",
            "CREATE TABLE million AS SELECT i AS id, 'row number '||i AS t, i*7 AS n FROM generate_series(1,1000000) i",
            "CREATE TABLE taken (LIKE million)",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO gateway",
            "ANALYZE",
        ] {
            self.sql(DATABASE, statement)?;
        }
        Ok(())
    }

    /// Arguments that reach the server directly.
    pub(crate) fn direct(&self) -> Vec<String> {
        vec!["-h".into(), "127.0.0.1".into(), "-p".into(), self.port.to_string(), "-U".into(), OWNER.into()]
    }

    /// # Errors
    /// With psql's message.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Result<String> {
        run(Command::new(bin("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"])
            .args(self.direct())
            .args(["-d", database, "-c", statement]))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }
}

pub(crate) fn bin(program: &str) -> PathBuf {
    Path::new(BIN).join(program)
}
