//! The rows of the state: what is written to disk and streamed in a snapshot, one row an entity.
//!
//! `apply` names the rows it changed ([`RowKey`]); [`crate::encoding::encode_row`] turns each into the bytes that go
//! into the same write batch as the applied index. Indexes are not rows: they are rebuilt on load.

use crate::id::{BreakGlassId, Digest, GrantId, HoldId, LockId, Name, NodeId, PolicyId, ProposalId, RequestId, ReviewId, RevocationId};
use crate::retention::{RecordClass, RetentionFacts};
use crate::state::State;

/// One row. The order of the variants is the order of the keys on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Applied index and log time: changed by every entry.
    Clock,
    /// [`crate::state::ClusterFacts`].
    Cluster,
    Member(NodeId),
    JoinToken(Digest),
    Principal(Name),
    Target(Name),
    Credential(Name),
    Role(Name),
    Job(Name),
    Grant(GrantId),
    Request(RequestId),
    Lock(LockId),
    Receipt(RevocationId),
    Proposal(ProposalId),
    Review(ReviewId),
    /// Items of a review, and the number of the chunk.
    ReviewItems(ReviewId, u32),
    /// What happened to one item, by its number.
    ReviewHistory(ReviewId, u32),
    /// What opens reviews by itself.
    Trigger(Name),
    /// What the last check of a target found.
    Findings(Name),
    Policy(PolicyId),
    Usage(GrantId),
    /// By principal and target.
    Denials(Name, Name),
    /// Rows by trigger and principal.
    Volume(Name, Name),
    Sink(Name),
    /// What became of delivering to it.
    SinkProgress(Name),
    Witness(Name),
    /// By witness and log.
    Cosigned(Name, String),
    BreakGlass(BreakGlassId),
    RetentionRule(RecordClass),
    Hold(HoldId),
    /// How far records were pruned.
    Retention,
}

impl State {
    /// Every row there is, in key order.
    pub fn row_keys(&self) -> impl Iterator<Item = RowKey> + '_ {
        let facts = [RowKey::Clock, RowKey::Cluster].into_iter();
        facts
            .chain(self.members.keys().map(|k| RowKey::Member(*k)))
            .chain(self.join_tokens.keys().map(|k| RowKey::JoinToken(*k)))
            .chain(self.principals.keys().map(|k| RowKey::Principal(k.clone())))
            .chain(self.targets.keys().map(|k| RowKey::Target(k.clone())))
            .chain(self.credentials.keys().map(|k| RowKey::Credential(k.clone())))
            .chain(self.roles.keys().map(|k| RowKey::Role(k.clone())))
            .chain(self.jobs.keys().map(|k| RowKey::Job(k.clone())))
            .chain(self.grants.keys().map(|k| RowKey::Grant(*k)))
            .chain(self.requests.keys().map(|k| RowKey::Request(*k)))
            .chain(self.locks.keys().map(|k| RowKey::Lock(*k)))
            .chain(self.receipts.keys().map(|k| RowKey::Receipt(*k)))
            .chain(self.proposals.keys().map(|k| RowKey::Proposal(k.clone())))
            .chain(self.reviews.keys().map(|k| RowKey::Review(*k)))
            .chain(self.review_items.keys().map(|(review, chunk)| RowKey::ReviewItems(*review, *chunk)))
            .chain(self.review_history.keys().map(|(review, item)| RowKey::ReviewHistory(*review, *item)))
            .chain(self.triggers.keys().map(|k| RowKey::Trigger(k.clone())))
            .chain(self.findings.keys().map(|k| RowKey::Findings(k.clone())))
            .chain(self.policies.keys().map(|k| RowKey::Policy(*k)))
            .chain(self.usage.keys().map(|k| RowKey::Usage(*k)))
            .chain(self.denials.keys().map(|(principal, target)| RowKey::Denials(principal.clone(), target.clone())))
            .chain(self.volumes.keys().map(|(trigger, principal)| RowKey::Volume(trigger.clone(), principal.clone())))
            .chain(self.sinks.keys().map(|k| RowKey::Sink(k.clone())))
            .chain(self.sink_progress.keys().map(|k| RowKey::SinkProgress(k.clone())))
            .chain(self.witnesses.keys().map(|k| RowKey::Witness(k.clone())))
            .chain(self.cosigned.keys().map(|(witness, log)| RowKey::Cosigned(witness.clone(), log.clone())))
            .chain(self.break_glass.keys().map(|k| RowKey::BreakGlass(*k)))
            .chain(self.retention_rules.keys().map(|k| RowKey::RetentionRule(*k)))
            .chain(self.holds.keys().map(|k| RowKey::Hold(*k)))
            .chain((*self.retention != RetentionFacts::default()).then_some(RowKey::Retention))
    }
}
