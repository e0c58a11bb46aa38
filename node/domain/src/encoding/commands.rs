//! Stored forms of what goes into the control log, and of what it answers.

use std::collections::BTreeMap;

use super::entities::{StoredCursor, StoredFinding, StoredHeld, StoredSinkTerms, StoredTerms, StoredWitness};
use super::parts::{
    StoredAccess, StoredNodeReceipt, StoredOperation, StoredPermission, StoredScram, StoredSealed, actor, ask, choice, expect,
    grant_source, lock_on, principal_kind, target_selector, trigger_event, upstream_tls,
};
use super::wire::{stored_enum, stored_struct};
use crate::command::{Advance, Command, Decide, Proposal, Rejection, Reply};
use crate::usage::{Denied, UsedAccess, UsedGrant};

stored_struct!(StoredDecide = Decide {
    item: u32 [uint32, tag = 1],
    seen: u64 [uint64, tag = 2],
    choice: choice::Stored [message, required, tag = 3],
    rationale: String [string, tag = 4],
});

stored_struct!(StoredUsedAccess = UsedAccess {
    access: StoredAccess [message, required, tag = 1],
    operations: u64 [uint64, tag = 2],
    rows: u64 [uint64, tag = 3],
});

stored_struct!(StoredUsedGrant = UsedGrant {
    grant: u64 [uint64, tag = 1],
    operations: u64 [uint64, tag = 2],
    rows: u64 [uint64, tag = 3],
    accesses: Vec<StoredUsedAccess> [message, repeated, tag = 4],
});

stored_struct!(StoredDenied = Denied {
    principal: String [string, tag = 1],
    target: String [string, tag = 2],
    operations: u64 [uint64, tag = 3],
});

stored_struct!(StoredAdvance = Advance {
    sink: String [string, tag = 1],
    created: u64 [uint64, tag = 2],
    from: StoredCursor [message, required, tag = 3],
    to: StoredCursor [message, required, tag = 4],
    delivered: u64 [uint64, tag = 5],
    abandoned: u64 [uint64, tag = 6],
    error: Option<String> [string, optional, tag = 7],
});

stored_struct!(StoredProposal = Proposal {
    id: String [string, tag = 1],
    actor: actor::Stored [message, required, tag = 2],
    stamp: u64 [uint64, tag = 3],
    command: command::Stored [message, required, tag = 4],
});

// Tags: 1–19 cluster, 20–49 nouns, 50–79 access, 80–89 reviews and their triggers, 90–95 retention, 100–109 policy, 110–119 outbound, 120–129 break-glass.
stored_enum!(command = Command {
    1 FoundCluster {
        id: String [string, tag = 1],
        incarnation: u64 [uint64, tag = 2],
        recovery_key: Vec<u8> [bytes = "vec", tag = 3],
        first_admin: String [string, tag = 4],
        feature_level: u32 [uint32, tag = 5],
    },
    2 RegisterNode {
        node: u64 [uint64, tag = 1],
        address: String [string, tag = 2],
        admin_address: String [string, tag = 3],
        checkpoint_key: Vec<u8> [bytes = "vec", tag = 4],
        sealing_key: Vec<u8> [bytes = "vec", tag = 5],
        role: u32 [uint32, tag = 6],
        feature_level_max: u32 [uint32, tag = 7],
        join_token: Option<Vec<u8>> [bytes = "vec", optional, tag = 8],
    },
    3 SetNodeRole {
        node: u64 [uint64, tag = 1],
        role: u32 [uint32, tag = 2],
    },
    4 SetServing {
        node: u64 [uint64, tag = 1],
        serving: bool [bool, tag = 2],
    },
    5 RotateCheckpointKey {
        node: u64 [uint64, tag = 1],
        key: Vec<u8> [bytes = "vec", tag = 2],
    },
    6 MakeJoinToken {
        lookup: Vec<u8> [bytes = "vec", tag = 1],
        valid: u64 [uint64, tag = 2],
    },
    7 RaiseFeatureLevel { level: u32 [uint32, tag = 1] },
    8 Tick {},
    9 FileReceipt {
        revocation: u64 [uint64, tag = 1],
        nodes: Vec<StoredNodeReceipt> [message, repeated, tag = 2],
    },

    20 PutPrincipal {
        name: String [string, tag = 1],
        kind: principal_kind::Stored [message, required, tag = 2],
        active: bool [bool, tag = 3],
        labels: BTreeMap<String, String> [btree_map = "string, string", tag = 4],
        expect: expect::Stored [message, required, tag = 5],
    },
    21 DeletePrincipal {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    22 IssueToken {
        principal: String [string, tag = 1],
        usage: u32 [uint32, tag = 2],
        lookup: Vec<u8> [bytes = "vec", tag = 3],
        scram: StoredScram [message, required, tag = 4],
        label: String [string, tag = 5],
        expires: Option<u64> [uint64, optional, tag = 6],
    },
    23 RevokeToken {
        principal: String [string, tag = 1],
        token: u64 [uint64, tag = 2],
    },
    24 PutTarget {
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
        expect: expect::Stored [message, required, tag = 13],
    },
    25 DeleteTarget {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    26 PutCredential {
        name: String [string, tag = 1],
        username: String [string, tag = 2],
        sealed: StoredSealed [message, required, tag = 3],
        expect: expect::Stored [message, required, tag = 4],
    },
    27 DeleteCredential {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    28 PutRole {
        name: String [string, tag = 1],
        description: String [string, tag = 2],
        permissions: Vec<StoredPermission> [message, repeated, tag = 3],
        expect: expect::Stored [message, required, tag = 4],
    },
    29 DeleteRole {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    30 PutJob {
        name: String [string, tag = 1],
        purpose: String [string, tag = 2],
        owner: String [string, tag = 3],
        backup_owner: Option<String> [string, optional, tag = 4],
        permissions: Vec<StoredPermission> [message, repeated, tag = 5],
        roles: Vec<String> [string, repeated, tag = 6],
        data_classes: Vec<String> [string, repeated, tag = 7],
        environments: Vec<String> [string, repeated, tag = 8],
        expires: Option<u64> [uint64, optional, tag = 9],
        expect: expect::Stored [message, required, tag = 10],
    },
    31 DeleteJob {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },

    50 IssueGrant {
        name: Option<String> [string, optional, tag = 1],
        principal: String [string, tag = 2],
        target: target_selector::Stored [message, required, tag = 3],
        permissions: Vec<StoredPermission> [message, repeated, tag = 4],
        roles: Vec<String> [string, repeated, tag = 5],
        valid_from: Option<u64> [uint64, optional, tag = 6],
        expires: Option<u64> [uint64, optional, tag = 7],
        review_due: Option<u64> [uint64, optional, tag = 8],
        strict: bool [bool, tag = 9],
        source: grant_source::Stored [message, required, tag = 10],
    },
    51 RevokeGrant {
        grant: u64 [uint64, tag = 1],
        reason: String [string, tag = 2],
    },
    52 ConfirmGrant { grant: u64 [uint64, tag = 1] },
    53 OpenRequest {
        principal: String [string, tag = 1],
        on_behalf_of: Option<String> [string, optional, tag = 2],
        target: String [string, tag = 3],
        ask: ask::Stored [message, required, tag = 4],
        reason: String [string, tag = 5],
    },
    54 DecideRequest {
        request: u64 [uint64, tag = 1],
        approve: bool [bool, tag = 2],
        reason: String [string, tag = 3],
    },
    55 WithdrawRequest { request: u64 [uint64, tag = 1] },
    56 SpendApproval {
        request: u64 [uint64, tag = 1],
        digest: Vec<u8> [bytes = "vec", tag = 2],
        by: StoredOperation [message, required, tag = 3],
    },
    57 ReturnApproval {
        request: u64 [uint64, tag = 1],
        by: StoredOperation [message, required, tag = 2],
    },
    58 CreateLock {
        on: lock_on::Stored [message, required, tag = 1],
        reason: String [string, tag = 2],
        expires: Option<u64> [uint64, optional, tag = 3],
    },
    59 DeleteLock { lock: u64 [uint64, tag = 1] },

    80 OpenReview {
        name: String [string, tag = 1],
        terms: StoredTerms [message, required, tag = 2],
    },
    81 DecideItems {
        review: u64 [uint64, tag = 1],
        decisions: Vec<StoredDecide> [message, repeated, tag = 2],
    },
    82 HandItems {
        review: u64 [uint64, tag = 1],
        items: Vec<u32> [uint32, repeated, tag = 2],
        to: String [string, tag = 3],
        reason: String [string, tag = 4],
    },
    83 CloseReview {
        review: u64 [uint64, tag = 1],
        digest: Vec<u8> [bytes = "vec", tag = 2],
        statement: String [string, tag = 3],
        ends_series: bool [bool, tag = 4],
    },
    85 PutTrigger {
        name: String [string, tag = 1],
        event: trigger_event::Stored [message, required, tag = 2],
        terms: StoredTerms [message, required, tag = 3],
        gather: u64 [uint64, tag = 4],
        expect: expect::Stored [message, required, tag = 5],
    },
    86 DeleteTrigger {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    87 ReportFindings {
        target: String [string, tag = 1],
        findings: Vec<StoredFinding> [message, repeated, tag = 2],
    },

    84 ReportUsage {
        grants: Vec<StoredUsedGrant> [message, repeated, tag = 1],
        denials: Vec<StoredDenied> [message, repeated, tag = 2],
    },

    90 SetRetention {
        class: u32 [uint32, tag = 1],
        keep: Option<u64> [uint64, optional, tag = 2],
        reason: String [string, tag = 3],
    },
    91 CreateHold {
        on: StoredHeld [message, required, tag = 1],
        reason: String [string, tag = 2],
        two_people: bool [bool, tag = 3],
    },
    92 ReleaseHold {
        hold: u64 [uint64, tag = 1],
        reason: String [string, tag = 2],
    },
    93 PruneRecords {
        class: u32 [uint32, tag = 1],
        seen: u64 [uint64, tag = 2],
        before: u64 [uint64, tag = 3],
        through: u64 [uint64, tag = 4],
        leaves: Vec<u64> [uint64, repeated, tag = 5],
    },

    100 PublishPolicy {
        bundle: Vec<u8> [bytes = "vec", tag = 1],
        digest: Vec<u8> [bytes = "vec", tag = 2],
        revision: String [string, tag = 3],
        two_people: bool [bool, tag = 4],
    },
    101 ActivatePolicy { policy: u64 [uint64, tag = 1] },
    102 RollbackPolicy {},
    103 DeactivatePolicy {},
    104 SetPolicyRule { two_people: bool [bool, tag = 1] },

    110 PutSink {
        name: String [string, tag = 1],
        terms: StoredSinkTerms [message, required, tag = 2],
        sealed: Option<StoredSealed> [message, optional, tag = 3],
        start: StoredCursor [message, required, tag = 4],
        expect: expect::Stored [message, required, tag = 5],
    },
    111 DeleteSink {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    112 AdvanceSink { advance(0): StoredAdvance [message, required, tag = 1] },
    115 PutWitness {
        witness: StoredWitness [message, required, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    116 DeleteWitness {
        name: String [string, tag = 1],
        expect: expect::Stored [message, required, tag = 2],
    },
    117 FileCosignature {
        witness: String [string, tag = 1],
        note: String [string, tag = 2],
    },

    120 BreakGlass {
        principal: String [string, tag = 1],
        target: String [string, tag = 2],
        permissions: Vec<StoredPermission> [message, repeated, tag = 3],
        length: u64 [uint64, tag = 4],
        review_within: u64 [uint64, tag = 5],
        reason: String [string, tag = 6],
        ticket: String [string, tag = 7],
    },
    121 ReviewBreakGlass {
        id: u64 [uint64, tag = 1],
        justified: bool [bool, tag = 2],
        note: String [string, tag = 3],
    },
});

stored_enum!(reply = Reply {
    1 Done { version: u64 [uint64, tag = 1] },
    2 Token { token(0): u64 [uint64, tag = 1] },
    3 Grant { grant(0): u64 [uint64, tag = 1] },
    4 Request {
        request: u64 [uint64, tag = 1],
        joined: bool [bool, tag = 2],
    },
    5 Lock { lock(0): u64 [uint64, tag = 1] },
    6 Spent {},
    7 Rejected { rejection(0): rejection::Stored [message, required, tag = 1] },
    8 Review { review(0): u64 [uint64, tag = 1] },
});

stored_enum!(rejection = Rejection {
    1 NotFound { what: String [string, tag = 1] },
    2 Exists { what: String [string, tag = 1] },
    3 Conflict {
        what: String [string, tag = 1],
        expected: u64 [uint64, tag = 2],
        current: u64 [uint64, tag = 3],
    },
    4 Invalid {
        field: String [string, tag = 1],
        message: String [string, tag = 2],
    },
    5 InUse {
        what: String [string, tag = 1],
        by: String [string, tag = 2],
    },
    6 SeparationOfDuties {
        who: String [string, tag = 1],
        why: String [string, tag = 2],
    },
    7 NotOpen {
        request: u64 [uint64, tag = 1],
        status: String [string, tag = 2],
    },
    8 AlreadySpent { request: u64 [uint64, tag = 1] },
    9 TooMany {
        limit: u32 [uint32, tag = 1],
        scope: String [string, tag = 2],
    },
    10 FeatureLevel {
        level: u32 [uint32, tag = 1],
        needed: u32 [uint32, tag = 2],
    },
    11 Forbidden { message: String [string, tag = 1] },
    12 ReviewClosed { review: u64 [uint64, tag = 1] },
});
