//! A cluster of one node in memory, behind a real TLS listener: the double that the tests of this crate and of `ctl`
//! stand on. Commands go through `domain::command::apply` like anywhere else; what is missing is only replication.

mod log;
mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::command::{Actor, Command, Proposal, Reply, apply};
use domain::credential::Sealed;
use domain::id::{BootId, Index, Name, NodeId, ProposalId, RevocationId};
use domain::member::{Cancelled, MemberRole, NodeReceipt, Receipt, SessionReceipt};
use domain::principal::TokenUse;
use domain::refusal::Refusal;
use domain::state::State;
use domain::time::LogTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use identity::{Secret, scram, token};
use proto::admin as pb;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::{Checked, Classify, Committed, Control, ControlError, Dial, JoinTokenMade, Members, Needed, Outbound, Sessions};
use crate::page::PageKey;
use crate::service::Parts;
use log::Logs;
pub use tls::Certificates;

/// What goes wrong with the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    NotCommitted,
    /// It is applied, but its answer is lost.
    AnswerLost,
}

pub struct InMemory {
    inner: Mutex<Inner>,
    node_key: aws_lc_rs::signature::Ed25519KeyPair,
    rules: ::policy::Engine,
}

struct Inner {
    state: State,
    logs: Logs,
    serving: bool,
    faults: VecDeque<Fault>,
    sessions: Vec<pb::Session>,
    /// What the next narrowing command ends.
    ended: Vec<SessionReceipt>,
    steps: u64,
}

/// A listener that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub cluster: Arc<InMemory>,
    pub certificates: Certificates,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

fn wall() -> LogTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime(u64::try_from(now.as_millis()).unwrap_or_default())
}

impl InMemory {
    /// A founded cluster with one voter and the person `admin`.
    pub fn found() -> InMemory {
        let node_key = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key");
        let inner = Inner {
            state: State::default(),
            logs: Logs::default(),
            serving: true,
            faults: VecDeque::new(),
            sessions: Vec::new(),
            ended: Vec::new(),
            steps: 0,
        };
        let cluster = InMemory { inner: Mutex::new(inner), node_key, rules: ::policy::Engine::default() };
        cluster.operate(Command::FoundCluster {
            id: "test".into(),
            incarnation: 1,
            recovery_key: [1; 32],
            first_admin: name("admin"),
            feature_level: domain::command::FEATURE_LEVEL_MAX,
        });
        cluster.operate(Command::RegisterNode {
            node: NodeId(1),
            address: "127.0.0.1:7400".into(),
            admin_address: "127.0.0.1:7401".into(),
            checkpoint_key: cluster.public_key(),
            sealing_key: [2; 32],
            role: MemberRole::Voter,
            feature_level_max: domain::command::FEATURE_LEVEL_MAX,
            join_token: None,
        });
        cluster.operate(Command::SetServing { node: NodeId(1), serving: true });
        cluster
    }

    /// As whoever holds the machine.
    ///
    /// # Panics
    /// If it is refused: the test is wrong.
    pub fn operate(&self, command: Command) -> Reply {
        let done = self.step(None, Actor::Operator, command);
        assert!(!matches!(done.reply, Reply::Rejected(_)), "{:?}", done.reply);
        done.reply
    }

    /// An admin token of this principal.
    pub fn admin_token(&self, principal: &str) -> String {
        let secret = token::generate(TokenUse::Admin.into());
        let known = self.current().principals.get(&name(principal)).and_then(|p| p.tokens.values().next().map(|t| t.scram.salt));
        let scram = scram::verifier::create_default(&secret, known.unwrap_or_else(identity::random::bytes));
        let command = Command::IssueToken {
            principal: name(principal),
            usage: TokenUse::Admin,
            lookup: token::lookup(&secret),
            scram,
            label: "test".into(),
            expires: None,
        };
        self.operate(command);
        secret.expose_str().expect("tokens are ASCII").to_owned()
    }

    pub fn next_fault(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    pub fn set_serving(&self, serving: bool) {
        self.lock().serving = serving;
    }

    pub fn set_sessions(&self, sessions: Vec<pb::Session>) {
        self.lock().sessions = sessions;
    }

    /// The next narrowing command ends these; what they ran is cancelled once it is acknowledged.
    pub fn set_ended(&self, sessions: Vec<SessionReceipt>) {
        self.lock().ended = sessions;
    }

    pub fn current(&self) -> State {
        self.lock().state.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while it holds the state")
    }

    fn public_key(&self) -> [u8; 32] {
        use aws_lc_rs::signature::KeyPair;
        self.node_key.public_key().as_ref().try_into().expect("Ed25519 keys have 32 bytes")
    }

    fn step(&self, id: Option<ProposalId>, actor: Actor, command: Command) -> Committed {
        let inner = &mut *self.lock();
        inner.steps += 1;
        let id = id.unwrap_or_else(|| format!("test-{}", inner.steps).parse().expect("a proposal id"));
        let index = Index(inner.state.applied.0 + 1);
        let proposal = Proposal { id, actor, stamp: wall(), command };
        let applied = apply(&mut inner.state, index, &proposal);
        inner.logs.control(index, &proposal, &applied.reply, &applied.changes);
        Committed { index, reply: applied.reply }
    }

    fn changed(&self, id: ProposalId, actor: Actor, command: Command) -> Result<Committed, ControlError> {
        let fault = self.lock().faults.pop_front();
        match fault {
            Some(Fault::NotCommitted) => Err(ControlError::NotCommitted("a fault of the test".into())),
            Some(Fault::AnswerLost) => {
                self.step(Some(id), actor, command);
                Err(ControlError::Unknown("a fault of the test".into()))
            }
            None => Ok(self.step(Some(id), actor, command)),
        }
    }

    /// Serves the API on loopback.
    ///
    /// # Panics
    /// If the machine has no loopback.
    pub async fn serve(self: &Arc<Self>) -> Running {
        let certificates = Certificates::make();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let parts = Parts {
            control: self.clone(),
            sessions: self.clone(),
            dial: self.clone(),
            classify: self.clone(),
            audit: self.clone(),
            members: self.clone(),
            outbound: self.clone(),
            page_key: PageKey::new(&[9; 32]),
        };
        let stop = CancellationToken::new();
        let tls = Arc::new(certificates.server_config());
        let server = crate::serve(listener, tls, self.clone(), crate::routes(parts), stop.clone());
        tokio::spawn(server.map(|ended| ended.expect("the listener serves until it is stopped")));
        Running { address, cluster: self.clone(), certificates, stop }
    }
}

impl Control for InMemory {
    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn state(&self) -> Arc<State> {
        Arc::new(self.lock().state.clone())
    }

    fn now(&self) -> LogTime {
        wall().max(self.lock().state.now)
    }

    fn rules(&self) -> &dyn domain::policy::Rules {
        &self.rules
    }

    fn serving(&self) -> bool {
        self.lock().serving
    }

    fn wait_for(&self, index: Index) -> BoxFuture<'_, Result<Arc<State>, ControlError>> {
        let state = self.state();
        async move {
            if state.applied < index {
                // Nothing else moves this log; a caller with a deadline runs into it.
                std::future::pending::<()>().await;
            }
            Ok(state)
        }
        .boxed()
    }

    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Committed, ControlError>> {
        std::future::ready(self.changed(id, actor, command)).boxed()
    }

    fn narrow(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<(Committed, Receipt), ControlError>> {
        let done = self.changed(id, actor, command).map(|done| {
            let node = NodeReceipt {
                node: NodeId(1),
                boot: BootId(0xb007),
                enforced: done.index,
                last_sequence: 0,
                sessions: std::mem::take(&mut self.lock().ended),
                by_expiry: false,
            };
            // Repeating what holds already is answered with what it was made by.
            let index = match done.reply {
                Reply::Done { version } => version,
                _ => done.index,
            };
            let receipt = Receipt { revocation: RevocationId(index.0), nodes: vec![node], made: wall() };
            // Filed when all is known, as a cluster does a moment later.
            let settled = |node: &NodeReceipt| NodeReceipt {
                sessions: node.sessions.iter().map(|s| SessionReceipt { upstream: Cancelled::Cancelled, ..s.clone() }).collect(),
                ..node.clone()
            };
            let nodes: Vec<NodeReceipt> = receipt.nodes.iter().map(settled).collect();
            if nodes != receipt.nodes {
                self.step(None, Actor::Node(NodeId(1)), Command::FileReceipt { revocation: receipt.revocation, nodes });
            }
            (done, receipt)
        });
        std::future::ready(done).boxed()
    }

    /// A stand-in that no test takes for a seal: it keeps nothing of the secret.
    fn seal(&self, _name: &Name, _secret: &Secret) -> Result<Sealed, ControlError> {
        Ok(Sealed { key_id: 1, wrapped_key: vec![1; 48], nonce: [2; 12], ciphertext: vec![3; 32] })
    }

    fn seal_sink(&self, name: &Name, secret: &Secret) -> Result<Sealed, ControlError> {
        self.seal(name, secret)
    }

    fn person_of_certificate(&self, der: &[u8]) -> Option<Name> {
        tls::person_of(der, "assize://test/1/person/")
    }
}

impl Sessions for InMemory {
    fn list(&self, all_nodes: bool) -> BoxFuture<'_, (Vec<pb::Session>, Vec<NodeId>)> {
        let silent = if all_nodes { vec![NodeId(2)] } else { vec![] };
        std::future::ready((self.lock().sessions.clone(), silent)).boxed()
    }
}

impl Dial for InMemory {
    fn check<'a>(
        &'a self,
        target: &'a domain::target::Target,
        credential: Option<&'a domain::credential::Credential>,
    ) -> BoxFuture<'a, Checked> {
        let step = |step: &str, passed: bool, finding: String| pb::CheckStep { step: step.into(), passed, finding, took: None };
        let login = credential.map_or_else(|| "no credential".into(), |c| c.username.clone());
        let steps = vec![step("connect", true, target.address.clone()), step("login", credential.is_some(), login)];
        let grave = credential.filter(|c| c.username == "postgres");
        let finding = |_| pb::TargetFinding { severity: "high".into(), code: "role-superuser".into(), finding: "a superuser".into() };
        std::future::ready(Checked { steps, findings: grave.map(finding).into_iter().collect() }).boxed()
    }

    fn record(&self, by: &Name, target: &Name, reachable: bool, findings: &[String]) {
        let told = domain::audit::record::TargetCheck { principal: by, target, reachable, findings };
        InMemory::record(self, &domain::audit::record::Event::TargetCheck(told));
    }
}

impl Outbound for InMemory {
    /// Nothing is reached from here.
    fn test<'a>(&'a self, sink: &'a domain::sink::Sink) -> BoxFuture<'a, Result<(), String>> {
        std::future::ready(Err(format!("{} cannot be reached", sink.terms.destination.as_str()))).boxed()
    }
}

impl Classify for InMemory {
    fn needs(&self, database: &str, statement: &str) -> Needed {
        use domain::operation::{Access, Protocol, Resource, Verb};
        let access = |verb, path: [&str; 3]| vec![Access { protocol: Protocol::Postgres, verb, resource: Resource::new(path) }];
        match statement.strip_prefix("SELECT FROM ") {
            Some(table) => Needed { accesses: access(Verb::Select, [database, "public", table]), impossible: None },
            None => Needed {
                accesses: access(Verb::Admin, ["*", "*", "*"]),
                impossible: Some(Refusal::Unparseable { message: "syntax error".into() }),
            },
        }
    }

    fn context(&self, database: &str, username: &str) -> Vec<(String, String)> {
        vec![("database".into(), database.into()), ("role".into(), username.into())]
    }
}

impl Members for InMemory {
    fn status(&self) -> BoxFuture<'_, Result<pb::ClusterStatus, ControlError>> {
        let state = self.state();
        let node = |m: &domain::member::Member| pb::NodeStatus {
            node: m.id.0,
            address: m.address.clone(),
            admin_address: m.admin_address.clone(),
            role: pb::NodeRole::Voter.into(),
            serving: true,
            ..Default::default()
        };
        let status = pb::ClusterStatus {
            id: state.cluster.id.clone(),
            incarnation: state.cluster.incarnation,
            feature_level: state.cluster.feature_level,
            node: 1,
            leader: 1,
            term: 1,
            committed: state.applied.0,
            applied: state.applied.0,
            lease: self.serving(),
            nodes: state.members.values().map(node).collect(),
            ..Default::default()
        };
        std::future::ready(Ok(status)).boxed()
    }

    fn make_join_token(&self, id: ProposalId, actor: Actor, valid: Duration) -> BoxFuture<'_, Result<JoinTokenMade, ControlError>> {
        let secret = token::generate(token::Purpose::Join);
        let made = self.changed(id, actor, Command::MakeJoinToken { lookup: token::lookup(&secret), valid });
        std::future::ready(made.map(|_| JoinTokenMade { token: secret, expires: wall().after(valid) })).boxed()
    }

    fn add_voter(&self, _: ProposalId, _: Actor, node: NodeId) -> BoxFuture<'_, Result<(), ControlError>> {
        std::future::ready(Err(ControlError::NotFound(format!("node {node}")))).boxed()
    }

    fn remove(&self, _: ProposalId, _: Actor, _: NodeId) -> BoxFuture<'_, Result<(), ControlError>> {
        std::future::ready(Err(ControlError::Refused("the last voter stays".into()))).boxed()
    }

    fn transfer(&self, _: Option<NodeId>) -> BoxFuture<'_, Result<(), ControlError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn backup(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<Vec<u8>, ControlError>>, ControlError>> {
        let pieces = stream::iter([Ok(b"sealed ".to_vec()), Ok(b"backup".to_vec())]).boxed();
        std::future::ready(Ok(pieces)).boxed()
    }
}
