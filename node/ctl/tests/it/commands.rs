//! What each command prints, and how it ends.

use admin_api::in_memory::Fault;
use domain::command::{Command, Reply};
use domain::id::{BootId, Digest, Index, NodeId, SessionId};
use domain::member::{Cancelled, SessionReceipt};
use domain::request::Ask;

use crate::world::{World, steady, typed};

async fn furnish(world: &World) {
    let password = world.file("password", "hunter2\n");
    for line in [
        format!("credential create db --username app --password-file {password}"),
        "person create alice --email alice@example.com".into(),
        "job create sync --purpose 'keeps orders in step' --owner alice -p 'postgres:* on *.*.*'".into(),
        "agent create bot --owner alice --job sync --label team=orders".into(),
        "target create orders --address 127.0.0.1:5432 --credential db --database app --tls off --label env=prod".into(),
        "role create reader -p 'postgres:select on app.public.*' --description 'reads'".into(),
    ] {
        world.line(&line).await.ok();
    }
}

#[tokio::test]
async fn nouns_print_as_tables() {
    let world = World::new().await;
    furnish(&world).await;
    let check = async |line: &str, expect: &str| assert_eq!(world.line(line).await.ok(), expect, "{line}");
    check("agent list", "NAME  OWNER  JOB   ACTIVE  LABELS\nbot   alice  sync  yes     team=orders\n").await;
    check(
        "person list",
        "NAME   EMAIL              ACTIVE  LABELS\nadmin  -                  yes     -\nalice  alice@example.com  yes     -\n",
    )
    .await;
    check(
        "target list",
        "NAME    ADDRESS         TLS  CREDENTIAL  DATABASE  OWNER  LABELS\norders  127.0.0.1:5432  off  db          app       -      env=prod\n",
    )
    .await;
    check("job list", "NAME  OWNER  EXPIRES  PURPOSE\nsync  alice  -        keeps orders in step\n").await;
    let target = world.line("target get orders").await.ok();
    let (shown, version) = target.split_at(target.find("version").expect("a version"));
    assert_eq!(
        shown,
        "name              orders\nprotocol          postgres\naddress           127.0.0.1:5432\ntls               off\ncredential        db\ndatabase          app\nhold              20s\nrequest expiry    1d\napprovals needed  1\nbehind a pooler   no\nlabels            env=prod\n"
    );
    assert!(version.starts_with("version           "));
}

#[tokio::test]
async fn json_is_proto3_json_and_holds_no_secret() {
    let world = World::new().await;
    furnish(&world).await;
    let json = world.line("-o json target get orders").await.ok();
    let target: proto::admin::Target = serde_json::from_str(&json).expect("proto3 JSON");
    assert_eq!((target.default_database.as_str(), target.approvals_needed), ("app", 1));
    let all = world.line("-o json credential list").await.ok();
    assert!(all.contains("\"username\": \"app\"") && !all.contains("hunter2"), "{all}");
}

#[tokio::test]
async fn updates_keep_what_is_not_given() {
    let world = World::new().await;
    furnish(&world).await;
    let said = steady(&world.line("agent update bot --label team= --label tier=1").await.ok());
    assert!(said.starts_with("updated\nrevocation-N is in force at index "), "{said}");
    assert_eq!(world.line("agent list").await.ok(), "NAME  OWNER  JOB   ACTIVE  LABELS\nbot   alice  sync  yes     tier=1\n");
    world.line("target update orders --hold 45s").await.ok();
    let target = world.line("target get orders").await.ok();
    assert!(target.contains("hold              45s") && target.contains("tls               off"), "{target}");
    assert_eq!(world.line("person get bot").await.failed(), (1, "bot is an agent, not a person".into()));
}

#[tokio::test]
async fn a_grant_is_made_listed_and_revoked_with_its_receipt() {
    let world = World::new().await;
    furnish(&world).await;
    let made = world
        .line("-o json grant create --principal bot --target orders --name sync-orders -p 'postgres:select on app.public.*' --expires 90d")
        .await
        .ok();
    let grant: proto::admin::Grant = serde_json::from_str(&made).expect("proto3 JSON");
    let listed = world.line("grant list --principal bot").await.ok();
    assert_eq!(
        steady(&listed).replace(&grant.id, "grant-N").split_whitespace().collect::<Vec<_>>().join(" "),
        "ID NAME PRINCIPAL TARGET PERMISSIONS EXPIRES REVIEW DUE LAST USED STATUS SOURCE grant-N sync-orders bot orders postgres:select on app.public.* TIME - - live baseline"
    );
    let said = world.line("grant revoke sync-orders --reason over").await.ok();
    let index = world.running.cluster.current().applied;
    assert_eq!(
        said,
        format!(
            "revoked {}\nrevocation-{index} is in force at index {index}\n  node 1: enforced index {index}, 0 sessions ended\n",
            grant.id
        )
    );
    assert_eq!(world.line("grant list --principal bot").await.ok().lines().count(), 1);
    assert!(world.line("grant list --principal bot --all").await.ok().contains("revoked"));
    // Once more changes nothing and says so, by whichever name.
    for typed in [grant.id.as_str(), "sync-orders"] {
        let said = world.run(&["grant", "revoke", typed, "--reason", "again"]).await.ok();
        assert!(said.starts_with(&format!("{} was revoked already, by admin at ", grant.id)), "{said}");
        assert!(said.contains(&format!(": over (revocation-{index}); nothing changed\nrevocation-{index} is in force")), "{said}");
    }
    assert_eq!(world.line("grant revoke nothing").await.failed(), (1, "the grant nothing does not exist".into()));
    // The name is free again.
    world.line("grant create --principal bot --target orders --name sync-orders -p 'postgres:select on app.public.*'").await.ok();
    let said = world.line("grant revoke sync-orders").await.ok();
    assert!(said.starts_with("revoked grant-") && !said.contains(&grant.id), "{said}");
}

#[tokio::test]
async fn a_receipt_tells_what_became_known_after_the_acknowledgement() {
    let world = World::new().await;
    furnish(&world).await;
    let session = SessionId { node: NodeId(1), boot: BootId(7), number: 3 };
    let (principal, target) = ("bot".parse().expect("a name"), "orders".parse().expect("a name"));
    world.running.cluster.set_ended(vec![SessionReceipt { session, principal, target, upstream: Cancelled::Pending }]);
    let said = world.line("lock create --principal bot --reason 'it loops'").await.ok();
    assert!(said.ends_with(&format!("    {session} of bot at orders: what it ran was cancelled\n")), "{said}");
}

#[tokio::test]
async fn rotating_says_what_it_ends() {
    let world = World::new().await;
    furnish(&world).await;
    let (_, help) = world.line("credential rotate --help").await.failed();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("running ones go on, unless --username changes, which ends them"), "{help}");
    let narrowed = || {
        let state = world.running.cluster.current();
        state.credentials.values().map(|c| c.narrowed).collect::<Vec<_>>()
    };
    let before = narrowed();
    let password = world.file("next", "hunter3\n");
    world.run(&["credential", "rotate", "db", "--password-file", &password]).await.ok();
    assert_eq!(narrowed(), before, "no session ends");
    world.run(&["credential", "rotate", "db", "--username", "other", "--password-file", &password]).await.ok();
    assert!(narrowed() > before, "sessions of the old login end");
}

#[tokio::test]
async fn a_token_stands_alone_on_standard_output() {
    let world = World::new().await;
    furnish(&world).await;
    let secret = world.line("token issue bot --label ci --expires 30d").await.ok();
    assert!(secret.starts_with("assize_g") && secret.trim().len() == 64, "{secret}");
    let listed = world.line("token list bot").await.ok();
    assert!(listed.contains("gateway") && listed.contains("ci") && !listed.contains(secret.trim()));
    world.line("--request-id same token issue bot").await.ok();
    let (code, said) = world.line("--request-id same token issue bot").await.failed();
    assert_eq!(code, 1);
    assert!(said.contains("its secret went with that answer"), "{said}");
}

#[tokio::test]
async fn an_approver_lists_reads_and_decides() {
    let world = World::new().await;
    furnish(&world).await;
    let name = |n: &str| n.parse().expect("a name");
    let state = world.running.cluster.current();
    let ask = Ask::Exact {
        digest: Digest([0xab; 32]),
        statement: "DELETE FROM items WHERE id = $1\u{202e}".into(),
        parameters: vec!["7".into()],
        context: vec![("database".into(), "app".into())],
        missing: vec![],
        job_version: state.jobs.get(&name("sync")).map(|job| job.version),
        target_version: state.targets.get(&name("orders")).map_or(Index(0), |target| target.version),
        under: None,
    };
    let command = Command::OpenRequest { principal: name("bot"), on_behalf_of: None, target: name("orders"), ask, reason: "held".into() };
    let Reply::Request { request, .. } = world.running.cluster.operate(command) else { panic!("no request") };
    let id = request.to_string();
    let listed = world.line("request list").await.ok();
    assert!(listed.contains("pending (0/1)") && listed.contains("(!) DELETE FROM items WHERE id = $1\\u{202e}"), "{listed}");
    let read = world.run(&["request", "get", &id]).await.ok();
    let digest = "ab".repeat(32);
    for part in [
        "(!) the text has hidden",
        "statement\n  DELETE FROM items WHERE id = $1\\u{202e}\n  $1 = 7\nruns with\n  database = app\n",
        &format!("digest {digest}\n"),
    ] {
        assert!(read.contains(part), "{part}\n{read}");
    }
    // alice owns the agent; the admin does not.
    let (alice, reviewer) = (world.running.cluster.admin_token("alice"), world.person("rita", "assize:decide on request/*").await);
    world.line("grant create --principal alice --target assize -p 'assize:decide on request/*'").await.ok();
    let (code, said) = world.run_as(&alice, &["request", "approve", &id]).await.failed();
    assert_eq!(code, 1);
    assert!(said.contains("nobody decides on their own access"), "{said}");
    let said = world.run_as(&reviewer, &["request", "approve", &id, "--digest", &digest, "--reason", "fine"]).await.ok();
    assert_eq!(said, format!("approved {id}\n"));
    assert!(world.line("request list --all").await.ok().contains("approved"));
}

#[tokio::test]
async fn locks_sessions_explain_and_checks_print() {
    let world = World::new().await;
    furnish(&world).await;
    let said = steady(&world.line("lock create --principal bot --reason 'it loops'").await.ok());
    assert!(said.starts_with("created lock-N\nrevocation-N is in force"), "{said}");
    let explained = world.line("explain --principal bot --target orders").await.ok();
    assert!(explained.starts_with("admission: revoked\n  lock-") && explained.contains(" is in force: it loops"), "{explained}");
    let listed = world.line("lock list").await.ok();
    assert!(listed.contains("principal bot") && listed.contains("it loops"), "{listed}");
    let id = listed.lines().nth(1).and_then(|l| l.split_whitespace().next()).expect("a lock").to_owned();
    world.run(&["lock", "delete", &id]).await.ok();
    assert_eq!(
        world.line("target check orders").await.ok(),
        "STEP     RESULT  TOOK  FINDING\nconnect  passed  -     127.0.0.1:5432\nlogin    passed  -     app\n"
    );
    let sessions = world.line("session list").await.ok();
    assert!(sessions.ends_with("node 2 did not answer\n"), "{sessions}");
    let status = world.line("cluster status").await.ok();
    assert!(status.contains("test (incarnation 1)") && status.contains("1 in term 1"), "{status}");
    world.line("grant create --principal bot --target orders -p 'postgres:select on app.public.*'").await.ok();
    let explained = world.line("explain --principal bot --target orders --statement SELEC").await.ok();
    assert!(explained.contains("verdict: refuse\n  it cannot be parsed (syntax error), so it needs the widest class"), "{explained}");
    assert!(explained.contains("  - postgres:admin on *.*.*  not granted"), "{explained}");
    let (code, said) = world.line("lock create --principal bot --target orders --reason x").await.failed();
    assert_eq!((code, said.contains("cannot be used with")), (2, true));
}

#[tokio::test]
async fn exit_status_tells_refused_usage_and_unknown_apart() {
    let world = World::new().await;
    furnish(&world).await;
    assert_eq!(world.line("agent get nobody").await.failed().0, 1);
    assert_eq!(world.line("agent create Bot --owner alice").await.failed().0, 1);
    assert_eq!(world.line("agent create x").await.failed().0, 2);
    assert_eq!(typed(&["agent", "list", "--addr", "127.0.0.1:1"]).await.failed().0, 2);
    world.running.cluster.next_fault(Fault::AnswerLost);
    let (code, said) = world.line("--request-id again role create r -p 'postgres:select on *.*.*'").await.failed();
    assert_eq!((code, said.contains("--request-id again")), (3, true), "{said}");
    world.line("--request-id again role create r -p 'postgres:select on *.*.*'").await.ok();
    world.running.cluster.next_fault(Fault::AnswerLost);
    world.line("--retry-unknown 2 role create s -p 'postgres:select on *.*.*'").await.ok();
}

#[tokio::test]
async fn what_runs_on_the_node_needs_no_cluster() {
    assert_eq!(typed(&["cluster", "init", "--config", "node.toml"]).await.ok(), "init node.toml admin\n");
    assert_eq!(typed(&["cluster", "recover", "--config", "node.toml"]).await.failed(), (1, "no".into()));
}

#[tokio::test]
async fn a_backup_is_written_whole_or_not_at_all() {
    let world = World::new().await;
    let file = world.path("backup");
    let path = file.display().to_string();
    world.run(&["cluster", "backup", "--out", &path]).await.ok();
    assert_eq!(std::fs::read(&file).expect("the backup"), b"sealed backup");
    assert_eq!(world.run(&["cluster", "backup", "--out", &path]).await.failed().0, 2);
}
