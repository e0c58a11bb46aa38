//! Policy in Rego: published, activated on all nodes at once by a second person, heard in open sessions, taken back.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, said, with};
use chaos::process::Background;

const FIRST: &str = r#"package assize.operation

deny contains "the books are closed" if "delete" in input.operation.verbs

hold contains {"reason": "inserts are looked at", "approvers": ["carol"]} if "insert" in input.operation.verbs

obligations contains {"type": "note", "text": "seen by the first policy"} if "select" in input.operation.verbs
"#;

const ITS_TEST: &str = r#"package assize.operation_test

import data.assize.operation

test_deletes if count(operation.deny) == 1 with input as {"operation": {"verbs": ["delete"]}}
"#;

const TWO_PEOPLE: &str = r#"{"revision": "first", "metadata": {"assize": {"two_people": true}}}"#;

const NO_BOT: &str = "package assize.admission\n\ndeny contains \"bot is off duty\" if input.subject.name == \"bot\"\n";

#[test]
fn a_policy_holds_on_every_node_from_one_entry_on_and_is_taken_back_by_one() {
    with(Setup::default(), |cluster| {
        let bot = cluster.token("bot")?;
        let (carol, dave) = (cluster.admin_token("carol")?, cluster.admin_token("dave")?);
        let may = ["-p", "assize:read,write on policy/*", "-p", "assize:read on audit/*"];
        cluster.cli(&[&["grant", "create", "--principal", "dave", "--target", "assize"][..], &may].concat())?.ok()?;

        // Checked where it lies, and told by file and line.
        let wrong = bundle(
            cluster,
            "wrong",
            &[("operation.rego", &FIRST.replace("if \"delete\" in input.operation.verbs", "if time.now_ns() > 0"))],
        )?;
        let refused = cluster.cli(&["policy", "publish", &wrong])?.fails(1)?;
        ensure!(refused.contains("operation.rego:3") && refused.contains("input.time_ns"), "{refused}");
        let masks = bundle(cluster, "masks", &[("operation.rego", &format!("{FIRST}\nmask contains \"email\"\n"))])?;
        ensure!(cluster.offline().args(["policy", "test", &masks]).output()?.status.code() == Some(1), "a mask is not ignored");
        let first = bundle(cluster, "first", &[("operation.rego", FIRST), ("operation_test.rego", ITS_TEST), (".manifest", TWO_PEOPLE)])?;
        ensure!(cluster.offline().args(["policy", "test", &first]).output()?.status.success());

        let published = cluster.cli(&["policy", "publish", &first])?.ok()?;
        let id = id_in(&published, "policy-").with_context(|| published.clone())?;
        let own = cluster.cli(&["policy", "activate", &id])?.fails(1)?;
        ensure!(own.contains("somebody else"), "alice published it: {own}");

        // Open sessions of before are judged by it as soon as it is activated.
        let sessions = (0..3).map(|node| waits_for_go(cluster, node, &bot)).collect::<Result<Vec<_>>>()?;
        let receipt = cluster.cli_as(&dave, 1, &["policy", "activate", &id])?.ok()?;
        for node in 1..=3 {
            ensure!(receipt.contains(&format!("node {node}: enforced")), "{receipt}");
        }
        std::fs::write(cluster.path("go"), "")?;
        for (node, mut session) in sessions.into_iter().enumerate() {
            ensure!(!session.ended(PATIENCE)?.success(), "node {node}: {}", session.tail());
            let said = session.tail();
            ensure!(said.contains("42501") && said.contains("the books are closed") && said.contains(&id), "node {node}: {said}");
        }
        for node in 0..3 {
            let url = cluster.url(node, "bot", &bot);
            let refused = cluster.sql(&url, "delete from orders where false")?.fails(1)?;
            ensure!(refused.contains("42501") && refused.contains("the books are closed"), "node {node}: {refused}");
            cluster.sql(&url, "select count(*) from orders")?.ok()?;
        }

        // Held although it is granted, for those whom the policy names.
        let insert = "insert into orders select * from orders where false";
        let mut held = cluster.psql_in_background("held", &cluster.url(0, "bot", &bot), insert)?;
        let request = cluster.held(&held)?;
        let other = cluster.cli_as(&dave, 2, &["request", "approve", &request])?.fails(1)?;
        ensure!(other.contains("names others"), "{other}");
        cluster.cli_as(&carol, 1, &["request", "approve", &request])?.ok()?;
        ensure!(held.ended(PATIENCE)?.success(), "{}", held.tail());
        ensure!(held.tail().contains("inserts are looked at"), "{}", held.tail());
        let mut widened = cluster.psql(&cluster.url(1, "bot", &bot));
        let widened = said(widened.args(["-v", "VERBOSITY=verbose", "-c", "begin", "-c", "select salary from payroll"]))?.fails(1)?;
        ensure!(widened.contains("42501"), "what no grant covers is still not given: {widened}");

        told(cluster, &id)?;
        would_have(cluster)?;
        off_duty(cluster, &bot, &dave, &id)
    });
}

/// Explained, on record, and in OPA's format.
fn told(cluster: &Cluster, id: &str) -> Result<()> {
    let why = cluster.cli(&["explain", "--principal", "bot", "--target", "orders", "--statement", "delete from orders"])?.ok()?;
    ensure!(why.contains(id) && why.contains("verdict: refuse") && why.contains("the books are closed"), "{why}");
    let records = cluster.cli(&["audit", "query", "--kind", "intent", "--full"])?.ok()?;
    ensure!(records.contains(&format!("policy: {id}")) && records.contains("seen by the first policy"), "{records}");
    let logged = cluster.cli(&["policy", "decisions", "-o", "json"])?.ok()?;
    let refused = logged.lines().find(|line| line.contains("the books are closed")).with_context(|| logged.clone())?;
    let decision: serde_json::Value = serde_json::from_str(refused)?;
    ensure!(decision["path"] == "assize/operation" && decision["bundles"][id]["revision"] == "first", "{decision:#}");
    ensure!(decision["result"]["allow"] == false && decision["input"]["operation"]["verbs"][0] == "delete", "{decision:#}");
    Ok(())
}

/// What another bundle would have refused of what happened.
fn would_have(cluster: &Cluster) -> Result<()> {
    let rego = "package assize.operation\n\ndeny contains \"nobody reads orders\" if {\n\t\"select\" in input.operation.verbs\n\tinput.subject.owner == \"bob\"\n}\n";
    let stricter = bundle(cluster, "stricter", &[("operation.rego", rego)])?;
    let report = cluster.cli(&["policy", "dry-run", &stricter, "--last", "100"])?.ok()?;
    ensure!(report.contains("would have been refused") && report.contains("nobody reads orders"), "{report}");
    let report = cluster.json(&["policy", "dry-run", &stricter, "--last", "100"])?;
    let refused = report["refused"].as_u64().unwrap_or_default();
    ensure!(refused >= 3 && report["decisions"].as_array().map(Vec::len) == Some(refused as usize), "{report:#}");
    Ok(())
}

/// A policy that admits bot to nothing ends its sessions at once; one step back lets it in again.
fn off_duty(cluster: &Cluster, bot: &str, dave: &str, first: &str) -> Result<()> {
    std::fs::remove_file(cluster.path("go"))?;
    let mut sessions = (0..3).map(|node| waits_for_go(cluster, node, bot)).collect::<Result<Vec<_>>>()?;
    let second = bundle(cluster, "second", &[("admission.rego", NO_BOT)])?;
    let published = cluster.cli(&["policy", "publish", &second])?.ok()?;
    let id = id_in(&published, "policy-").with_context(|| published.clone())?;
    let receipt = cluster.cli(&["policy", "activate", &id])?.ok()?;
    ensure!(receipt.matches("1 session ended").count() == 3, "this bundle demands no second person: {receipt}");
    std::fs::write(cluster.path("go"), "")?;
    for session in &mut sessions {
        ensure!(!session.ended(PATIENCE)?.success() && session.tail().contains("57P01"), "{}", session.tail());
    }
    for node in 0..3 {
        let refused = cluster.sql(&cluster.url(node, "bot", bot), "select 1")?.fails(2)?;
        ensure!(refused.contains("bot is off duty"), "node {node}: {refused}");
    }
    let own = cluster.cli(&["policy", "rollback"])?.fails(1)?;
    ensure!(own.contains("somebody else"), "alice published what it goes back to: {own}");
    let back = cluster.cli_as(dave, 2, &["policy", "rollback"])?.ok()?;
    ensure!(back.contains(first), "{back}");
    cluster.settled()?;
    for node in 0..3 {
        let url = cluster.url(node, "bot", bot);
        cluster.sql(&url, "select 1")?.ok()?;
        cluster.sql(&url, "delete from orders where false")?.fails(1)?;
    }
    cluster.cli_as(dave, 0, &["policy", "deactivate"])?.ok()?;
    cluster.settled()?;
    cluster.sql(&cluster.url(2, "bot", bot), "delete from orders where false")?.ok().map(drop)
}

/// A session that has begun, and deletes when the file `go` is there.
fn waits_for_go(cluster: &Cluster, node: usize, token: &str) -> Result<Background> {
    let (name, go) = (format!("open-{node}"), cluster.path("go"));
    let wait = format!("\\! while [ ! -e {go} ]; do sleep 0.1; done");
    let log = cluster.path(&format!("{name}.out"));
    let mut psql = cluster.psql(&cluster.url(node, "bot", token));
    psql.args(["-v", "VERBOSITY=verbose", "-c", "select 'it is open'", "-c", &wait, "-c", "delete from orders where false"]);
    let session = Background::start(&name, &mut psql, log.as_ref())?;
    chaos::wait::until("the session to be open", PATIENCE, || Ok(session.tail().contains("it is open").then_some(())))?;
    Ok(session)
}

/// A directory with these files; its path.
fn bundle(cluster: &Cluster, name: &str, files: &[(&str, &str)]) -> Result<String> {
    let directory = cluster.path(name);
    std::fs::create_dir_all(&directory)?;
    for (file, text) in files {
        std::fs::write(format!("{directory}/{file}"), text)?;
    }
    Ok(directory)
}
