//! Stored forms of the entities: what the rows of the state hold.

use std::collections::BTreeMap;

use super::DecodeError;
use super::commands::reply;
use super::parts::{
    StoredAccess, StoredDecision, StoredNodeReceipt, StoredPermission, StoredReviewed, StoredScope, StoredScram, StoredSealed, ask, choice,
    destination, grant_source, grant_status, lock_on, principal_kind, request_status, review_status, reviewers, serving, target_selector,
    trigger_event, upstream_tls,
};
use super::wire::{Wire, stored_enum, stored_struct};
use crate::break_glass::{BreakGlass, Reviewed};
use crate::credential::Credential;
use crate::grant::Grant;
use crate::id::{Index, Name, TokenId};
use crate::job::Job;
use crate::lock::Lock;
use crate::member::{JoinToken, Member, Receipt};
use crate::policy::{Policy, PolicyFacts};
use crate::principal::{Principal, Token};
use crate::request::{Decision, Request};
use crate::retention::{Held, LegalHold, Plan, Pruning, RecordClass, RetentionFacts, Rule, Runs};
use crate::review::trigger::{Cause, Finding, Opening, Pending, TargetFindings, Trigger, Triggered, Volume};
use crate::review::{Chunk, Handed, History, Item, ItemDecision, Review, Subject, Terms};
use crate::role::Role;
use crate::sink::{Cursor, Failing, Progress, Selection, Sink, Terms as SinkTerms};
use crate::state::{ClusterFacts, Remembered};
use crate::target::Target;
use crate::time::LogTime;
use crate::usage::{Count, Denials, GrantUsage, Seen};
use crate::witness::{Cosigned, CosignedHead, Witness};

/// What the clock row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) applied: Index,
    pub(crate) now: LogTime,
}

stored_struct!(StoredClock = Clock {
    applied: u64 [uint64, tag = 1],
    now: u64 [uint64, tag = 2],
});

stored_struct!(StoredFacts = ClusterFacts {
    id: String [string, tag = 1],
    incarnation: u64 [uint64, tag = 2],
    feature_level: u32 [uint32, tag = 3],
    narrowed: u64 [uint64, tag = 4],
    recovery_key: Vec<u8> [bytes = "vec", tag = 5],
    policy: Option<StoredPolicyFacts> [message, optional, tag = 20],
    usage_since: Option<u64> [uint64, optional, tag = 21],
});

stored_struct!(StoredPolicyFacts = PolicyFacts {
    active: Option<u64> [uint64, optional, tag = 1],
    before: Vec<u64> [uint64, repeated, tag = 2],
    two_people: bool [bool, tag = 3],
    changed: u64 [uint64, tag = 4],
});

stored_struct!(StoredPolicy = Policy {
    id: u64 [uint64, tag = 1],
    bundle: Vec<u8> [bytes = "vec", tag = 2],
    digest: Vec<u8> [bytes = "vec", tag = 3],
    revision: String [string, tag = 4],
    two_people: bool [bool, tag = 5],
    published_by: String [string, tag = 6],
    published: u64 [uint64, tag = 7],
    version: u64 [uint64, tag = 8],
});

stored_struct!(StoredCount = Count {
    first: u64 [uint64, tag = 1],
    last: u64 [uint64, tag = 2],
    operations: u64 [uint64, tag = 3],
    rows: u64 [uint64, tag = 4],
});

stored_struct!(StoredSeen = Seen {
    access: StoredAccess [message, required, tag = 1],
    count: StoredCount [message, required, tag = 2],
});

stored_struct!(StoredUsage = GrantUsage {
    grant: u64 [uint64, tag = 1],
    total: StoredCount [message, required, tag = 2],
    seen: Vec<StoredSeen> [message, repeated, tag = 3],
    by_roles: StoredCount [message, required, tag = 4],
    more: StoredCount [message, required, tag = 5],
});

stored_struct!(StoredDenials = Denials {
    principal: String [string, tag = 1],
    target: String [string, tag = 2],
    count: StoredCount [message, required, tag = 3],
});

stored_struct!(StoredBreakGlass = BreakGlass {
    id: u64 [uint64, tag = 1],
    by: String [string, tag = 2],
    principal: String [string, tag = 3],
    target: String [string, tag = 4],
    grant: u64 [uint64, tag = 5],
    reason: String [string, tag = 6],
    ticket: String [string, tag = 7],
    opened: u64 [uint64, tag = 8],
    expires: u64 [uint64, tag = 9],
    review_due: u64 [uint64, tag = 10],
    conflicted: Vec<String> [string, repeated, tag = 11],
    review: Option<StoredAfterwards> [message, optional, tag = 12],
    version: u64 [uint64, tag = 13],
});

stored_struct!(StoredAfterwards = Reviewed {
    by: String [string, tag = 1],
    at: u64 [uint64, tag = 2],
    justified: bool [bool, tag = 3],
    note: String [string, tag = 4],
});

stored_struct!(StoredSelection = Selection {
    events: Vec<u32> [uint32, repeated, tag = 1],
    logs: Vec<u32> [uint32, repeated, tag = 2],
});

stored_struct!(StoredSinkTerms = SinkTerms {
    destination: destination::Stored [message, required, tag = 1],
    selection: StoredSelection [message, required, tag = 2],
    roots_pem: String [string, tag = 3],
    give_up: Option<u64> [uint64, optional, tag = 4],
    active: bool [bool, tag = 5],
});

stored_struct!(StoredSink = Sink {
    name: String [string, tag = 1],
    terms: StoredSinkTerms [message, required, tag = 2],
    sealed: Option<StoredSealed> [message, optional, tag = 3],
    created: u64 [uint64, tag = 4],
    version: u64 [uint64, tag = 5],
});

stored_struct!(StoredCursor = Cursor {
    control: u64 [uint64, tag = 1],
    audit: u64 [uint64, tag = 2],
    time: u64 [uint64, tag = 3],
});

stored_struct!(StoredFailing = Failing {
    since: u64 [uint64, tag = 1],
    attempts: u32 [uint32, tag = 2],
    error: String [string, tag = 3],
});

stored_struct!(StoredProgress = Progress {
    sink: String [string, tag = 1],
    created: u64 [uint64, tag = 2],
    cursor: StoredCursor [message, required, tag = 3],
    delivered: u64 [uint64, tag = 4],
    abandoned: u64 [uint64, tag = 5],
    last_delivered: Option<u64> [uint64, optional, tag = 6],
    failing: Option<StoredFailing> [message, optional, tag = 7],
});

stored_struct!(StoredWitness = Witness {
    name: String [string, tag = 1],
    url: String [string, tag = 2],
    key: String [string, tag = 3],
    roots_pem: String [string, tag = 4],
    interval: u64 [uint64, tag = 5],
    version: u64 [uint64, tag = 6],
});

stored_struct!(StoredCosignedHead = CosignedHead {
    size: u64 [uint64, tag = 1],
    note: String [string, tag = 2],
    filed: u64 [uint64, tag = 3],
});

stored_struct!(StoredCosigned = Cosigned {
    witness: String [string, tag = 1],
    log: String [string, tag = 2],
    heads: Vec<StoredCosignedHead> [message, repeated, tag = 3],
});

/// A checkpoint key, and the index from which it counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredCheckpointKey {
    #[prost(uint64, tag = 1)]
    from: u64,
    #[prost(bytes = "vec", tag = 2)]
    key: Vec<u8>,
}

impl Wire for BTreeMap<Index, [u8; 32]> {
    type Stored = Vec<StoredCheckpointKey>;

    fn store(&self) -> Self::Stored {
        self.iter().map(|(from, key)| StoredCheckpointKey { from: from.0, key: key.to_vec() }).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.into_iter().map(|entry| Ok((Index(entry.from), Wire::load(entry.key)?))).collect()
    }
}

stored_struct!(StoredMember = Member {
    id: u64 [uint64, tag = 1],
    address: String [string, tag = 2],
    admin_address: String [string, tag = 3],
    checkpoint_keys: Vec<StoredCheckpointKey> [message, repeated, tag = 4],
    sealing_key: Vec<u8> [bytes = "vec", tag = 5],
    role: u32 [uint32, tag = 6],
    serving: serving::Stored [message, required, tag = 7],
    feature_level_max: u32 [uint32, tag = 8],
    version: u64 [uint64, tag = 9],
});

stored_struct!(StoredJoinToken = JoinToken {
    lookup: Vec<u8> [bytes = "vec", tag = 1],
    expires: u64 [uint64, tag = 2],
    made_by: String [string, tag = 3],
    spent_by: Option<u64> [uint64, optional, tag = 4],
});

stored_struct!(StoredToken = Token {
    id: u64 [uint64, tag = 1],
    usage: u32 [uint32, tag = 2],
    lookup: Vec<u8> [bytes = "vec", tag = 3],
    scram: StoredScram [message, required, tag = 4],
    label: String [string, tag = 5],
    expires: Option<u64> [uint64, optional, tag = 6],
    issued_by: String [string, tag = 7],
    issued: u64 [uint64, tag = 8],
    review_due: Option<u64> [uint64, optional, tag = 9],
});

/// A token stands under its own id.
impl Wire for BTreeMap<TokenId, Token> {
    type Stored = Vec<StoredToken>;

    fn store(&self) -> Self::Stored {
        self.values().map(Wire::store).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.into_iter().map(|token| Token::load(token).map(|token| (token.id, token))).collect()
    }
}

stored_struct!(StoredPrincipal = Principal {
    name: String [string, tag = 1],
    kind: principal_kind::Stored [message, required, tag = 2],
    active: bool [bool, tag = 3],
    tokens: Vec<StoredToken> [message, repeated, tag = 4],
    labels: BTreeMap<String, String> [btree_map = "string, string", tag = 5],
    version: u64 [uint64, tag = 6],
    narrowed: u64 [uint64, tag = 7],
});

stored_struct!(StoredTarget = Target {
    name: String [string, tag = 1],
    protocol: u32 [uint32, tag = 2],
    address: String [string, tag = 3],
    tls: upstream_tls::Stored [message, required, tag = 4],
    credential: String [string, tag = 5],
    default_database: String [string, tag = 6],
    hold: u64 [uint64, tag = 7],
    request_expiry: u64 [uint64, tag = 8],
    approvals_needed: u32 [uint32, tag = 9],
    owner: Option<String> [string, optional, tag = 10],
    labels: BTreeMap<String, String> [btree_map = "string, string", tag = 11],
    weak_cancel: bool [bool, tag = 12],
    version: u64 [uint64, tag = 13],
    narrowed: u64 [uint64, tag = 14],
});

stored_struct!(StoredCredential = Credential {
    name: String [string, tag = 1],
    username: String [string, tag = 2],
    sealed: StoredSealed [message, required, tag = 3],
    version: u64 [uint64, tag = 4],
    narrowed: u64 [uint64, tag = 5],
});

stored_struct!(StoredRole = Role {
    name: String [string, tag = 1],
    description: String [string, tag = 2],
    permissions: Vec<StoredPermission> [message, repeated, tag = 3],
    version: u64 [uint64, tag = 4],
    narrowed: u64 [uint64, tag = 5],
});

stored_struct!(StoredJob = Job {
    name: String [string, tag = 1],
    purpose: String [string, tag = 2],
    owner: String [string, tag = 3],
    backup_owner: Option<String> [string, optional, tag = 4],
    permissions: Vec<StoredPermission> [message, repeated, tag = 5],
    roles: Vec<String> [string, repeated, tag = 6],
    data_classes: Vec<String> [string, repeated, tag = 7],
    environments: Vec<String> [string, repeated, tag = 8],
    expires: Option<u64> [uint64, optional, tag = 9],
    version: u64 [uint64, tag = 10],
    narrowed: u64 [uint64, tag = 11],
});

stored_struct!(StoredGrant = Grant {
    id: u64 [uint64, tag = 1],
    name: Option<String> [string, optional, tag = 2],
    principal: String [string, tag = 3],
    target: target_selector::Stored [message, required, tag = 4],
    permissions: Vec<StoredPermission> [message, repeated, tag = 5],
    roles: Vec<String> [string, repeated, tag = 6],
    valid_from: Option<u64> [uint64, optional, tag = 7],
    expires: Option<u64> [uint64, optional, tag = 8],
    review_due: Option<u64> [uint64, optional, tag = 9],
    strict: bool [bool, tag = 10],
    source: grant_source::Stored [message, required, tag = 11],
    status: grant_status::Stored [message, required, tag = 12],
    granted_by: String [string, tag = 13],
    granted: u64 [uint64, tag = 14],
    version: u64 [uint64, tag = 15],
    narrowed: u64 [uint64, tag = 16],
    under_review: Option<u64> [uint64, optional, tag = 17],
});

/// A decision and whose it is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredApproval {
    #[prost(string, tag = 1)]
    name: String,
    #[prost(message, required, tag = 2)]
    decision: StoredDecision,
}

impl Wire for BTreeMap<Name, Decision> {
    type Stored = Vec<StoredApproval>;

    fn store(&self) -> Self::Stored {
        self.iter().map(|(name, decision)| StoredApproval { name: name.store(), decision: decision.store() }).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.into_iter().map(|entry| Ok((Name::load(entry.name)?, Decision::load(entry.decision)?))).collect()
    }
}

stored_struct!(StoredRequest = Request {
    id: u64 [uint64, tag = 1],
    principal: String [string, tag = 2],
    on_behalf_of: Option<String> [string, optional, tag = 3],
    target: String [string, tag = 4],
    ask: ask::Stored [message, required, tag = 5],
    reason: String [string, tag = 6],
    needed: u32 [uint32, tag = 7],
    approvals: Vec<StoredApproval> [message, repeated, tag = 8],
    status: request_status::Stored [message, required, tag = 9],
    opened: u64 [uint64, tag = 10],
    expires: u64 [uint64, tag = 11],
    joined: u64 [uint64, tag = 12],
    version: u64 [uint64, tag = 13],
    conflicted: Vec<String> [string, repeated, tag = 14],
});

stored_struct!(StoredTerms = Terms {
    basis: String [string, tag = 1],
    scope: StoredScope [message, required, tag = 2],
    stages: Vec<reviewers::Stored> [message, repeated, tag = 3],
    fallback: Vec<String> [string, repeated, tag = 4],
    escalates: Option<u64> [uint64, optional, tag = 5],
    length: u64 [uint64, tag = 6],
    overdue: u32 [uint32, tag = 7],
    certifies: u64 [uint64, tag = 8],
    rationale_from: Option<u32> [uint32, optional, tag = 9],
    repeats: Option<u64> [uint64, optional, tag = 10],
});

stored_struct!(StoredReview = Review {
    id: u64 [uint64, tag = 1],
    name: String [string, tag = 2],
    terms: StoredTerms [message, required, tag = 3],
    opened_by: String [string, tag = 4],
    opened: u64 [uint64, tag = 5],
    items: u32 [uint32, tag = 6],
    undecided: u32 [uint32, tag = 7],
    worked: u32 [uint32, tag = 8],
    repeats_at: Option<u64> [uint64, optional, tag = 9],
    status: review_status::Stored [message, required, tag = 10],
    version: u64 [uint64, tag = 11],
    trigger: Option<StoredTriggered> [message, optional, tag = 12],
});

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredCause {
    #[prost(string, tag = 1)]
    about: String,
    #[prost(uint64, tag = 2)]
    at: u64,
    #[prost(uint64, tag = 3)]
    index: u64,
    #[prost(string, tag = 4)]
    what: String,
    #[prost(uint64, tag = 5)]
    count: u64,
    #[prost(uint64, tag = 6)]
    usual: u64,
}

impl Wire for BTreeMap<Name, Cause> {
    type Stored = Vec<StoredCause>;

    fn store(&self) -> Self::Stored {
        let cause = |(about, Cause { at, index, what, count, usual }): (&Name, &Cause)| StoredCause {
            about: about.store(),
            at: at.0,
            index: index.0,
            what: what.clone(),
            count: *count,
            usual: *usual,
        };
        self.iter().map(cause).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        let cause = |StoredCause { about, at, index, what, count, usual }: StoredCause| {
            Ok((Name::load(about)?, Cause { at: LogTime(at), index: Index(index), what, count, usual }))
        };
        stored.into_iter().map(cause).collect()
    }
}

stored_struct!(StoredTriggered = Triggered {
    trigger: String [string, tag = 1],
    event: trigger_event::Stored [message, required, tag = 2],
    causes: Vec<StoredCause> [message, repeated, tag = 3],
    more: bool [bool, tag = 4],
});

stored_struct!(StoredPending = Pending {
    since: u64 [uint64, tag = 1],
    causes: Vec<StoredCause> [message, repeated, tag = 2],
    more: bool [bool, tag = 3],
});

stored_struct!(StoredOpening = Opening {
    at: u64 [uint64, tag = 1],
    review: Option<u64> [uint64, optional, tag = 2],
});

stored_struct!(StoredTrigger = Trigger {
    name: String [string, tag = 1],
    event: trigger_event::Stored [message, required, tag = 2],
    terms: StoredTerms [message, required, tag = 3],
    gather: u64 [uint64, tag = 4],
    by: String [string, tag = 5],
    pending: Option<StoredPending> [message, optional, tag = 6],
    looked: u64 [uint64, tag = 7],
    last: Option<StoredOpening> [message, optional, tag = 8],
    version: u64 [uint64, tag = 9],
});

stored_struct!(StoredVolume = Volume {
    trigger: String [string, tag = 1],
    principal: String [string, tag = 2],
    window: u64 [uint64, tag = 3],
    rows: u64 [uint64, tag = 4],
    told: bool [bool, tag = 5],
    past: Vec<u64> [uint64, repeated, tag = 6],
});

stored_struct!(StoredFinding = Finding {
    risk: u32 [uint32, tag = 1],
    code: String [string, tag = 2],
    text: String [string, tag = 3],
});

stored_struct!(StoredFindings = TargetFindings {
    target: String [string, tag = 1],
    at: u64 [uint64, tag = 2],
    findings: Vec<StoredFinding> [message, repeated, tag = 3],
});

stored_enum!(subject = Subject {
    1 Grant { grant(0): StoredGrant [message, required, tag = 1] },
    2 Token {
        id: u64 [uint64, tag = 1],
        usage: u32 [uint32, tag = 2],
        label: String [string, tag = 3],
        issued_by: String [string, tag = 4],
        issued: u64 [uint64, tag = 5],
        expires: Option<u64> [uint64, optional, tag = 6],
    },
});

stored_struct!(StoredItem = Item {
    subject: subject::Stored [message, required, tag = 1],
    principal: String [string, tag = 2],
    conflicted: Vec<String> [string, repeated, tag = 3],
    risk: u32 [uint32, tag = 4],
});

stored_struct!(StoredChunk = Chunk {
    review: u64 [uint64, tag = 1],
    number: u32 [uint32, tag = 2],
    items: Vec<StoredItem> [message, repeated, tag = 3],
});

stored_struct!(StoredItemDecision = ItemDecision {
    by: String [string, tag = 1],
    at: u64 [uint64, tag = 2],
    index: u64 [uint64, tag = 3],
    stage: u32 [uint32, tag = 4],
    seen: u64 [uint64, tag = 5],
    choice: choice::Stored [message, required, tag = 6],
    before: Option<StoredReviewed> [message, optional, tag = 7],
    rationale: String [string, tag = 8],
});

stored_struct!(StoredHanded = Handed {
    to: String [string, tag = 1],
    by: String [string, tag = 2],
    at: u64 [uint64, tag = 3],
    index: u64 [uint64, tag = 4],
    reason: String [string, tag = 5],
    stage: u32 [uint32, tag = 6],
});

stored_struct!(StoredHistory = History {
    decisions: Vec<StoredItemDecision> [message, repeated, tag = 1],
    handed: Vec<StoredHanded> [message, repeated, tag = 2],
    ended: Option<u64> [uint64, optional, tag = 3],
});

stored_struct!(StoredLock = Lock {
    id: u64 [uint64, tag = 1],
    on: lock_on::Stored [message, required, tag = 2],
    reason: String [string, tag = 3],
    by: String [string, tag = 4],
    created: u64 [uint64, tag = 5],
    expires: Option<u64> [uint64, optional, tag = 6],
    version: u64 [uint64, tag = 7],
});

stored_struct!(StoredReceipt = Receipt {
    revocation: u64 [uint64, tag = 1],
    nodes: Vec<StoredNodeReceipt> [message, repeated, tag = 2],
    made: u64 [uint64, tag = 3],
});

stored_struct!(StoredRemembered = Remembered {
    at: u64 [uint64, tag = 1],
    reply: reply::Stored [message, required, tag = 2],
});

stored_struct!(StoredRetentionRule = Rule {
    class: u32 [uint32, tag = 1],
    keep: Option<u64> [uint64, optional, tag = 2],
    reason: String [string, tag = 3],
    by: String [string, tag = 4],
    at: u64 [uint64, tag = 5],
    version: u64 [uint64, tag = 6],
});

stored_struct!(StoredHeld = Held {
    principal: Option<String> [string, optional, tag = 1],
    target: Option<String> [string, optional, tag = 2],
    run: Option<String> [string, optional, tag = 3],
    from: Option<u64> [uint64, optional, tag = 4],
    until: Option<u64> [uint64, optional, tag = 5],
});

stored_struct!(StoredHold = LegalHold {
    id: u64 [uint64, tag = 1],
    on: StoredHeld [message, required, tag = 2],
    reason: String [string, tag = 3],
    by: String [string, tag = 4],
    at: u64 [uint64, tag = 5],
    two_people: bool [bool, tag = 6],
});

impl Wire for Runs {
    type Stored = Vec<u64>;

    fn store(&self) -> Vec<u64> {
        self.as_pairs().to_vec()
    }

    fn load(stored: Vec<u64>) -> Result<Self, DecodeError> {
        Runs::from_pairs(stored).ok_or_else(|| DecodeError::Value("runs of leaves: not in order".into()))
    }
}

stored_struct!(StoredPlan = Plan {
    index: u64 [uint64, tag = 1],
    at: u64 [uint64, tag = 2],
    before: u64 [uint64, tag = 3],
    leaves: Vec<u64> [uint64, repeated, tag = 4],
});

stored_struct!(StoredPruning = Pruning {
    class: u32 [uint32, tag = 1],
    through: u64 [uint64, tag = 2],
    pruned: u64 [uint64, tag = 3],
    last: Option<StoredPlan> [message, optional, tag = 4],
});

impl Wire for BTreeMap<RecordClass, Pruning> {
    type Stored = Vec<StoredPruning>;

    fn store(&self) -> Self::Stored {
        self.values().map(Wire::store).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.into_iter().map(|one| Pruning::load(one).map(|pruning| (pruning.class, pruning))).collect()
    }
}

stored_struct!(StoredRetention = RetentionFacts {
    changed: u64 [uint64, tag = 1],
    progress: Vec<StoredPruning> [message, repeated, tag = 2],
});
