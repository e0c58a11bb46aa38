//! Who could reach what at a time.

use crate::world::World;

async fn at(world: &World, more: &str) -> serde_json::Value {
    let said = world.line(&format!("-o json access at {more}")).await.ok();
    serde_json::from_str(&said).expect("proto3 JSON")
}

/// Principal, target, outcome, and what the first grant gave.
fn reached(answer: &serde_json::Value) -> Vec<(String, String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows = answer["reached"].as_array().cloned().unwrap_or_default();
    let gave = |row: &serde_json::Value| text(&row["grants"][0]["permissions"][0]);
    rows.iter().map(|row| (text(&row["principal"]), text(&row["target"]), text(&row["outcome"]), gave(row))).collect()
}

#[tokio::test]
async fn the_past_is_told_as_it_was() {
    let world = World::new().await;
    world.person("pat", "assize:read on grant/*").await;
    let before = at(&world, "--principal pat").await;
    let time = before["time"].as_str().expect("a time").to_owned();
    assert_eq!(reached(&before), [("pat".into(), "assize".into(), "approved".into(), "assize:read on grant/*".into())]);
    assert_eq!(before["reached"][0]["grants"][0]["grant"]["grantedBy"], "admin");
    let grant = before["reached"][0]["grants"][0]["grant"]["id"].as_str().expect("an id").to_owned();

    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    world.run(&["grant", "revoke", &grant, "--reason", "over"]).await.ok();
    assert_eq!(reached(&at(&world, "--principal pat").await), []);
    let then = at(&world, &format!("--principal pat --time {time}")).await;
    assert_eq!(reached(&then), reached(&before), "revoking it now changes nothing of what was");

    world.run(&["lock", "create", "--principal", "pat", "--reason", "gone"]).await.ok();
    let said = world.line("access at").await.ok();
    assert!(said.contains("locked: principal pat by admin, gone\n"), "{said}");
    assert!(said.contains("records of the control log since the founding\n"), "{said}");
    let (code, said) = world.line("access at --time 2999-01-01").await.failed();
    assert_eq!((code, said.as_str()), (1, "time: lies after the log time of now"));
    let nothing = at(&world, "--time 2000-01-01").await;
    assert_eq!(reached(&nothing), []);
}

#[tokio::test]
async fn only_who_may_read_the_log_is_told() {
    let world = World::new().await;
    let token = world.person("pat", "assize:read on grant/*").await;
    let (code, _) = world.run_as(&token, &["access", "at"]).await.failed();
    assert_eq!(code, 1);
    let auditor = world.person("audrey", "assize:read on audit/*").await;
    world.run_as(&auditor, &["access", "at"]).await.ok();
}
