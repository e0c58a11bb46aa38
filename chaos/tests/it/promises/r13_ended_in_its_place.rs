//! R13 where the node itself cannot see to it: what a silent node left running at the target is ended by another one,
//! and nothing else is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND, with};
use chaos::cluster::{PATIENCE, Setup, id_in};
use chaos::load::login;
use chaos::postgres::{GATEWAY_PASSWORD, GATEWAY_USER};
use chaos::process::SIGKILL;
use chaos::wait;
use tokio_postgres::Client;

/// From the acknowledgement to the end at the target of what was revoked: to take the node out, to see that, to visit.
const REVOKED_ENDS_WITHIN: Duration = Duration::from_secs(2);
/// … of what else the node had at work: and the longest lease once more.
const ORPHANS_END_WITHIN: Duration = Duration::from_secs(6);
/// How long the rest is watched after that.
const WATCHED: Duration = Duration::from_secs(3);

#[test]
fn t009_a_node_cut_off_from_everybody_with_its_sessions() {
    with(module_path!(), "t009_a_node_cut_off_from_everybody_with_its_sessions", Setup::default(), |attack| {
        silent_with_sessions(attack, |attack, victim| attack.arena.isolate(victim))
    });
}

/// Its kernel resets its connections when the dead-man timer ends it, and the target does not hear of that.
#[test]
#[ignore = "full set"]
fn t009_a_stopped_node_whose_resets_are_lost() {
    with(module_path!(), "t009_a_stopped_node_whose_resets_are_lost", Setup::default(), |attack| {
        silent_with_sessions(attack, |attack, victim| attack.cluster.nodes[victim].signal("STOP"))
    });
}

fn silent_with_sessions(attack: &mut Attack, fall_silent: impl FnOnce(&Attack, usize) -> Result<()>) -> Result<()> {
    // The first loses its access, the second works on a node that lives, the third keeps its access on the one that does not.
    attack.agents(4)?;
    attack.begin(0..4)?;
    let (_, victim) = attack.leader_and_follower()?;
    let (answering, healthy) = ((victim + 1) % 3, (victim + 2) % 3);
    let mut clients = Vec::new();
    for (name, agent, node, statements) in [
        ("revoked-sleeps", 0, victim, "select pg_sleep(90)"),
        ("revoked-locks", 0, victim, "begin; insert into orders values (2000000000, 'never committed')"),
        ("revoked-idles", 0, victim, "select 1"),
        ("kept-sleeps", 2, victim, "select pg_sleep(90)"),
        ("kept-idles", 2, victim, "select 1"),
        ("healthy-sleeps", 1, healthy, "select pg_sleep(90)"),
    ] {
        let url = format!("{}?application_name={name}", attack.work(agent, node).url);
        clients.push(begin(attack, &url, statements)?);
    }
    let port = attack.cluster.postgres.port;
    let outside = format!("postgresql://{GATEWAY_USER}:{GATEWAY_PASSWORD}@127.0.0.1:{port}/app?application_name=outside-sleeps");
    clients.push(begin(attack, &outside, "select pg_sleep(90)")?);
    let before = wait::until("all of them at the target", PATIENCE, || {
        let there = backends(attack)?;
        let are = |state: &str| there.values().filter(|(_, is)| is == state).count();
        Ok((there.len() == 7 && are("active") == 4 && are("idle in transaction") == 1).then_some(there))
    })?;

    attack.fault("a node falls silent, and nothing it sends arrives at the target")?;
    attack.arena.cut_from_target(victim)?;
    fall_silent(attack, victim)?;
    attack.revoke(answering)?;
    let acknowledged = Instant::now();
    ensure!(attack.was_silent(victim), "the revocation had to wait for its lease");
    let gone = |names: &[&str], within: Duration| {
        wait::until(&format!("{names:?} to be gone from the target"), within.saturating_sub(acknowledged.elapsed()), || {
            let there = backends(attack)?;
            Ok(names.iter().all(|name| !there.contains_key(*name)).then_some(acknowledged.elapsed()))
        })
    };
    let took = gone(&["revoked-sleeps", "revoked-locks", "revoked-idles"], REVOKED_ENDS_WITHIN)?;
    println!("what was revoked was gone from the target {took:?} after the acknowledgement");
    let took = gone(&["kept-sleeps"], ORPHANS_END_WITHIN)?;
    println!("what the silent node had at work was gone {took:?} after the acknowledgement");
    std::thread::sleep(WATCHED);
    let after = backends(attack)?;
    for name in ["kept-idles", "healthy-sleeps", "outside-sleeps"] {
        ensure!(after.get(name) == before.get(name), "{name} lives on: {:?}, then {:?}", before.get(name), after.get(name));
    }
    told(attack, victim, answering)?;

    // A node that comes back loses nothing that it admits then.
    attack.arena.heal()?;
    if !attack.cluster.nodes[victim].is_up() {
        ensure!(attack.cluster.nodes[victim].ended()? == Some(SIGKILL), "the dead-man timer ends a stopped node");
        attack.cluster.restart(victim)?;
    }
    attack.cluster.settled()?;
    let fresh = attack.runtime.block_on(login(&attack.work(2, victim).url))?;
    let longer_than_it_takes = format!("select pg_sleep({})", ORPHANS_END_WITHIN.as_secs());
    attack.runtime.block_on(fresh.simple_query(&longer_than_it_takes)).context("a session that began when the node was back")?;
    drop(clients);
    attack.verdict(BOUND).map(drop)
}

/// The record and the receipt say which sessions were ended in the node's place.
fn told(attack: &Attack, victim: usize, answering: usize) -> Result<()> {
    let lines = attack.cluster.cli_at(answering, &["audit", "query", "--kind", "termination", "--limit", "100", "-o", "json"])?.ok()?;
    let ended = format!("session-{}-", victim + 1);
    ensure!(lines.matches(&ended).count() >= 4 && lines.contains(" cancelled") && lines.contains(" idle"), "{lines}");
    let grant = attack.cluster.cli_at(answering, &["grant", "get", "w0-orders", "-o", "json"])?.ok()?;
    let revocation = id_in(&grant, "revocation-").context(grant)?;
    let receipt = attack.cluster.cli_at(answering, &["lock", "receipt", &revocation])?.ok()?;
    ensure!(receipt.contains(&format!("node {}: did not answer", victim + 1)), "{receipt}");
    // Those of the test, beside the one of the load.
    let in_its_place = receipt.lines().filter(|line| line.contains(&ended) && line.contains("ended at its target by another node"));
    ensure!(in_its_place.count() >= 3, "{receipt}");
    Ok(())
}

/// A client with its statements on their way; dropping what is returned leaves it to its end.
fn begin(attack: &Attack, url: &str, statements: &str) -> Result<tokio::task::JoinHandle<Client>> {
    let client = attack.runtime.block_on(login(url)).with_context(|| url.to_owned())?;
    let statements = statements.to_owned();
    Ok(attack.runtime.spawn(async move {
        // What becomes of it is looked at from the other side.
        let _ = client.simple_query(&statements).await;
        client
    }))
}

/// The sessions with names of this test's: process, and whether it works.
fn backends(attack: &Attack) -> Result<BTreeMap<String, (String, String)>> {
    let sql = "select application_name, pid, state from pg_stat_activity where application_name ~ '-(sleeps|locks|idles)$'";
    let rows = attack.cluster.postgres.superuser("app", sql)?;
    let split = |row: &str| {
        let mut fields = row.split('|').map(str::to_owned);
        Some((fields.next()?, (fields.next()?, fields.next()?)))
    };
    Ok(rows.lines().filter_map(split).collect())
}
