//! People recertify access: the life of a campaign on three nodes, and what its decisions do to sessions that live.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, number, with};
use chaos::process::Background;
use chaos::wait;
use serde_json::Value;

const ORDERS: &str = "select count(*) from orders";

#[test]
fn a_campaign_survives_the_loss_of_its_leader_at_every_step() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let [bob, carol, dave] = ["bob", "carol", "dave"].map(|person| cluster.admin_token(person));
        let (bob, carol, dave) = (bob?, carol?, dave?);

        let basis = ["--basis", "TRA-12: every quarter", "--due", "14d", "--reviewers", "bob,carol,dave"];
        let opened = cluster.cli(&[&["review", "open", "quarterly", "--principal", "bot"], &basis[..]].concat())?.ok()?;
        let review = id_in(&opened, "review-").with_context(|| opened.clone())?;
        let items = items(cluster, &review)?;
        ensure!(items.len() == 2, "a grant and a token: {items:#?}");
        let item = |wanted: &str| {
            let found = items.iter().find(|item| item.get(wanted).is_some()).with_context(|| format!("no {wanted} in {items:#?}"));
            found.map(|item| number(&item["number"]).to_string())
        };
        let (grant, of_token) = (item("grant")?, item("token")?);
        lose_the_leader(cluster)?;

        // R6: the owner of the agent does not decide, whatever the campaign says.
        let approve = |item: &str| ["review", "decide", &review, item, "--approve"].map(str::to_owned);
        let refused = cluster.cli_as(&bob, 1, &approve(&grant).each_ref().map(String::as_str))?.fails(1)?;
        ensure!(refused.contains("answers for"), "{refused}");
        let mine = ["review", "items", &review, "--mine", "-o", "json"];
        ensure!(cluster.cli_as(&bob, 1, &mine)?.ok()?.matches("\"number\"").count() == 0, "and is not asked");
        ensure!(cluster.cli_as(&dave, 2, &mine)?.ok()?.contains("undecided"), "a reviewer without any right sees what is asked of him");
        cluster.cli_as(&carol, 2, &approve(&of_token).each_ref().map(String::as_str))?.ok()?;
        lose_the_leader(cluster)?;

        // Modified: less on every node, for sessions that live as for new ones, before the answer.
        let running = sleepers(cluster, &token)?;
        let narrow = [&["review", "decide", &review, &grant, "--rationale", "reports only"][..], &["--modify"], &[SELECT_ORDERS]].concat();
        let narrow = [&narrow[..], &["--role", "client"]].concat();
        let receipt = cluster.cli_as(&dave, 0, &narrow)?.ok()?;
        for node in 1..=3 {
            ensure!(receipt.contains(&format!("node {node}: enforced")), "{receipt}");
        }
        for mut client in running {
            ensure!(!client.ended(PATIENCE)?.success() && client.tail().contains("FATAL"), "{}", client.tail());
        }
        for node in 0..3 {
            let url = cluster.url(node, "bot", &token);
            cluster.sql(&url, ORDERS)?.ok()?;
            let beyond = cluster.sql(&url, "begin; insert into orders (item) values ('x')")?.fails(1)?;
            ensure!(beyond.contains("42501"), "{beyond}");
        }
        // What a review narrowed stays narrowed.
        let again = cluster.cli(&["apply", "-f", &cluster.path("access.yaml")])?.fails(1)?;
        ensure!(again.contains(&review), "{again}");
        lose_the_leader(cluster)?;

        // Signed off over the bytes that an auditor holds.
        let report = cluster.cli(&["review", "export", &review])?.ok()?;
        ensure!(report.contains("reports only") && report.lines().count() == 3, "{report}");
        let wrong = ["review", "close", &review, "--statement", "acknowledged", "--digest"];
        let refused = cluster.cli(&[&wrong[..], &["00".repeat(32).as_str()]].concat())?.fails(1)?;
        ensure!(refused.contains("digest"), "{refused}");
        let digest = sha256(cluster, &report)?;
        cluster.cli(&[&wrong[..], &[digest.as_str()]].concat())?.ok()?;
        lose_the_leader(cluster)?;
        for node in 0..3 {
            let kept = cluster.cli_at(node, &["review", "export", &review])?.ok()?;
            ensure!(kept == report, "node {node} tells another story:\n{kept}\n{report}");
        }
        let late = cluster.cli_as(&carol, 1, &["review", "decide", &review, &of_token, "--revoke", "--rationale", "x"])?.fails(1)?;
        ensure!(late.contains("is closed"), "{late}");
        let oscal: Value = serde_json::from_str(&cluster.cli(&["review", "export", &review, "--format", "oscal"])?.ok()?)?;
        let result = &oscal["assessment-results"]["results"][0];
        ensure!(result["observations"].as_array().map(Vec::len) == Some(2), "{oscal:#}");
        ensure!(result.to_string().contains(&digest), "{oscal:#}");
        cluster.export("campaign").and_then(|export| cluster.verify(&export, &[]))?.ok()?;
        Ok(())
    });
}

#[test]
fn silence_closes_access_at_the_due_date_on_every_node() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let running = sleepers(cluster, &token)?;
        let open =
            ["review", "open", "short", "--principal", "bot", "--subjects", "grants", "--basis", "incident 7", "--reviewers", "carol"];
        let opened = cluster.cli(&[&open[..], &["--due", "6s", "--overdue", "suspend"]].concat())?.ok()?;
        let review = id_in(&opened, "review-").with_context(|| opened.clone())?;
        for mut client in running {
            ensure!(!client.ended(PATIENCE)?.success() && client.tail().contains("FATAL"), "{}", client.tail());
        }
        for node in 0..3 {
            let refused = cluster.sql(&cluster.url(node, "bot", &token), ORDERS)?.fails(2)?;
            ensure!(refused.contains("review"), "told why: {refused}");
        }
        // Decisions need no entry of the log for it; what is listed follows with the next tick.
        wait::until("the review to be listed as due", PATIENCE, || {
            Ok(cluster.json(&["review", "get", &review])?["status"].get("due").is_some().then_some(()))
        })?;
        // Late is better than never: and counts until the next review.
        let carol = cluster.admin_token("carol")?;
        cluster.cli_as(&carol, 2, &["review", "decide", &review, "0", "--approve"])?.ok()?;
        cluster.settled()?;
        for node in 0..3 {
            cluster.sql(&cluster.url(node, "bot", &token), ORDERS)?.ok()?;
        }
        let items = items(cluster, &review)?;
        ensure!(items[0]["standing"] == "approved", "{items:#?}");

        // And where silence revokes, the grant is gone for good.
        let opened = cluster.cli(&[&open[..], &["--due", "1s", "--overdue", "revoke"]].concat())?.ok()?;
        let review = id_in(&opened, "review-").with_context(|| opened.clone())?;
        wait::until("the grant to be revoked", PATIENCE, || {
            let grants = cluster.json(&["grant", "list", "--principal", "bot", "--all"])?;
            Ok(grants["grants"][0]["status"].get("revoked").is_some().then_some(()))
        })?;
        let refused = cluster.cli_as(&carol, 0, &["review", "decide", &review, "0", "--approve"])?.fails(1)?;
        ensure!(refused.contains("has ended"), "{refused}");
        Ok(())
    });
}

const SELECT_ORDERS: &str = "postgres:select on app.public.orders";

fn items(cluster: &Cluster, review: &str) -> Result<Vec<Value>> {
    let listed = cluster.json(&["review", "items", review])?;
    listed["items"].as_array().cloned().with_context(|| listed.to_string())
}

/// A client on each node that runs something long.
fn sleepers(cluster: &Cluster, token: &str) -> Result<Vec<Background>> {
    let start =
        |node: usize| cluster.psql_in_background(&format!("sleeper{node}"), &cluster.url(node, "bot", token), "select pg_sleep(60)");
    let running: Vec<Background> = (0..3).map(start).collect::<Result<_>>()?;
    wait::until("all of them to run at PostgreSQL", PATIENCE, || {
        let query =
            "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()";
        Ok((cluster.postgres.superuser("app", query)?.trim() == "3").then_some(()))
    })?;
    Ok(running)
}

/// Kills the control group's leader, waits for another, and brings the node back.
pub(crate) fn lose_the_leader(cluster: &mut Cluster) -> Result<()> {
    let leads = |cluster: &Cluster| -> Result<usize> {
        let status = cluster.json(&["cluster", "status"])?;
        usize::try_from(number(&status["leader"]))?.checked_sub(1).context("a leader")
    };
    let lost = leads(cluster)?;
    cluster.kill(lost);
    wait::until("another leader", PATIENCE, || {
        let asked = (0..3).find(|node| *node != lost).map(|node| cluster.cli_at(node, &["cluster", "status", "-o", "json"]));
        let Some(Ok(said)) = asked else { return Ok(None) };
        let Ok(text) = said.ok() else { return Ok(None) };
        let status: Value = serde_json::from_str(&text)?;
        Ok((![0, lost as u64 + 1].contains(&number(&status["leader"]))).then_some(()))
    })?;
    cluster.restart(lost)?;
    cluster.settled()
}

fn sha256(cluster: &Cluster, text: &str) -> Result<String> {
    let file = cluster.path("report.csv");
    std::fs::write(&file, text)?;
    let sum = chaos::process::run(std::process::Command::new("sha256sum").arg(&file))?;
    Ok(sum.split_whitespace().next().context("a digest")?.to_owned())
}
