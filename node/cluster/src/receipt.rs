//! Narrowing commands and their barrier (DESIGN §4): acknowledged when every member of the serving set enforces them,
//! or when no lease it had can still run.

use std::sync::Arc;
use std::time::Duration;

use domain::command::{Actor, Command, Reply};
use domain::id::{BootId, Index, NodeId, ProposalId, RevocationId};
use domain::member::{Cancelled, NodeReceipt, Receipt, SessionReceipt};
use futures_util::future::join_all;
use planted::{Bug, Point, planted, reach};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Boottime;
use crate::limits::{AWAIT_ENFORCED_DEADLINE, PROPOSE_DEADLINE, SETTLE_DEADLINE, SETTLE_POLL};
use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::propose::{Committed, ProposeError};
use crate::wire::{self, Kind};

impl Node {
    /// Commits a narrowing command and waits for its barrier. The receipt is filed in the log under the command's index.
    pub(crate) async fn narrow(
        self: &Arc<Self>,
        id: ProposalId,
        actor: Actor,
        command: Command,
    ) -> Result<(Committed, Option<Receipt>), ProposeError> {
        let begun = Boottime::now();
        reach(Point::NarrowingBeforeProposal);
        let done = self.propose(id, actor, command).await?;
        reach(Point::NarrowingCommitted);
        // `tc`: only from here on does this node know that it is committed.
        let learned = if planted(Bug::WaitFromProposal) { begun } else { Boottime::now() };
        if matches!(done.reply, Reply::Rejected(_)) {
            return Ok((done, None));
        }
        // Who has to report is read from a state that contains the command.
        let mut applied = self.publisher.applied();
        let reached = matches!(timeout(PROPOSE_DEADLINE, applied.wait_for(|a| *a >= done.index)).await, Ok(Ok(_)));
        if !reached {
            return Err(ProposeError::Unknown(format!(
                "index {} is committed, but this node could not follow its enforcement",
                done.index
            )));
        }
        // A repeated proposal is answered with what the first one made: that is what has to be enforced, and where its
        // receipt is filed. It is committed as well, so the wait from now on is long enough.
        let index = match done.reply {
            Reply::Done { version } => version,
            Reply::Lock(lock) => Index(lock.0),
            _ => done.index,
        };
        let revocation = RevocationId(index.0);
        reach(Point::BarrierBefore);
        let nodes = self.barrier(index, learned).await;
        reach(Point::BarrierPassed);
        let by = if nodes.iter().any(|n| n.by_expiry) { "lease" } else { "enforced" };
        metrics::histogram!("assize_barrier_seconds", "by" => by).record(learned.elapsed().as_secs_f64());
        let receipt = Receipt { revocation, nodes, made: self.publisher.clock().now() };
        self.file(&receipt);
        reach(Point::NarrowingBeforeAnswer);
        Ok((done, Some(receipt)))
    }

    /// Waits until everybody in the serving set enforces `index` or can hold no lease from before it any more.
    async fn barrier(self: &Arc<Self>, index: Index, learned: Boottime) -> Vec<NodeReceipt> {
        let mut members = self.publisher.barrier_members(learned);
        if planted(Bug::NoBarrier) {
            members.clear();
        }
        join_all(members.into_iter().map(|(node, until)| self.await_node(node, index, until))).await
    }

    async fn await_node(self: &Arc<Self>, node: NodeId, index: Index, until: Boottime) -> NodeReceipt {
        tokio::select! {
            receipt = self.ask_until_enforced(node, index) => receipt,
            () = until.reached() => {
                tracing::warn!(%node, %index, "a node did not report; its lease has run out");
                self.report_suspect(node, index);
                NodeReceipt {
                    node,
                    boot: BootId(0),
                    enforced: Index(0),
                    last_sequence: 0,
                    sessions: Vec::new(),
                    by_expiry: true,
                }
            }
        }
    }

    /// Asks the node itself, and every other time the leader, which may reach it when this node cannot.
    async fn ask_until_enforced(&self, node: NodeId, index: Index) -> NodeReceipt {
        let mut through_leader = false;
        loop {
            let via = self.control_leader().filter(|l| through_leader && *l != self.home.node).unwrap_or(node);
            if let Some(receipt) = self.ask_enforced(via, node, index).await {
                return receipt;
            }
            through_leader = !through_leader;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask_enforced(&self, via: NodeId, node: NodeId, index: Index) -> Option<NodeReceipt> {
        if node == self.home.node {
            return self.await_own(index).await;
        }
        let question = wire::AwaitEnforcedRequest { node: node.0, index: index.0 };
        let within = AWAIT_ENFORCED_DEADLINE + Duration::from_millis(200);
        let answer: Result<wire::AwaitEnforcedResponse, _> =
            ask(&*self.transport(), via, Class::Control, Kind::AwaitEnforced, 0, &question, within).await;
        // A receipt for another node than the one asked about is not taken for it.
        answer.ok()?.receipt.and_then(from_wire).filter(|r| r.node == node && r.enforced >= index)
    }

    /// This node's own receipt, as soon as it enforces `index`; `None` when that takes too long.
    async fn await_own(&self, index: Index) -> Option<NodeReceipt> {
        let mut enforced = self.publisher.enforced();
        let reached = timeout(AWAIT_ENFORCED_DEADLINE, enforced.wait_for(|e| *e >= index || planted(Bug::ReceiptBeforeEnforced))).await;
        match reached {
            Ok(Ok(_)) => self.publisher.receipt(index),
            _ => None,
        }
    }

    /// Serves the question of another node, for itself or on behalf of it.
    pub(crate) async fn answer_await_enforced(&self, request: wire::AwaitEnforcedRequest) -> wire::AwaitEnforcedResponse {
        let (node, index) = (NodeId(request.node), Index(request.index));
        let receipt = self.ask_enforced(node, node, index).await;
        reach(Point::ReceiptBeforeAnswer);
        wire::AwaitEnforcedResponse { receipt: receipt.map(to_wire) }
    }

    fn report_suspect(self: &Arc<Self>, node: NodeId, index: Index) {
        let this = self.clone();
        self.tasks.once(&self.runtimes.control, async move {
            match this.control_leader() {
                Some(leader) if leader == this.home.node => this.suspect(node, index).await,
                Some(leader) => {
                    let question = wire::SuspectRequest { node: node.0, index: index.0 };
                    let asked: Result<wire::Outcome, _> =
                        ask(&*this.transport(), leader, Class::Control, Kind::Suspect, 0, &question, AWAIT_ENFORCED_DEADLINE).await;
                    if let Err(e) = asked {
                        tracing::debug!(error = %e.error, "could not tell the leader of a silent node");
                    }
                }
                None => {}
            }
        });
    }

    /// Puts the receipt on record, in the background: the acknowledgement does not wait for a second commit. Once more
    /// when it is known what became of work that was still being cancelled.
    fn file(self: &Arc<Self>, receipt: &Receipt) {
        let this = self.clone();
        let (revocation, nodes) = (receipt.revocation, receipt.nodes.clone());
        self.tasks.once(&self.runtimes.control, async move {
            this.file_now(revocation, nodes.clone()).await;
            if let Some(mut settled) = this.settled(Index(revocation.0), nodes).await {
                // Of a node that is silent somebody else may have told more meanwhile: who ended its sessions.
                settled.retain(|node| !node.by_expiry);
                this.file_now(revocation, settled).await;
            }
        });
    }

    async fn file_now(self: &Arc<Self>, revocation: RevocationId, nodes: Vec<NodeReceipt>) {
        let id = self.own_proposal_id("receipt");
        for _ in 0..10 {
            let command = Command::FileReceipt { revocation, nodes: nodes.clone() };
            match self.propose(id.clone(), Actor::Node(self.home.node), command).await {
                Ok(_) => return reach(Point::ReceiptFiled),
                Err(e) => tracing::debug!(error = %e, %revocation, "filing a receipt again"),
            }
        }
        tracing::error!(%revocation, "a receipt could not be filed");
    }

    /// What the nodes say when no session's work is being cancelled any more, or after [`SETTLE_DEADLINE`]; `None` if
    /// they said it at once.
    async fn settled(&self, index: Index, mut nodes: Vec<NodeReceipt>) -> Option<Vec<NodeReceipt>> {
        let deadline = Instant::now() + SETTLE_DEADLINE;
        let mut changed = false;
        while nodes.iter().any(is_settling) && Instant::now() < deadline {
            sleep(SETTLE_POLL).await;
            for known in nodes.iter_mut().filter(|n| is_settling(n)) {
                // A node that was started anew knows nothing of it.
                let newer = self.ask_enforced(known.node, known.node, index).await.filter(|r| r.boot == known.boot);
                if let Some(newer) = newer.filter(|r| r.sessions != known.sessions) {
                    known.sessions = newer.sessions;
                    changed = true;
                }
            }
        }
        changed.then_some(nodes)
    }
}

fn is_settling(node: &NodeReceipt) -> bool {
    node.sessions.iter().any(|s| s.upstream == Cancelled::Pending)
}

fn to_wire(receipt: NodeReceipt) -> wire::NodeReceipt {
    wire::NodeReceipt {
        node: receipt.node.0,
        boot: receipt.boot.0,
        enforced: receipt.enforced.0,
        last_sequence: receipt.last_sequence,
        sessions: receipt.sessions.into_iter().map(session_to_wire).collect(),
    }
}

fn session_to_wire(session: SessionReceipt) -> wire::SessionReceipt {
    wire::SessionReceipt {
        session: session.session.to_string(),
        principal: session.principal.to_string(),
        target: session.target.to_string(),
        upstream: match session.upstream {
            Cancelled::Idle => 0,
            Cancelled::Cancelled => 1,
            Cancelled::Pending => 2,
            Cancelled::Unknown => 3,
        },
    }
}

fn from_wire(receipt: wire::NodeReceipt) -> Option<NodeReceipt> {
    Some(NodeReceipt {
        node: NodeId(receipt.node),
        boot: BootId(receipt.boot),
        enforced: Index(receipt.enforced),
        last_sequence: receipt.last_sequence,
        sessions: receipt.sessions.into_iter().map(session_from_wire).collect::<Option<_>>()?,
        by_expiry: false,
    })
}

fn session_from_wire(session: wire::SessionReceipt) -> Option<SessionReceipt> {
    Some(SessionReceipt {
        session: session.session.parse().ok()?,
        principal: session.principal.parse().ok()?,
        target: session.target.parse().ok()?,
        upstream: match session.upstream {
            0 => Cancelled::Idle,
            1 => Cancelled::Cancelled,
            2 => Cancelled::Pending,
            _ => Cancelled::Unknown,
        },
    })
}
