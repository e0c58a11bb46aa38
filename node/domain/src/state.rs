//! The replicated control state: a persistent value, cheap to clone, changed only by [`crate::command::apply`].

pub mod rows;

use imbl::OrdMap;

use crate::command::Reply;
use crate::credential::Credential;
use crate::grant::Grant;
use crate::id::{Digest, GrantId, Index, LockId, Name, NodeId, ProposalId, RequestId, RevocationId, TokenId};
use crate::job::Job;
use crate::lock::Lock;
use crate::member::{JoinToken, Member, Receipt};
use crate::principal::Principal;
use crate::request::Request;
use crate::role::Role;
use crate::target::Target;
use crate::time::LogTime;

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
    pub members: OrdMap<NodeId, Member>,
    pub join_tokens: OrdMap<Digest, JoinToken>,
    pub receipts: OrdMap<RevocationId, Receipt>,
    /// Replies of recent proposals, so that a repeated one changes nothing twice. Bounded in time and number.
    pub proposals: OrdMap<ProposalId, Remembered>,

    // Indexes over the above, kept by `apply` and rebuilt on load.
    pub(crate) token_owner: OrdMap<Digest, (Name, TokenId)>,
    pub(crate) grants_of: OrdMap<(Name, GrantId), ()>,
    pub(crate) open_requests: OrdMap<(Name, Name, RequestId), ()>,
    /// Open or approved exact requests by the digest they are bound to.
    pub(crate) by_digest: OrdMap<Digest, RequestId>,
    /// For every principal and target: the index at which anything that admission reads about it last changed.
    pub(crate) touched_principal: OrdMap<Name, Index>,
    pub(crate) touched_target: OrdMap<Name, Index>,
    /// … and for everything that may touch anybody: roles, jobs, credentials, locks on sessions.
    pub(crate) touched_all: Index,
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub at: LogTime,
    pub reply: Reply,
}
