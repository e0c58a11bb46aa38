//! `assize apply`: idempotent, shows what it would do, prunes only its own, and lets people's decisions stand.

use crate::world::{World, steady};

const ALL: &str = r#"
kind: Person
name: alice
spec:
  email: alice@example.com
---
kind: Role
name: reader
spec:
  description: reads orders
  permissions:
    - "postgres:select on app.public.*"
---
kind: Credential
name: db
spec:
  username: app
  passwordFrom: { file: password }
---
kind: Job
name: sync
spec:
  purpose: keeps orders in step
  owner: alice
  permissions: ["postgres:insert,select on app.*.*"]
---
kind: Agent
name: bot
spec: { owner: alice, job: sync, labels: { team: orders } }
---
kind: Target
name: orders
spec:
  address: 127.0.0.1:5432
  tls: { mode: "off" }
  credential: db
  defaultDatabase: app
---
kind: Grant
name: bot-reads
spec:
  principal: bot
  target: orders
  roles: [reader]
  permissions: ["postgres:select on app.public.items(id)"]
  expires: 90d
"#;

const CREATED: &str = "create Role reader
    + description: reads orders
    + name: reader
    + permissions: postgres:select on app.public.*
create Credential db
    + name: db
    + username: app
    + password: [set]
create Person alice
    + active: true
    + labels.assize.managed-by: apply
    + name: alice
    + person.email: alice@example.com
create Job sync
    + name: sync
    + owner: alice
    + permissions: postgres:select,insert on app.*.*
    + purpose: keeps orders in step
create Agent bot
    + active: true
    + agent.job: sync
    + agent.owner: alice
    + labels.assize.managed-by: apply
    + labels.team: orders
    + name: bot
create Target orders
    + address: 127.0.0.1:5432
    + approvalsNeeded: 1
    + credential: db
    + defaultDatabase: app
    + hold: 20s
    + labels.assize.managed-by: apply
    + name: orders
    + protocol: PROTOCOL_POSTGRES
    + requestExpiry: 86400s
    + tls.off: {}
create Grant bot-reads
    + expires: TIME
    + name: bot-reads
    + permissions: postgres:select on app.public.items(id)
    + principal: bot
    + roles: reader
    + target.name: orders
";

async fn world(all: &str) -> (World, String) {
    let world = World::new().await;
    world.file("password", "hunter2\n");
    let file = world.file("all.yaml", all);
    (world, file)
}

/// Times in JSON have more digits than those of tables.
fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("expires: ") {
        Some((before, _)) => format!("{before}expires: TIME"),
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    let (world, file) = world(ALL).await;
    let dry = world.run(&["apply", "-f", &file, "--dry-run"]).await.ok();
    let would: String = CREATED.lines().map(|l| if l.starts_with("create") { format!("would {l}\n") } else { format!("{l}\n") }).collect();
    assert_eq!(timeless(&dry), would);
    let before = world.running.cluster.current().applied;
    assert_eq!(timeless(&world.run(&["apply", "-f", &file]).await.ok()), CREATED);
    let applied = world.running.cluster.current().applied;
    assert_eq!(applied.0, before.0 + 7);
    let again = world.run(&["apply", "-f", &file, "--prune"]).await.ok();
    assert_eq!(again.lines().filter(|l| l.starts_with("unchanged ")).count(), 7, "{again}");
    assert_eq!(world.running.cluster.current().applied, applied);
}

#[tokio::test]
async fn a_change_is_shown_and_made() {
    let (world, file) = world(ALL).await;
    world.run(&["apply", "-f", &file]).await.ok();
    let file = world.file(
        "all.yaml",
        &ALL.replace("team: orders", "team: billing").replace("reads orders", "reads").replace("items(id)", "items(id,status)"),
    );
    let said = world.run(&["apply", "-f", &file]).await.ok();
    let changed: Vec<&str> = said.lines().filter(|l| !l.starts_with("unchanged")).collect();
    assert_eq!(
        changed,
        [
            "update Role reader",
            "    - description: reads orders",
            "    + description: reads",
            "update Agent bot",
            "    - labels.team: orders",
            "    + labels.team: billing",
            "update Grant bot-reads",
            "    - permissions: postgres:select on app.public.items(id)",
            "    + permissions: postgres:select on app.public.items(id,status)",
        ]
    );
    assert_eq!(world.run(&["apply", "-f", &file]).await.ok().lines().filter(|l| l.starts_with("unchanged")).count(), 7);
}

#[tokio::test]
async fn prune_takes_only_what_apply_made() {
    let (world, file) = world(ALL).await;
    world.run(&["apply", "-f", &file]).await.ok();
    world.line("agent create mine --owner alice").await.ok();
    world.line("grant create --principal mine --target orders -p 'postgres:select on *.*.*'").await.ok();
    let rest = ALL.split("---").filter(|d| !d.contains("kind: Grant") && !d.contains("kind: Agent")).collect::<Vec<_>>().join("---");
    let file = world.file("all.yaml", &rest);
    let said = world.run(&["apply", "-f", &file, "--prune"]).await.ok();
    let pruned: Vec<&str> = said.lines().filter(|l| !l.starts_with("unchanged")).collect();
    assert_eq!(pruned, ["prune Grant bot-reads", "prune Agent bot"]);
    assert!(world.line("agent list").await.ok().contains("mine"));
    assert_eq!(world.line("grant list --principal mine").await.ok().lines().count(), 2);
    // What apply took back itself it may declare again.
    let file = world.file("all.yaml", ALL);
    let said = world.run(&["apply", "-f", &file]).await.ok();
    assert!(said.contains("create Grant bot-reads"), "{said}");
}

#[tokio::test]
async fn a_grant_that_a_person_revoked_stays_revoked() {
    let (world, file) = world(ALL).await;
    world.run(&["apply", "-f", &file]).await.ok();
    let listed = world.line("grant list --principal bot").await.ok();
    let id = listed.lines().nth(1).and_then(|l| l.split_whitespace().next()).expect("the grant").to_owned();
    world.run(&["grant", "revoke", &id, "--reason", "too much"]).await.ok();
    let before = world.running.cluster.current().applied;
    let changed = world.file("all.yaml", &ALL.replace("team: orders", "team: billing"));
    let (code, said) = world.run(&["apply", "-f", &changed]).await.failed();
    assert_eq!(code, 1);
    assert!(
        steady(&said).contains("nothing was changed:\n  Grant bot-reads: grant-N was revoked by admin") && said.contains("too much"),
        "{said}"
    );
    assert_eq!(world.running.cluster.current().applied, before);
    // A person issues a new version: what is as declared is left alone.
    world.line("grant create --name bot-reads --principal bot --target orders --role reader -p 'postgres:select on app.public.items(id)' --expires 90d").await.ok();
    let said = world.run(&["apply", "-f", &file]).await.ok();
    assert!(said.contains("unchanged Grant bot-reads"), "{said}");
}

#[tokio::test]
async fn faults_are_told_with_file_and_line() {
    let (world, _) = world(ALL).await;
    let file =
        world.file("bad.yaml", "kind: Role\nname: r\nspec:\n  permission: []\n---\nkind: Agent\nname: a\nspec: { owner: x }\nextra: 1\n");
    let (code, said) = world.run(&["apply", "-f", &file]).await.failed();
    assert_eq!(code, 2);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines.iter().zip([":4:", ":9:"]).all(|(line, at)| line.contains(at)), "{said}");
    let file = world.file("bad.yaml", "kind: Role\nname: r\nspec:\n  permissions: [\"postgres:fly on x\"]\n");
    let (code, said) = world.run(&["apply", "-f", &file]).await.failed();
    assert_eq!((code, said.contains("bad.yaml:1: Role r: permissions[0]:")), (2, true), "{said}");
    let file = world.file("bad.yaml", "kind: Credential\nname: c\nspec: { username: u, passwordFrom: { env: ASSIZE_TEST_NOT_SET } }\n");
    let (code, said) = world.run(&["apply", "-f", &file]).await.failed();
    assert_eq!((code, said.contains("ASSIZE_TEST_NOT_SET is not set")), (2, true), "{said}");
}

#[tokio::test]
async fn a_folder_is_applied_and_no_secret_is_printed() {
    let (world, file) = world(ALL).await;
    std::fs::create_dir(world.path("folder")).expect("a folder");
    std::fs::rename(&file, world.path("folder/all.yaml")).expect("moved");
    std::fs::rename(world.path("password"), world.path("folder/password")).expect("moved");
    let folder = world.path("folder").display().to_string();
    let said = world.run(&["apply", "-f", &folder, "-o", "json"]).await.ok();
    assert!(!said.contains("hunter2"));
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["changes"].as_array().map(Vec::len), Some(7));
    let rotated = world.run(&["apply", "-f", &folder, "--rotate-credentials"]).await.ok();
    assert!(rotated.contains("update Credential db\n    + password: [set anew]\n"), "{rotated}");
}
