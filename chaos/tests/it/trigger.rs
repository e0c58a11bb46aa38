//! Reviews that open by themselves: what happens on one node opens a review that every node knows, once, with the reason.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, with};
use chaos::wait;
use serde_json::Value;

use crate::review::lose_the_leader;

#[test]
fn what_happens_opens_one_review_with_its_reason_although_the_leader_is_lost() {
    with(Setup { hold: 1, ..Setup::default() }, |cluster| {
        let token = cluster.token("bot")?;
        cluster.token("builder")?;
        let events = [
            ("refused", "denials=3", "1s"),
            ("found", "finding=high", "1s"),
            ("rotated", "token-issued", "1s"),
            ("powerful", "high-risk-grant", "1s"),
            ("leavers", "owner-left", "5s"),
        ];
        for (name, on, gather) in events {
            let terms = ["--basis", "TRA-12", "--due", "14d", "--reviewers", "carol,dave"];
            cluster.cli(&[&["review", "trigger", "set", name, "--on", on, "--gather", gather][..], &terms].concat())?.ok()?;
        }
        let wrong =
            cluster.cli(&["review", "trigger", "set", "x", "--on", "denials", "--basis", "b", "--due", "1d", "--reviewers", "carol"])?;
        ensure!(wrong.fails(2)?.contains("denials=NUMBER"));

        // Each refusal on another node.
        for node in 0..3 {
            ensure!(cluster.sql(&cluster.url(node, "bot", &token), "begin; truncate orders")?.code != 0);
        }
        let review = opened(cluster, 2, "refused")?;
        let said = cluster.cli_at(1, &["review", "get", &review])?.ok()?;
        ensure!(said.contains("opened by trigger refused") && said.contains("bot: refused or held"), "{said}");

        cluster.postgres.superuser("app", "ALTER ROLE assize_gateway BYPASSRLS")?;
        cluster.cli_at(1, &["target", "check", "orders"])?.fails(1)?;
        let review = opened(cluster, 0, "found")?;
        ensure!(causes(cluster, &review)? == ["orders: 1 new findings, first role-bypasses-rls"], "{:?}", causes(cluster, &review)?);

        cluster.token("builder")?;
        let review = opened(cluster, 1, "rotated")?;
        let [cause] = &causes(cluster, &review)?[..] else { anyhow::bail!("of builder alone") };
        ensure!(cause.starts_with("builder: token-") && cause.ends_with("was issued beside another"), "{cause}");
        ensure!(items(cluster, &review)?.len() == 3, "a grant and two tokens");

        let made = cluster.cli(&["grant", "create", "--principal", "bot", "--target", "orders", "-p", "postgres:ddl on app.public.*"])?;
        made.ok()?;
        let review = opened(cluster, 2, "powerful")?;
        let items = items(cluster, &review)?;
        ensure!(items.len() == 1, "the grant alone: {items:#?}");

        // While it gathers, its leader is lost.
        cluster.declare("leaver.yaml", "kind: Person\nname: bob\nspec: { email: bob@example.com, active: false }\n")?;
        cluster.cli(&["apply", "-f", &cluster.path("leaver.yaml")])?.ok()?;
        lose_the_leader(cluster)?;
        let review = opened(cluster, 1, "leavers")?;
        let why = ["bot: bob answers for it no more", "builder: bob answers for it no more"];
        ensure!(causes(cluster, &review)? == why, "{:?}", causes(cluster, &review)?);
        lose_the_leader(cluster)?;
        for node in 0..3 {
            let known = reviews(cluster, node)?;
            ensure!(known.len() == events.len(), "each once, on node {node}: {known:#?}");
        }
        let all = cluster.cli(&["review", "trigger", "list"])?.ok()?;
        ensure!(all.contains("owner-left") && all.contains(&review), "{all}");
        let got = cluster.cli(&["review", "trigger", "get", "leavers"])?.ok()?;
        ensure!(got.contains(&review) && got.contains("alice"), "{got}");

        // The log tells the same again, and is whole.
        cluster.cli(&["access", "at", "--target", "orders"])?.ok()?;
        cluster.cli(&["review", "trigger", "delete", "leavers"])?.ok()?;
        cluster.cli(&["review", "trigger", "get", "leavers"])?.fails(1)?;
        cluster.export("triggers").and_then(|export| cluster.verify(&export, &[]))?.ok()?;
        Ok(())
    });
}

fn reviews(cluster: &Cluster, node: usize) -> Result<Vec<Value>> {
    let listed: Value = serde_json::from_str(&cluster.cli_at(node, &["review", "list", "-o", "json"])?.ok()?)?;
    Ok(listed["reviews"].as_array().cloned().unwrap_or_default())
}

/// The review that this trigger opened, as soon as the node knows of it.
fn opened(cluster: &Cluster, node: usize, trigger: &str) -> Result<String> {
    let review = wait::until(&format!("{trigger} to open a review"), PATIENCE, || {
        let all = reviews(cluster, node)?;
        Ok(all.into_iter().find(|review| review["triggered"]["trigger"] == trigger))
    })?;
    review["id"].as_str().map(str::to_owned).context("an id")
}

fn causes(cluster: &Cluster, review: &str) -> Result<Vec<String>> {
    let review = cluster.json(&["review", "get", review])?;
    let all = review["triggered"]["causes"].as_array().cloned().with_context(|| review.to_string())?;
    let cause = |cause: &Value| Some(format!("{}: {}", cause["about"].as_str()?, cause["why"].as_str()?));
    all.iter().map(|one| cause(one).with_context(|| one.to_string())).collect()
}

fn items(cluster: &Cluster, review: &str) -> Result<Vec<Value>> {
    let listed = cluster.json(&["review", "items", review])?;
    listed["items"].as_array().cloned().with_context(|| listed.to_string())
}

#[test]
fn a_trigger_is_declared_and_changed_by_what_differs() {
    with(Setup { nodes: 1, ..Setup::default() }, |cluster| {
        let apply = |stages: &str, more: &[&str]| {
            cluster.declare("trigger.yaml", &declared(stages))?;
            let file = cluster.path("trigger.yaml");
            cluster.cli(&[&["apply", "-f", &file][..], more].concat())?.ok()
        };
        let shown = apply("[\"carol,dave\", by-right]", &["--dry-run"])?;
        ensure!(shown.contains("event.volume.factor: 10") && shown.contains("terms.basis: TRA-12"), "{shown}");
        cluster.cli(&["review", "trigger", "get", "bulk"])?.fails(1)?;
        apply("[\"carol,dave\", by-right]", &[])?;
        let before = cluster.json(&["review", "trigger", "get", "bulk"])?;

        // The same said otherwise is no change: names are a set, stages a row.
        apply("[\"dave, carol\", by-right]", &[])?;
        ensure!(before == cluster.json(&["review", "trigger", "get", "bulk"])?, "{before}");
        let turned = apply("[by-right, \"carol,dave\"]", &[])?;
        ensure!(turned.contains("terms.stages"), "{turned}");
        let after = cluster.json(&["review", "trigger", "get", "bulk"])?;
        ensure!(after["terms"]["stages"][0]["byRight"].is_object() && after["etag"] != before["etag"], "{after}");

        cluster.declare("trigger.yaml", &declared("[by-right]").replace("overdue: revoke", "overdue: forget"))?;
        let wrong = cluster.cli(&["apply", "-f", &cluster.path("trigger.yaml")])?.fails(2)?;
        ensure!(wrong.contains("Trigger bulk: overdue: \"forget\" is not one of keep, suspend, revoke"), "{wrong}");
        Ok(())
    });
}

fn declared(stages: &str) -> String {
    format!(
        "kind: Trigger\nname: bulk\nspec:\n  on: volume=10\n  least: 500\n  basis: TRA-12\n  reviewers: {stages}\n  due: 14d\n  \
         overdue: revoke\n  scope: {{ targets: [orders], risk: medium }}\n"
    )
}
