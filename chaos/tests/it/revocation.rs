//! Revoked means out: on every node, in the middle of what runs.

use anyhow::{Context as _, Result, ensure};
use chaos::cluster::{Cluster, PATIENCE, Setup, id_in, number, with};
use chaos::process::Background;
use chaos::wait;
use serde_json::Value;

#[test]
fn t009_revocation_and_expiry_end_live_sessions_on_all_nodes() {
    with(Setup::default(), |cluster| {
        let token = cluster.token("bot")?;
        let running = sleepers(cluster, "bot", &token)?;
        listed(cluster)?;
        let grants = cluster.json(&["grant", "list", "--principal", "bot"])?;
        let grant = grants["grants"][0]["id"].as_str().context("bot has a grant")?.to_owned();
        let receipt = cluster.cli(&["grant", "revoke", &grant, "--reason", "job ended"])?.ok()?;
        for node in 1..=3 {
            ensure!(receipt.contains(&format!("node {node}: enforced")), "{receipt}");
        }
        ended(cluster, running, "job ended", id_in(&receipt, "revocation-"))?;
        on_record(cluster, &receipt)?;
        let revocation = id_in(&receipt, "revocation-").context("a revocation")?;
        wait::until("the receipt to tell that all was cancelled", PATIENCE, || {
            let filed = cluster.cli(&["lock", "receipt", &revocation])?.ok()?;
            Ok((filed.matches("what it ran was cancelled").count() == 3).then_some(()))
        })?;
        let refused = cluster.sql(&cluster.url(1, "bot", &token), "select 1")?.fails(2)?;
        ensure!(refused.contains("FATAL"), "{refused}");

        let builder = cluster.token("builder")?;
        // A token: the sessions opened with it, and no other's.
        let tokens = cluster.json(&["token", "list", "builder"])?;
        let id = tokens["tokens"][0]["id"].as_str().with_context(|| tokens.to_string())?.to_owned();
        let running = sleepers(cluster, "builder", &builder)?;
        cluster.cli(&["token", "revoke", "builder", &id])?.ok()?;
        ended(cluster, running, "", None)?;
        ensure!(cluster.sql(&cluster.url(0, "builder", &builder), "select 1")?.code == 2);

        // A grant that ends by itself.
        let second = cluster.token("bot")?;
        cluster
            .cli(&[
                "grant",
                "create",
                "--principal",
                "bot",
                "--target",
                "orders",
                "--role",
                "client",
                "-p",
                "postgres:select on app.public.orders",
                "--expires",
                "6s",
            ])?
            .ok()?;
        let running = sleepers(cluster, "bot", &second)?;
        ended(cluster, running, "", None)
    });
}

#[test]
fn a_lock_ends_sessions_and_refuses_logins_until_it_is_deleted() {
    with(Setup::default(), |cluster| {
        let builder = cluster.token("builder")?;
        let works = |node: usize| cluster.sql(&cluster.url(node, "builder", &builder), "select 1");
        for on in [["--principal", "builder"], ["--target", "orders"], ["--credential", "app-gateway"]] {
            let running = sleepers(cluster, "builder", &builder)?;
            let locked = cluster.cli(&[&["lock", "create", "--reason", "incident 7"], &on[..]].concat())?.ok()?;
            let lock = id_in(&locked, "lock-").with_context(|| locked.clone())?;
            for node in 1..=3 {
                ensure!(locked.contains(&format!("node {node}: enforced")), "{locked}");
            }
            ended(cluster, running, &format!("locked: incident 7 ({lock})"), id_in(&locked, "revocation-"))?;
            on_record(cluster, &locked)?;
            for node in 0..3 {
                let refused = works(node)?.fails(2)?;
                ensure!(refused.contains("FATAL") && refused.contains(&lock), "{on:?} on node {node}: {refused}");
            }
            cluster.cli(&["lock", "delete", &lock])?.ok()?;
            cluster.settled()?;
            for node in 0..3 {
                ensure!(works(node)?.ok()?.trim() == "1", "{on:?} is gone: node {node} lets the agent in again");
            }
        }

        // On one session: that one ends, its siblings go on.
        let mut running = sleepers(cluster, "builder", &builder)?;
        let listed = cluster.json(&["session", "list", "--principal", "builder"])?;
        let sessions = listed["sessions"].as_array().with_context(|| listed.to_string())?;
        let of_first = sessions.iter().filter_map(|session| session["id"].as_str()).find(|id| id.starts_with("session-1-"));
        let session = of_first.with_context(|| listed.to_string())?;
        let locked = cluster.cli(&["lock", "create", "--session", session, "--reason", "that one"])?.ok()?;
        let revocation = id_in(&locked, "revocation-").with_context(|| locked.clone())?;
        let mut first = running.remove(0);
        let status = first.ended(PATIENCE)?;
        ensure!(!status.success() && first.tail().contains("57P01") && first.tail().contains(&revocation), "{}", first.tail());
        wait::until("two running statements", PATIENCE, || Ok((asleep(cluster)? == "2").then_some(())))?;
        ensure!(running.iter_mut().all(Background::is_running), "its siblings go on");
        ensure!(works(0)?.ok()?.trim() == "1", "and the agent may log in");
        Ok(())
    });
}

/// A long statement through each node, all three at work in PostgreSQL.
fn sleepers(cluster: &Cluster, agent: &str, token: &str) -> Result<Vec<Background>> {
    let started = (0..3)
        .map(|node| {
            let name = format!("{agent}-{node}-{}", chaos::ports::free());
            cluster.psql_in_background(&name, &cluster.url(node, agent, token), "select pg_sleep(300)")
        })
        .collect::<Result<Vec<_>>>()?;
    wait::until("three running statements", PATIENCE, || Ok((asleep(cluster)? == "3").then_some(())))?;
    Ok(started)
}

fn asleep(cluster: &Cluster) -> Result<String> {
    cluster.postgres.superuser(
        "postgres",
        "select count(*) from pg_stat_activity where usename = 'assize_gateway' and state = 'active' and query like '%pg_sleep%'",
    )
}

/// Each of the three nodes put on record that it enforced what this receipt is of, naming the session it ended.
fn on_record(cluster: &Cluster, receipt: &str) -> Result<()> {
    let revocation = id_in(receipt, "revocation-").with_context(|| receipt.to_owned())?;
    wait::until("the records of its enforcement", PATIENCE, || {
        let lines = cluster.cli(&["audit", "query", "--kind", "enforcement", "-o", "json"])?.ok()?;
        let records = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let of_it: Vec<&Value> = records.iter().map(|r| &r["fields"]).filter(|f| f["revocation"] == revocation.as_str()).collect();
        let named = |node: u64| {
            let session = format!("session-{node}-");
            of_it.iter().any(|f| number(&f["node"]) == node && f["ended"].as_str().is_some_and(|ended| ended.starts_with(&session)))
        };
        Ok((1..=3).all(named).then_some(()))
    })
}

/// What an operator sees of them: each in its database, with an operation to its name.
fn listed(cluster: &Cluster) -> Result<()> {
    let list = cluster.json(&["session", "list"])?;
    let sessions = list["sessions"].as_array().with_context(|| list.to_string())?;
    let there = sessions.iter().filter(|s| s["database"] == "app" && number(&s["operations"]) > 0).count();
    ensure!(there >= 3, "{list}");
    Ok(())
}

/// Every client was told why, and PostgreSQL runs nothing of theirs any more.
fn ended(cluster: &Cluster, clients: Vec<Background>, reason: &str, id: Option<String>) -> Result<()> {
    for mut client in clients {
        let status = client.ended(PATIENCE)?;
        let told = client.tail();
        ensure!(!status.success() && told.contains("57P01") && told.contains(reason), "{told}");
        ensure!(id.as_ref().is_none_or(|id| told.contains(id)), "{told} names {id:?}");
    }
    wait::until("PostgreSQL to run nothing of theirs", PATIENCE, || Ok((asleep(cluster)? == "0").then_some(())))
}
