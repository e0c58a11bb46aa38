//! All that may be asked of the node.

use std::sync::Arc;

use bytes::Bytes;
use domain::audit::checkpoint::Note;
use domain::audit::merkle::Hash;
use domain::command::{Command, Reply};
use domain::id::{BootId, NodeId};
use domain::sink::{Sink, StreamedLog};
use domain::state::State;
use domain::time::LogTime;
use futures_util::future::BoxFuture;
use identity::Secret;
use proto::admin as pb;

/// A head that a majority of the voters signed.
#[derive(Debug, Clone)]
pub struct Head {
    pub size: u64,
    pub note: Note,
}

/// The node, as what goes out sees it. The server wires it to the cluster.
pub trait Source: Send + Sync + 'static {
    fn node(&self) -> NodeId;
    fn boot(&self) -> BootId;
    /// Id and incarnation of the cluster.
    fn identity(&self) -> (String, u64);
    fn state(&self) -> Arc<State>;
    fn now(&self) -> LogTime;
    /// This node leads the control group and holds a lease: it delivers, and nobody else does.
    fn leads(&self) -> bool;
    /// Leaves that are committed and applied here.
    fn size(&self, log: StreamedLog) -> u64;
    /// The leaves from `from` on, at most `limit`, or as many of the first as are read at once.
    fn leaves(&self, log: StreamedLog, from: u64, limit: u64) -> BoxFuture<'_, Result<Vec<Bytes>, String>>;
    /// A leaf in words, as `assize audit query` shows it.
    fn describe(&self, log: StreamedLog, number: u64, leaf: &[u8]) -> pb::AuditRecord;
    /// Puts a command through the control log in this node's name.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, String>>;
    /// A sink's secret.
    fn open(&self, sink: &Sink) -> Result<Option<Secret>, String>;
    /// The last head of a log that a majority signed.
    fn head(&self, log: StreamedLog) -> Option<Head>;
    fn consistency(&self, log: StreamedLog, old: u64, new: u64) -> BoxFuture<'_, Result<Vec<Hash>, String>>;
}
