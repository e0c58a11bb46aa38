//! Nodes are killed and restarted under load, in an order that a seed decides: what was acknowledged stays.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, with};
use chaos::wait;

const SEED: u64 = 0x5eed_2026_1123;
const ROUNDS: usize = 5;

#[test]
fn kill_and_restart_under_load_loses_nothing_acknowledged() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let mut chance = SEED;
        let mut acknowledged = Vec::new();
        let mut locks = Vec::new();
        let mut next = 0;
        for round in 0..ROUNDS {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let victim = (chance >> 33) as usize % 3;
            cluster.kill(victim);
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                let url = cluster.url((victim + 1 + next % 2) % 3, "bot", &token);
                let note = format!("round {round}");
                if cluster.sql(&url, &format!("insert into orders values ({next}, '{note}')"))?.code == 0 {
                    acknowledged.push(next);
                }
                next += 1;
            }
            let name = format!("kept-{round}");
            if cluster.cli(&["role", "create", &name, "-p", "postgres:select on app.public.orders"])?.code == 0 {
                locks.push(name);
            }
            cluster.restart(victim)?;
            cluster.nodes[victim].ready()?;
        }
        cluster.settled()?;
        ensure!(
            acknowledged.len() >= ROUNDS && !locks.is_empty(),
            "the load went on: {} inserts, {} roles",
            acknowledged.len(),
            locks.len()
        );
        for id in &acknowledged {
            ensure!(
                cluster.postgres.superuser("app", &format!("select count(*) from orders where id = {id}"))? == "1",
                "insert {id} was acknowledged"
            );
        }
        for node in 0..3 {
            let roles = cluster.cli_at(node, &["role", "list"])?.ok()?;
            ensure!(locks.iter().all(|role| roles.contains(role)), "node {node} lost one of {locks:?}: {roles}");
        }
        replicas_agree(cluster)
    });
}

/// A head of each log, as one node gives it, must be the head of what every node holds on its own disk.
fn replicas_agree(cluster: &Cluster) -> Result<()> {
    cluster.signed()?;
    for node in 0..3 {
        let mut heads = Vec::new();
        for log in ["control", "audit/0"] {
            let said = cluster.cli_at(node, &["audit", "checkpoint", "--log", log])?.ok()?;
            let (_, note) = said.split_once("\n\n").with_context(|| said.clone())?;
            let file = cluster.path(&format!("{node}-{}.note", log.replace('/', "-")));
            std::fs::write(&file, note)?;
            heads.push(file);
        }
        for other in 0..3 {
            let export = cluster.path(&format!("{node}-{other}.bin"));
            wait::until("the other node to hold what the head is of", PATIENCE, || {
                let _ = std::fs::remove_file(&export);
                cluster.cli_at(other, &["audit", "export", "--out", &export])?.ok()?;
                cluster.verify(export.as_ref(), &["--checkpoint", &heads[0], "--checkpoint", &heads[1]])?.ok().map(Some)
            })
            .with_context(|| format!("the heads of node {node} against the leaves of node {other}"))?;
        }
    }
    let view = |node: usize| -> Result<Vec<String>> {
        let lists: [&[&str]; 4] = [&["role", "list"], &["grant", "list", "--all"], &["request", "list", "--all"], &["token", "list"]];
        lists.into_iter().map(|list| cluster.cli_at(node, &[list, &["-o", "json"]].concat())?.ok()).collect()
    };
    let first = view(0)?;
    ensure!(view(1)? == first && view(2)? == first, "all nodes tell the same");
    Ok(())
}
