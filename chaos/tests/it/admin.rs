//! The operator's commands: what they change, what they refuse, and how they say so.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, Setup, id_in, number, with};

/// What is granted, without what nodes report of its use meanwhile.
fn grants(cluster: &Cluster) -> Result<serde_json::Value> {
    let mut list = cluster.json(&["grant", "list"])?;
    for grant in list["grants"].as_array_mut().into_iter().flatten() {
        grant.as_object_mut().context("a grant is an object")?.remove("usage");
    }
    Ok(list)
}

#[test]
fn apply_repeats_prunes_and_never_revives_what_was_revoked() {
    with(Setup::default(), |cluster| {
        let file = cluster.path("access.yaml");
        let before = grants(cluster)?;
        cluster.cli(&["apply", "-f", &file])?.ok()?;
        ensure!(before == grants(cluster)?, "a second apply changes nothing");

        // One grant less: shown first, gone only with --prune.
        let access = cluster.access();
        let less: Vec<&str> = access.split("---\n").filter(|document| !document.contains("dave-reviews")).collect();
        cluster.declare("less.yaml", &less.join("---\n"))?;
        let less = cluster.path("less.yaml");
        let shown = cluster.cli(&["apply", "-f", &less, "--prune", "--dry-run"])?.ok()?;
        ensure!(shown.contains("dave-reviews"), "{shown}");
        ensure!(before == grants(cluster)?, "a dry run changes nothing");
        cluster.cli(&["apply", "-f", &less, "--prune"])?.ok()?;
        ensure!(!cluster.json(&["grant", "list"])?.to_string().contains("dave-reviews"));

        let grants = cluster.json(&["grant", "list", "--principal", "bot"])?;
        let bot = grants["grants"][0]["id"].as_str().context("bot has a grant")?.to_owned();
        cluster.cli(&["grant", "revoke", &bot, "--reason", "for good"])?.ok()?;
        let conflict = cluster.cli(&["apply", "-f", &less])?.fails(1)?;
        ensure!(conflict.contains("bot-orders"), "{conflict}");

        // Who may only look cannot change; what is misspelt is the caller's mistake.
        let erin = cluster.admin_token("erin")?;
        cluster.cli_as(&erin, 1, &["grant", "list"])?.ok()?;
        cluster.cli_as(&erin, 1, &["lock", "create", "--target", "orders", "--reason", "x"])?.fails(1)?;
        cluster.cli_as("assize_wrong", 1, &["grant", "list"])?.fails(1)?;
        cluster.cli(&["grant", "lisst"])?.fails(2)?;
        cluster.cli(&["grant", "revoke", "grant-999999"])?.fails(1)?;
        for node in 0..3 {
            cluster.cli_at(node, &["cluster", "status"])?.ok()?;
            ensure!(cluster.nodes[node].get("/metrics")?.contains("# TYPE"));
        }
        Ok(())
    });
}

#[test]
fn a_change_whose_answer_is_lost_is_done_once_however_often_it_is_repeated() {
    with(Setup::default(), |cluster| {
        let status = cluster.json(&["cluster", "status"])?;
        let leader = usize::try_from(number(&status["leader"]))?.checked_sub(1).context("a leader")?;
        let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
        let grant = ["grant", "create", "--principal", "bot", "--target", "orders", "-p", "postgres:select on app.public.payroll"];
        let named = |id| [&grant[..], &["--request-id", id]].concat();

        // The leader writes it down, and nobody is there to make it count.
        for node in &others {
            cluster.nodes[*node].signal("STOP")?;
        }
        let lost = cluster.cli_at(leader, &[&named("deploy-17")[..], &["--timeout", "2s"]].concat());
        for node in &others {
            cluster.nodes[*node].signal("CONT")?;
        }
        let lost = lost?.fails(3)?;
        ensure!(lost.contains("outcome unknown") && lost.contains("--request-id deploy-17"), "{lost}");
        for node in others {
            if !cluster.nodes[node].is_up() {
                cluster.restart(node)?;
            }
        }
        for node in &cluster.nodes {
            node.ready()?;
        }

        let made = cluster.cli(&named("deploy-17"))?.ok()?;
        let id = id_in(&made, "grant-").with_context(|| made.clone())?;
        for node in 0..3 {
            let again = cluster.cli_at(node, &named("deploy-17"))?.ok()?;
            ensure!(id_in(&again, "grant-").as_ref() == Some(&id), "node {node}: {again} instead of {id}");
        }
        ensure!(on_payroll(cluster)? == 1, "it was done once");
        // Another id is another change.
        cluster.cli(&named("deploy-18"))?.ok()?;
        ensure!(on_payroll(cluster)? == 2);
        Ok(())
    });
}

fn on_payroll(cluster: &Cluster) -> Result<usize> {
    let grants = cluster.json(&["grant", "list", "--principal", "bot", "--all"])?;
    let grants = grants["grants"].as_array().context("grants")?;
    Ok(grants.iter().filter(|grant| grant["permissions"].to_string().contains("payroll")).count())
}
