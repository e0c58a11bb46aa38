//! A running node, as the server sees it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::command::{Actor, Command};
use domain::id::{BootId, Index, NodeId, ProposalId};
use domain::member::{MemberRole, Receipt};
use domain::state::State;
use domain::time::LogTime;
use parking_lot::Mutex;
use planted::{Bug, planted};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::audit::Audit;
use crate::checkpoint::Checkpoints;
use crate::clock::Boottime;
use crate::dead_man::DeadMan;
use crate::ground::Ground;
use crate::home::{Home, HomeError};
use crate::join::JoinToken;
use crate::lease::Lease;
use crate::limits;
use crate::node::Node;
use crate::peer_client::{GroupNetwork, ask};
use crate::peer_server::Door;
use crate::peer_transport::quic::{AddressBook, QuicSettings, QuicTransport, Runtimes};
use crate::peer_transport::{Class, PeerHandler, PeerTransport};
use crate::pki::{self, PkiError, Subject};
use crate::propose::{Committed, ProposeError};
use crate::publish::{Enforcer, Publisher};
use crate::raft::{self, AUDIT_GROUP, CONTROL_GROUP, StorageError};
use crate::records::Records;
use crate::recovery::{BackedUp, RecoveryError};
use crate::secrets::SecretError;
use crate::status::Status;
use crate::tasks::Tasks;
use crate::wire::{self, Kind};

/// What a node is started with. Who it is lies in its data folder.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub data_dir: PathBuf,
    /// UDP address to listen on for other nodes.
    pub listen: SocketAddr,
    /// Where other nodes reach this one, `host:port`; told to the cluster when the node founds it or it changed.
    pub advertise: String,
    pub admin_advertise: String,
    /// A group takes a snapshot, and drops the log before it, after so many entries; [`limits::SNAPSHOT_AFTER`].
    pub snapshot_after: u64,
    /// Let the kernel kill this process when it did not say [`Cluster::fenced`] by the end of its lease. Off only where
    /// several nodes share a process.
    pub dead_man: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("storage: {0}")]
    Storage(#[from] StorageError),
    #[error("cannot listen on {listen}: {source}")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error("no timer for the end of leases: {0}")]
    DeadMan(std::io::Error),
    /// A voter that forgot what it acknowledged must not vote again under its name.
    #[error("{0} is missing: this node's logs are gone; let it join again as a new node, and remove the old one")]
    LogsLost(PathBuf),
    #[error("{0}")]
    Runtime(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// A node of the cluster. Cheap to clone; stops with [`Cluster::shutdown`].
#[derive(Clone)]
pub struct Cluster {
    node: Arc<Node>,
    /// Held so that the transport's handler lives as long as the node.
    _door: Arc<Door>,
    control_runtime: Arc<ControlRuntime>,
    local_address: SocketAddr,
}

/// Control's own runtime. May be dropped anywhere, also inside another runtime.
struct ControlRuntime(Mutex<Option<tokio::runtime::Runtime>>);

impl ControlRuntime {
    fn stop(&self) {
        if let Some(runtime) = self.0.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for ControlRuntime {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One thread of its own for the control group, at raised priority where that is allowed (measured: RAFT.md §3.5).
fn control_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("assize-control")
        .on_thread_start(|| {
            // Refused without CAP_SYS_NICE; the node then runs at the priority it was given.
            let _ = rustix::process::setpriority_process(None, -10);
        })
        .enable_all()
        .build()
        .map_err(|e| StartError::Runtime(e.to_string()))
}

impl Cluster {
    /// Starts the node whose data folder `config` names. Returns when it runs; it serves once it holds a lease.
    /// Must be called inside a tokio runtime, which then carries records and snapshots.
    pub async fn start(config: NodeConfig, enforcer: Arc<dyn Enforcer>) -> Result<Cluster, StartError> {
        Self::start_on(config, enforcer, &Ground::Machine).await
    }

    /// The same on a ground of the caller's choice: sockets, disks and threads are real or simulated.
    pub async fn start_on(config: NodeConfig, enforcer: Arc<dyn Enforcer>, ground: &Ground) -> Result<Cluster, StartError> {
        let home = Home::open(&config.data_dir)?;
        let boot = BootId(if planted(Bug::BootReused) { 1 } else { rand::random() });
        let main = tokio::runtime::Handle::current();
        let runtime = if ground.is_simulated() { None } else { Some(control_runtime()?) };
        let control = runtime.as_ref().map_or_else(|| main.clone(), |runtime| runtime.handle().clone());
        let runtimes = Runtimes { control, main };
        let control_runtime = Arc::new(ControlRuntime(Mutex::new(runtime)));
        let (node, door, local_address) = Self::assemble(&config, home, boot, &runtimes, enforcer.clone(), ground).await?;
        door.open(&node);
        run(&node, enforcer, &config);
        Ok(Cluster { node, _door: door, control_runtime, local_address })
    }

    async fn assemble(
        config: &NodeConfig,
        home: Home,
        boot: BootId,
        runtimes: &Runtimes,
        enforcer: Arc<dyn Enforcer>,
        ground: &Ground,
    ) -> Result<(Arc<Node>, Arc<Door>, SocketAddr), StartError> {
        if home.has_started() && !ground.has_logs(&home.store_dir()) {
            return Err(StartError::LogsLost(home.store_dir()));
        }
        let book = AddressBook::default();
        let publisher = Publisher::new(home.node, boot);
        let hearing = enforcer.clone();
        let heard = Box::new(move |record: &[u8]| hearing.recorded(record));
        let stores = raft::open_stores(ground, &home.store_dir(), publisher.clone(), heard).await?;
        home.note_started()?;
        let door = Arc::new(Door::default());
        let handler: Arc<dyn PeerHandler> = door.clone();
        let listen = |source| StartError::Listen { listen: config.listen, source };
        let (transport, local_address): (Arc<dyn PeerTransport>, SocketAddr) = match ground {
            Ground::Simulated { network, .. } => (Arc::new(network.attach(home.node, &handler)), config.listen),
            Ground::Machine => {
                let ca = &home.peers.cert_pem;
                let settings = QuicSettings {
                    listen: config.listen,
                    me: home.identity(Subject::Node(home.node)),
                    boot,
                    server: pki::peer_server_config(ca, &home.cert_pem, &home.key_pem)?,
                    client: pki::peer_client_config(ca, &home.cert_pem, &home.key_pem)?,
                    book: book.clone(),
                    runtimes: runtimes.clone(),
                };
                let transport = QuicTransport::start(settings, handler).map_err(listen)?;
                let local_address = transport.local_address().map_err(listen)?;
                (transport, local_address)
            }
        };
        let network = |group, class| GroupNetwork { transport: transport.clone(), book: book.clone(), group, class };
        let groups = raft::start_groups(
            home.node,
            runtimes,
            stores,
            config.snapshot_after,
            network(CONTROL_GROUP, Class::Control),
            network(AUDIT_GROUP, Class::Audit),
        )
        .await
        .map_err(StartError::Runtime)?;
        let node = Arc::new(Node {
            boot,
            started: Boottime::now(),
            runtimes: runtimes.clone(),
            tasks: Tasks::new(),
            book,
            publisher,
            lease: Lease::new(if config.dead_man { DeadMan::new().map_err(StartError::DeadMan)? } else { DeadMan::unarmed() }),
            enforcer,
            leaving: AtomicBool::new(false),
            leading: Mutex::default(),
            records: Records::new(),
            checkpoints: Checkpoints::default(),
            transport,
            control: groups.control,
            audit: groups.audit,
            readers: groups.readers,
            proposals: AtomicU64::new(1),
            home,
        });
        Ok((node, door, local_address))
    }

    pub fn node(&self) -> NodeId {
        self.node.home.node
    }

    pub fn boot(&self) -> BootId {
        self.node.boot
    }

    /// The cluster's id and incarnation.
    pub fn identity(&self) -> (&str, u64) {
        (&self.node.home.cluster, self.node.home.incarnation)
    }

    /// Where this node listens for others; differs from the configuration when that asked for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The applied control state. Wait-free.
    pub fn state(&self) -> Arc<State> {
        self.node.publisher.state()
    }

    pub fn applied(&self) -> watch::Receiver<Index> {
        self.node.publisher.applied()
    }

    /// The index this node enforces.
    pub fn enforced(&self) -> watch::Receiver<Index> {
        self.node.publisher.enforced()
    }

    /// Log time here and now; never goes back.
    pub fn now(&self) -> LogTime {
        self.node.publisher.clock().now()
    }

    /// What is left of the serving lease; `None` without one.
    pub fn lease_left(&self) -> Option<Duration> {
        self.node.lease.left()
    }

    /// The serving lease, less its guard. Checked as the last thing before a write towards a target.
    pub fn may_forward(&self) -> bool {
        self.node.lease.may_forward()
    }

    /// The disk of an audit engine failed: this node holds no records any more until it is started again.
    pub fn audit_failed(&self) -> bool {
        self.node.readers.audit_failed.load(Ordering::Acquire)
    }

    /// How long ago [`Cluster::may_forward`] turned false; zero while it is true.
    pub fn late_by(&self) -> Duration {
        self.node.lease.late_by()
    }

    /// Follows the lease.
    pub fn serving(&self) -> watch::Receiver<bool> {
        self.node.lease.serving()
    }

    /// A read index that a quorum confirmed after this call, enforced here.
    pub async fn confirm(&self) -> Result<Index, Unavailable> {
        self.node.confirm().await.map_err(Unavailable)
    }

    /// Waits until this node applied `index`.
    pub async fn wait_applied(&self, index: Index, within: Duration) -> Result<(), Unavailable> {
        let mut applied = self.applied();
        match timeout(within, applied.wait_for(|a| *a >= index)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Unavailable(format!("index {index} was not applied here in time"))),
        }
    }

    /// Puts a command through the control log. A narrowing one is acknowledged only after its barrier; use
    /// [`Cluster::narrow`] to see the receipt. Safe to repeat with the same id.
    pub async fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> Result<Committed, ProposeError> {
        if command.is_narrowing() {
            return self.node.narrow(id, actor, command).await.map(|(done, _)| done);
        }
        self.node.propose(id, actor, command).await
    }

    /// Commits a narrowing command and waits until every node enforces it or has no lease (DESIGN §4).
    /// No receipt when the command was refused as it was applied.
    pub async fn narrow(&self, id: ProposalId, actor: Actor, command: Command) -> Result<(Committed, Option<Receipt>), ProposeError> {
        self.node.narrow(id, actor, command).await
    }

    /// The way into the audit log.
    pub fn records(&self) -> Arc<Records> {
        self.node.records.clone()
    }

    /// The logs, for queries and proofs.
    pub fn audit(&self) -> Audit {
        Audit::new(self.node.clone())
    }

    /// Seals a secret for the control log: it opens only under the same kind and name, in this cluster.
    pub fn seal(&self, kind: &str, name: &str, plain: &[u8]) -> Result<domain::credential::Sealed, SecretError> {
        self.node.home.kek.seal(&self.node.home.cluster, kind, name, plain)
    }

    pub fn open(&self, kind: &str, name: &str, sealed: &domain::credential::Sealed) -> Result<zeroize::Zeroizing<Vec<u8>>, SecretError> {
        self.node.home.kek.open(&self.node.home.cluster, kind, name, sealed)
    }

    /// A key that all nodes of this cluster derive alike, for one named purpose.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        self.node.home.kek.derive(purpose)
    }

    /// Asks the gateway of another node; its [`Enforcer::answer`] answers.
    pub async fn ask_gateway(&self, to: NodeId, question: Bytes, within: Duration) -> Result<Bytes, Unavailable> {
        let question = wire::GatewayMessage { bytes: question };
        ask(&*self.node.transport(), to, Class::Control, Kind::Gateway, CONTROL_GROUP, &question, within)
            .await
            .map(|answer: wire::GatewayMessage| answer.bytes)
            .map_err(|e| Unavailable(format!("node {to} did not answer: {}", e.error)))
    }

    /// TLS for the admin API: this node's certificate, people's certificates by their own authority.
    pub fn admin_tls(&self) -> Result<rustls::ServerConfig, PkiError> {
        let home = &self.node.home;
        pki::admin_server_config(&home.people.cert_pem, &home.cert_pem, &home.key_pem)
    }

    /// PEM for servers that make their own TLS settings: certificate, key, authority of people, authority of nodes.
    pub fn admin_pem(&self) -> AdminPem {
        let home = &self.node.home;
        AdminPem {
            cert: home.cert_pem.clone(),
            key: home.key_pem.clone(),
            people: home.people.cert_pem.clone(),
            nodes: home.peers.cert_pem.clone(),
        }
    }

    /// A certificate for the admin API. Whether the caller may have it is the caller's to check.
    pub fn issue_person(&self, name: &domain::id::Name) -> Result<pki::Issued, PkiError> {
        let identity = self.node.home.identity(Subject::Person(name.clone()));
        self.node.home.people.issue_person(&identity)
    }

    /// A token with which one machine may join.
    pub async fn make_join_token(&self, id: ProposalId, actor: Actor, valid: Duration) -> Result<JoinToken, ProposeError> {
        self.node.make_join_token(id, actor, valid).await
    }

    /// Makes a node a voter or a learner, or removes it for good; returns when both groups follow.
    pub async fn set_role(
        &self,
        id: ProposalId,
        actor: Actor,
        node: NodeId,
        role: MemberRole,
    ) -> Result<(Committed, Option<Receipt>), ProposeError> {
        self.node.set_role(id, actor, node, role).await
    }

    /// Makes `to` lead the control group.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Unavailable> {
        self.node.transfer(CONTROL_GROUP, to).await.map_err(Unavailable)
    }

    /// Makes `to` lead the audit group.
    pub async fn transfer_audit_leader(&self, to: NodeId) -> Result<(), Unavailable> {
        self.node.transfer(AUDIT_GROUP, to).await.map_err(Unavailable)
    }

    pub fn leader(&self) -> Option<NodeId> {
        self.node.control_leader()
    }

    /// Who votes in the audit group.
    pub fn audit_voters(&self) -> Vec<NodeId> {
        raft::voters(&self.node.audit)
    }

    /// First entries that the logs of the control and the audit group still hold here; what lies before is in snapshots.
    pub fn log_starts(&self) -> (u64, u64) {
        (raft::log_start(&self.node.control), raft::log_start(&self.node.audit))
    }

    pub fn audit_leader(&self) -> Option<NodeId> {
        self.node.audit_leader()
    }

    pub async fn status(&self) -> Status {
        self.node.status().await
    }

    /// Writes an encrypted backup of this node's state, and of its audit data if asked; only the recovery key opens it.
    pub async fn backup(&self, path: &std::path::Path, with_audit: bool) -> Result<BackedUp, RecoveryError> {
        self.node.backup(path, with_audit).await
    }

    /// Leaves the serving set, finishes records and hands leaderships over. The node keeps replicating.
    pub async fn drain(&self) -> Result<Option<Receipt>, ProposeError> {
        self.node.drain().await
    }

    /// Drains, within bounds, and stops.
    pub async fn shutdown(&self) {
        if timeout(limits::PROPOSE_DEADLINE, self.node.drain()).await.is_err() {
            tracing::warn!("the node stops without having drained");
        }
        self.stop().await;
    }

    /// Stops without leaving anything in order, as a crash would; the others notice by its silence.
    pub async fn stop(&self) {
        self.node.lease.give_up();
        raft::stop_groups(&self.node).await;
        self.node.tasks.stop().await;
        self.node.transport.close();
        self.control_runtime.stop();
    }

    /// Every gate of this node was taken after [`Cluster::serving`] had said `false`.
    pub fn fenced(&self) {
        self.node.lease.fenced();
    }

    /// Waits until this node serves.
    pub async fn wait_serving(&self, within: Duration) -> Result<(), Unavailable> {
        let mut serving = self.serving();
        match timeout(within, serving.wait_for(|s| *s)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Unavailable("the node does not serve".into())),
        }
    }
}

/// PEM texts for the admin API.
pub struct AdminPem {
    pub cert: String,
    pub key: zeroize::Zeroizing<String>,
    /// Authority that signs people's certificates: what the admin API asks of its clients.
    pub people: String,
    /// Authority that signs nodes' certificates: what clients of the admin API trust.
    pub nodes: String,
}

/// Starts what a node does of its own accord. Everything that a revocation waits for runs on control's runtime.
fn run(node: &Arc<Node>, enforcer: Arc<dyn Enforcer>, config: &NodeConfig) {
    let control = node.runtimes.control.clone();
    let main = node.runtimes.main.clone();
    let tasks = node.tasks.clone();
    let each = || node.clone();
    let n = each();
    tasks.forever(&control, "enforce", async move { n.publisher.enforce(enforcer).await });
    let n = each();
    tasks.forever(&control, "renew", async move { n.renew().await });
    let n = each();
    tasks.forever(&control, "lease end", async move { n.lease.watch_end().await });
    let n = each();
    tasks.forever(&control, "serving set", async move { n.keep_serving_set().await });
    let n = each();
    tasks.forever(&control, "tick", async move { n.tick().await });
    let n = each();
    tasks.forever(&control, "addresses", async move { n.keep_addresses().await });
    let n = each();
    tasks.forever(&control, "feature level", async move { n.keep_feature_level().await });
    let n = each();
    tasks.forever(&control, "control membership", async move { n.clone().keep_membership(n.control(), CONTROL_GROUP).await });
    let n = each();
    tasks.forever(&main, "audit membership", async move { n.clone().keep_membership(n.audit(), AUDIT_GROUP).await });
    tasks.once(&main, raft::tell_leaders(node.control(), CONTROL_GROUP));
    tasks.once(&main, raft::tell_leaders(node.audit(), AUDIT_GROUP));
    let n = each();
    tasks.forever(&main, "records", async move { n.batch_records().await });
    let n = each();
    tasks.forever(&main, "checkpoints", async move { n.keep_checkpoints().await });
    let (n, config) = (each(), config.clone());
    tasks.once(&control, async move { n.introduce(&config).await });
}

impl Node {
    /// Founds the cluster if this node is its founder and the logs are empty; later, tells a changed address.
    async fn introduce(self: Arc<Self>, config: &NodeConfig) {
        if let Some(founding) = &self.home.founder {
            raft::initialize(&self, &config.advertise).await;
            // A recovered cluster has members already: those of the incarnation before.
            while !self.is_founded() {
                match self.found(founding, &config.advertise, &config.admin_advertise).await {
                    Ok(()) => tracing::info!(cluster = self.home.cluster, "the cluster is founded"),
                    Err(e) => tracing::warn!(error = %e, "founding the cluster has to be tried again"),
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
        self.tell_address(config).await;
    }

    fn is_founded(&self) -> bool {
        let state = self.publisher.state();
        state.cluster.incarnation == self.home.incarnation && state.members.contains_key(&self.home.node)
    }

    /// What the cluster does not know of this node yet: where it listens, and which build it runs.
    async fn tell_address(&self, config: &NodeConfig) {
        let mut applied = self.publisher.applied();
        let known = loop {
            if let Some(member) = self.publisher.state().members.get(&self.home.node).cloned() {
                break member;
            }
            if applied.changed().await.is_err() {
                return;
            }
        };
        let current = known.address == config.advertise
            && known.admin_address == config.admin_advertise
            && known.feature_level_max == domain::command::feature_level_max();
        if current || known.role == MemberRole::Removed {
            return;
        }
        let command = Command::RegisterNode {
            node: self.home.node,
            address: config.advertise.clone(),
            admin_address: config.admin_advertise.clone(),
            checkpoint_key: self.home.checkpoint_public(),
            sealing_key: self.home.sealing_public,
            role: known.role,
            feature_level_max: domain::command::feature_level_max(),
            join_token: None,
        };
        let end = Instant::now() + Duration::from_secs(60);
        let id = self.own_proposal_id("address");
        while Instant::now() < end {
            match self.propose(id.clone(), Actor::Node(self.home.node), command.clone()).await {
                Ok(_) => return,
                Err(e) => tracing::warn!(error = %e, "the cluster does not know this node's new address or build yet"),
            }
        }
    }
}
