//! All that a gateway may ask of the cluster. The server wires it to `cluster`; tests wire it to a local state.

use std::sync::Arc;
use std::time::Duration;

use domain::command::{Actor, Command, Reply};
use domain::credential::Credential;
use domain::id::{BootId, Index, NodeId, ProposalId};
use domain::policy::Rules;
use domain::state::State;
use domain::time::LogTime;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::protocol::CancelKey;

/// Two real implementors (the server's over the cluster, the tests' over a local state); it carries no decision:
/// every verdict is made from the [`State`] it hands out.
pub trait Authority: Send + Sync + 'static {
    fn node(&self) -> NodeId;
    fn boot(&self) -> BootId;

    /// The applied control state. Wait-free.
    fn state(&self) -> Arc<State>;
    /// Follows the applied index; a session looks again when it moves.
    fn applied(&self) -> watch::Receiver<Index>;
    /// Log time here and now; never goes back.
    fn now(&self) -> LogTime;

    /// What evaluates the active policy.
    fn rules(&self) -> &dyn Rules;

    /// The serving lease, less its guard. Checked as the last thing before a write towards a target.
    fn may_forward(&self) -> bool;
    /// How long ago [`Authority::may_forward`] turned false; zero while it is true.
    fn late_by(&self) -> Duration;
    /// Follows the lease: `false` freezes sessions.
    fn serving(&self) -> watch::Receiver<bool>;
    /// Every gate was taken after [`Authority::serving`] had said `false`. Until this is said a process that stands
    /// still is killed at the lease's end.
    fn fenced(&self);
    /// For strict grants: a read index confirmed by a quorum now, applied here.
    fn confirm(&self) -> BoxFuture<'_, Result<Index, Unavailable>>;

    /// Puts a command through the control log. Safe to repeat with the same id.
    fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> BoxFuture<'_, Result<Reply, ProposeError>>;

    /// Queues a record; `encode` gets the sequence it has on this node and boot. Order of calls is order of sequences.
    /// Never blocks: the caller's own backlog is bounded by [`crate::limits`].
    fn record(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64;
    /// As [`Authority::record`], for one that nobody waits for.
    fn record_unawaited(&self, encode: &mut dyn FnMut(u64) -> Vec<u8>) -> u64;
    /// How far this node's records are committed by a quorum.
    fn recorded(&self) -> watch::Receiver<Recorded>;

    /// Passes a client's cancel request on to the node that `key` names. Says nothing about whether it matched.
    fn cancel_elsewhere(&self, key: CancelKey) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Opens a sealed credential; the secret lives as short as possible.
    fn open_credential(&self, credential: &Credential) -> Result<identity::Secret, Unavailable>;
}

/// Progress of this node's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// All records up to this sequence are committed by a quorum.
    pub through: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It certainly did not happen.
    #[error("not committed: {0}")]
    NotCommitted(String),
    /// It may or may not have happened; repeating it with the same id is safe.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);
