//! What goes out, wired to the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use admin_api::control::Outbound;
use bytes::Bytes;
use cluster::{Cluster, LogName};
use domain::audit::merkle::Hash;
use domain::command::{Actor, Command, Reply};
use domain::id::{BootId, NodeId};
use domain::sink::{Sink, StreamedLog};
use domain::state::State;
use domain::time::LogTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use identity::Secret;
use outbound::address::Allowed;
use outbound::{Head, Source};
use proto::admin as pb;

/// The kind under which a sink's secret is sealed.
pub(crate) const SINK: &str = "sink";

pub(crate) struct ClusterSource {
    cluster: Cluster,
    /// Counts proposals: their ids are of this boot.
    proposed: AtomicU64,
}

impl ClusterSource {
    pub(crate) fn new(cluster: Cluster) -> Arc<ClusterSource> {
        Arc::new(ClusterSource { cluster, proposed: AtomicU64::new(0) })
    }
}

fn named(log: StreamedLog) -> LogName {
    match log {
        StreamedLog::Control => LogName::Control,
        StreamedLog::Audit => LogName::Audit,
    }
}

impl Source for ClusterSource {
    fn node(&self) -> NodeId {
        self.cluster.node()
    }

    fn boot(&self) -> BootId {
        self.cluster.boot()
    }

    fn identity(&self) -> (String, u64) {
        let (id, incarnation) = self.cluster.identity();
        (id.to_owned(), incarnation)
    }

    fn state(&self) -> Arc<State> {
        self.cluster.state()
    }

    fn now(&self) -> LogTime {
        self.cluster.now()
    }

    fn leads(&self) -> bool {
        self.cluster.leader() == Some(self.cluster.node()) && self.cluster.may_forward()
    }

    fn size(&self, log: StreamedLog) -> u64 {
        self.cluster.audit().size(named(log))
    }

    fn leaves(&self, log: StreamedLog, from: u64, limit: u64) -> BoxFuture<'_, Result<Vec<Bytes>, String>> {
        async move { self.cluster.audit().leaves(named(log), from..from.saturating_add(limit)).await.map_err(|e| e.to_string()) }.boxed()
    }

    fn describe(&self, log: StreamedLog, number: u64, leaf: &[u8]) -> pb::AuditRecord {
        pb::AuditRecord { log: log.as_str().to_owned(), number, ..admin_api::describe(log.as_str(), leaf) }
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, String>> {
        let number = self.proposed.fetch_add(1, Ordering::Relaxed);
        let id = format!("outbound-{:016x}-{number}", self.cluster.boot().0).parse().expect("a short text is an id");
        async move {
            let done = self.cluster.propose(id, Actor::Node(self.cluster.node()), command).await.map_err(|e| e.to_string())?;
            self.cluster.wait_applied(done.index, std::time::Duration::from_secs(5)).await.map_err(|e| e.to_string())?;
            Ok(done.reply)
        }
        .boxed()
    }

    fn open(&self, sink: &Sink) -> Result<Option<Secret>, String> {
        let Some(sealed) = &sink.sealed else { return Ok(None) };
        let opened = self.cluster.open(SINK, sink.name.as_str(), sealed);
        opened.map(|plain| Some(Secret::new(plain.to_vec()))).map_err(|e| e.to_string())
    }

    fn head(&self, log: StreamedLog) -> Option<Head> {
        let head = self.cluster.audit().latest_checkpoint(named(log))?;
        Some(Head { size: head.checkpoint.size, note: head.note(&self.cluster.state()) })
    }

    fn consistency(&self, log: StreamedLog, old: u64, new: u64) -> BoxFuture<'_, Result<Vec<Hash>, String>> {
        async move { self.cluster.audit().consistency_proof(named(log), old, new).await.map_err(|e| e.to_string()) }.boxed()
    }
}

/// Tests of sinks, asked for at this node.
pub(crate) struct Tests {
    pub(crate) source: Arc<ClusterSource>,
    pub(crate) allowed: Allowed,
}

impl Outbound for Tests {
    fn test<'a>(&'a self, sink: &'a Sink) -> BoxFuture<'a, Result<(), String>> {
        outbound::test(self.source.clone(), sink, &self.allowed).boxed()
    }
}
