//! All that the admin API may ask of the node. The server wires it to the cluster; tests to a state in memory.
//! No decision is carried by these traits: rights are read from the [`State`] they hand out.

use std::sync::Arc;
use std::time::Duration;

use domain::command::{Actor, Command, Reply};
use domain::credential::Sealed;
use domain::id::{Index, Name, NodeId, ProposalId};
use domain::member::Receipt;
use domain::policy::Rules;
use domain::state::State;
use domain::time::LogTime;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use identity::Secret;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub index: Index,
    pub reply: Reply,
}

/// Why the node could not do what was asked. Refusals by the log are replies, not errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It certainly did not happen.
    #[error("not committed: {0}")]
    NotCommitted(String),
    /// It may or may not have happened; repeating it with the same id is safe.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Nothing was tried.
    #[error("{0}")]
    Unavailable(String),
    /// There is no such log, record, checkpoint or node.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The operation does not fit the cluster as it is: removing the last voter, a tree size beyond the log, …
    #[error("{0}")]
    Refused(String),
}

/// The control group, as seen from this node.
pub trait Control: Send + Sync + 'static {
    fn node(&self) -> NodeId;
    /// The applied control state. Wait-free.
    fn state(&self) -> Arc<State>;
    /// Log time here and now; never goes back.
    fn now(&self) -> LogTime;
    /// What evaluates the active policy.
    fn rules(&self) -> &dyn Rules;
    /// This node holds its serving lease. Without it only what the policy table marks so is answered.
    fn serving(&self) -> bool;
    /// The state once it has applied `index`.
    fn wait_for(&self, index: Index) -> BoxFuture<'_, Result<Arc<State>, ControlError>>;
    /// Puts a command through the control log. Safe to repeat with the same id.
    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Committed, ControlError>>;
    /// As [`Control::propose`], for what takes access away: answers when every node enforces it or its lease ran out.
    fn narrow(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<(Committed, Receipt), ControlError>>;
    /// Seals a credential's secret in the cluster's envelope, for this name.
    fn seal(&self, name: &Name, secret: &Secret) -> Result<Sealed, ControlError>;
    /// As [`Control::seal`], for a sink's secret: one does not open as the other.
    fn seal_sink(&self, name: &Name, secret: &Secret) -> Result<Sealed, ControlError>;
    /// Whom the URI of a client certificate names, if it is of this cluster and incarnation. TLS has verified the chain.
    fn person_of_certificate(&self, der: &[u8]) -> Option<Name>;
}

/// Live sessions. `EndSession` needs nothing here: it is a lock, enforced like any other.
pub trait Sessions: Send + Sync + 'static {
    /// The sessions of this node, and of the others if asked: with the nodes that did not answer.
    fn list(&self, all_nodes: bool) -> BoxFuture<'_, (Vec<proto::admin::Session>, Vec<NodeId>)>;
}

/// What goes out of this node.
pub trait Outbound: Send + Sync + 'static {
    /// Sends one message to see whether the sink works; an error says why it does not.
    fn test<'a>(&'a self, sink: &'a domain::sink::Sink) -> BoxFuture<'a, Result<(), String>>;
}

/// Dials a target as a session would and says what it found, step by step.
pub trait Dial: Send + Sync + 'static {
    fn check<'a>(
        &'a self,
        target: &'a domain::target::Target,
        credential: Option<&'a domain::credential::Credential>,
    ) -> BoxFuture<'a, Checked>;

    /// Puts on record what `by` was told about a target.
    fn record(&self, by: &Name, target: &Name, reachable: bool, findings: &[String]);
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    pub steps: Vec<proto::admin::CheckStep>,
    pub findings: Vec<proto::admin::TargetFinding>,
}

/// What a statement needs, as the gateway would classify it.
pub trait Classify: Send + Sync + 'static {
    fn needs(&self, database: &str, statement: &str) -> Needed;
    /// What an approval is bound to beside the statement, in an ordinary new session of this user at the target.
    fn context(&self, database: &str, username: &str) -> Vec<(String, String)>;
}

/// What a statement needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Of the widest class for one that cannot be parsed.
    pub accesses: Vec<domain::operation::Access>,
    /// Why no grant can allow it: it cannot be parsed, or changes what the gateway pins.
    pub impossible: Option<domain::refusal::Refusal>,
}

/// One leaf of a log, as it is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Place in the log, from 0.
    pub number: u64,
    pub bytes: Vec<u8>,
}

/// A signed tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    pub log: String,
    pub size: u64,
    pub root: [u8; 32],
    /// The signed note, as it is verified offline.
    pub note: Vec<u8>,
    pub made: LogTime,
    pub signers: Vec<NodeId>,
}

/// The logs: `control`, `audit/0`, ….
pub trait AuditLogs: Send + Sync + 'static {
    fn logs(&self) -> Vec<String>;
    /// Committed leaves, as this node has them.
    fn size(&self, log: &str) -> Result<u64, ControlError>;
    /// At most `limit` leaves from `from`; fewer at the end of the log.
    fn read<'a>(&'a self, log: &'a str, from: u64, limit: usize) -> BoxFuture<'a, Result<Vec<Leaf>, ControlError>>;
    /// The signed head at exactly this size, or the latest.
    fn checkpoint<'a>(&'a self, log: &'a str, size: Option<u64>) -> BoxFuture<'a, Result<SignedHead, ControlError>>;
    /// Every signed head of the log, oldest first.
    fn checkpoints<'a>(&'a self, log: &'a str) -> BoxFuture<'a, Result<Vec<SignedHead>, ControlError>>;
    /// Inclusion path of leaf `number` in the tree of `size`.
    fn inclusion<'a>(&'a self, log: &'a str, number: u64, size: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>>;
    fn consistency<'a>(&'a self, log: &'a str, from: u64, to: u64) -> BoxFuture<'a, Result<Vec<[u8; 32]>, ControlError>>;
    /// What a verifier pins, as the text of a [`domain::audit::checkpoint::VerifierKey`].
    fn genesis(&self) -> String;
}

/// What a join token is, when it was just made.
#[derive(Debug)]
pub struct JoinTokenMade {
    pub token: Secret,
    pub expires: LogTime,
}

/// The bytes of a backup, as they are made.
pub type BackupStream = BoxStream<'static, Result<Vec<u8>, ControlError>>;

/// The node's place in its cluster, and what operators do to it.
pub trait Members: Send + Sync + 'static {
    /// Answers without a quorum and without a lease.
    fn status(&self) -> BoxFuture<'_, Result<proto::admin::ClusterStatus, ControlError>>;
    fn make_join_token(&self, id: ProposalId, actor: Actor, valid: Duration) -> BoxFuture<'_, Result<JoinTokenMade, ControlError>>;
    fn add_voter(&self, id: ProposalId, actor: Actor, node: NodeId) -> BoxFuture<'_, Result<(), ControlError>>;
    fn remove(&self, id: ProposalId, actor: Actor, node: NodeId) -> BoxFuture<'_, Result<(), ControlError>>;
    /// `None`: to any other voter.
    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), ControlError>>;
    /// The encrypted backup, in pieces.
    fn backup(&self) -> BoxFuture<'_, Result<BackupStream, ControlError>>;
}
