//! Commands: everything that changes the control state, one variant a verb. `apply` is the only door.

mod apply;
mod authority;
mod check;
mod feature;
mod narrowing;
mod notice;
mod step;
mod sweep;
#[cfg(test)]
mod tests;

mod activate_policy;
mod advance_sink;
mod break_glass;
mod close_review;
mod confirm_grant;
mod create_hold;
mod create_lock;
mod decide_items;
mod decide_request;
mod delete_credential;
mod delete_job;
mod delete_lock;
mod delete_principal;
mod delete_role;
mod delete_sink;
mod delete_target;
mod delete_trigger;
mod delete_witness;
mod file_cosignature;
mod file_receipt;
mod found_cluster;
mod hand_items;
mod issue_grant;
mod issue_token;
mod make_join_token;
mod open_request;
mod open_review;
mod prune_records;
mod publish_policy;
mod put_credential;
mod put_job;
mod put_principal;
mod put_role;
mod put_sink;
mod put_target;
mod put_trigger;
mod put_witness;
mod raise_feature_level;
mod register_node;
mod release_hold;
mod report_findings;
mod report_usage;
mod return_approval;
mod review_break_glass;
mod revoke_grant;
mod revoke_token;
mod rotate_checkpoint_key;
mod set_node_role;
mod set_retention;
mod set_serving;
mod spend_approval;
mod withdraw_request;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use advance_sink::Advance;
pub(crate) use apply::pass;
pub use apply::{Applied, Changes, apply};
pub use authority::authorize;
pub use decide_items::Decide;
pub use feature::{FEATURE_LEVEL_MAX, feature_level_max, is_known};
pub use found_cluster::{BUILT_IN_ROLES, CLIENT_ROLE};
pub use issue_grant::PRUNED;

use crate::credential::Sealed;
use crate::grant::{GrantSource, TargetSelector};
use crate::id::{
    BreakGlassId, Digest, GrantId, HoldId, Index, LockId, Name, NodeId, OperationId, PolicyId, ProposalId, RequestId, ReviewId,
    RevocationId, TokenId,
};
use crate::lock::LockOn;
use crate::member::{MemberRole, NodeReceipt};
use crate::operation::Protocol;
use crate::permission::PermissionSet;
use crate::principal::{PrincipalKind, ScramVerifier, TokenUse};
use crate::request::Ask;
use crate::retention::{Held, RecordClass, Runs};
use crate::review::Terms;
use crate::review::trigger::{Event, Finding};
use crate::sink;
use crate::target::UpstreamTls;
use crate::time::LogTime;
use crate::usage::{Denied, UsedGrant};
use crate::witness::Witness;

/// One entry of the control log, as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub id: ProposalId,
    /// Who proposes: a person or agent, or the cluster itself.
    pub actor: Actor,
    /// The proposer's stamp; log time is the maximum of all stamps so far, within bounds.
    pub stamp: LogTime,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Principal(Name),
    Node(NodeId),
    /// `cluster init` and `cluster recover`, run by whoever holds the machine.
    Operator,
}

/// Guards an update: the version the caller read, or `None` for "must not exist yet"; `Any` skips the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Version(Index),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    // cluster
    FoundCluster {
        id: String,
        incarnation: u64,
        recovery_key: [u8; 32],
        first_admin: Name,
        /// What the founder's release knows; 0 in logs of before this was said. It stands in the log because replicas of
        /// two releases must make the same of it.
        feature_level: u32,
    },
    RegisterNode {
        node: NodeId,
        address: String,
        admin_address: String,
        checkpoint_key: [u8; 32],
        sealing_key: [u8; 32],
        role: MemberRole,
        feature_level_max: u32,
        join_token: Option<Digest>,
    },
    SetNodeRole {
        node: NodeId,
        role: MemberRole,
    },
    SetServing {
        node: NodeId,
        serving: bool,
    },
    RotateCheckpointKey {
        node: NodeId,
        key: [u8; 32],
    },
    MakeJoinToken {
        lookup: Digest,
        valid: Duration,
    },
    RaiseFeatureLevel {
        level: u32,
    },
    /// Log time moves on although nothing else happens: expiry follows it.
    Tick,
    FileReceipt {
        revocation: RevocationId,
        nodes: Vec<NodeReceipt>,
    },
    /// What was done on a node since it last told.
    ReportUsage {
        grants: Vec<UsedGrant>,
        denials: Vec<Denied>,
    },

    // nouns
    PutPrincipal {
        name: Name,
        kind: PrincipalKind,
        active: bool,
        labels: BTreeMap<String, String>,
        expect: Expect,
    },
    DeletePrincipal {
        name: Name,
        expect: Expect,
    },
    IssueToken {
        principal: Name,
        usage: TokenUse,
        lookup: Digest,
        scram: ScramVerifier,
        label: String,
        expires: Option<LogTime>,
    },
    RevokeToken {
        principal: Name,
        token: TokenId,
    },
    PutTarget {
        name: Name,
        protocol: Protocol,
        address: String,
        tls: UpstreamTls,
        credential: Name,
        default_database: String,
        hold: Duration,
        request_expiry: Duration,
        approvals_needed: u32,
        owner: Option<Name>,
        labels: BTreeMap<String, String>,
        weak_cancel: bool,
        expect: Expect,
    },
    DeleteTarget {
        name: Name,
        expect: Expect,
    },
    PutCredential {
        name: Name,
        username: String,
        sealed: Sealed,
        expect: Expect,
    },
    DeleteCredential {
        name: Name,
        expect: Expect,
    },
    PutRole {
        name: Name,
        description: String,
        permissions: PermissionSet,
        expect: Expect,
    },
    DeleteRole {
        name: Name,
        expect: Expect,
    },
    PutJob {
        name: Name,
        purpose: String,
        owner: Name,
        backup_owner: Option<Name>,
        permissions: PermissionSet,
        roles: BTreeSet<Name>,
        data_classes: BTreeSet<String>,
        environments: BTreeSet<String>,
        expires: Option<LogTime>,
        expect: Expect,
    },
    DeleteJob {
        name: Name,
        expect: Expect,
    },

    // access
    IssueGrant {
        name: Option<Name>,
        principal: Name,
        target: TargetSelector,
        permissions: PermissionSet,
        roles: BTreeSet<Name>,
        valid_from: Option<LogTime>,
        expires: Option<LogTime>,
        review_due: Option<LogTime>,
        strict: bool,
        source: GrantSource,
    },
    RevokeGrant {
        grant: GrantId,
        reason: String,
    },
    ConfirmGrant {
        grant: GrantId,
    },
    OpenRequest {
        principal: Name,
        on_behalf_of: Option<Name>,
        target: Name,
        ask: Ask,
        reason: String,
    },
    DecideRequest {
        request: RequestId,
        approve: bool,
        reason: String,
    },
    WithdrawRequest {
        request: RequestId,
    },
    /// At most once, cluster-wide: the same operation may repeat it, any other finds it spent.
    SpendApproval {
        request: RequestId,
        digest: Digest,
        by: OperationId,
    },
    /// What was spent but provably never forwarded; only by the boot that spent it.
    ReturnApproval {
        request: RequestId,
        by: OperationId,
    },
    CreateLock {
        on: LockOn,
        reason: String,
        expires: Option<LogTime>,
    },
    DeleteLock {
        lock: LockId,
    },

    // reviews
    OpenReview {
        name: Name,
        terms: Terms,
    },
    /// All of them, or none.
    DecideItems {
        review: ReviewId,
        decisions: Vec<Decide>,
    },
    HandItems {
        review: ReviewId,
        items: Vec<u32>,
        to: Name,
        reason: String,
    },
    /// `digest` is that of the report the signer read.
    CloseReview {
        review: ReviewId,
        digest: Digest,
        statement: String,
        ends_series: bool,
    },
    /// Opens a review by itself when something happens.
    PutTrigger {
        name: Name,
        event: Event,
        terms: Terms,
        gather: Duration,
        expect: Expect,
    },
    DeleteTrigger {
        name: Name,
        expect: Expect,
    },
    /// What a check of a target found, in place of what the check before did.
    ReportFindings {
        target: Name,
        findings: Vec<Finding>,
    },

    // retention
    SetRetention {
        class: RecordClass,
        /// `None`: for ever.
        keep: Option<Duration>,
        reason: String,
    },
    /// The reply's version is the hold's id.
    CreateHold {
        on: Held,
        reason: String,
        two_people: bool,
    },
    ReleaseHold {
        hold: HoldId,
        reason: String,
    },
    /// Which bodies of the audit log go, under the rules and holds that were seen.
    PruneRecords {
        class: RecordClass,
        seen: Index,
        before: LogTime,
        /// Leaves looked at; those of `leaves` among them go.
        through: u64,
        leaves: Runs,
    },

    // policy
    /// Puts a bundle at hand; the reply's version is its id.
    PublishPolicy {
        bundle: Arc<[u8]>,
        digest: Digest,
        revision: String,
        /// Nobody activates what they published themselves.
        two_people: bool,
    },
    ActivatePolicy {
        policy: PolicyId,
    },
    RollbackPolicy,
    DeactivatePolicy,
    /// Whether every bundle needs a second person.
    SetPolicyRule {
        two_people: bool,
    },

    // break-glass
    /// Opens access at once, and the review that must follow. The reply is its grant.
    BreakGlass {
        principal: Name,
        target: Name,
        permissions: PermissionSet,
        length: Duration,
        review_within: Duration,
        reason: String,
        ticket: String,
    },
    ReviewBreakGlass {
        id: BreakGlassId,
        justified: bool,
        note: String,
    },

    // outbound
    PutSink {
        name: Name,
        terms: sink::Terms,
        /// `None`: as it is.
        sealed: Option<Sealed>,
        /// Where a new one begins.
        start: sink::Cursor,
        expect: Expect,
    },
    DeleteSink {
        name: Name,
        expect: Expect,
    },
    AdvanceSink(Advance),
    PutWitness {
        /// Its version is the log's to give.
        witness: Witness,
        expect: Expect,
    },
    DeleteWitness {
        name: Name,
        expect: Expect,
    },
    FileCosignature {
        witness: Name,
        note: String,
    },
}

/// What a command answers. A refusal is an answer, replicated like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done; the entity's new version.
    Done {
        version: Index,
    },
    Token(TokenId),
    Grant(GrantId),
    Request {
        request: RequestId,
        joined: bool,
    },
    Lock(LockId),
    Spent,
    Rejected(Rejection),
    Review(ReviewId),
}

/// Why a command was refused when it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("{what} does not exist")]
    NotFound { what: String },
    #[error("{what} exists already")]
    Exists { what: String },
    #[error("{what} was changed meanwhile: it is at version {current}, not {expected}")]
    Conflict { what: String, expected: Index, current: Index },
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    #[error("{what} is still used by {by}")]
    InUse { what: String, by: String },
    #[error("nobody decides on their own access: {who} {why}")]
    SeparationOfDuties { who: Name, why: String },
    #[error("{request} is {status}")]
    NotOpen { request: RequestId, status: String },
    #[error("{request} was spent by another operation")]
    AlreadySpent { request: RequestId },
    #[error("at most {limit} requests may be pending {scope}")]
    TooMany { limit: u32, scope: String },
    #[error("this cluster is at feature level {level}; the command needs {needed}")]
    FeatureLevel { level: u32, needed: u32 },
    #[error("the actor may not do this: {message}")]
    Forbidden { message: String },
    #[error("{review} is closed")]
    ReviewClosed { review: ReviewId },
}
