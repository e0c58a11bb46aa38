//! Who belongs to the cluster. The control log says it ([`domain::member::Member`]); the leader of each group brings
//! that group's Raft membership in line, step by step, so that a leader lost half-way leaves nothing to clean up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::command::{Actor, Command, Reply};
use domain::id::{NodeId, ProposalId};
use domain::member::{MemberRole, Receipt};
use domain::state::State;
use openraft::{ChangeMembers, Raft};
use planted::{Point, reach};
use tokio::time::{Instant, sleep, timeout};

use crate::limits::{PROPOSE_DEADLINE, RPC_DEADLINE};
use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::propose::{Committed, ProposeError};
use crate::raft::{self, AUDIT_GROUP, CONTROL_GROUP, PeerNode, StateMachine, TypeConfig};
use crate::wire::{self, Kind, Outcome};

/// How often a leader compares what the log says with its group's membership.
const COMPARE_INTERVAL: Duration = Duration::from_millis(200);
/// How often the leader looks whether the last old build has gone. Nobody waits for it.
const FEATURE_INTERVAL: Duration = Duration::from_secs(1);
/// A learner that lacks no more entries than this has caught up and may vote.
const CAUGHT_UP: u64 = 200;
/// A membership change that takes longer is looked at again.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);

/// One step that brings a group's membership closer to what the log says.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    AddLearner(u64, String),
    Promote(BTreeSet<u64>),
    Demote(u64),
    DropVoter(u64),
    DropLearner(u64),
    /// The leader itself has to go: somebody else leads first.
    HandOver(u64),
}

/// What a group's membership looks like now, on its leader.
struct Seen {
    me: u64,
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    caught_up: BTreeSet<u64>,
}

fn next_step(state: &State, seen: &Seen) -> Option<Step> {
    let role = |id: &u64| state.members.get(&NodeId(*id)).map(|m| m.role);
    let known = |id: &u64| seen.voters.contains(id) || seen.learners.contains(id);
    let missing = state.members.values().find(|m| m.role != MemberRole::Removed && !known(&m.id.0));
    if let Some(member) = missing {
        return Some(Step::AddLearner(member.id.0, member.address.clone()));
    }
    let ready: BTreeSet<u64> =
        seen.learners.iter().filter(|id| role(id) == Some(MemberRole::Voter) && seen.caught_up.contains(id)).copied().collect();
    if !ready.is_empty() {
        return Some(Step::Promote(ready));
    }
    if let Some(id) = seen.learners.iter().find(|id| role(id) == Some(MemberRole::Removed)) {
        return Some(Step::DropLearner(*id));
    }
    let leaving = seen.voters.iter().find(|id| matches!(role(id), Some(MemberRole::Removed | MemberRole::Learner)));
    let id = *leaving?;
    if seen.voters.len() == 1 {
        // The last voter stays until another one has caught up.
        return None;
    }
    if id == seen.me {
        let stays = |other: &&u64| **other != id && role(other) == Some(MemberRole::Voter);
        return seen.voters.iter().find(stays).map(|other| Step::HandOver(*other));
    }
    Some(if role(&id) == Some(MemberRole::Removed) { Step::DropVoter(id) } else { Step::Demote(id) })
}

/// The feature level that every member knows, where it is above the cluster's.
fn risen(state: &State) -> Option<u32> {
    let members = state.members.values().filter(|member| member.role != MemberRole::Removed);
    members.map(|member| member.feature_level_max).min().filter(|level| *level > state.cluster.feature_level)
}

async fn take<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>, step: Step) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let (change, retain) = match step {
        Step::AddLearner(id, address) => {
            return raft.add_learner(id, PeerNode { address }, false).await.map(drop).map_err(|e| text(&e));
        }
        Step::HandOver(to) => return raft.trigger().transfer_leader(to).await.map_err(|e| text(&e)),
        Step::Promote(ids) => (ChangeMembers::AddVoterIds(ids), true),
        Step::Demote(id) => (ChangeMembers::RemoveVoters(BTreeSet::from([id])), true),
        Step::DropVoter(id) => (ChangeMembers::RemoveVoters(BTreeSet::from([id])), false),
        Step::DropLearner(id) => (ChangeMembers::RemoveNodes(BTreeSet::from([id])), true),
    };
    raft.change_membership(change, retain).await.map(drop).map_err(|e| text(&e))
}

fn look<SM: StateMachine<TypeConfig>>(raft: &Raft<TypeConfig, SM>, me: NodeId) -> Option<Seen> {
    let metrics = raft::metrics(raft);
    if metrics.current_leader != Some(me.0) {
        return None;
    }
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let caught_up = metrics.replication.iter().flatten().filter_map(|(id, matched)| {
        let matched = matched.as_ref()?.index;
        (matched + CAUGHT_UP >= last).then_some(*id)
    });
    Some(Seen {
        me: me.0,
        voters: membership.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        caught_up: caught_up.collect(),
    })
}

impl Node {
    /// Brings a group's membership in line while this node leads it, for ever.
    pub(crate) async fn keep_membership<SM: StateMachine<TypeConfig>>(self: Arc<Self>, raft: Raft<TypeConfig, SM>, group: u32) {
        loop {
            sleep(COMPARE_INTERVAL).await;
            let Some(seen) = look(&raft, self.home.node) else { continue };
            let Some(step) = next_step(&self.publisher.state(), &seen) else { continue };
            tracing::info!(group, ?step, "changing the group's membership");
            reach(Point::MembershipBefore);
            match timeout(CHANGE_DEADLINE, take(&raft, step)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::warn!(group, why, "the membership change has to be tried again"),
                Err(_) => tracing::warn!(group, "the membership change takes long"),
            }
        }
    }

    /// Lets every member's commands into the log once the oldest of them knows them, while this node leads, for ever.
    pub(crate) async fn keep_feature_level(&self) {
        loop {
            sleep(FEATURE_INTERVAL).await;
            let state = self.publisher.state();
            let leads = self.control_leader() == Some(self.home.node);
            let Some(level) = risen(&state).filter(|_| leads) else { continue };
            let id = self.own_proposal_id(&format!("feature-level-{level}"));
            match self.propose(id, Actor::Node(self.home.node), Command::RaiseFeatureLevel { level }).await {
                Ok(_) => tracing::info!(level, "every member knows this feature level now"),
                Err(error) => tracing::warn!(%error, level, "the feature level has to be raised later"),
            }
        }
    }

    /// Keeps addresses current, for ever.
    pub(crate) async fn keep_addresses(&self) {
        let mut applied = self.publisher.applied();
        let mut seen = None;
        loop {
            let state = self.publisher.state();
            if seen.as_ref().is_none_or(|s: &Arc<State>| !s.members.ptr_eq(&state.members)) {
                for member in state.members.values().filter(|m| m.role != MemberRole::Removed) {
                    self.book.set(member.id, &member.address);
                }
                seen = Some(state);
            }
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) async fn set_role(
        self: &Arc<Self>,
        id: ProposalId,
        actor: Actor,
        node: NodeId,
        role: MemberRole,
    ) -> Result<(Committed, Option<Receipt>), ProposeError> {
        let done = self.narrow(id, actor, Command::SetNodeRole { node, role }).await?;
        if !matches!(done.0.reply, Reply::Rejected(_)) {
            self.await_role(node, role).await;
        }
        Ok(done)
    }

    /// Waits, within bounds, until both groups' memberships follow; the leaders go on if it takes longer.
    async fn await_role(&self, node: NodeId, role: MemberRole) {
        let end = Instant::now() + PROPOSE_DEADLINE;
        let follows = |(voter, known): (bool, bool)| match role {
            MemberRole::Voter => voter,
            MemberRole::Learner => known && !voter,
            MemberRole::Removed => !known,
        };
        while Instant::now() < end {
            if follows(raft::standing(&self.control, node)) && follows(raft::standing(&self.audit, node)) {
                return;
            }
            sleep(COMPARE_INTERVAL / 4).await;
        }
        tracing::warn!(%node, ?role, "the groups' memberships do not follow yet");
    }

    /// Hands the leadership of a group to another voter. Only its leader can.
    pub(crate) async fn hand_over(&self, group: u32, to: NodeId) -> Result<(), String> {
        let (leader, voters) = match group {
            CONTROL_GROUP => (self.control_leader(), self.control_voters()),
            AUDIT_GROUP => (self.audit_leader(), raft::voters(&self.audit)),
            _ => return Err(format!("there is no group {group}")),
        };
        if leader != Some(self.home.node) {
            return Err(format!("node {} does not lead group {group}", self.home.node));
        }
        if !voters.contains(&to) {
            return Err(format!("node {to} does not vote in group {group}"));
        }
        if to == self.home.node {
            return Ok(());
        }
        let triggered = match group {
            CONTROL_GROUP => self.control.trigger().transfer_leader(to.0).await,
            _ => self.audit.trigger().transfer_leader(to.0).await,
        };
        triggered.map_err(|e| e.to_string())
    }

    /// The same from any node.
    pub(crate) async fn transfer(&self, group: u32, to: NodeId) -> Result<(), String> {
        let leader_of = || if group == CONTROL_GROUP { self.control_leader() } else { self.audit_leader() };
        let leader = leader_of().ok_or("no leader is known")?;
        if leader == self.home.node {
            self.hand_over(group, to).await?;
        } else {
            let question = wire::TransferRequest { to: to.0 };
            let answer: Outcome = ask(&*self.transport(), leader, Class::Control, Kind::Transfer, group, &question, RPC_DEADLINE)
                .await
                .map_err(|e| e.error.to_string())?;
            answer.refused.map_or(Ok(()), Err)?;
        }
        let end = Instant::now() + PROPOSE_DEADLINE;
        while leader_of() != Some(to) {
            if Instant::now() > end {
                return Err(format!("node {to} does not lead group {group} yet"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Leaves the serving set, gives up the lease, finishes records, and lets others lead.
    pub(crate) async fn drain(self: &Arc<Self>) -> Result<Option<Receipt>, ProposeError> {
        self.leaving.store(true, Ordering::Release);
        let flushed = self.flush_records(RPC_DEADLINE).await;
        if !flushed {
            tracing::warn!("some records are not committed yet while draining");
        }
        let command = Command::SetServing { node: self.home.node, serving: false };
        let left = self.narrow(self.own_proposal_id("drain"), Actor::Node(self.home.node), command).await;
        self.lease.give_up();
        for group in [CONTROL_GROUP, AUDIT_GROUP] {
            let (leader, voters) = match group {
                CONTROL_GROUP => (self.control_leader(), self.control_voters()),
                _ => (self.audit_leader(), raft::voters(&self.audit)),
            };
            let other = voters.into_iter().find(|v| *v != self.home.node);
            if let (true, Some(to)) = (leader == Some(self.home.node), other)
                && let Err(why) = self.transfer(group, to).await
            {
                tracing::warn!(group, why, "could not hand the leadership over");
            }
        }
        left.map(|(_, receipt)| receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::id::Index;
    use domain::member::{Member, Serving};

    fn state(roles: &[(u64, MemberRole)]) -> State {
        let mut state = State::default();
        for (id, role) in roles {
            let member = Member {
                id: NodeId(*id),
                address: format!("127.0.0.1:{id}"),
                admin_address: String::new(),
                checkpoint_keys: Default::default(),
                sealing_key: [0; 32],
                role: *role,
                serving: Serving::No { left: Index(0) },
                feature_level_max: 1,
                version: Index(1),
            };
            state.members.insert(NodeId(*id), member);
        }
        state
    }

    fn seen(me: u64, voters: &[u64], learners: &[u64], caught_up: &[u64]) -> Seen {
        let set = |ids: &[u64]| ids.iter().copied().collect();
        Seen { me, voters: set(voters), learners: set(learners), caught_up: set(caught_up) }
    }

    #[test]
    fn the_feature_level_rises_with_the_oldest_member() {
        let mut state = state(&[(1, MemberRole::Voter), (2, MemberRole::Voter), (3, MemberRole::Removed)]);
        let mut knows = |node: u64, level: u32| {
            let mut member = state.members[&NodeId(node)].clone();
            member.feature_level_max = level;
            state.members.insert(NodeId(node), member);
            state.cluster.feature_level = 1;
            risen(&state)
        };
        assert_eq!(knows(1, 2), None, "node 2 is of the old build");
        assert_eq!(knows(2, 3), Some(2), "node 3 has left");
        assert_eq!(knows(2, 1), None);
    }

    #[test]
    fn a_new_voter_learns_first_and_votes_when_it_caught_up() {
        use MemberRole::Voter;
        let log = state(&[(1, Voter), (2, Voter)]);
        let add = Step::AddLearner(2, "127.0.0.1:2".into());
        assert_eq!(next_step(&log, &seen(1, &[1], &[], &[])), Some(add));
        assert_eq!(next_step(&log, &seen(1, &[1], &[2], &[])), None);
        assert_eq!(next_step(&log, &seen(1, &[1], &[2], &[2])), Some(Step::Promote([2].into())));
        assert_eq!(next_step(&log, &seen(1, &[1, 2], &[], &[1, 2])), None);
    }

    #[test]
    fn a_removed_leader_hands_over_before_it_is_dropped() {
        use MemberRole::{Learner, Removed, Voter};
        let log = state(&[(1, Removed), (2, Voter), (3, Learner)]);
        assert_eq!(next_step(&log, &seen(1, &[1, 2], &[3], &[])), Some(Step::HandOver(2)));
        assert_eq!(next_step(&log, &seen(2, &[1, 2], &[3], &[])), Some(Step::DropVoter(1)));
        assert_eq!(next_step(&log, &seen(2, &[2], &[3], &[3])), None);
        // What the log does not know yet is left alone: the founder registers after the group began.
        assert_eq!(next_step(&state(&[]), &seen(1, &[1], &[], &[])), None);
        assert_eq!(next_step(&state(&[(1, Removed)]), &seen(1, &[1], &[], &[])), None);
    }
}
