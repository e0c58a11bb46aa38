//! Putting a command through the control log, from any node.

use std::time::Duration;

use bytes::Bytes;
use domain::command::{Actor, Command, Proposal, Reply};
use domain::encoding::{decode_proposal, decode_reply, encode_proposal};
use domain::id::{Index, NodeId, ProposalId};
use domain::time::LogTime;
use planted::{Bug, Point, planted, reach};
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::Boottime;
use crate::limits::{PROPOSAL_SIZE_MAX, PROPOSE_ATTEMPT, PROPOSE_DEADLINE, PROPOSE_PAUSE};
use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::raft::{self, Written, write_outcome};
use crate::wire::{self, Committed as WireCommitted, Kind, NotLeader, Proposed};

/// A command that is in the log, and applied on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub index: Index,
    /// What it answered; a refusal is an answer too.
    pub reply: Reply,
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

impl Node {
    pub(crate) async fn propose(&self, id: ProposalId, actor: Actor, command: Command) -> Result<Committed, ProposeError> {
        self.propose_within(id, actor, command, PROPOSE_DEADLINE).await
    }

    /// Tries leader after leader with the same id until one answers or the deadline passes.
    pub(crate) async fn propose_within(
        &self,
        id: ProposalId,
        actor: Actor,
        command: Command,
        within: Duration,
    ) -> Result<Committed, ProposeError> {
        let deadline = Instant::now() + within;
        let proposal = encode_proposal(&Proposal { id, actor, stamp: LogTime(0), command });
        if proposal.len() > PROPOSAL_SIZE_MAX {
            return Err(ProposeError::NotCommitted(format!(
                "the command has {} bytes, at most {PROPOSAL_SIZE_MAX} are possible",
                proposal.len()
            )));
        }
        let proposal = Bytes::from(proposal);
        // Once an attempt ended without an answer, later certainty about other attempts does not take that back.
        let mut maybe = false;
        let mut hint = None;
        let mut why = String::from("no leader is known");
        while Instant::now() < deadline {
            let Some(leader) = hint.take().or_else(|| self.control_leader()) else {
                tokio::time::sleep(PROPOSE_PAUSE).await;
                continue;
            };
            let end = deadline.min(Instant::now() + PROPOSE_ATTEMPT);
            reach(Point::ProposalBeforeSent);
            match self.propose_at(leader, proposal.clone(), end).await {
                Proposed::Committed(done) => return self.committed(done, deadline).await,
                Proposed::NotLeader(not) => {
                    hint = not.leader.map(NodeId).filter(|l| *l != leader);
                    why = not.why;
                }
                Proposed::Unknown(reason) => {
                    maybe = !planted(Bug::UnknownIsNotCommitted);
                    why = reason;
                }
            }
            if hint.is_none() {
                tokio::time::sleep(PROPOSE_PAUSE).await;
            }
        }
        Err(if maybe { ProposeError::Unknown(why) } else { ProposeError::NotCommitted(why) })
    }

    async fn committed(&self, done: WireCommitted, deadline: Instant) -> Result<Committed, ProposeError> {
        let reply = decode_reply(&done.reply).map_err(|e| ProposeError::Unknown(format!("the reply cannot be read: {e}")))?;
        let index = Index(done.index);
        // It is committed whatever happens here; a node that lags that far behind just answers later state.
        let mut applied = self.publisher.applied();
        if timeout_at(deadline, applied.wait_for(|a| *a >= index)).await.is_err() {
            tracing::warn!(%index, "a committed command was not applied on this node in time");
        }
        Ok(Committed { index, reply })
    }

    async fn propose_at(&self, leader: NodeId, proposal: Bytes, end: Instant) -> Proposed {
        if leader == self.home.node {
            return match timeout_at(end, self.propose_here(proposal)).await {
                Ok(proposed) => proposed,
                Err(_) => Proposed::Unknown("no quorum acknowledged it in time".into()),
            };
        }
        let request = wire::ProposeRequest { proposal };
        let left = end.saturating_duration_since(Instant::now());
        let transport = self.transport();
        let asking = ask::<_, wire::ProposeResponse>(&*transport, leader, Class::Control, Kind::Propose, 0, &request, left);
        let answer = tokio::select! {
            answer = asking => answer,
            // A dead leader does not answer; the next one is asked with the same id.
            () = raft::leader_gone(&self.control, leader) => return Proposed::Unknown("the leader changed meanwhile".into()),
        };
        match answer {
            Ok(response) => response.result.unwrap_or_else(|| Proposed::Unknown("the leader gave no answer".into())),
            Err(e) if e.before_sending => Proposed::NotLeader(NotLeader { leader: None, why: e.error.to_string() }),
            Err(e) => Proposed::Unknown(e.error.to_string()),
        }
    }

    /// The leader's part: stamps the proposal and writes it.
    pub(crate) async fn propose_here(&self, proposal: Bytes) -> Proposed {
        let not = |why: String| Proposed::NotLeader(NotLeader { leader: None, why });
        let mut proposal = match decode_proposal(&proposal) {
            Ok(proposal) => proposal,
            Err(e) => return not(format!("the proposal cannot be read: {e}")),
        };
        proposal.stamp = self.stamp();
        reach(Point::ProposalStamped);
        let payload = Bytes::from(encode_proposal(&proposal));
        let control = self.control();
        // The write lives on the control runtime: it goes on although the caller stopped waiting.
        let written = self.runtimes.control.spawn(async move { write_outcome(&control, payload).await });
        let written = written.await;
        reach(Point::ProposalWritten);
        match written {
            Ok(Written::Committed { index, reply }) => Proposed::Committed(WireCommitted { index, reply }),
            Ok(Written::NotLeader(not)) => Proposed::NotLeader(not),
            Ok(Written::Unknown(why)) => Proposed::Unknown(why),
            Err(e) => Proposed::Unknown(e.to_string()),
        }
    }

    /// The stamp a proposal gets from this leader now.
    pub(crate) fn stamp(&self) -> LogTime {
        self.log_time().0
    }

    /// What this leader would stamp now, and whether a majority of the voters' clocks stands behind it.
    pub(crate) fn log_time(&self) -> (LogTime, bool) {
        let state = self.publisher.state();
        let voters = self.control_voters();
        let now = Boottime::now();
        let clocks = &mut self.leading.lock().clocks;
        clocks.forget_stale(now);
        clocks.heard(self.home.node, crate::clock::wall_ms(), now);
        (clocks.stamp(&voters, state.now, self.publisher.stamped(), now), clocks.knows(&voters, now))
    }

    /// Ticks while this node leads and something can expire (DESIGN §3).
    pub(crate) async fn tick(&self) {
        let mut expiring = Expiring::default();
        loop {
            // Until a tick may be due; then four looks an interval, as long as there is nothing to tick for.
            let left = crate::limits::TICK_INTERVAL.saturating_sub(self.publisher.stamped().elapsed());
            let pause = if left.is_zero() { crate::limits::TICK_INTERVAL / 4 } else { left };
            tokio::time::sleep(pause).await;
            if self.control_leader() != Some(self.home.node) || self.publisher.stamped().elapsed() < crate::limits::TICK_INTERVAL {
                continue;
            }
            let state = self.publisher.state();
            let due = expiring.any(&state) || self.publisher.stamped().elapsed() >= crate::limits::TICK_IDLE;
            if state.cluster.id.is_empty() || !due {
                continue;
            }
            let id = self.own_proposal_id("tick");
            let tick = Proposal { id, actor: Actor::Node(self.home.node), stamp: LogTime(0), command: Command::Tick };
            let attempt = timeout(PROPOSE_ATTEMPT, self.propose_here(encode_proposal(&tick).into())).await;
            if !matches!(attempt, Ok(Proposed::Committed(_))) {
                // No quorum or no longer the leader: try again at leisure.
                tokio::time::sleep(crate::limits::TICK_INTERVAL).await;
            }
        }
    }
}

/// Whether anything in a state can expire; looked at again only when one of the collections changed.
#[derive(Default)]
struct Expiring {
    seen: Option<std::sync::Arc<domain::state::State>>,
    any: bool,
}

impl Expiring {
    fn any(&mut self, state: &std::sync::Arc<domain::state::State>) -> bool {
        let same = self.seen.as_ref().is_some_and(|seen| {
            seen.grants.ptr_eq(&state.grants)
                && seen.requests.ptr_eq(&state.requests)
                && seen.locks.ptr_eq(&state.locks)
                && seen.jobs.ptr_eq(&state.jobs)
                && seen.principals.ptr_eq(&state.principals)
                && seen.join_tokens.ptr_eq(&state.join_tokens)
                && seen.reviews.ptr_eq(&state.reviews)
                && seen.triggers.ptr_eq(&state.triggers)
        });
        if !same {
            self.any = can_expire(state);
            self.seen = Some(state.clone());
        }
        self.any
    }
}

fn can_expire(state: &domain::state::State) -> bool {
    state.grants.values().any(|g| g.expires.is_some() || g.review_due.is_some() || g.valid_from.is_some())
        || state.requests.values().any(|r| r.status.is_open() || r.is_spendable())
        || state.locks.values().any(|l| l.expires.is_some())
        || state.jobs.values().any(|j| j.expires.is_some())
        || state.principals.values().any(|p| p.tokens.values().any(|t| t.expires.is_some() || t.review_due.is_some()))
        || state.join_tokens.values().any(|t| t.spent_by.is_none())
        || state.reviews.values().any(|r| !r.is_closed() || r.repeats_at.is_some())
        || state.triggers.values().any(domain::review::trigger::Trigger::waits_for_time)
}
