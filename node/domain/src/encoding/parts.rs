//! Stored forms of what several entities are made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::DecodeError;
use super::wire::{Wire, stored_code, stored_enum, stored_struct};
use crate::command::{Actor, Expect};
use crate::credential::Sealed;
use crate::grant::{GrantSource, GrantStatus, TargetSelector};
use crate::id::{OperationId, SessionId};
use crate::lock::LockOn;
use crate::member::{Cancelled, MemberRole, NodeReceipt, Serving, SessionReceipt};
use crate::operation::{Access, Protocol, Resource, Verb};
use crate::permission::{Pattern, Permission, PermissionSet, Segment};
use crate::policy::{AskedUnder, Hold};
use crate::principal::{PrincipalKind, ScramVerifier, TokenUse};
use crate::request::{Ask, Decision, RequestStatus};
use crate::retention::RecordClass;
use crate::review::trigger::Event as TriggerEvent;
use crate::review::{Access as Reviewed, Choice, Overdue, ReviewStatus, Reviewers, Risk, Scope};
use crate::sink::{Destination, EventKind, MailTls, RecordFormat, StreamedLog};
use crate::target::UpstreamTls;

stored_code!(Protocol { 1 Assize, 2 Postgres });

stored_code!(Verb {
    1 Select, 2 Insert, 3 Update, 4 Delete, 5 Truncate, 6 Merge, 7 Call, 8 Copy, 9 Ddl, 10 Grant, 11 Session, 12 Admin,
    101 Read, 102 Write, 103 Decide, 104 Operate,
});

stored_code!(TokenUse { 1 Gateway, 2 Admin });
stored_code!(Risk { 1 Low, 2 Medium, 3 High });
stored_code!(Overdue { 1 Keep, 2 Suspend, 3 Revoke });
stored_code!(MemberRole { 1 Voter, 2 Learner, 3 Removed });
stored_code!(RecordFormat { 1 Ocsf, 2 Cef, 3 Json });
stored_code!(MailTls { 1 Implicit, 2 Starttls });
stored_code!(StreamedLog { 1 Control, 2 Audit });
stored_code!(EventKind {
    1 RequestOpened, 2 RequestDecided, 3 RequestWithdrawn, 4 RequestExpired,
    10 ReviewOpened, 11 ReviewReminder, 12 ReviewDue, 13 ReviewDecided, 14 ReviewClosed,
    20 GrantIssued, 21 GrantRevoked, 22 TokenRevoked, 30 LockCreated, 31 LockDeleted,
    35 BreakGlassOpened, 36 BreakGlassReviewed,
    40 PolicyChanged, 41 ClusterChanged, 42 SinkChanged, 43 AccountChanged, 44 ConfigurationChanged, 45 RetentionChanged,
});
stored_code!(RecordClass { 1 Operations, 2 Statements, 3 Sessions, 4 Decisions, 5 Checks });
stored_code!(Cancelled { 1 Idle, 2 Cancelled, 3 Pending, 4 Unknown });

/// Columns, where they are known: a message of its own, because none known and none touched are two things.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredColumns {
    #[prost(string, repeated, tag = 1)]
    names: Vec<String>,
}

impl Wire for BTreeSet<Arc<str>> {
    type Stored = StoredColumns;

    fn store(&self) -> StoredColumns {
        StoredColumns { names: self.iter().map(|name| name.as_ref().to_owned()).collect() }
    }

    fn load(stored: StoredColumns) -> Result<Self, DecodeError> {
        Ok(stored.names.into_iter().map(Arc::from).collect())
    }
}

stored_struct!(StoredResource = Resource {
    path: Vec<String> [string, repeated, tag = 1],
    columns: Option<StoredColumns> [message, optional, tag = 2],
});

stored_struct!(StoredAccess = Access {
    protocol: u32 [uint32, tag = 1],
    verb: u32 [uint32, tag = 2],
    resource: StoredResource [message, required, tag = 3],
});

stored_enum!(segment = Segment {
    1 Any {},
    2 Exact { text(0): String [string, tag = 1] },
    3 Prefix { text(0): String [string, tag = 1] },
});

stored_struct!(StoredPattern = Pattern {
    segments: Vec<segment::Stored> [message, repeated, tag = 1],
    columns: Option<StoredColumns> [message, optional, tag = 2],
});

stored_struct!(StoredPermission = Permission {
    protocol: u32 [uint32, tag = 1],
    verbs: Vec<u32> [uint32, repeated, tag = 2],
    on: StoredPattern [message, required, tag = 3],
    except: Vec<StoredPattern> [message, repeated, tag = 4],
});

impl Wire for PermissionSet {
    type Stored = Vec<StoredPermission>;

    fn store(&self) -> Vec<StoredPermission> {
        self.iter().map(Wire::store).collect()
    }

    /// As it was stored: a later build that simplifies better must not read another set than its peers.
    fn load(stored: Vec<StoredPermission>) -> Result<Self, DecodeError> {
        stored.into_iter().map(Permission::load).collect::<Result<Vec<_>, _>>().map(PermissionSet::as_stored)
    }
}

stored_struct!(StoredSession = SessionId {
    node: u64 [uint64, tag = 1],
    boot: u64 [fixed64, tag = 2],
    number: u64 [uint64, tag = 3],
});

stored_struct!(StoredOperation = OperationId {
    session: StoredSession [message, required, tag = 1],
    sequence: u64 [uint64, tag = 2],
});

stored_struct!(StoredSealed = Sealed {
    key_id: u32 [uint32, tag = 1],
    wrapped_key: Vec<u8> [bytes = "vec", tag = 2],
    nonce: Vec<u8> [bytes = "vec", tag = 3],
    ciphertext: Vec<u8> [bytes = "vec", tag = 4],
});

stored_struct!(StoredScram = ScramVerifier {
    salt: Vec<u8> [bytes = "vec", tag = 1],
    iterations: u32 [uint32, tag = 2],
    stored_key: Vec<u8> [bytes = "vec", tag = 3],
    server_key: Vec<u8> [bytes = "vec", tag = 4],
});

stored_enum!(principal_kind = PrincipalKind {
    1 Agent {
        owner: String [string, tag = 1],
        backup_owner: Option<String> [string, optional, tag = 2],
        job: Option<String> [string, optional, tag = 3],
    },
    2 Person {
        email: Option<String> [string, optional, tag = 1],
        certificate: Option<Vec<u8>> [bytes = "vec", optional, tag = 2],
    },
});

stored_enum!(destination = Destination {
    1 Webhook { url: String [string, tag = 1] },
    2 Syslog {
        address: String [string, tag = 1],
        server_name: Option<String> [string, optional, tag = 2],
        format: u32 [uint32, tag = 3],
    },
    3 Otlp { url: String [string, tag = 1] },
    4 Slack {},
    5 Teams {},
    6 Mail {
        address: String [string, tag = 1],
        tls: u32 [uint32, tag = 2],
        from: String [string, tag = 3],
        to: Vec<String> [string, repeated, tag = 4],
        username: String [string, tag = 5],
    },
});

stored_enum!(upstream_tls = UpstreamTls {
    1 VerifyFull {
        roots_pem: String [string, tag = 1],
        server_name: Option<String> [string, optional, tag = 2],
    },
    2 RequireUnverified {},
    3 Off {},
});

stored_enum!(target_selector = TargetSelector {
    1 Name { name(0): String [string, tag = 1] },
    2 Labels { labels(0): std::collections::BTreeMap<String, String> [btree_map = "string, string", tag = 1] },
    3 Assize {},
});

stored_enum!(grant_source = GrantSource {
    1 Baseline {},
    2 Declared {},
    3 Request { request(0): u64 [uint64, tag = 1] },
    4 Review { review(0): u64 [uint64, tag = 1] },
    5 BreakGlass { broken(0): u64 [uint64, tag = 1] },
});

stored_enum!(grant_status = GrantStatus {
    1 Active {},
    2 Suspended { reason: String [string, tag = 1] },
    3 Revoked {
        by: String [string, tag = 1],
        at: u64 [uint64, tag = 2],
        reason: String [string, tag = 3],
        revocation: u64 [uint64, tag = 4],
    },
});

stored_enum!(lock_on = LockOn {
    1 Principal { name(0): String [string, tag = 1] },
    2 Target { name(0): String [string, tag = 1] },
    3 Role { name(0): String [string, tag = 1] },
    4 Credential { name(0): String [string, tag = 1] },
    5 Session { session(0): StoredSession [message, required, tag = 1] },
});

stored_enum!(serving = Serving {
    1 No { left: u64 [uint64, tag = 1] },
    2 Yes { joined: u64 [uint64, tag = 1] },
});

stored_struct!(StoredSessionReceipt = SessionReceipt {
    session: StoredSession [message, required, tag = 1],
    principal: String [string, tag = 2],
    target: String [string, tag = 3],
    upstream: u32 [uint32, tag = 4],
});

stored_struct!(StoredNodeReceipt = NodeReceipt {
    node: u64 [uint64, tag = 1],
    boot: u64 [fixed64, tag = 2],
    enforced: u64 [uint64, tag = 3],
    last_sequence: u64 [uint64, tag = 4],
    sessions: Vec<StoredSessionReceipt> [message, repeated, tag = 5],
    by_expiry: bool [bool, tag = 6],
});

stored_struct!(StoredDecision = Decision {
    by: String [string, tag = 1],
    at: u64 [uint64, tag = 2],
    reason: String [string, tag = 3],
});

/// One setting of the context an operation runs in.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredSetting {
    #[prost(string, tag = 1)]
    name: String,
    #[prost(string, tag = 2)]
    value: String,
}

impl Wire for (String, String) {
    type Stored = StoredSetting;

    fn store(&self) -> StoredSetting {
        StoredSetting { name: self.0.clone(), value: self.1.clone() }
    }

    fn load(stored: StoredSetting) -> Result<Self, DecodeError> {
        Ok((stored.name, stored.value))
    }
}

stored_struct!(StoredHold = Hold {
    reason: String [string, tag = 1],
    approvers: Vec<String> [string, repeated, tag = 2],
    approvals: u32 [uint32, tag = 3],
});

stored_struct!(StoredAskedUnder = AskedUnder {
    policy: u64 [uint64, tag = 1],
    hold: Option<StoredHold> [message, optional, tag = 2],
});

stored_enum!(ask = Ask {
    1 Exact {
        digest: Vec<u8> [bytes = "vec", tag = 1],
        statement: String [string, tag = 2],
        parameters: Vec<String> [string, repeated, tag = 3],
        context: Vec<StoredSetting> [message, repeated, tag = 4],
        missing: Vec<StoredAccess> [message, repeated, tag = 5],
        job_version: Option<u64> [uint64, optional, tag = 6],
        target_version: u64 [uint64, tag = 7],
        under: Option<StoredAskedUnder> [message, optional, tag = 8],
    },
    2 Window {
        permissions: Vec<StoredPermission> [message, repeated, tag = 1],
        length: u64 [uint64, tag = 2],
    },
});

stored_enum!(request_status = RequestStatus {
    1 Pending {},
    2 Approved { grant: Option<u64> [uint64, optional, tag = 1] },
    3 Denied { decision(0): StoredDecision [message, required, tag = 1] },
    4 Withdrawn { by: String [string, tag = 1] },
    5 Expired {},
    6 Spent { by: StoredOperation [message, required, tag = 1] },
    7 Reopened {},
});

stored_struct!(StoredScope = Scope {
    grants: bool [bool, tag = 1],
    tokens: bool [bool, tag = 2],
    principals: Vec<String> [string, repeated, tag = 3],
    owners: Vec<String> [string, repeated, tag = 4],
    targets: Vec<String> [string, repeated, tag = 5],
    labels: std::collections::BTreeMap<String, String> [btree_map = "string, string", tag = 6],
    verbs: Vec<u32> [uint32, repeated, tag = 7],
    risk_from: Option<u32> [uint32, optional, tag = 8],
    unused_for: Option<u64> [uint64, optional, tag = 9],
});

stored_struct!(StoredReviewed = Reviewed {
    permissions: Vec<StoredPermission> [message, repeated, tag = 1],
    roles: Vec<String> [string, repeated, tag = 2],
});

stored_enum!(reviewers = Reviewers {
    1 Named { names(0): Vec<String> [string, repeated, tag = 1] },
    2 TargetOwner {},
    3 ByRight {},
});

stored_enum!(trigger_event = TriggerEvent {
    1 OwnerLeft {},
    2 JobChanged {},
    3 TokenIssued {},
    4 CredentialChanged {},
    5 HighRiskGrant {},
    6 Denials { every: u64 [uint64, tag = 1] },
    7 Unused { span: u64 [uint64, tag = 1] },
    8 Volume {
        window: u64 [uint64, tag = 1],
        factor: u32 [uint32, tag = 2],
        least: u64 [uint64, tag = 3],
    },
    9 Finding { from: u32 [uint32, tag = 1] },
});

stored_enum!(review_status = ReviewStatus {
    1 Open {},
    2 Due {},
    3 Closed {
        by: String [string, tag = 1],
        at: u64 [uint64, tag = 2],
        index: u64 [uint64, tag = 3],
        digest: Vec<u8> [bytes = "vec", tag = 4],
        statement: String [string, tag = 5],
    },
});

stored_enum!(choice = Choice {
    1 Approve {},
    2 Modify {
        access: StoredReviewed [message, required, tag = 1],
        expires: Option<u64> [uint64, optional, tag = 2],
    },
    3 Revoke {},
    4 Abstain {},
});

stored_enum!(actor = Actor {
    1 Principal { name(0): String [string, tag = 1] },
    2 Node { node(0): u64 [uint64, tag = 1] },
    3 Operator {},
});

stored_enum!(expect = Expect {
    1 Any {},
    2 Absent {},
    3 Version { version(0): u64 [uint64, tag = 1] },
});
