//! What a node that stands still had in hand does not happen after a revocation was acknowledged (R1).

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{PATIENCE, Setup, number, with};
use chaos::process::SIGKILL;
use chaos::wait;

/// A lease of 2 s with its fence is over after 2.25 s (`W` of the design); the rest is for starting the command.
const BOUND: Duration = Duration::from_millis(2_900);

#[test]
fn a_stopped_node_delays_a_revocation_by_its_lease_and_never_wakes() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let stopped = follower(cluster)?;
        let answering = (stopped + 1) % 3;
        let log = std::fs::File::create(cluster.path("stopped.out"))?;
        let mut session =
            cluster.psql(&cluster.url(stopped, "bot", &token)).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut typed = session.stdin.take().context("a pipe")?;
        writeln!(typed, "insert into orders values (1, 'before') returning note;")?;
        wait::until("the first insert", PATIENCE, || {
            Ok(std::fs::read_to_string(cluster.path("stopped.out"))?.contains("before").then_some(()))
        })?;
        let grants = cluster.json(&["grant", "list", "--principal", "bot"])?;
        let grant = grants["grants"][0]["id"].as_str().context("bot has a grant")?.to_owned();

        cluster.nodes[stopped].signal("STOP")?;
        writeln!(typed, "insert into orders values (2, 'in-hand') returning note;")?;
        let begun = Instant::now();
        let receipt = cluster.cli_at(answering, &["grant", "revoke", &grant, "--reason", "job ended"])?.ok()?;
        let took = begun.elapsed();
        ensure!(took < BOUND, "acknowledged after {took:?}: {receipt}");
        ensure!(receipt.contains("lease ran out"), "{receipt}");
        let metrics = cluster.nodes[answering].get("/metrics")?;
        ensure!(metrics.contains("assize_barrier_seconds_count{by=\"lease\"} 1"), "{metrics}");
        ensure!(cluster.nodes[stopped].ended()? == Some(SIGKILL), "the dead-man timer ends a stopped node");
        session.wait()?;
        ensure!(!cluster.postgres.statements()?.contains("in-hand"), "a statement came after the acknowledgment");
        cluster.restart(stopped)?;
        cluster.nodes[stopped].ready()?;
        cluster.settled()?;
        ensure!(cluster.sql(&cluster.url(stopped, "bot", &token), "select 1")?.code == 2, "revoked on the node that came back too");
        ensure!(!cluster.postgres.statements()?.contains("in-hand"), "nor later");
        Ok(())
    });
}

/// A node (from 0) that leads nothing, so that what is measured is the barrier and no election.
fn follower(cluster: &chaos::cluster::Cluster) -> Result<usize> {
    let status = cluster.json(&["cluster", "status"])?;
    let logs = status["logs"].as_array().with_context(|| status.to_string())?;
    let leads = |node: usize| logs.iter().any(|log| number(&log["leader"]) == node as u64 + 1);
    (0..3).find(|node| !leads(*node)).with_context(|| status.to_string())
}
