//! A real PostgreSQL in a temporary folder, a gateway in front of it, and clients.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::command::{Actor, Command, Expect, Reply};
use domain::credential::Sealed;
use domain::grant::{GrantSource, TargetSelector};
use domain::id::{GrantId, Name, NodeId, RequestId};
use domain::operation::Protocol;
use domain::permission::PermissionSet;
use domain::principal::{PrincipalKind, TokenUse};
use domain::target::UpstreamTls;
use domain::time::LogTime;
use identity::Secret;
use identity::scram::MockKey;
use protocol_postgres::handshake::{Auth, Listening};
use protocol_postgres::operation::Classifier;
use session::local::{Local, LocalAuthority};
use session::registry::Registry;
use session::stage::Parts;
use session::tasks::Tasks;
use tokio_postgres::NoTls;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server of its own for one test, gone when dropped.
pub(crate) struct Server {
    child: Child,
    _folder: tempfile::TempDir,
    pub(crate) port: u16,
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: PathBuf) -> Process {
    if rustix_is_root() {
        let mut process = Process::new("setpriv");
        process.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        process
    } else {
        Process::new(program)
    }
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false)
}

pub(crate) fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = tempfile::Builder::new().prefix("assize-pg").tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("ours");
        let data = folder.path().join("data");
        let made = unprivileged(Path::new(BIN).join("initdb"))
            .args(["-N", "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("initdb runs; apt-get install postgresql-15");
        assert!(made.success(), "initdb failed");
        let port = free_port();
        let child = unprivileged(Path::new(BIN).join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=16MB",
                "-c",
                "log_statement=all",
                "-c",
                "unix_socket_directories=",
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).map_or(Stdio::null(), Stdio::from))
            .spawn()
            .expect("postgres runs");
        let server = Server { child, _folder: folder, port };
        let begun = Instant::now();
        while !server.psql("select 1").is_ok_and(|out| out == "1") {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Runs a statement directly, past the gateway. One value per line, unaligned.
    pub(crate) fn psql(&self, sql: &str) -> Result<String, String> {
        run_psql(&format!("postgres://postgres@127.0.0.1:{}/postgres", self.port), "", &["-c", sql])
    }

    /// Goes down at once.
    pub(crate) fn crash(&self) {
        let _ = Process::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
    }

    /// What the server logged of statements it was sent.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self._folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: at once, children included.
        let _ = Process::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Trimmed standard output, or standard error if it failed.
pub(crate) fn run_psql(url: &str, password: &str, args: &[&str]) -> Result<String, String> {
    let output = Process::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url])
        .args(args)
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "20")
        .output()
        .expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// One node without a cluster, in front of a server.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) authority: Local,
    pub(crate) registry: Arc<Registry>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) address: SocketAddr,
    token: String,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn admin() -> Actor {
    Actor::Principal(name("ada"))
}

impl World {
    /// An agent `loop-1` of `olga` with these permissions on the target `shop`.
    pub(crate) async fn with(permissions: &str) -> World {
        World::with_hold(permissions, Duration::from_secs(10)).await
    }

    pub(crate) async fn with_hold(permissions: &str, hold: Duration) -> World {
        let server = tokio::task::spawn_blocking(Server::start).await.expect("started");
        server.psql("create table orders (id int primary key, note text); insert into orders values (1, 'one'), (2, 'two'); create table secrets (word text); insert into secrets values ('xyzzy')").expect("tables");
        let authority = Local(LocalAuthority::new(NodeId(1), LogTime(1_700_000_000_000), |_| Some(Secret::from("unused"))));
        let token = found(&authority, &format!("127.0.0.1:{}", server.port), hold);
        let registry = Registry::new();
        let parts = Parts::new(Arc::new(authority.clone()), registry.clone(), Tasks::new());
        let listener = session::listener::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let listening =
            Listening { tls: None, tls_required: false, auth: Auth::Scram, target: None, replication: false, mock: MockKey::new([7; 32]) };
        session::listener::serve(listener, protocol_postgres::protocol(listening, Arc::new(Classifier::default())), parts.clone());
        let world = World { server, authority, registry, parts, address, token };
        world.grant(permissions);
        world
    }

    pub(crate) fn grant(&self, permissions: &str) -> GrantId {
        self.grant_until(permissions, None)
    }

    pub(crate) fn grant_until(&self, permissions: &str, expires: Option<LogTime>) -> GrantId {
        self.issue(permissions, expires, false)
    }

    pub(crate) fn grant_strict(&self, permissions: &str) -> GrantId {
        self.issue(permissions, None, true)
    }

    /// A further token of `loop-1` that lives this long.
    pub(crate) fn issue_token(&self, lives: Duration) -> String {
        let expires = session::authority::Authority::now(&self.authority).after(lives);
        issue_token(&self.authority, Some(expires))
    }

    fn issue(&self, permissions: &str, expires: Option<LogTime>, strict: bool) -> GrantId {
        let permissions: PermissionSet = permissions.parse().expect("permissions");
        let reply = self.authority.apply(
            admin(),
            Command::IssueGrant {
                name: None,
                principal: name("loop-1"),
                target: TargetSelector::Name(name("shop")),
                permissions,
                roles: Default::default(),
                valid_from: None,
                expires,
                review_due: None,
                strict,
                source: GrantSource::Baseline,
            },
        );
        match reply {
            Reply::Grant(id) => id,
            other => panic!("no grant: {other:?}"),
        }
    }

    pub(crate) fn apply(&self, command: Command) -> Reply {
        self.authority.apply(admin(), command)
    }

    pub(crate) fn decide(&self, request: RequestId, approve: bool) {
        let reply = self
            .authority
            .apply(Actor::Principal(name("ada")), Command::DecideRequest { request, approve, reason: "looked at it".to_owned() });
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    /// Waits until a request is open, and gives its id.
    pub(crate) async fn open_request(&self) -> RequestId {
        self.until("a request is open", || self.state().requests.iter().find(|(_, r)| r.status.is_open()).map(|(id, _)| *id)).await
    }

    pub(crate) fn state(&self) -> Arc<domain::state::State> {
        session::authority::Authority::state(&self.authority)
    }

    pub(crate) async fn until<T>(&self, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = there() {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://loop-1@{}/shop", self.address)
    }

    pub(crate) async fn psql(&self, args: &[&str]) -> Result<String, String> {
        let (url, token) = (self.url(), self.token.clone());
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run_psql(&url, &token, &args)
        })
        .await
        .expect("psql does not panic")
    }

    /// A tokio-postgres client, with its connection driven and its notices collected.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        self.connect().await.expect("admitted")
    }

    pub(crate) async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = self.url().parse().expect("a url");
        let (client, connection) = config.password(&self.token).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Statements running at the server whose text contains this.
    pub(crate) fn running(&self, text: &str) -> usize {
        let sql =
            format!("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%{text}%'");
        self.server.psql(&sql).expect("counts").parse().expect("a number")
    }

    pub(crate) fn count(&self, table: &str) -> usize {
        self.server.psql(&format!("select count(*) from {table}")).expect("counts").parse().expect("a number")
    }

    /// Sends SQL as the agent would, and gives the SQLSTATE it failed with.
    pub(crate) fn sqlstate(error: &tokio_postgres::Error) -> String {
        error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned())
    }
}

/// People, an agent with a token, a target: what `assize apply` would have made.
fn found(authority: &Local, address: &str, hold: Duration) -> String {
    let done = |actor: Actor, command: Command| {
        let reply = authority.apply(actor, command);
        assert!(!matches!(reply, Reply::Rejected(_)), "{reply:?}");
    };
    done(
        Actor::Operator,
        Command::FoundCluster {
            id: "test".into(),
            incarnation: 1,
            recovery_key: [1; 32],
            first_admin: name("ada"),
            feature_level: domain::command::FEATURE_LEVEL_MAX,
        },
    );
    let person = PrincipalKind::Person { email: None, certificate: None };
    done(
        admin(),
        Command::PutPrincipal { name: name("olga"), kind: person, active: true, labels: Default::default(), expect: Expect::Any },
    );
    done(
        admin(),
        Command::PutJob {
            name: name("orders"),
            purpose: "keeps orders".into(),
            owner: name("olga"),
            backup_owner: None,
            permissions: "postgres:* on *.*.*".parse().expect("permissions"),
            roles: Default::default(),
            data_classes: Default::default(),
            environments: Default::default(),
            expires: None,
            expect: Expect::Any,
        },
    );
    let agent = PrincipalKind::Agent { owner: name("olga"), backup_owner: None, job: Some(name("orders")) };
    done(
        admin(),
        Command::PutPrincipal { name: name("loop-1"), kind: agent, active: true, labels: Default::default(), expect: Expect::Any },
    );
    let sealed = Sealed { key_id: 1, wrapped_key: vec![1; 40], nonce: [0; 12], ciphertext: vec![1; 32] };
    done(admin(), Command::PutCredential { name: name("shop-login"), username: "postgres".into(), sealed, expect: Expect::Any });
    done(
        admin(),
        Command::PutTarget {
            name: name("shop"),
            protocol: Protocol::Postgres,
            address: address.to_owned(),
            tls: UpstreamTls::Off,
            credential: name("shop-login"),
            default_database: "postgres".into(),
            hold,
            request_expiry: Duration::from_secs(3600),
            approvals_needed: 1,
            owner: None,
            labels: Default::default(),
            weak_cancel: false,
            expect: Expect::Any,
        },
    );
    issue_token(authority, None)
}

fn issue_token(authority: &Local, expires: Option<LogTime>) -> String {
    let token = identity::token::generate(identity::token::Purpose::Gateway);
    // One salt per agent, as SCRAM needs it.
    let scram = identity::scram::verifier::create_default(&token, [9; 16]);
    let lookup = identity::token::lookup(&token);
    let command = Command::IssueToken { principal: name("loop-1"), usage: TokenUse::Gateway, lookup, scram, label: "test".into(), expires };
    let reply = authority.apply(admin(), command);
    assert!(matches!(reply, Reply::Token(_)), "{reply:?}");
    token.expose_str().expect("printable").to_owned()
}
