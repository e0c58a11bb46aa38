//! A PostgreSQL of its own for one test, with a role for every method of authentication, and the authority that
//! signed its certificate.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than its leaves have, or OpenSSL takes a leaf for a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority of this test");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, both PEM, for `localhost` and `127.0.0.1`.
    pub(crate) fn leaf(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    process: Child,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The newest PostgreSQL of this machine, in Debian's place for it.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("this test needs PostgreSQL: apt-get install postgresql");
    let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.sort_by_key(|bin| bin.parent().and_then(Path::file_name).and_then(|v| v.to_str()?.parse::<u32>().ok()));
    found.pop().expect("this test needs PostgreSQL: apt-get install postgresql")
}

/// PostgreSQL does not run as root; there, its own user runs it.
fn command(program: &Path) -> Command {
    if !Path::new("/proc/self").metadata().is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn done(mut command: Command) {
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    pub(crate) fn start(authority: &Authority) -> Server {
        let binaries = binaries();
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("writable");
        let data = folder.path().join("data");
        let mut initdb = command(&binaries.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        done(initdb);
        let (certificate, key) = authority.leaf();
        // Written by the server's own user, as PostgreSQL insists on for the key.
        for (name, text) in [("server.crt", certificate.as_str()), ("server.key", key.as_str()), ("pg_hba.conf", HBA)] {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("readable");
            let mut install = command(Path::new("install"));
            install.args(["-m", "0600"]).arg(&path).arg(data.join(name));
            done(install);
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let mut postgres = command(&binaries.join("postgres"));
        postgres.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        postgres.args(["-c", "ssl=on", "-c", "fsync=off", "-p", &port.to_string()]);
        let process = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let server = Server { address: format!("127.0.0.1:{port}"), process, _folder: folder };
        server.prepare(port);
        server
    }

    fn prepare(&self, port: u16) {
        let psql = |text: &str| {
            let uri = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            Command::new("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", text, &uri]).output().expect("psql runs")
        };
        let until = Instant::now() + Duration::from_secs(30);
        while !psql("select 1").status.success() {
            assert!(Instant::now() < until, "PostgreSQL did not start");
        }
        for text in ROLES {
            let output = psql(text);
            assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

const HBA: &str = "\
host    all postgres,by_trust 127.0.0.1/32 trust
host    all by_scram    127.0.0.1/32 scram-sha-256
host    all by_md5      127.0.0.1/32 md5
host    all by_password 127.0.0.1/32 password
";

const ROLES: &[&str] = &[
    "create role by_trust login superuser",
    "create role by_scram login superuser password 'right'",
    "create role by_password login password 'right'",
    "set password_encryption = md5; create role by_md5 login password 'right'",
];
