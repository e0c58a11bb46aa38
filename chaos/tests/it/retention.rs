//! Records that a rule does not keep go on every node, and every proof over them stays; what is held does not.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, number, with};
use chaos::wait;
use serde_json::Value;

/// Rules of seconds, which otherwise are of days.
fn setup() -> Setup {
    Setup { planted: Some("RetentionWithoutMinimum"), ..Setup::default() }
}

/// Numbers and kinds of the records that this node shows.
fn records(cluster: &Cluster, node: usize) -> Result<Vec<Value>> {
    let told = cluster.cli_at(node, &["audit", "query", "--limit", "10000", "-o", "json"])?.ok()?;
    told.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn of_kind<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["kind"] == kind).collect()
}

fn intents_of(records: &[Value], principal: &str) -> usize {
    of_kind(records, "intent").iter().filter(|record| record["principal"] == principal).count()
}

/// Exports from a node, and verifies with nothing but the genesis.
fn verified(cluster: &Cluster, node: usize, name: &str) -> Result<(PathBuf, String)> {
    let path = PathBuf::from(cluster.path(&format!("{name}-{node}.export")));
    cluster.cli_at(node, &["audit", "export", "--out", &path.display().to_string()])?.ok()?;
    let told = cluster.verify(&path, &[])?.ok()?;
    Ok((path, told))
}

#[test]
fn what_no_rule_keeps_goes_on_every_node_and_every_proof_stays() {
    with(setup(), |cluster| {
        let (bot, builder) = (cluster.token("bot")?, cluster.token("builder")?);
        for node in 0..2 {
            cluster.sql(&cluster.url(node, "bot", &bot), "select count(*) from orders")?.ok()?;
            cluster.sql(&cluster.url(node, "builder", &builder), "select count(*) from orders")?.ok()?;
        }
        cluster.signed()?;
        let whole = records(cluster, 0)?;
        let intents = intents_of(&whole, "builder");
        ensure!(intents > 0 && intents_of(&whole, "bot") > 0, "{whole:#?}");
        let first = of_kind(&whole, "intent").first().map(|record| number(&record["number"])).context("an intent")?;

        // A rule takes a reason, a hold may take two people to release.
        let refused = cluster.cli(&["retention", "set", "operations", "--keep", "1s"])?.fails(1)?;
        ensure!(refused.contains("reason"), "{refused}");
        let held = cluster.cli(&["hold", "create", "--principal", "builder", "--reason", "case 7"])?.ok()?;
        let held = id_in(&held, "hold-").context(held)?;
        let both = cluster.cli(&["hold", "create", "--target", "elsewhere", "--reason", "case 8", "--two-people"])?.ok()?;
        let both = id_in(&both, "hold-").context(both)?;
        let refused = cluster.cli(&["hold", "release", &both, "--reason", "mine"])?.fails(1)?;
        ensure!(refused.contains("another person"), "{refused}");

        cluster.cli(&["retention", "set", "operations", "--keep", "1s", "--reason", "a test"])?.ok()?;
        wait::until("the operations of bot to be gone everywhere", PATIENCE, || {
            let mut all = (0..cluster.nodes.len()).map(|node| records(cluster, node)).collect::<Result<Vec<_>>>()?.into_iter();
            Ok(all.all(|records| intents_of(&records, "bot") == 0 && !of_kind(&records, "pruned").is_empty()).then_some(()))
        })?;
        let after = records(cluster, 1)?;
        ensure!(after.len() >= whole.len() && intents_of(&after, "builder") == intents, "what is held stays: {after:#?}");
        ensure!(of_kind(&after, "admission").len() == of_kind(&whole, "admission").len(), "of another class");
        let gone = of_kind(&after, "pruned");
        let fields = &gone.first().context("a pruned record")?["fields"];
        ensure!(fields["retention_class"] == "operations" && fields["plan"] != "" && fields["hash"] != "", "{fields:#}");
        ensure!(gone.iter().all(|record| !record.to_string().contains("bot")), "nobody is named");
        let listed = cluster.cli(&["retention", "list"])?.ok()?;
        ensure!(listed.contains("operations") && listed.contains("1s"), "{listed}");

        // Each node's log, offline: the hashes stand, the rule is named, a pruned record is still proved.
        cluster.signed()?;
        for node in 0..cluster.nodes.len() {
            let (path, told) = verified(cluster, node, "held")?;
            ensure!(told.contains("the log is whole") && told.contains("pruned by the rule for operations"), "{told}");
            let proved = cluster.verify(&path, &["--record", &first.to_string()])?.ok()?;
            ensure!(proved.contains(&format!("record {first} of audit/0 is in the log")), "{proved}");
        }

        // A node that starts again has what the others have; what is released goes.
        cluster.kill(2);
        cluster.restart(2)?;
        cluster.settled()?;
        cluster.cli(&["hold", "release", &held, "--reason", "case 7 is closed"])?.ok()?;
        wait::until("what was held to be gone everywhere", PATIENCE, || {
            let mut all = (0..cluster.nodes.len()).map(|node| records(cluster, node)).collect::<Result<Vec<_>>>()?.into_iter();
            Ok(all.all(|records| intents_of(&records, "builder") == 0).then_some(()))
        })?;
        cluster.signed()?;
        let (_, told) = verified(cluster, 2, "released")?;
        ensure!(told.contains("the log is whole"), "{told}");
        let control = cluster.cli(&["audit", "query", "--log", "control", "--full", "--limit", "10000"])?.ok()?;
        ensure!(control.contains("prune operations") && control.contains(&format!("release {held}")), "{control}");
        Ok(())
    });
}

/// Without the door that the other test opens.
#[test]
fn a_rule_of_seconds_is_refused() {
    with(Setup { nodes: 1, ..Setup::default() }, |cluster| {
        let refused = cluster.cli(&["retention", "set", "operations", "--keep", "1d", "--reason", "too short"])?.fails(1)?;
        ensure!(refused.contains("at least 30 days"), "{refused}");
        cluster.declare("retention.yaml", "kind: Retention\nname: operations\nspec: { keep: 400d, reason: the policy }\n")?;
        cluster.cli(&["apply", "-f", &cluster.path("retention.yaml")])?.ok()?;
        let again = cluster.cli(&["apply", "-f", &cluster.path("retention.yaml")])?.ok()?;
        let listed = cluster.cli(&["retention", "list"])?.ok()?;
        ensure!(listed.contains("400d") && listed.contains("the policy"), "{again}\n{listed}");
        Ok(())
    });
}
