//! Starting over: nothing that was acknowledged is lost, and nothing that was granted counts until a person says so.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, number, with};

const PAYROLL: &str = "select salary from payroll where name = 'eve'";

/// What the cluster held before it was lost.
struct Before {
    token: String,
    carol: String,
    /// Approved, and not spent.
    request: String,
    /// Lines of the audit log, oldest first.
    records: Vec<String>,
    genesis: String,
    admin: [std::path::PathBuf; 2],
}

#[test]
fn a_cluster_that_lost_every_node_starts_over_from_its_backup() {
    with(Setup::default(), |cluster| {
        let before = history(cluster)?;
        let backup = cluster.path("assize.backup");
        cluster.cli(&["cluster", "backup", "--out", &backup])?.ok()?;
        cluster.cli(&["cluster", "backup", "--out", &backup])?.fails(2)?;
        let whole = std::fs::read(&backup)?;
        ensure!(!whole.windows(7).any(|text| text == b"payroll"), "nothing in the backup can be read");
        for node in 0..3 {
            cluster.kill(node);
        }
        let first = cluster.prepare(4)?;
        let nowhere = cluster.path("admin-of-nobody");
        let damaged = cluster.path("damaged.backup");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&damaged, bytes)?;
        let cut = cluster.path("cut.backup");
        std::fs::write(&cut, &whole[..whole.len() - 1])?;
        for broken in [damaged, cut] {
            cluster.recover_node(&first, Some(broken.as_ref()), &cluster.recovery_key, nowhere.as_ref())?.fails(1)?;
            ensure!(names(&first.data)?.is_empty(), "{broken} left something behind: {:?}", names(&first.data)?);
        }
        let other = cluster.recovery_key.replacen(|c: char| c.is_ascii_uppercase(), "Q", 3);
        cluster.recover_node(&first, Some(backup.as_ref()), &other, nowhere.as_ref())?.fails(1)?;
        ensure!(names(&first.data)?.is_empty() && !Path::new(&nowhere).exists(), "the wrong key left something behind");

        cluster.recover(first, Some(backup.as_ref()))?;
        goes_on(cluster, &before)
    });
}

#[test]
fn a_cluster_that_lost_two_of_three_nodes_starts_over_from_the_survivor() {
    with(Setup::default(), |cluster| {
        let before = history(cluster)?;
        for node in 0..3 {
            cluster.kill(node);
        }
        // It fails at its very end: the data still belong to the node they belonged to.
        let held = names(&cluster.nodes[2].data)?;
        let file = cluster.path("a-file");
        std::fs::write(&file, "")?;
        let impossible = Path::new(&file).join("admin");
        let failed = cluster.recover_node(&cluster.nodes[2], None, &cluster.recovery_key, &impossible)?.fails(1)?;
        ensure!(failed.contains(&file), "{failed}");
        ensure!(names(&cluster.nodes[2].data)? == held, "{:?} instead of {held:?}", names(&cluster.nodes[2].data)?);
        for node in 0..3 {
            cluster.restart(node)?;
        }
        for node in &cluster.nodes {
            node.ready()?;
        }
        ensure!(incarnation(cluster)? == 1, "the quorum was found again");
        let url = cluster.url(2, "bot", &before.token);
        ensure!(cluster.sql(&url, "select count(*) from orders")?.ok()?.trim() == "6");

        cluster.kill(0);
        cluster.kill(1);
        let running = cluster.recover_node(&cluster.nodes[2], None, &cluster.recovery_key, cluster.path("admin-3").as_ref())?.fails(1)?;
        ensure!(running.contains("in use"), "a node that runs is no survivor: {running}");
        cluster.kill(2);
        let survivor = cluster.nodes.remove(2);
        let data = survivor.data.clone();
        cluster.recover(survivor, None)?;
        ensure!(names(&data.join("lost-1"))? == held, "the survivor's data are kept");
        goes_on(cluster, &before)
    });
}

/// Rows, records, and an approval that nobody has used yet.
fn history(cluster: &Cluster) -> Result<Before> {
    let token = cluster.token("bot")?;
    let carol = cluster.admin_token("carol")?;
    for id in 0..6 {
        cluster.sql(&cluster.url(id % 3, "bot", &token), &format!("insert into orders values ({id}, 'kept')"))?.ok()?;
    }
    let waiting = cluster.psql_in_background("before", &cluster.url(0, "bot", &token), PAYROLL)?;
    let request = cluster.held(&waiting)?;
    drop(waiting);
    cluster.cli_as(&carol, 1, &["request", "approve", &request])?.ok()?;
    let approved = cluster.json(&["request", "get", &request])?;
    ensure!(approved["status"].get("approved").is_some(), "{approved:#}");
    cluster.signed()?;
    let admin = ["cert.pem", "key.pem"].map(|name| Path::new(&cluster.path("admin")).join(name));
    Ok(Before { token, carol, request, records: records(cluster)?, genesis: cluster.genesis.clone(), admin })
}

/// The new incarnation: three new nodes, all that was known, and nothing that counts before a person confirmed it.
fn goes_on(cluster: &Cluster, before: &Before) -> Result<()> {
    ensure!(incarnation(cluster)? == 2);
    let status = cluster.json(&["cluster", "status"])?;
    let mut nodes: Vec<u64> = status["nodes"].as_array().context("nodes")?.iter().map(|node| number(&node["node"])).collect();
    nodes.sort_unstable();
    ensure!(nodes == [4, 5, 6], "{status:#}");
    verifies(cluster, before, "at-once.bin")?;

    // Nothing is in force: no approval, no grant, no certificate.
    let request = cluster.json(&["request", "get", &before.request])?;
    ensure!(request["status"].get("reopened").is_some() && request.get("approvals").is_none(), "{request:#}");
    for node in 0..3 {
        let url = cluster.url(node, "bot", &before.token);
        let refused = cluster.sql(&url, "select count(*) from orders")?.fails(2)?;
        ensure!(refused.contains("FATAL"), "{refused}");
    }
    let [cert, key] = &before.admin;
    let mut stranger = cluster.offline();
    stranger.env("ASSIZE_ADDR", format!("127.0.0.1:{}", cluster.nodes[0].admin)).env("ASSIZE_CA", cluster.path("admin-recovered/ca.pem"));
    stranger.env("ASSIZE_CERT", cert).env("ASSIZE_KEY", key);
    chaos::cluster::said(stranger.args(["cluster", "status"]))?.fails(1).context("the certificate of the incarnation before")?;
    cluster.cli_as(&before.carol, 1, &["request", "approve", &before.request])?.fails(1).context("her own grant waits as well")?;

    // A person confirms, grant by grant; then the same agent works with the same credential.
    let listed = cluster.json(&["grant", "list", "--all"])?;
    let suspended: Vec<&str> = listed["grants"]
        .as_array()
        .context("grants")?
        .iter()
        .filter(|grant| grant["status"].get("suspended").is_some())
        .filter_map(|grant| grant["id"].as_str())
        .collect();
    ensure!(suspended.len() == 6, "all but the admin's own: {listed:#}");
    for grant in &suspended {
        cluster.cli(&["grant", "confirm", grant])?.ok()?;
    }
    cluster.settled()?;
    for node in 0..3 {
        let url = cluster.url(node, "bot", &before.token);
        ensure!(cluster.sql(&url, "select count(*) from orders")?.ok()?.trim() == "6", "through node {node}");
    }
    // The approval does not count any more: the same statement waits again, under the same id.
    let mut waiting = cluster.psql_in_background("after", &cluster.url(1, "bot", &before.token), PAYROLL)?;
    ensure!(cluster.held(&waiting)? == before.request);
    cluster.cli_as(&before.carol, 2, &["request", "approve", &before.request])?.ok()?;
    ensure!(waiting.ended(PATIENCE)?.success() && waiting.tail().contains("4100"), "{}", waiting.tail());
    verifies(cluster, before, "later.bin")
}

/// The log goes on where the old one ended, under a genesis of its own, and says so itself.
fn verifies(cluster: &Cluster, before: &Before, name: &str) -> Result<()> {
    cluster.signed()?;
    let export = cluster.export(name)?;
    cluster.verify(&export, &[])?.ok().with_context(|| format!("{name} verifies"))?;
    ensure!(cluster.genesis != before.genesis);
    let mut pinned = cluster.offline();
    pinned.args(["audit", "verify", "--genesis", &before.genesis]).arg(&export);
    chaos::cluster::said(&mut pinned)?.fails(1).context("the genesis of the incarnation before")?;

    let now = records(cluster)?;
    ensure!(now.starts_with(&before.records) && !before.records.is_empty(), "the parent's records come first: {now:#?}");
    let control = cluster.cli(&["audit", "query", "--log", "control", "--full", "--limit", "10000"])?.ok()?;
    let foundings: Vec<&str> = control.lines().filter(|line| line.contains("command: found cluster ")).collect();
    ensure!(
        foundings.len() == 2 && foundings[0].contains("incarnation 1") && foundings[1].contains("incarnation 2"),
        "the parent is on record: {foundings:#?}"
    );
    Ok(())
}

fn records(cluster: &Cluster) -> Result<Vec<String>> {
    let told = cluster.cli(&["audit", "query", "--limit", "10000", "-o", "json"])?.ok()?;
    Ok(told.lines().map(str::to_owned).collect())
}

fn incarnation(cluster: &Cluster) -> Result<u64> {
    Ok(number(&cluster.json(&["cluster", "status"])?["incarnation"]))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?,
        Err(_) => Vec::new(),
    };
    names.sort();
    Ok(names)
}
