//! The replicated control state: a persistent value, cheap to clone, changed only by [`crate::command::apply`].

pub mod rows;

mod decision;
mod indexes;
mod query;
mod reviews;

use std::sync::Arc;

use imbl::OrdMap;

use crate::break_glass::BreakGlass;
use crate::command::Reply;
use crate::credential::Credential;
use crate::grant::Grant;
use crate::id::{
    BreakGlassId, Digest, GrantId, HoldId, Index, LockId, Name, NodeId, PolicyId, ProposalId, RequestId, ReviewId, RevocationId,
};
use crate::job::Job;
use crate::lock::Lock;
use crate::member::{JoinToken, Member, Receipt};
use crate::policy::{Policy, PolicyFacts};
use crate::principal::Principal;
use crate::request::Request;
use crate::retention::{LegalHold, RecordClass, RetentionFacts, Rule};
use crate::review::trigger::{TargetFindings, Trigger, Volume};
use crate::review::{Chunk, History, Review};
use crate::role::Role;
use crate::sink::{Progress, Sink};
use crate::target::Target;
use crate::time::LogTime;
use crate::usage::{Denials, GrantUsage};
use crate::witness::{Cosigned, Witness};
pub(crate) use indexes::{Due, Indexes, Used};

#[derive(Debug, Clone, Default)]
pub struct State {
    /// Last applied entry, and the log time it stands at.
    pub applied: Index,
    pub now: LogTime,
    pub cluster: ClusterFacts,
    pub principals: OrdMap<Name, Principal>,
    pub targets: OrdMap<Name, Target>,
    pub credentials: OrdMap<Name, Credential>,
    pub roles: OrdMap<Name, Role>,
    pub jobs: OrdMap<Name, Job>,
    pub grants: OrdMap<GrantId, Grant>,
    pub requests: OrdMap<RequestId, Request>,
    pub locks: OrdMap<LockId, Lock>,
    pub reviews: OrdMap<ReviewId, Review>,
    /// By review and number of the chunk.
    pub review_items: OrdMap<(ReviewId, u32), Arc<Chunk>>,
    /// By review and number of the item; only of items that something happened to.
    pub review_history: OrdMap<(ReviewId, u32), History>,
    pub triggers: OrdMap<Name, Trigger>,
    /// By trigger and principal.
    pub volumes: OrdMap<(Name, Name), Volume>,
    /// By target: what its last check found.
    pub findings: OrdMap<Name, TargetFindings>,
    pub members: OrdMap<NodeId, Member>,
    pub join_tokens: OrdMap<Digest, JoinToken>,
    pub receipts: OrdMap<RevocationId, Receipt>,
    pub policies: OrdMap<PolicyId, Policy>,
    pub usage: OrdMap<GrantId, Arc<GrantUsage>>,
    /// By principal and target.
    pub denials: OrdMap<(Name, Name), Denials>,
    pub sinks: OrdMap<Name, Sink>,
    /// One for each sink. Apart from it, because it changes with every delivery.
    pub sink_progress: OrdMap<Name, Progress>,
    pub witnesses: OrdMap<Name, Witness>,
    /// By witness and log.
    pub cosigned: OrdMap<(Name, String), Cosigned>,
    pub break_glass: OrdMap<BreakGlassId, BreakGlass>,
    pub retention_rules: OrdMap<RecordClass, Rule>,
    pub holds: OrdMap<HoldId, LegalHold>,
    /// Shared: it holds the last plans, and the state is cloned with every entry.
    pub retention: Arc<RetentionFacts>,
    /// Replies of recent proposals, so that a repeated one changes nothing twice. Bounded in time and number.
    pub proposals: OrdMap<ProposalId, Remembered>,

    /// Kept by `apply` and rebuilt by [`State::rebuild_indexes`] on load; never stored.
    pub(crate) indexes: Indexes,
}

/// What is true of the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterFacts {
    pub id: String,
    /// Raised by `cluster recover`; part of certificates, approval digests and checkpoint origins.
    pub incarnation: u64,
    pub feature_level: u32,
    /// The last narrowing command (DESIGN §4).
    pub narrowed: Index,
    /// Public half of the recovery key.
    pub recovery_key: [u8; 32],
    /// `None` until there was a command about policy.
    pub policy: Option<PolicyFacts>,
    /// Since when the nodes report use.
    pub usage_since: Option<LogTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub at: LogTime,
    pub reply: Reply,
}
