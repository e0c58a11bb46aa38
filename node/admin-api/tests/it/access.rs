//! Who is let in: tokens, certificates, and what a right reaches.

use domain::principal::TokenUse;
use proto::admin as pb;
use proto::admin::principal::Kind;
use tonic::Code;

use crate::world::{World, assize_grant, check_told, connect};

type Roles<T> = pb::roles_client::RolesClient<T>;
type Principals<T> = pb::principals_client::PrincipalsClient<T>;

fn list() -> pb::ListRolesRequest {
    pb::ListRolesRequest::default()
}

#[tokio::test]
async fn only_a_whole_live_admin_token_proves_anybody() {
    let world = World::new().await;
    let token = world.cluster().admin_token("admin");
    assert!(Roles::new(world.bearer(Some(token.clone()))).list_roles(list()).await.is_ok());
    for end in 0..token.len() {
        let part = token.get(..end).expect("tokens are ASCII").to_owned();
        check_told(Roles::new(world.bearer(Some(part))).list_roles(list()).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
    }
    for wrong in [
        token.to_uppercase(),
        format!("{token}a"),
        identity::token::generate(TokenUse::Admin.into()).expose_str().expect("ASCII").to_owned(),
    ] {
        check_told(Roles::new(world.bearer(Some(wrong))).list_roles(list()).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
    }
}

#[tokio::test]
async fn a_gateway_token_and_a_revoked_token_open_nothing_here() {
    let world = World::new().await;
    let mut tokens = pb::tokens_client::TokensClient::new(world.admin());
    let request = |usage: pb::TokenUse| pb::IssueTokenRequest { principal: "admin".into(), r#use: usage.into(), ..Default::default() };
    let gateway = tokens.issue_token(request(pb::TokenUse::Gateway)).await.expect("a token").into_inner();
    assert!(gateway.secret.starts_with("assize_g"));
    check_told(Roles::new(world.bearer(Some(gateway.secret))).list_roles(list()).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);

    let admin = tokens.issue_token(request(pb::TokenUse::Admin)).await.expect("a token").into_inner();
    let (id, caller) = (admin.token.expect("a token").id, world.bearer(Some(admin.secret)));
    assert!(Roles::new(caller.clone()).list_roles(list()).await.is_ok());
    let revoked = tokens
        .revoke_token(pb::RevokeTokenRequest { principal: "admin".into(), id, ..Default::default() })
        .await
        .expect("revoked")
        .into_inner();
    assert_eq!(revoked.receipt.expect("a receipt").nodes.len(), 1);
    check_told(Roles::new(caller).list_roles(list()).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
}

#[tokio::test]
async fn a_client_certificate_of_the_cluster_proves_its_person() {
    let world = World::new().await;
    let people = &world.running.certificates;
    let by = |uri: &str| connect(&world.running, Some(people.client(uri)));
    assert!(Roles::new(by("assize://test/1/person/admin").await.expect("TLS")).list_roles(list()).await.is_ok());
    for uri in ["assize://test/2/person/admin", "assize://other/1/person/admin", "assize://test/1/node/1", "assize://test/1/person/nobody"]
    {
        let answer = Roles::new(by(uri).await.expect("TLS")).list_roles(list()).await;
        check_told(answer, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
    }
}

#[tokio::test]
async fn a_certificate_of_a_stranger_does_not_get_through_tls() {
    let world = World::new().await;
    let identity = world.running.certificates.foreign_client("assize://test/1/person/admin");
    // With TLS 1.3 the client learns of it with its first call.
    let refused = match connect(&world.running, Some(identity)).await {
        Err(_) => true,
        Ok(channel) => Roles::new(channel).list_roles(list()).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn a_registered_certificate_replaces_the_clusters_own() {
    let world = World::new().await;
    world.person("alice", &["assize:read on */*"]).await;
    let (cert, key) = world.running.certificates.client("assize://test/1/person/alice");
    let channel = connect(&world.running, Some((cert, key))).await.expect("TLS");
    assert!(Roles::new(channel.clone()).list_roles(list()).await.is_ok());

    let mut principals = Principals::new(world.admin());
    let mut alice = principals.get_principal(pb::GetPrincipalRequest { name: "alice".into() }).await.expect("alice").into_inner();
    alice.kind = Some(Kind::Person(pb::Person { email: String::new(), certificate: "ab".repeat(32) }));
    principals.update_principal(pb::UpdatePrincipalRequest { principal: Some(alice), ..Default::default() }).await.expect("updated");
    check_told(Roles::new(channel).list_roles(list()).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
}

#[tokio::test]
async fn a_bad_token_is_not_made_good_by_a_certificate() {
    let world = World::new().await;
    let identity = world.running.certificates.client("assize://test/1/person/admin");
    let channel = connect(&world.running, Some(identity)).await.expect("TLS");
    let mut request = tonic::Request::new(list());
    request.metadata_mut().insert("authorization", "Bearer nonsense".parse().expect("ASCII"));
    check_told(Roles::new(channel).list_roles(request).await, Code::Unauthenticated, "UNAUTHENTICATED", &[]);
}

#[tokio::test]
async fn a_right_reaches_what_it_names_and_nothing_else() {
    let world = World::new().await;
    let mut admin = Roles::new(world.admin());
    for name in ["team-a", "team-b"] {
        let role = pb::Role { name: name.into(), permissions: vec!["postgres:select on *.*.*".into()], ..Default::default() };
        admin.create_role(pb::CreateRoleRequest { role: Some(role), ..Default::default() }).await.expect("a role");
    }
    let mut alice = Roles::new(world.person("alice", &["assize:read,write on role/team-a"]).await);
    let get = |name: &str| pb::GetRoleRequest { name: name.into() };
    let mut seen = alice.get_role(get("team-a")).await.expect("hers").into_inner();
    check_told(alice.get_role(get("team-b")).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let names: Vec<String> = alice.list_roles(list()).await.expect("a list").into_inner().roles.into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["team-a"]);
    seen.description = "changed".into();
    alice.update_role(pb::UpdateRoleRequest { role: Some(seen.clone()), ..Default::default() }).await.expect("hers");
    // What gives power over the administration needs `operate`.
    let mut seen = alice.get_role(get("team-a")).await.expect("hers").into_inner();
    seen.permissions = vec!["assize:* on */*".into()];
    check_told(
        alice.update_role(pb::UpdateRoleRequest { role: Some(seen), ..Default::default() }).await,
        Code::PermissionDenied,
        "FORBIDDEN",
        &[],
    );
}

#[tokio::test]
async fn whoever_may_write_does_not_make_themselves_an_admin() {
    let world = World::new().await;
    let operator = world.person("olga", &["assize:read,write on */*"]).await;
    let grant = pb::CreateGrantRequest { grant: Some(assize_grant("olga", &["assize:* on */*"])), ..Default::default() };
    check_told(pb::grants_client::GrantsClient::new(operator.clone()).create_grant(grant).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let token = pb::IssueTokenRequest { principal: "admin".into(), r#use: pb::TokenUse::Admin.into(), ..Default::default() };
    check_told(pb::tokens_client::TokensClient::new(operator.clone()).issue_token(token).await, Code::PermissionDenied, "FORBIDDEN", &[]);
    let mut principals = Principals::new(operator);
    let mut admin = principals.get_principal(pb::GetPrincipalRequest { name: "admin".into() }).await.expect("she may read").into_inner();
    admin.kind = Some(Kind::Person(pb::Person { email: String::new(), certificate: "ab".repeat(32) }));
    check_told(
        principals.update_principal(pb::UpdatePrincipalRequest { principal: Some(admin), ..Default::default() }).await,
        Code::PermissionDenied,
        "FORBIDDEN",
        &[],
    );
}
