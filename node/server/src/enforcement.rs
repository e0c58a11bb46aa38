//! Makes what the log decides hold for this node's sessions, and answers other nodes' gateways.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cluster::{Cluster, EnforceReport, Enforcer};
use domain::id::{Index, NodeId};
use domain::member::Cancelled;
use domain::state::State;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use proto::admin as pb;
use session::limits::CANCEL_DEADLINE;
use session::protocol::{Activity, CancelKey};
use session::registry::{Registry, SessionSummary};
use session::stage::Parts;

use crate::neighbour::{self, Answer, Question};
use crate::orphan::{self, Roster};
use crate::time::timestamp;

/// How long the other nodes may take to list their sessions.
const LIST_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How long a session may take to cancel what it runs: what [`CANCEL_DEADLINE`] gives it, and some for a busy machine.
const SETTLE_WITHIN: std::time::Duration = CANCEL_DEADLINE.saturating_add(std::time::Duration::from_secs(1));

pub(crate) struct Sessions {
    pub(crate) registry: Arc<Registry>,
    pub(crate) rules: Arc<policy::Engine>,
    /// What serves the sessions of all nodes at the targets.
    pub(crate) roster: Roster,
    /// Known once the cluster runs, which needs this first.
    cluster: OnceLock<Cluster>,
    /// Known once the gateway takes connections, which needs the cluster.
    parts: OnceLock<Arc<Parts>>,
}

impl Sessions {
    pub(crate) fn new(registry: Arc<Registry>, rules: Arc<policy::Engine>) -> Arc<Self> {
        Arc::new(Sessions { registry, rules, roster: Roster::default(), cluster: OnceLock::new(), parts: OnceLock::new() })
    }

    pub(crate) fn joined(&self, cluster: Cluster) {
        // Set once, at start.
        let _ = self.cluster.set(cluster);
    }

    pub(crate) fn opened(&self, parts: Arc<Parts>) {
        // Set once, before the first session.
        let _ = self.parts.set(parts);
    }

    fn own(&self) -> Vec<pb::Session> {
        self.registry.list().into_iter().map(shown).collect()
    }

    async fn elsewhere(&self, node: NodeId) -> Result<Vec<pb::Session>, NodeId> {
        let Some(cluster) = self.cluster.get() else { return Err(node) };
        let answer = cluster.ask_gateway(node, neighbour::encode(&Question::Sessions), LIST_WITHIN).await.map_err(|_| node)?;
        neighbour::decode::<Answer>(&answer).map(|a| a.sessions).ok_or(node)
    }
}

fn shown(summary: SessionSummary) -> pb::Session {
    let stage = match summary.activity {
        Activity::Idle => pb::session::Stage::Idle,
        Activity::InTransaction => pb::session::Stage::InTransaction,
        Activity::Busy => pb::session::Stage::Active,
    };
    pb::Session {
        id: summary.id.to_string(),
        node: summary.id.node.0,
        principal: summary.principal.to_string(),
        on_behalf_of: summary.on_behalf_of.map(|n| n.to_string()).unwrap_or_default(),
        target: summary.target.to_string(),
        database: summary.database,
        operations: summary.operations,
        client: summary.peer,
        started: Some(timestamp(summary.since)),
        run: summary.run.map(|run| run.to_string()).unwrap_or_default(),
        stage: stage.into(),
        ..Default::default()
    }
}

impl Sessions {
    /// What the road stands on; none before the gateway is open.
    pub(crate) fn parts(&self) -> Option<&Arc<Parts>> {
        self.parts.get()
    }
}

impl Enforcer for Sessions {
    fn enforce<'a>(&'a self, state: Arc<State>, index: Index) -> BoxFuture<'a, EnforceReport> {
        async move {
            let now = self.cluster.get().map_or(state.now, Cluster::now);
            let report = self.registry.enforce(&state, now, index, self.rules.as_ref()).await;
            // Queued, not waited for. Before the gateway is open there are no sessions, and nothing to record.
            if let Some(parts) = self.parts.get() {
                session::records::enforcement(parts, &report);
            }
            // As known now: cancelling at a target goes on and never delays what is enforced.
            let (sessions, last_sequence) = (report.receipts(), report.last_sequence);
            let is_settling = sessions.iter().any(|s| s.upstream == Cancelled::Pending);
            let settled = is_settling.then(|| async move { report.settled(SETTLE_WITHIN).await }.boxed());
            EnforceReport { sessions, last_sequence, settled }
        }
        .boxed()
    }

    fn recorded(&self, record: &[u8]) {
        self.roster.hear(record);
    }

    fn answer(&self, question: Bytes) -> BoxFuture<'_, Bytes> {
        let answer = match (neighbour::decode::<Question>(&question), self.cluster.get()) {
            (Some(Question::Cancel { number, secret }), Some(cluster)) => {
                self.registry.cancel(&CancelKey { node: cluster.node(), number, secret });
                Answer::default()
            }
            (Some(Question::Sessions), _) => Answer { sessions: self.own(), ..Answer::default() },
            (Some(Question::Connections), _) => {
                Answer { connections: Some(orphan::told(self.registry.connections())), ..Answer::default() }
            }
            (Some(Question::Cancel { .. }), None) | (None, _) => return std::future::ready(Bytes::new()).boxed(),
        };
        std::future::ready(neighbour::encode(&answer)).boxed()
    }
}

impl admin_api::control::Sessions for Sessions {
    fn list(&self, all_nodes: bool) -> BoxFuture<'_, (Vec<pb::Session>, Vec<NodeId>)> {
        async move {
            let mut sessions = self.own();
            let mut silent = Vec::new();
            if let (true, Some(cluster)) = (all_nodes, self.cluster.get()) {
                let others: Vec<NodeId> = cluster
                    .state()
                    .members
                    .values()
                    .filter(|m| m.id != cluster.node() && m.role != domain::member::MemberRole::Removed)
                    .map(|m| m.id)
                    .collect();
                for answer in join_all(others.into_iter().map(|node| self.elsewhere(node))).await {
                    match answer {
                        Ok(more) => sessions.extend(more),
                        Err(node) => silent.push(node),
                    }
                }
            }
            (sessions, silent)
        }
        .boxed()
    }
}
