//! Nouns: fields, etags, pages, request ids.

use admin_api::in_memory::Fault;
use proto::admin as pb;
use proto::admin::principal::Kind;
use tonic::Code;

use crate::world::{World, check_told};

type Roles<T> = pb::roles_client::RolesClient<T>;
type Targets<T> = pb::targets_client::TargetsClient<T>;
type Tokens<T> = pb::tokens_client::TokensClient<T>;

fn role(name: &str) -> pb::Role {
    pb::Role { name: name.into(), permissions: vec!["postgres:select on *.*.*".into()], ..Default::default() }
}

fn create(role: pb::Role) -> pb::CreateRoleRequest {
    pb::CreateRoleRequest { role: Some(role), ..Default::default() }
}

#[tokio::test]
async fn every_field_at_fault_is_named() {
    let world = World::new().await;
    let mut targets = Targets::new(world.admin());
    let target = pb::Target { name: "Orders".into(), address: "nowhere".into(), credential: String::new(), ..Default::default() };
    let answer = targets.create_target(pb::CreateTargetRequest { target: Some(target), ..Default::default() }).await;
    check_told(answer, Code::InvalidArgument, "INVALID", &["target.name"]);
    let target = pb::Target { name: "orders".into(), address: "nowhere".into(), credential: String::new(), ..Default::default() };
    let answer = targets.create_target(pb::CreateTargetRequest { target: Some(target), ..Default::default() }).await;
    let fields = ["target.protocol", "target.address", "target.credential", "target.default_database"];
    check_told(answer, Code::InvalidArgument, "INVALID", &fields);
    let bad = pb::Role { permissions: vec!["postgres:select on *.*.*".into(), "postgres:fly on x".into()], ..role("r") };
    check_told(Roles::new(world.admin()).create_role(create(bad)).await, Code::InvalidArgument, "INVALID", &["role.permissions[1]"]);
}

#[tokio::test]
async fn a_field_the_log_refuses_is_named_in_the_request() {
    let world = World::new().await;
    let agent = pb::Principal {
        name: "bot".into(),
        kind: Some(Kind::Agent(pb::Agent { owner: "nobody".into(), ..Default::default() })),
        ..Default::default()
    };
    let mut principals = pb::principals_client::PrincipalsClient::new(world.admin());
    let answer = principals.create_principal(pb::CreatePrincipalRequest { principal: Some(agent), ..Default::default() }).await;
    check_told(answer, Code::InvalidArgument, "INVALID", &["principal.owner"]);
}

#[tokio::test]
async fn an_update_needs_the_version_it_read() {
    let world = World::new().await;
    let mut roles = Roles::new(world.admin());
    let made = roles.create_role(create(role("r"))).await.expect("a role").into_inner();
    check_told(roles.create_role(create(role("r"))).await, Code::AlreadyExists, "EXISTS", &[]);
    let update = |role: pb::Role| pb::UpdateRoleRequest { role: Some(role), ..Default::default() };
    check_told(roles.update_role(update(role("r"))).await, Code::InvalidArgument, "INVALID", &["role.etag"]);
    let one = pb::Role { description: "one".into(), ..made.clone() };
    let two = pb::Role { description: "two".into(), ..made };
    let first = roles.update_role(update(one)).await.expect("the first").into_inner();
    check_told(roles.update_role(update(two)).await, Code::Aborted, "CONFLICT", &[]);
    let kept = first.role.expect("the role");
    assert_eq!(kept.description, "one");
    assert!(first.receipt.is_some(), "an update may narrow: it answers when it is enforced");
    let stale = pb::DeleteRoleRequest { name: "r".into(), etag: "1".into(), ..Default::default() };
    check_told(roles.delete_role(stale).await, Code::Aborted, "CONFLICT", &[]);
    roles.delete_role(pb::DeleteRoleRequest { name: "r".into(), etag: kept.etag, ..Default::default() }).await.expect("deleted");
    check_told(roles.get_role(pb::GetRoleRequest { name: "r".into() }).await, Code::NotFound, "NOT_FOUND", &[]);
}

#[tokio::test]
async fn pages_go_on_for_the_same_caller_and_query_only() {
    let world = World::new().await;
    let mut roles = Roles::new(world.admin());
    for i in 0..5 {
        roles.create_role(create(role(&format!("page-{i}")))).await.expect("a role");
    }
    let ask = |token: &str| pb::ListRolesRequest { page_size: 2, page_token: token.into() };
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = roles.list_roles(ask(&token)).await.expect("a page").into_inner();
        assert!(page.roles.len() <= 2);
        names.extend(page.roles.into_iter().map(|r| r.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let all: Vec<String> = world.cluster().current().roles.keys().map(ToString::to_string).collect();
    assert_eq!(names, all);

    let token = roles.list_roles(ask("")).await.expect("a page").into_inner().next_page_token;
    let mut alice = Roles::new(world.person("alice", &["assize:read on */*"]).await);
    check_told(alice.list_roles(ask(&token)).await, Code::InvalidArgument, "INVALID", &["page_token"]);
    check_told(roles.list_roles(ask("cm9vdA")).await, Code::InvalidArgument, "INVALID", &["page_token"]);
    let jobs = pb::ListJobsRequest { page_size: 2, page_token: token };
    check_told(pb::jobs_client::JobsClient::new(world.admin()).list_jobs(jobs).await, Code::InvalidArgument, "INVALID", &["page_token"]);
}

#[tokio::test]
async fn a_repeated_request_id_changes_nothing_twice() {
    let world = World::new().await;
    let mut roles = Roles::new(world.admin());
    let request = || pb::CreateRoleRequest { role: Some(role("once")), request_id: "r1".into() };
    let first = roles.create_role(request()).await.expect("made").into_inner();
    assert_eq!(roles.create_role(request()).await.expect("the same answer").into_inner(), first);
    // The id is the caller's own: another's call with it is another call.
    let mut alice = Roles::new(world.person("alice", &["assize:read,write on */*"]).await);
    check_told(alice.create_role(request()).await, Code::AlreadyExists, "EXISTS", &[]);
    let mut both = tonic::Request::new(pb::CreateRoleRequest { role: Some(role("other")), request_id: "r2".into() });
    both.metadata_mut().insert("x-request-id", "r3".parse().expect("ASCII"));
    check_told(roles.create_role(both).await, Code::InvalidArgument, "INVALID", &["request_id"]);
}

#[tokio::test]
async fn an_unknown_outcome_is_told_as_such_and_safe_to_repeat() {
    let world = World::new().await;
    let mut roles = Roles::new(world.admin());
    let request = || pb::CreateRoleRequest { role: Some(role("once")), request_id: "r1".into() };
    world.cluster().next_fault(Fault::AnswerLost);
    check_told(roles.create_role(request()).await, Code::Aborted, "OUTCOME_UNKNOWN", &[]);
    assert_eq!(roles.create_role(request()).await.expect("done before").into_inner().name, "once");
    world.cluster().next_fault(Fault::NotCommitted);
    check_told(roles.create_role(create(role("twice"))).await, Code::Unavailable, "NOT_COMMITTED", &[]);
}

#[tokio::test]
async fn a_tokens_secret_is_shown_once_even_when_the_call_is_repeated() {
    let world = World::new().await;
    let mut tokens = Tokens::new(world.admin());
    let request = || pb::IssueTokenRequest {
        principal: "admin".into(),
        r#use: pb::TokenUse::Gateway.into(),
        request_id: "t1".into(),
        ..Default::default()
    };
    let first = tokens.issue_token(request()).await.expect("issued").into_inner();
    let again = tokens.issue_token(request()).await.expect("the same token").into_inner();
    assert_eq!(first.token, again.token);
    assert!(first.secret.len() == 64 && again.secret.is_empty());
    let listed =
        tokens.list_tokens(pb::ListTokensRequest { principal: "admin".into(), ..Default::default() }).await.expect("a list").into_inner();
    assert!(!format!("{listed:?}").contains(&first.secret));
}

#[tokio::test]
async fn the_live_tokens_of_one_principal_share_a_salt() {
    let world = World::new().await;
    let mut tokens = Tokens::new(world.admin());
    for _ in 0..2 {
        let request = pb::IssueTokenRequest { principal: "admin".into(), r#use: pb::TokenUse::Gateway.into(), ..Default::default() };
        tokens.issue_token(request).await.expect("issued");
    }
    let state = world.cluster().current();
    let admin = state.principals.get(&"admin".parse::<domain::id::Name>().expect("a name")).expect("the admin");
    let salts: std::collections::BTreeSet<_> = admin.tokens.values().map(|t| t.scram.salt).collect();
    assert_eq!(salts.len(), 1);
}

#[tokio::test]
async fn a_password_goes_in_and_never_comes_out() {
    let world = World::new().await;
    let mut credentials = pb::credentials_client::CredentialsClient::new(world.admin());
    let request = |password: &str| pb::CreateCredentialRequest {
        name: "db".into(),
        username: "app".into(),
        password: password.into(),
        ..Default::default()
    };
    check_told(credentials.create_credential(request("")).await, Code::InvalidArgument, "INVALID", &["password"]);
    let made = credentials.create_credential(request("hunter2hunter2")).await.expect("made").into_inner();
    let rotate = pb::RotateCredentialRequest { name: "db".into(), password: "hunter3".into(), etag: made.etag, ..Default::default() };
    let rotated = credentials.rotate_credential(rotate).await.expect("rotated").into_inner();
    assert_eq!(rotated.credential.expect("the credential").username, "app");
    let listed = credentials.list_credentials(pb::ListCredentialsRequest::default()).await.expect("a list").into_inner();
    let state = format!("{:?} {listed:?}", world.cluster().current());
    assert!(!state.contains("hunter"));
}

#[tokio::test]
async fn answers_carry_their_index_and_wait_for_a_newer_one() {
    let world = World::new().await;
    let mut roles = Roles::new(world.admin());
    let made = roles.create_role(create(role("r"))).await.expect("a role");
    let index = made.metadata().get("x-assize-index").expect("an index").clone();
    let mut request = tonic::Request::new(pb::GetRoleRequest { name: "r".into() });
    request.metadata_mut().insert("x-assize-min-index", index);
    roles.get_role(request).await.expect("this state is as new");
    let mut request = tonic::Request::new(pb::GetRoleRequest { name: "r".into() });
    request.metadata_mut().insert("x-assize-min-index", "soon".parse().expect("ASCII"));
    check_told(roles.get_role(request).await, Code::InvalidArgument, "INVALID", &["x-assize-min-index"]);
}
