//! R4: an approval is spent once, whoever asks for it at the same time on whatever node, and whatever happens to one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND_LEADER_LOST, with};
use chaos::cluster::{PATIENCE, Setup};
use chaos::history::check;
use chaos::load::{Work, login, send};
use chaos::recorder::mark;
use chaos::wait;

/// Sessions at each node that want the same thing at the same time.
const RIVALS: usize = 4;
const ROUNDS: usize = 6;

#[test]
fn rivals_on_every_node_while_nodes_are_cut_off_and_stopped() {
    with(module_path!(), "rivals_on_every_node_while_nodes_are_cut_off_and_stopped", Setup::default(), |attack| {
        attack.agents(4)?;
        attack.begin(0..4)?;
        let mut raced = Vec::new();
        for round in 0..ROUNDS {
            let (leader, follower) = attack.leader_and_follower()?;
            let third = 3 - leader - follower;
            match round % 3 {
                0 => attack.fault("none")?,
                1 => {
                    attack.fault("a node hears no other, and is heard by none")?;
                    attack.arena.isolate(follower)?;
                }
                _ => {
                    attack.fault("the leader hears no other, and is heard by none")?;
                    attack.arena.isolate(leader)?;
                }
            }
            raced.push(race(attack, third)?);
            attack.arena.heal()?;
            attack.cluster.settled()?;
        }
        attack.revoke(0)?;
        let answering = raced.len();
        attack.verdict(BOUND_LEADER_LOST)?;
        let events = attack.history.events();
        let spent = check::spent_at_most(&events, |statement| raced.contains(&statement), answering)?;
        println!("{answering} approvals with {} rivals each: {spent} spent, none twice", 3 * RIVALS);
        ensure!(spent * 2 >= answering, "approvals are of use: {spent} of {answering} were spent");
        Ok(())
    });
}

/// One statement, held for all rivals, is approved once, at a node (from 0) that is not cut off. Its number.
fn race(attack: &mut Attack, at: usize) -> Result<u32> {
    let statement = attack.load.statement();
    let sql = format!("select salary, '{}' from payroll where name = 'eve'", mark(statement));
    let agent = attack.work(1, 0).agent;
    let mut rivals = Vec::new();
    for node in 0..3 {
        for _ in 0..RIVALS {
            let Work { agent, node, url } = attack.work(1, node);
            let (history, sql) = (Arc::clone(&attack.history), sql.clone());
            rivals.push(attack.runtime.spawn(async move {
                let work = Work { agent, node, url };
                if let Some(client) = arrive(&work.url).await {
                    send(&history, &client, &work, statement, &sql).await;
                }
            }));
        }
    }
    let request = wait::until("a request to be open", PATIENCE, || Ok(open_requests(attack, at, &agent)?.first().cloned()))?;
    std::thread::sleep(Duration::from_millis(500));
    attack.cluster.cli_at(at, &["request", "approve", &request])?.ok().context("alice approves for bob's agent")?;
    attack.runtime.block_on(async {
        for rival in rivals {
            let _ = rival.await;
        }
    });
    // The others opened another request in its place, which nobody approves.
    for request in open_requests(attack, at, &agent)? {
        attack.cluster.cli_at(at, &["request", "deny", &request])?;
    }
    Ok(statement)
}

/// Tries to log in for as long as a new leader may take. Who cannot, because its node is cut off, is no rival.
async fn arrive(url: &str) -> Option<tokio_postgres::Client> {
    let until = Instant::now() + BOUND_LEADER_LOST * 2;
    while Instant::now() < until {
        if let Ok(Ok(client)) = tokio::time::timeout(Duration::from_secs(3), login(url)).await {
            return Some(client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

fn open_requests(attack: &Attack, at: usize, agent: &str) -> Result<Vec<String>> {
    let listed = attack.cluster.cli_at(at, &["request", "list", "--principal", agent, "-o", "json"])?.ok()?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    let ids = listed["requests"].as_array().into_iter().flatten().filter_map(|open| open["id"].as_str().map(str::to_owned));
    Ok(ids.collect())
}
