//! The operator's commands: what they change, what they refuse, and how they say so.

use anyhow::{Context as _, ensure};
use chaos::cluster::{Setup, with};

#[test]
fn apply_repeats_prunes_and_never_revives_what_was_revoked() {
    with(Setup::default(), |cluster| {
        let file = cluster.path("access.yaml");
        let before = cluster.json(&["grant", "list"])?;
        cluster.cli(&["apply", "-f", &file])?.ok()?;
        ensure!(before == cluster.json(&["grant", "list"])?, "a second apply changes nothing");

        // One grant less: shown first, gone only with --prune.
        let access = cluster.access();
        let less: Vec<&str> = access.split("---\n").filter(|document| !document.contains("dave-reviews")).collect();
        cluster.declare("less.yaml", &less.join("---\n"))?;
        let less = cluster.path("less.yaml");
        let shown = cluster.cli(&["apply", "-f", &less, "--prune", "--dry-run"])?.ok()?;
        ensure!(shown.contains("dave-reviews"), "{shown}");
        ensure!(before == cluster.json(&["grant", "list"])?, "a dry run changes nothing");
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
