//! One of everything that is stored, with every optional part there at least once.

mod reviews;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::break_glass::{BreakGlass, Reviewed};
use crate::command::{Advance, Command, Expect, Rejection, Reply};
use crate::credential::{Credential, Sealed};
use crate::grant::{Grant, GrantSource, GrantStatus, TargetSelector};
use crate::id::{
    BootId, BreakGlassId, Digest, GrantId, HoldId, Index, LockId, Name, NodeId, OperationId, PolicyId, RequestId, ReviewId, RevocationId,
    SessionId, TokenId,
};
use crate::job::Job;
use crate::lock::{Lock, LockOn};
use crate::member::{Cancelled, JoinToken, Member, MemberRole, NodeReceipt, Receipt, Serving, SessionReceipt};
use crate::operation::{Access, Protocol, Resource, Verb};
use crate::permission::PermissionSet;
use crate::policy::{AskedUnder, Hold, Policy};
use crate::principal::{Principal, PrincipalKind, ScramVerifier, Token, TokenUse};
use crate::request::{Ask, Decision, Request, RequestStatus};
use crate::retention::{Held, LegalHold, Plan, Pruning, RecordClass, RetentionFacts, Rule, Runs};
use crate::role::Role;
use crate::sink::{
    Cursor, Destination, EventKind, Failing, MailTls, Progress, RecordFormat, Selection, Sink, StreamedLog, Terms as SinkTerms,
};
use crate::state::{ClusterFacts, Remembered, State};
use crate::target::{Target, UpstreamTls};
use crate::time::LogTime;
use crate::usage::{Count, Denials, Denied, GrantUsage, Seen, UsedAccess, UsedGrant};
use crate::witness::{Cosigned, CosignedHead, Witness};

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn names<const N: usize>(texts: [&str; N]) -> BTreeSet<Name> {
    texts.into_iter().map(name).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("env".into(), "prod".into()), ("team".into(), "billing".into())])
}

fn permissions() -> PermissionSet {
    "postgres:select,insert on app.public.orders(id,status)\npostgres:select on app.*.* except app.secret.*, app.public.card*\nassize:decide on request/*".parse().expect("permissions")
}

fn session() -> SessionId {
    SessionId { node: NodeId(2), boot: BootId(0xdead_beef), number: 17 }
}

fn operation() -> OperationId {
    OperationId { session: session(), sequence: 5 }
}

fn scram() -> ScramVerifier {
    ScramVerifier { salt: [3; 16], iterations: 4096, stored_key: [4; 32], server_key: [5; 32] }
}

fn sealed() -> Sealed {
    Sealed { key_id: 1, wrapped_key: vec![6; 40], nonce: [7; 12], ciphertext: vec![8; 24] }
}

fn deletion() -> Access {
    let mut resource = Resource::new(["app", "public", "orders"]);
    resource.columns = Some(BTreeSet::from(["status".into()]));
    Access { protocol: Protocol::Postgres, verb: Verb::Delete, resource }
}

fn exact_ask() -> Ask {
    Ask::Exact {
        digest: Digest([9; 32]),
        statement: "delete from orders where id = $1".into(),
        parameters: vec!["42".into()],
        context: vec![("database".into(), "app".into()), ("search_path".into(), "public".into())],
        missing: vec![deletion()],
        job_version: Some(Index(900)),
        target_version: Index(880),
        under: None,
    }
}

/// As [`exact_ask`], under a policy that holds it.
fn policy_ask() -> Ask {
    let hold = Hold { reason: "deletes wait".into(), approvers: names(["ana", "bo"]), approvals: 2 };
    match exact_ask() {
        Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, .. } => {
            let under = Some(AskedUnder { policy: PolicyId(1060), hold: Some(hold) });
            Ask::Exact { digest, statement, parameters, context, missing, job_version, target_version, under }
        }
        window @ Ask::Window { .. } => window,
    }
}

fn window_ask() -> Ask {
    Ask::Window { permissions: permissions(), length: Duration::from_secs(3600) }
}

fn decision() -> Decision {
    Decision { by: name("ana"), at: LogTime(1_795_000_000_500), reason: "looked at it".into() }
}

fn node_receipts() -> Vec<NodeReceipt> {
    let sessions = [Cancelled::Idle, Cancelled::Cancelled, Cancelled::Pending, Cancelled::Unknown];
    vec![
        NodeReceipt {
            node: NodeId(1),
            boot: BootId(0xb007),
            enforced: Index(1046),
            last_sequence: 777,
            sessions: sessions
                .into_iter()
                .map(|upstream| SessionReceipt { session: session(), principal: name("billing-loop"), target: name("shop"), upstream })
                .collect(),
            by_expiry: false,
        },
        NodeReceipt { node: NodeId(3), boot: BootId(0), enforced: Index(0), last_sequence: 0, sessions: vec![], by_expiry: true },
    ]
}

/// The name of a command's verb. Whoever adds one adds a sample below.
pub(super) fn verb(command: &Command) -> String {
    let debug = format!("{command:?}");
    debug.split([' ', '{']).next().unwrap_or_default().to_owned()
}

pub(super) fn commands() -> Vec<Command> {
    let mut commands = cluster_commands();
    commands.extend(noun_commands());
    commands.extend(access_commands());
    commands.extend(reviews::commands());
    commands.extend(policy_commands());
    commands.extend(break_glass_commands());
    commands.extend(outbound_commands());
    commands
}

fn sink_terms() -> Vec<SinkTerms> {
    let terms = |destination| SinkTerms {
        destination,
        selection: Selection { events: EventKind::ALL.iter().copied().collect(), logs: StreamedLog::ALL.into_iter().collect() },
        roots_pem: "-----BEGIN".into(),
        give_up: Some(Duration::from_secs(86_400)),
        active: true,
    };
    vec![
        terms(Destination::Webhook { url: "https://hooks.example/in".into() }),
        terms(Destination::Syslog { address: "siem.example:6514".into(), server_name: Some("siem".into()), format: RecordFormat::Ocsf }),
        terms(Destination::Otlp { url: "https://otel.example/v1/logs".into() }),
        terms(Destination::Slack),
        terms(Destination::Teams),
        SinkTerms {
            give_up: None,
            active: false,
            ..terms(Destination::Mail {
                address: "mail.example:587".into(),
                tls: MailTls::Starttls,
                from: "assize@example.com".into(),
                to: vec!["ana@example.com".into()],
                username: "assize".into(),
            })
        },
    ]
}

fn held() -> Held {
    Held {
        principal: Some(name("billing-loop")),
        target: Some(name("shop")),
        run: Some("nightly-17".parse().expect("a run")),
        from: Some(LogTime(2)),
        until: Some(LogTime(3)),
    }
}

fn runs() -> Runs {
    Runs::from_pairs(vec![0, 3, 2, 1]).expect("in order")
}

fn witness() -> Witness {
    Witness {
        name: name("outside"),
        url: "https://witness.example/w1".into(),
        key: "witness.example/w1+00000000+BA==".into(),
        roots_pem: String::new(),
        interval: Duration::from_secs(60),
        version: Index(1071),
    }
}

fn outbound_commands() -> Vec<Command> {
    let put = |terms| Command::PutSink {
        name: name("siem"),
        terms,
        sealed: Some(sealed()),
        start: Cursor { control: 4, audit: 5, time: LogTime(6) },
        expect: Expect::Absent,
    };
    let mut commands: Vec<Command> = sink_terms().into_iter().map(put).collect();
    commands.extend([
        Command::DeleteSink { name: name("siem"), expect: Expect::Any },
        Command::AdvanceSink(Advance {
            sink: name("siem"),
            created: Index(1070),
            from: Cursor { control: 4, audit: 5, time: LogTime(6) },
            to: Cursor { control: 40, audit: 50, time: LogTime(60) },
            delivered: 70,
            abandoned: 1,
            error: Some("status 503".into()),
        }),
        Command::PutWitness { witness: witness(), expect: Expect::Absent },
        Command::DeleteWitness { name: name("outside"), expect: Expect::Any },
        Command::FileCosignature { witness: name("outside"), note: "a note".into() },
        Command::SetRetention {
            class: RecordClass::Operations,
            keep: Some(Duration::from_secs(90 * 24 * 3600)),
            reason: "the new policy".into(),
        },
        Command::SetRetention { class: RecordClass::Checks, keep: None, reason: String::new() },
        Command::CreateHold { on: held(), reason: "case 7".into(), two_people: true },
        Command::ReleaseHold { hold: HoldId(1049), reason: "case 7 is closed".into() },
        Command::PruneRecords {
            class: RecordClass::Operations,
            seen: Index(1048),
            before: LogTime(1_795_000_000_000),
            through: 40,
            leaves: runs(),
        },
    ]);
    commands
}

fn break_glass_commands() -> Vec<Command> {
    vec![
        Command::BreakGlass {
            principal: name("billing-loop"),
            target: name("shop"),
            permissions: permissions(),
            length: Duration::from_secs(3600),
            review_within: Duration::from_secs(86_400),
            reason: "refunds are stuck".into(),
            ticket: "INC-7".into(),
        },
        Command::ReviewBreakGlass { id: BreakGlassId(1048), justified: true, note: "it was".into() },
        Command::IssueGrant {
            name: None,
            principal: name("billing-loop"),
            target: TargetSelector::Name(name("shop")),
            permissions: permissions(),
            roles: BTreeSet::new(),
            valid_from: None,
            expires: Some(LogTime(2)),
            review_due: None,
            strict: false,
            source: GrantSource::BreakGlass(BreakGlassId(1048)),
        },
    ]
}

fn break_glass(id: u64, review: Option<Reviewed>) -> BreakGlass {
    BreakGlass {
        id: BreakGlassId(id),
        by: name("bo"),
        principal: name("billing-loop"),
        target: name("shop"),
        grant: GrantId(id),
        reason: "refunds are stuck".into(),
        ticket: "INC-7".into(),
        opened: LogTime(13),
        expires: LogTime(14),
        review_due: LogTime(15),
        conflicted: names(["ana", "bo"]),
        review,
        version: Index(id),
    }
}

fn policy_commands() -> Vec<Command> {
    vec![
        Command::PublishPolicy { bundle: Arc::from(*b"bundle"), digest: Digest([4; 32]), revision: "2026-11".into(), two_people: true },
        Command::ActivatePolicy { policy: PolicyId(1060) },
        Command::RollbackPolicy,
        Command::DeactivatePolicy,
        Command::SetPolicyRule { two_people: true },
        Command::OpenRequest {
            principal: name("billing-loop"),
            on_behalf_of: None,
            target: name("shop"),
            ask: policy_ask(),
            reason: "held".into(),
        },
    ]
}

fn cluster_commands() -> Vec<Command> {
    vec![
        Command::FoundCluster { id: "demo-7f3a".into(), incarnation: 1, recovery_key: [1; 32], first_admin: name("ana"), feature_level: 3 },
        Command::RegisterNode {
            node: NodeId(2),
            address: "127.0.0.1:7400".into(),
            admin_address: "127.0.0.1:7401".into(),
            checkpoint_key: [1; 32],
            sealing_key: [2; 32],
            role: MemberRole::Voter,
            feature_level_max: 1,
            join_token: Some(Digest([3; 32])),
        },
        Command::SetNodeRole { node: NodeId(2), role: MemberRole::Removed },
        Command::SetServing { node: NodeId(2), serving: true },
        Command::RotateCheckpointKey { node: NodeId(2), key: [4; 32] },
        Command::MakeJoinToken { lookup: Digest([5; 32]), valid: Duration::from_secs(600) },
        Command::RaiseFeatureLevel { level: 2 },
        Command::Tick,
        Command::FileReceipt { revocation: RevocationId(1046), nodes: node_receipts() },
        Command::ReportUsage {
            grants: vec![UsedGrant {
                grant: GrantId(1044),
                operations: 3,
                rows: 40,
                accesses: vec![UsedAccess { access: deletion(), operations: 2, rows: 39 }],
            }],
            denials: vec![Denied { principal: name("billing-loop"), target: name("shop"), operations: 5 }],
        },
    ]
}

fn noun_commands() -> Vec<Command> {
    vec![
        Command::PutPrincipal {
            name: name("billing-loop"),
            kind: PrincipalKind::Agent { owner: name("ana"), backup_owner: Some(name("bo")), job: Some(name("billing")) },
            active: true,
            labels: labels(),
            expect: Expect::Absent,
        },
        Command::PutPrincipal {
            name: name("ana"),
            kind: PrincipalKind::Person { email: Some("ana@example.org".into()), certificate: Some(Digest([6; 32])) },
            active: false,
            labels: BTreeMap::new(),
            expect: Expect::Version(Index(12)),
        },
        Command::DeletePrincipal { name: name("bo"), expect: Expect::Any },
        Command::IssueToken {
            principal: name("billing-loop"),
            usage: TokenUse::Gateway,
            lookup: Digest([7; 32]),
            scram: scram(),
            label: "ci".into(),
            expires: Some(LogTime(1_800_000_000_000)),
        },
        Command::RevokeToken { principal: name("billing-loop"), token: TokenId(1045) },
        Command::PutTarget {
            name: name("shop"),
            protocol: Protocol::Postgres,
            address: "127.0.0.1:5432".into(),
            tls: UpstreamTls::VerifyFull { roots_pem: "PEM".into(), server_name: Some("db.example.org".into()) },
            credential: name("shop-login"),
            default_database: "app".into(),
            hold: Duration::from_secs(20),
            request_expiry: Duration::from_secs(3600),
            approvals_needed: 2,
            owner: Some(name("ana")),
            labels: labels(),
            weak_cancel: true,
            expect: Expect::Any,
        },
        Command::DeleteTarget { name: name("shop"), expect: Expect::Any },
        Command::PutCredential { name: name("shop-login"), username: "gateway".into(), sealed: sealed(), expect: Expect::Any },
        Command::DeleteCredential { name: name("shop-login"), expect: Expect::Any },
        Command::PutRole { name: name("reader"), description: "reads orders".into(), permissions: permissions(), expect: Expect::Any },
        Command::DeleteRole { name: name("reader"), expect: Expect::Any },
        Command::PutJob {
            name: name("billing"),
            purpose: "sends invoices".into(),
            owner: name("ana"),
            backup_owner: Some(name("bo")),
            permissions: permissions(),
            roles: names(["client", "reader"]),
            data_classes: texts(["personal"]),
            environments: texts(["prod", "test"]),
            expires: Some(LogTime(1_800_000_000_000)),
            expect: Expect::Any,
        },
        Command::DeleteJob { name: name("billing"), expect: Expect::Any },
    ]
}

fn access_commands() -> Vec<Command> {
    let grant = |target, source| Command::IssueGrant {
        name: Some(name("billing-shop")),
        principal: name("billing-loop"),
        target,
        permissions: permissions(),
        roles: names(["client"]),
        valid_from: Some(LogTime(1)),
        expires: Some(LogTime(2)),
        review_due: Some(LogTime(3)),
        strict: true,
        source,
    };
    let ask = |ask| Command::OpenRequest {
        principal: name("billing-loop"),
        on_behalf_of: Some(name("ana")),
        target: name("shop"),
        ask,
        reason: "refund 42".into(),
    };
    let lock = |on| Command::CreateLock { on, reason: "leaked".into(), expires: Some(LogTime(9)) };
    vec![
        grant(TargetSelector::Name(name("shop")), GrantSource::Baseline),
        grant(TargetSelector::Labels(labels()), GrantSource::Declared),
        grant(TargetSelector::Assize, GrantSource::Request(RequestId(1043))),
        grant(TargetSelector::Assize, GrantSource::Review(ReviewId(8))),
        Command::RevokeGrant { grant: GrantId(1042), reason: "left the team".into() },
        Command::ConfirmGrant { grant: GrantId(1042) },
        ask(exact_ask()),
        ask(window_ask()),
        Command::DecideRequest { request: RequestId(1043), approve: true, reason: "looked at it".into() },
        Command::WithdrawRequest { request: RequestId(1043) },
        Command::SpendApproval { request: RequestId(1043), digest: Digest([9; 32]), by: operation() },
        Command::ReturnApproval { request: RequestId(1043), by: operation() },
        lock(LockOn::Principal(name("billing-loop"))),
        lock(LockOn::Target(name("shop"))),
        lock(LockOn::Role(name("reader"))),
        lock(LockOn::Credential(name("shop-login"))),
        lock(LockOn::Session(session())),
        Command::DeleteLock { lock: LockId(1044) },
    ]
}

pub(super) fn replies() -> Vec<Reply> {
    vec![
        Reply::Done { version: Index(1050) },
        Reply::Token(TokenId(1045)),
        Reply::Grant(GrantId(1042)),
        Reply::Request { request: RequestId(1043), joined: true },
        Reply::Lock(LockId(1044)),
        Reply::Spent,
        Reply::Review(ReviewId(1070)),
    ]
}

pub(super) fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::NotFound { what: "target shop".into() },
        Rejection::Exists { what: "target shop".into() },
        Rejection::Conflict { what: "target shop".into(), expected: Index(3), current: Index(4) },
        Rejection::Invalid { field: "hold".into(), message: "too long".into() },
        Rejection::InUse { what: "role reader".into(), by: "job billing".into() },
        Rejection::SeparationOfDuties { who: name("ana"), why: "owns the agent".into() },
        Rejection::NotOpen { request: RequestId(1043), status: "denied".into() },
        Rejection::AlreadySpent { request: RequestId(1043) },
        Rejection::TooMany { limit: 32, scope: "for an agent".into() },
        Rejection::FeatureLevel { level: 1, needed: 2 },
        Rejection::Forbidden { message: "only the cluster".into() },
        Rejection::ReviewClosed { review: ReviewId(1070) },
    ]
}

fn grants() -> Vec<Grant> {
    let grant = |id, target, source, status| Grant {
        id: GrantId(id),
        name: Some(name("billing-shop")),
        principal: name("billing-loop"),
        target,
        permissions: permissions(),
        roles: names(["client"]),
        valid_from: Some(LogTime(1)),
        expires: Some(LogTime(2)),
        review_due: Some(LogTime(3)),
        under_review: (id == 1043).then_some(ReviewId(1070)),
        strict: true,
        source,
        status,
        granted_by: name("ana"),
        granted: LogTime(1_795_000_000_000),
        version: Index(id),
        narrowed: Index(id),
    };
    let revoked = GrantStatus::Revoked { by: name("ana"), at: LogTime(5), reason: "left the team".into(), revocation: RevocationId(1046) };
    vec![
        grant(1042, TargetSelector::Name(name("shop")), GrantSource::Baseline, GrantStatus::Active),
        grant(
            1043,
            TargetSelector::Labels(labels()),
            GrantSource::Request(RequestId(9)),
            GrantStatus::Suspended { reason: "recovered".into() },
        ),
        grant(1044, TargetSelector::Assize, GrantSource::Declared, revoked),
    ]
}

fn requests() -> Vec<Request> {
    let statuses = [
        RequestStatus::Pending,
        RequestStatus::Approved { grant: Some(GrantId(1060)) },
        RequestStatus::Denied(decision()),
        RequestStatus::Withdrawn { by: name("ana") },
        RequestStatus::Expired,
        RequestStatus::Spent { by: operation() },
        RequestStatus::Reopened,
    ];
    let request = |(i, status): (usize, RequestStatus)| Request {
        id: RequestId(1050 + i as u64),
        principal: name("billing-loop"),
        on_behalf_of: Some(name("bo")),
        target: name("shop"),
        ask: if i % 2 == 0 { exact_ask() } else { window_ask() },
        reason: "refund 42".into(),
        conflicted: names(["ana", "bo"]),
        needed: 2,
        approvals: BTreeMap::from([(name("ana"), decision())]),
        status,
        opened: LogTime(1),
        expires: LogTime(2),
        joined: 3,
        version: Index(1050 + i as u64),
    };
    statuses.into_iter().enumerate().map(request).collect()
}

fn principals() -> Vec<Principal> {
    let token = |id, usage| Token {
        id: TokenId(id),
        usage,
        lookup: Digest([id as u8; 32]),
        scram: scram(),
        label: "ci".into(),
        expires: Some(LogTime(7)),
        review_due: (id == 22).then_some(LogTime(8)),
        issued_by: name("ana"),
        issued: LogTime(6),
    };
    let tokens = BTreeMap::from([(TokenId(21), token(21, TokenUse::Gateway)), (TokenId(22), token(22, TokenUse::Admin))]);
    vec![
        Principal {
            name: name("billing-loop"),
            kind: PrincipalKind::Agent { owner: name("ana"), backup_owner: Some(name("bo")), job: Some(name("billing")) },
            active: true,
            tokens,
            labels: labels(),
            version: Index(30),
            narrowed: Index(29),
        },
        Principal {
            name: name("ana"),
            kind: PrincipalKind::Person { email: None, certificate: Some(Digest([6; 32])) },
            active: true,
            tokens: BTreeMap::new(),
            labels: BTreeMap::new(),
            version: Index(4),
            narrowed: Index(0),
        },
    ]
}

fn members() -> Vec<Member> {
    let member = |id, role, serving| Member {
        id: NodeId(id),
        address: format!("127.0.0.1:740{id}"),
        admin_address: format!("127.0.0.1:741{id}"),
        checkpoint_keys: BTreeMap::from([(Index(1), [1; 32]), (Index(99), [2; 32])]),
        sealing_key: [3; 32],
        role,
        serving,
        feature_level_max: 1,
        version: Index(99),
    };
    vec![
        member(1, MemberRole::Voter, Serving::Yes { joined: Index(2) }),
        member(2, MemberRole::Learner, Serving::No { left: Index(3) }),
        member(3, MemberRole::Removed, Serving::No { left: Index(4) }),
    ]
}

fn targets() -> Vec<Target> {
    let target = |text, tls| Target {
        name: name(text),
        protocol: Protocol::Postgres,
        address: "127.0.0.1:5432".into(),
        tls,
        credential: name("shop-login"),
        default_database: "app".into(),
        hold: Duration::from_millis(20_500),
        request_expiry: Duration::from_secs(3600),
        approvals_needed: 2,
        owner: Some(name("ana")),
        labels: labels(),
        weak_cancel: true,
        version: Index(41),
        narrowed: Index(40),
    };
    vec![
        target("shop", UpstreamTls::VerifyFull { roots_pem: String::new(), server_name: None }),
        target("shop-old", UpstreamTls::RequireUnverified),
        target("shop-test", UpstreamTls::Off),
    ]
}

pub(super) fn sample_state() -> State {
    let mut state = State { applied: Index(1070), now: LogTime(1_795_000_001_000), ..State::default() };
    state.cluster = ClusterFacts {
        id: "demo-7f3a".into(),
        incarnation: 1,
        feature_level: 1,
        narrowed: Index(1046),
        recovery_key: [1; 32],
        policy: None,
        usage_since: None,
    };
    state.principals = principals().into_iter().map(|p| (p.name.clone(), p)).collect();
    state.targets = targets().into_iter().map(|t| (t.name.clone(), t)).collect();
    let credential =
        Credential { name: name("shop-login"), username: "gateway".into(), sealed: sealed(), version: Index(42), narrowed: Index(0) };
    state.credentials.insert(credential.name.clone(), credential);
    let role = Role {
        name: name("reader"),
        description: "reads orders".into(),
        permissions: permissions(),
        version: Index(43),
        narrowed: Index(43),
    };
    state.roles.insert(role.name.clone(), role);
    let job = Job {
        name: name("billing"),
        purpose: "sends invoices".into(),
        owner: name("ana"),
        backup_owner: Some(name("bo")),
        permissions: permissions(),
        roles: names(["client", "reader"]),
        data_classes: texts(["personal"]),
        environments: texts(["prod"]),
        expires: Some(LogTime(8)),
        version: Index(44),
        narrowed: Index(44),
    };
    state.jobs.insert(job.name.clone(), job);
    state.grants = grants().into_iter().map(|g| (g.id, g)).collect();
    state.requests = requests().into_iter().map(|r| (r.id, r)).collect();
    let lock = Lock {
        id: LockId(1047),
        on: LockOn::Session(session()),
        reason: "leaked".into(),
        by: name("ana"),
        created: LogTime(1),
        expires: Some(LogTime(2)),
        version: Index(1047),
    };
    state.locks.insert(lock.id, lock);
    reviews::put(&mut state);
    state.members = members().into_iter().map(|m| (m.id, m)).collect();
    let token = JoinToken { lookup: Digest([5; 32]), expires: LogTime(9), made_by: name("ana"), spent_by: Some(NodeId(2)) };
    state.join_tokens.insert(token.lookup, token);
    let receipt = Receipt { revocation: RevocationId(1046), nodes: node_receipts(), made: LogTime(10) };
    state.receipts.insert(receipt.revocation, receipt);
    let policy = Policy {
        id: PolicyId(1060),
        bundle: Arc::from(*b"bundle"),
        digest: Digest([4; 32]),
        revision: "2026-11".into(),
        two_people: true,
        published_by: name("ana"),
        published: LogTime(12),
        version: Index(1060),
    };
    state.policies.insert(policy.id, policy);
    let count = |operations| Count { first: LogTime(13), last: LogTime(14), operations, rows: 9 };
    let seen = vec![Seen { access: deletion(), count: count(2) }];
    let usage = GrantUsage { grant: GrantId(1044), total: count(3), seen, by_roles: count(1), more: Count::default() };
    state.usage.insert(usage.grant, Arc::new(usage));
    let denials = Denials { principal: name("billing-loop"), target: name("shop"), count: count(5) };
    state.denials.insert((denials.principal.clone(), denials.target.clone()), denials);
    let reviewed = Reviewed { by: name("ana"), at: LogTime(16), justified: true, note: "it was".into() };
    for broken in [break_glass(1048, None), break_glass(1049, Some(reviewed))] {
        state.break_glass.insert(broken.id, broken);
    }
    for (number, terms) in sink_terms().into_iter().enumerate() {
        let sink =
            Sink { name: name(&format!("sink-{number}")), terms, sealed: Some(sealed()), created: Index(1070), version: Index(1071) };
        let progress = Progress {
            sink: sink.name.clone(),
            created: Index(1070),
            cursor: Cursor { control: 4, audit: 5, time: LogTime(6) },
            delivered: 7,
            abandoned: 1,
            last_delivered: Some(LogTime(8)),
            failing: Some(Failing { since: LogTime(9), attempts: 3, error: "status 503".into() }),
        };
        state.sink_progress.insert(sink.name.clone(), progress);
        state.sinks.insert(sink.name.clone(), sink);
    }
    state.witnesses.insert(name("outside"), witness());
    let heads = vec![CosignedHead { size: 20, note: "a note".into(), filed: LogTime(10) }];
    let cosigned = Cosigned { witness: name("outside"), log: "audit/0".into(), heads };
    state.cosigned.insert((cosigned.witness.clone(), cosigned.log.clone()), cosigned);
    let rule = |class, keep| Rule { class, keep, reason: "the new policy".into(), by: name("ana"), at: LogTime(17), version: Index(1050) };
    for rule in [rule(RecordClass::Operations, Some(Duration::from_millis(90_000))), rule(RecordClass::Sessions, None)] {
        state.retention_rules.insert(rule.class, rule);
    }
    for (id, on) in [(1049, held()), (1050, Held::default())] {
        let hold = LegalHold { id: HoldId(id), on, reason: "case 7".into(), by: name("bo"), at: LogTime(18), two_people: true };
        state.holds.insert(hold.id, hold);
    }
    let plan = Plan { index: Index(1051), at: LogTime(19), before: LogTime(4), leaves: runs() };
    let pruning = |class, last| Pruning { class, through: 40, pruned: 4, last };
    let progress = [pruning(RecordClass::Operations, Some(plan)), pruning(RecordClass::Checks, None)].map(|p| (p.class, p)).into();
    state.retention = Arc::new(RetentionFacts { changed: Index(1050), progress });
    let replies = replies().into_iter().chain(rejections().into_iter().map(Reply::Rejected));
    state.proposals =
        replies.enumerate().map(|(i, reply)| (format!("cli-{i}").parse().expect("an id"), Remembered { at: LogTime(11), reply })).collect();
    state
}
