//! Evidence from use: what was done under a grant on one node is what a review recommends by on another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, number, with};
use chaos::wait;
use serde_json::Value;

/// Longer than two reports and what a loaded machine needs between a use and the decision; short enough to wait for.
const WINDOW: Duration = Duration::from_secs(12);

#[test]
fn what_was_not_used_is_recommended_away_and_gone_everywhere() {
    with(Setup { hold: 1, ..Setup::default() }, |cluster| {
        let token = cluster.token("bot")?;
        let carol = cluster.admin_token("carol")?;
        let made =
            cluster.cli(&["grant", "create", "--principal", "bot", "--target", "orders", "-p", "postgres:select on app.public.never"])?;
        let never = id_in(&made.ok()?, "grant-").context("a grant")?;
        let used = grant_of_bot(cluster)?;
        ensure!(used != never);

        let select = |node: usize| cluster.sql(&cluster.url(node, "bot", &token), "select id, note from orders");
        select(1)?.ok()?;
        let before = operations(cluster, 2, &used)?;
        ensure!(before > 0, "the use on node 2 is known on node 3");
        ensure!(cluster.cli(&["grant", "list"])?.ok()?.lines().any(|line| line.starts_with(&never) && line.contains("never")));
        // Refused, because nobody is there to approve it.
        ensure!(cluster.sql(&cluster.url(0, "bot", &token), "begin; truncate orders")?.code != 0);
        wait::until("the denial", PATIENCE, || {
            Ok(cluster.cli_at(1, &["agent", "get", "bot"])?.ok()?.contains("denied 1 times at orders").then_some(()))
        })?;

        std::thread::sleep(WINDOW);
        select(0)?.ok()?;
        wait::until("the second use", PATIENCE, || Ok((operations(cluster, 1, &used)? > before).then_some(())))?;
        let window = format!("{}s", WINDOW.as_secs());
        let terms = ["--basis", "TRA-12", "--due", "1d", "--reviewers", "carol"];
        let open = |name: &str, more: &[&str]| -> Result<(String, Vec<Value>)> {
            let told = cluster.cli(&[&["review", "open", name, "--principal", "bot"], &terms[..], more].concat())?.ok()?;
            let review = id_in(&told, "review-").context(told)?;
            let listed = cluster.cli_as(&carol, 2, &["review", "items", &review, "--window", &window, "-o", "json"])?.ok()?;
            let items = serde_json::from_str::<Value>(&listed)?["items"].as_array().cloned().unwrap_or_default();
            Ok((review, items))
        };
        let (_, unused) = open("unused", &["--unused-for", &window])?;
        ensure!(unused.len() == 1 && unused[0]["grant"]["id"] == never.as_str(), "{unused:#?}");

        let (review, items) = open("all", &["--subjects", "grants"])?;
        let of = |grant: &str| items.iter().find(|item| item["grant"]["id"] == grant).with_context(|| format!("{grant} in {items:#?}"));
        let kept = &of(&used)?["recommendation"]["choice"]["modify"]["access"];
        ensure!(kept["permissions"] == serde_json::json!(["postgres:select on app.public.orders(id,note)"]), "{items:#?}");
        ensure!(of(&never)?["recommendation"]["choice"]["revoke"].is_object(), "{items:#?}");
        let numbers = [number(&of(&used)?["number"]).to_string(), number(&of(&never)?["number"]).to_string()];
        let decide = ["review", "decide", &review, &numbers[0], &numbers[1], "--recommended", "--window", &window];
        let receipt = cluster.cli_as(&carol, 2, &decide)?.ok()?;
        ensure!(receipt.contains("node 3: enforced"), "{receipt}");

        for node in 0..3 {
            select(node)?.ok()?;
            let beyond = cluster.sql(&cluster.url(node, "bot", &token), "begin; insert into orders (note) values ('x')")?.fails(1)?;
            ensure!(beyond.contains("42501"), "{beyond}");
        }
        let report = cluster.cli(&["review", "export", &review])?.ok()?;
        ensure!(report.contains("not used for 12 s") && report.contains("wider than what was used"), "{report}");
        Ok(())
    });
}

fn grant_of_bot(cluster: &Cluster) -> Result<String> {
    let listed = cluster.cli(&["grant", "list", "--principal", "bot", "-o", "json"])?.ok()?;
    let grants: Value = serde_json::from_str(&listed)?;
    let first = grants["grants"].as_array().and_then(|all| all.first()).and_then(|grant| grant["id"].as_str());
    first.map(str::to_owned).with_context(|| listed.clone())
}

/// Waits for the first report of any.
fn operations(cluster: &Cluster, node: usize, grant: &str) -> Result<u64> {
    wait::until("a use that is told", PATIENCE, || {
        let told: Value = serde_json::from_str(&cluster.cli_at(node, &["grant", "get", grant, "-o", "json"])?.ok()?)?;
        let count = number(&told["usage"]["total"]["operations"]);
        Ok((count > 0).then_some(count))
    })
}
