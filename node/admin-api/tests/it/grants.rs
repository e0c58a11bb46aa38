//! Access: grants, requests, locks, sessions, explain.

use domain::command::Command;
use domain::id::{Digest, Index, RequestId};
use domain::request::Ask;
use proto::admin as pb;
use proto::admin::principal::Kind;
use proto::admin::target_selector::Selector;
use tonic::Code;

use crate::world::{As, World, check_told};

type Grants<T> = pb::grants_client::GrantsClient<T>;
type Requests<T> = pb::requests_client::RequestsClient<T>;
type Locks<T> = pb::locks_client::LocksClient<T>;

/// A target `orders`, a job, and an agent `bot` that the admin owns.
pub(crate) async fn furnished() -> (World, As) {
    let world = World::new().await;
    let admin = world.admin();
    let credential = pb::CreateCredentialRequest { name: "db".into(), username: "app".into(), password: "x".into(), ..Default::default() };
    pb::credentials_client::CredentialsClient::new(admin.clone()).create_credential(credential).await.expect("a credential");
    let target = pb::Target {
        name: "orders".into(),
        protocol: pb::Protocol::Postgres.into(),
        address: "127.0.0.1:5432".into(),
        credential: "db".into(),
        default_database: "app".into(),
        ..Default::default()
    };
    pb::targets_client::TargetsClient::new(admin.clone())
        .create_target(pb::CreateTargetRequest { target: Some(target), ..Default::default() })
        .await
        .expect("a target");
    let job = pb::Job {
        name: "sync".into(),
        purpose: "keeps orders in step".into(),
        owner: "admin".into(),
        permissions: vec!["postgres:* on *.*.*".into()],
        ..Default::default()
    };
    pb::jobs_client::JobsClient::new(admin.clone())
        .create_job(pb::CreateJobRequest { job: Some(job), ..Default::default() })
        .await
        .expect("a job");
    let agent = pb::Agent { owner: "admin".into(), job: "sync".into(), ..Default::default() };
    let bot = pb::Principal { name: "bot".into(), kind: Some(Kind::Agent(agent)), ..Default::default() };
    pb::principals_client::PrincipalsClient::new(admin.clone())
        .create_principal(pb::CreatePrincipalRequest { principal: Some(bot), ..Default::default() })
        .await
        .expect("an agent");
    (world, admin)
}

pub(crate) fn grant(permissions: &[&str]) -> pb::CreateGrantRequest {
    let grant = pb::Grant {
        principal: "bot".into(),
        target: Some(pb::TargetSelector { selector: Some(Selector::Name("orders".into())) }),
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
        ..Default::default()
    };
    pb::CreateGrantRequest { grant: Some(grant), ..Default::default() }
}

fn held(world: &World, statement: &str, parameters: &[&str]) -> RequestId {
    let name = |n: &str| n.parse().expect("a name");
    let state = world.cluster().current();
    let ask = Ask::Exact {
        digest: Digest([7; 32]),
        statement: statement.into(),
        parameters: parameters.iter().map(|p| (*p).to_owned()).collect(),
        context: vec![("database".into(), "app".into())],
        missing: vec![],
        job_version: state.jobs.get(&name("sync")).map(|job| job.version),
        target_version: state.targets.get(&name("orders")).map_or(Index(0), |target| target.version),
        under: None,
    };
    let command = Command::OpenRequest { principal: name("bot"), on_behalf_of: None, target: name("orders"), ask, reason: "held".into() };
    match world.cluster().operate(command) {
        domain::command::Reply::Request { request, .. } => request,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_grant_lives_from_create_to_revoke_with_a_receipt() {
    let (world, admin) = furnished().await;
    let mut grants = Grants::new(admin);
    check_told(grants.create_grant(grant(&[])).await, Code::InvalidArgument, "INVALID", &["grant.permissions"]);
    let made = grants.create_grant(grant(&["postgres:select on app.public.*"])).await.expect("a grant").into_inner();
    assert!(made.live && made.granted_by == "admin");
    let list = pb::ListGrantsRequest { target: "orders".into(), ..Default::default() };
    assert_eq!(grants.list_grants(list.clone()).await.expect("a list").into_inner().grants, std::slice::from_ref(&made));
    let revoke = pb::RevokeGrantRequest { id: made.id.clone(), reason: "over".into(), ..Default::default() };
    let done = grants.revoke_grant(revoke).await.expect("revoked").into_inner();
    let receipt = done.receipt.expect("a receipt");
    assert_eq!((receipt.nodes.len(), receipt.nodes.first().map(|n| n.enforced)), (1, Some(receipt.index)));
    assert!(!done.grant.expect("the tombstone").live);
    assert!(grants.list_grants(list.clone()).await.expect("a list").into_inner().grants.is_empty());
    let all = pb::ListGrantsRequest { all: true, ..list };
    assert_eq!(grants.list_grants(all).await.expect("a list").into_inner().grants.len(), 1);
    drop(world);
}

#[tokio::test]
async fn an_approver_reads_text_that_cannot_deceive() {
    let (world, admin) = furnished().await;
    let id = held(&world, "DELETE FROM t -- \u{202e}x\nWHERE \u{430} = $1", &["a\u{200b}b"]);
    let seen = Requests::new(admin).get_request(pb::GetRequestRequest { id: id.to_string() }).await.expect("the request").into_inner();
    let Some(pb::access_request::Ask::Exact(exact)) = seen.ask else { panic!("{seen:?}") };
    assert_eq!(exact.statement, "DELETE FROM t -- \\u{202e}x\\nWHERE \u{430} = $1");
    assert_eq!(exact.parameters, ["a\\u{200b}b"]);
    assert!(exact.escaped && exact.non_ascii);
    assert_eq!(exact.digest, "07".repeat(32));
}

#[tokio::test]
async fn only_somebody_else_decides_and_only_on_what_was_seen() {
    let (world, admin) = furnished().await;
    let id = held(&world, "DELETE FROM t", &[]).to_string();
    let decide =
        |digest: &str| pb::DecideRequestRequest { id: id.clone(), reason: "ok".into(), digest: digest.into(), ..Default::default() };
    // The admin owns the agent.
    check_told(Requests::new(admin).approve_request(decide("")).await, Code::PermissionDenied, "SEPARATION_OF_DUTIES", &[]);
    let mut reviewer = Requests::new(world.person("rita", &["assize:read on */*", "assize:decide on request/orders"]).await);
    check_told(reviewer.approve_request(decide(&"08".repeat(32))).await, Code::Aborted, "CONFLICT", &[]);
    let mut stranger = Requests::new(world.person("sam", &["assize:decide on request/other"]).await);
    check_told(stranger.approve_request(decide("")).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let approved = reviewer.approve_request(decide(&"07".repeat(32))).await.expect("approved").into_inner();
    assert!(matches!(approved.status.and_then(|s| s.status), Some(pb::request_status::Status::Approved(_))));
    check_told(reviewer.deny_request(decide("")).await, Code::FailedPrecondition, "NOT_OPEN", &[]);
}

#[tokio::test]
async fn one_asks_for_oneself_and_sees_only_ones_own() {
    let (world, _) = furnished().await;
    held(&world, "SELECT 1", &[]);
    let mut alice = Requests::new(world.person("alice", &[]).await);
    let window = pb::Window {
        permissions: vec!["postgres:select on app.public.*".into()],
        length: Some(proto::types::Duration { seconds: 3600, nanos: 0 }),
    };
    let ask = |principal: &str| pb::OpenRequestRequest {
        principal: principal.into(),
        target: "orders".into(),
        window: Some(window.clone()),
        reason: "to look".into(),
        ..Default::default()
    };
    let mine = alice.open_request(ask("")).await.expect("her own").into_inner();
    assert_eq!(mine.principal, "alice");
    check_told(alice.open_request(ask("bot")).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let listed = alice.list_requests(pb::ListRequestsRequest::default()).await.expect("a list").into_inner().requests;
    assert_eq!(listed.into_iter().map(|r| r.id).collect::<Vec<_>>(), std::slice::from_ref(&mine.id));
    let withdrawn =
        alice.withdraw_request(pb::WithdrawRequestRequest { id: mine.id, ..Default::default() }).await.expect("hers").into_inner();
    let status = withdrawn.request.and_then(|r| r.status).and_then(|s| s.status);
    assert!(matches!(status, Some(pb::request_status::Status::Withdrawn(_))));
}

#[tokio::test]
async fn a_lock_answers_with_a_receipt_and_goes_again() {
    let (world, admin) = furnished().await;
    let mut locks = Locks::new(admin.clone());
    let lock = pb::Lock { on: Some(pb::lock::On::Principal("bot".into())), reason: "loops".into(), ..Default::default() };
    let made = locks.create_lock(pb::CreateLockRequest { lock: Some(lock), ..Default::default() }).await.expect("a lock").into_inner();
    let (lock, receipt) = (made.lock.expect("the lock"), made.receipt.expect("a receipt"));
    assert!(lock.live && receipt.nodes.len() == 1);
    let explained = explain(admin.clone(), &[]).await;
    assert_eq!((explained.outcome.as_str(), explained.reasons), ("revoked", vec![format!("{} is in force: {}", lock.id, lock.reason)]));
    locks.delete_lock(pb::DeleteLockRequest { id: lock.id, ..Default::default() }).await.expect("deleted");
    assert!(locks.list_locks(pb::ListLocksRequest::default()).await.expect("a list").into_inner().locks.is_empty());
    let unnamed = pb::CreateLockRequest { lock: Some(pb::Lock::default()), ..Default::default() };
    check_told(locks.create_lock(unnamed).await, Code::InvalidArgument, "INVALID", &["lock.on", "lock.reason"]);
    drop(world);
}

async fn explain(caller: As, accesses: &[&str]) -> pb::ExplainAccessResponse {
    let request = pb::ExplainAccessRequest {
        principal: "bot".into(),
        target: "orders".into(),
        accesses: accesses.iter().map(|a| (*a).to_owned()).collect(),
        ..Default::default()
    };
    pb::explain_client::ExplainClient::new(caller).explain_access(request).await.expect("an answer").into_inner()
}

#[tokio::test]
async fn explain_says_what_is_covered_by_which_grant() {
    let (_world, admin) = furnished().await;
    let made = Grants::new(admin.clone()).create_grant(grant(&["postgres:select on app.public.*"])).await.expect("a grant").into_inner();
    let answer = explain(admin.clone(), &["postgres:select on app.public.items", "postgres:delete on app.public.items"]).await;
    assert_eq!((answer.outcome.as_str(), answer.verdict.as_str()), ("approved", "hold"));
    let found: Vec<(bool, String)> = answer.accesses.into_iter().map(|a| (a.allowed, a.grant)).collect();
    assert_eq!(found, [(true, made.id.clone()), (false, String::new())]);
    assert!(answer.cited.iter().any(|c| c.what == made.id));
    let mut client = pb::explain_client::ExplainClient::new(admin);
    let by_text = |statement: &str| pb::ExplainAccessRequest {
        principal: "bot".into(),
        target: "orders".into(),
        statement: statement.into(),
        ..Default::default()
    };
    assert_eq!(client.explain_access(by_text("SELECT FROM items")).await.expect("an answer").into_inner().verdict, "allow");
    let unreadable = client.explain_access(by_text("SELEC")).await.expect("an answer").into_inner();
    assert_eq!(unreadable.verdict, "refuse");
    assert!(unreadable.impossible.contains("cannot be parsed (syntax error)"), "{unreadable:?}");
    assert_eq!(unreadable.accesses[0].access, "postgres:admin on *.*.*", "the widest class");
    for (principal, target, missing) in [("bott", "orders", "principal bott"), ("bot", "order", "target order")] {
        let request = pb::ExplainAccessRequest { principal: principal.into(), target: target.into(), ..Default::default() };
        let refused = client.explain_access(request).await.expect_err("nobody of that name");
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, format!("{missing} does not exist").as_str()));
    }
}

#[tokio::test]
async fn sessions_are_listed_by_right_and_ended_by_a_lock() {
    let (world, admin) = furnished().await;
    let session = |id: u64, principal: &str| pb::Session {
        id: format!("session-1-000000000000b007-{id}"),
        node: 1,
        principal: principal.into(),
        target: "orders".into(),
        ..Default::default()
    };
    world.cluster().set_sessions(vec![session(1, "bot"), session(2, "other")]);
    let list = || pb::ListSessionsRequest { all_nodes: true, ..Default::default() };
    let mut sessions = pb::sessions_client::SessionsClient::new(admin);
    let all = sessions.list_sessions(list()).await.expect("a list").into_inner();
    assert_eq!((all.sessions.len(), all.silent_nodes), (2, vec![2]));
    let mut auditor = pb::sessions_client::SessionsClient::new(world.person("ann", &["assize:read on session/*"]).await);
    assert_eq!(auditor.list_sessions(list()).await.expect("a list").into_inner().sessions.len(), 2);
    let end = || pb::EndSessionRequest { id: "session-1-000000000000b007-1".into(), ..Default::default() };
    check_told(auditor.end_session(end()).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let ended = sessions.end_session(end()).await.expect("ended").into_inner();
    assert!(ended.lock.starts_with("lock-") && ended.receipt.is_some());
}
