//! R1 and R4 many times over on healthy nodes: how often, not what else goes wrong. `REVOCATIONS` and `RACES` say how many.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use chaos::admin::Admin;
use chaos::attack::{Attack, BOUND, quantile, with};
use chaos::cluster::Setup;
use chaos::history::{Event, History, Statement, check};
use chaos::load::{Work, insert, login, send};
use chaos::recorder::mark;

/// Agents at a time that are granted access, use it, and lose it.
const WORKERS: usize = 16;
/// The target is watched for so long after the last acknowledgement.
const WATCHED: Duration = Duration::from_secs(4);
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn some_revocations_and_races() {
    with(module_path!(), "some_revocations_and_races", Setup { hold: 5, ..Setup::default() }, |attack| {
        attack.agents(WORKERS)?;
        race_often(attack, 16)?;
        revoke_often(attack, 48)
    });
}

#[test]
#[ignore = "full set"]
fn twenty_thousand_revocations() {
    let many = from_environment("REVOCATIONS").unwrap_or(20_000);
    with(module_path!(), "twenty_thousand_revocations", Setup::default(), |attack| {
        attack.agents(WORKERS)?;
        revoke_often(attack, many)
    });
}

#[test]
#[ignore = "full set"]
fn a_hundred_thousand_races_on_five_nodes() {
    let many = from_environment("RACES").unwrap_or(100_000);
    with(module_path!(), "a_hundred_thousand_races_on_five_nodes", Setup { hold: 5, nodes: 5, ..Setup::default() }, |attack| {
        attack.agents(WORKERS)?;
        race_often(attack, many)
    });
}

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn revoke_often(attack: &mut Attack, many: usize) -> Result<()> {
    let since = chaos::history::now();
    for agent in 0..WORKERS {
        attack.cluster.cli(&["grant", "revoke", &format!("w{agent}-orders")])?.ok()?;
    }
    let (nodes, done, begun) = (attack.cluster.nodes.len(), Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut workers = Vec::new();
    for agent in 0..WORKERS {
        let works: Vec<Work> = (0..nodes).map(|node| attack.work(agent, node)).collect();
        let (admin, history, done) = (attack.admin.clone(), Arc::clone(&attack.history), Arc::clone(&done));
        let statements = attack.load.statements(u32::try_from(many)?.saturating_mul(64));
        workers.push(attack.runtime.spawn(async move {
            let mut next = statements;
            let mut turn = agent;
            while done.load(Ordering::Relaxed) < many {
                let work = Work { agent: format!("{}.{turn}", works[0].agent), ..works[turn % nodes].clone() };
                turn += 1;
                match granted_used_revoked(&admin, &history, &work, &works[0].agent, &mut next).await {
                    Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    // Its node may have died of a starved machine; what was acknowledged is judged all the same.
                    Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
                }
            }
        }));
    }
    let mut deaths = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        std::thread::sleep(Duration::from_millis(200));
        for node in 0..nodes {
            if !attack.cluster.nodes[node].is_up() {
                deaths += 1;
                attack.cluster.restart(node)?;
            }
        }
    }
    let took = begun.elapsed();
    std::thread::sleep(WATCHED);
    let mut events = attack.history.events();
    events.retain(|noted| noted.at >= since);
    let revoked = check::revoked_means_out(&events)?;
    let unknown: BTreeSet<String> = events.iter().filter_map(|noted| unanswered(&noted.event)).collect();
    events.retain(|noted| !matches!(&noted.event, Event::Revoke { agent } | Event::RevokeUnknown { agent, .. } if unknown.contains(agent)));
    let times = check::acknowledged_in_time(&events, BOUND)?;
    check::told_the_truth(&events)?;
    check::forwarded_once(&events)?;
    ensure!(revoked >= many, "{revoked} of {many} were revoked");
    let seen = attack.seen();
    ensure!(seen >= revoked, "each was used before: {seen} statements for {revoked}");
    println!(
        "{revoked} revocations in {took:?}, each of a session at work: acknowledged p50 {:?} p99 {:?} max {:?}; {seen} statements arrived, 0 \
         after an acknowledgement; {} were not answered, {deaths} nodes died of the load",
        quantile(&times, 50),
        quantile(&times, 99),
        quantile(&times, 100),
        unknown.len()
    );
    Ok(())
}

fn unanswered(event: &Event) -> Option<String> {
    match event {
        Event::RevokeUnknown { agent, .. } => Some(agent.clone()),
        _ => None,
    }
}

/// Access for `agent` at one node, statements until it ends, and its end asked for at another one.
async fn granted_used_revoked(admin: &Admin, history: &Arc<History>, work: &Work, agent: &str, next: &mut Statement) -> Result<()> {
    let grant = admin.grant_until(work.node, agent, SystemTime::now() + HOUR).await?;
    let client = login(&work.url).await?;
    *next += 1;
    ensure!(insert(history, &client, work, *next).await, "the first statement of {}", work.agent);
    let (from, history_of, work_of) = (*next, Arc::clone(history), work.clone());
    let stream = tokio::spawn(async move {
        let mut statement = from;
        // A block of numbers a turn; a session does not last that long.
        for _ in 0..60 {
            statement += 1;
            if !insert(&history_of, &client, &work_of, statement).await {
                break;
            }
        }
    });
    *next += 60;
    history.note(Event::Revoke { agent: work.agent.clone() });
    match admin.revoke(work.node + 1, &grant).await {
        Ok((reported, silent)) => drop(history.note(Event::Revoked { agent: work.agent.clone(), reported, silent })),
        Err(error) => {
            history.note(Event::RevokeUnknown { agent: work.agent.clone(), why: format!("{error:#}") });
            return Err(error);
        }
    }
    Ok(stream.await?)
}

fn race_often(attack: &mut Attack, many: usize) -> Result<()> {
    let (nodes, done, begun) = (attack.cluster.nodes.len(), Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut workers = Vec::new();
    for agent in 0..WORKERS {
        let works: Vec<Work> = (0..nodes).map(|node| attack.work(agent, node)).collect();
        let (admin, history, done) = (attack.admin.clone(), Arc::clone(&attack.history), Arc::clone(&done));
        let first = attack.load.statements(u32::try_from(many)? + 1);
        workers.push(attack.runtime.spawn(async move {
            let mut raced = Vec::new();
            let mut turn = 0;
            while done.fetch_add(1, Ordering::Relaxed) < many {
                turn += 1;
                // A node whose answer is lost voids the race, not what may be spent of it.
                let held = race(&admin, &history, &works, first + turn).await;
                raced.push((first + turn, held.is_ok()));
            }
            raced
        }));
    }
    let mut raced = Vec::new();
    for worker in workers {
        raced.extend(attack.runtime.block_on(worker)?);
    }
    let took = begun.elapsed();
    let events = attack.history.events();
    let mut spent: std::collections::BTreeMap<Statement, usize> = raced.iter().map(|(statement, _)| (*statement, 0)).collect();
    for noted in &events {
        if let Event::Seen { statement, .. } = &noted.event
            && let Some(times) = spent.get_mut(statement)
        {
            *times += 1;
        }
    }
    let twice: Vec<&Statement> = spent.iter().filter(|(_, times)| **times > 1).map(|(statement, _)| statement).collect();
    let once = spent.values().filter(|times| **times == 1).count();
    ensure!(twice.is_empty(), "R4: spent more than once: {twice:?}");
    let void = raced.iter().filter(|(_, held)| !held).count();
    ensure!(void * 10 <= raced.len() && once * 10 >= raced.len() * 8, "{once} of {} were spent, {void} races are void", raced.len());
    println!("{} approvals in {took:?}, each wanted at {nodes} nodes at once: {once} spent, 0 twice; {void} races void", raced.len());
    Ok(())
}

/// The same statement at every node at once, held; approved once; what the losers asked for is denied.
async fn race(admin: &Admin, history: &Arc<History>, works: &[Work], statement: Statement) -> Result<()> {
    let sql = format!("select salary, '{}' from payroll where name = 'eve'", mark(statement));
    let mut rivals = Vec::new();
    for work in works {
        let (history, sql, work) = (Arc::clone(history), sql.clone(), work.clone());
        rivals.push(tokio::spawn(async move {
            if let Ok(client) = login(&work.url).await {
                send(&history, &client, &work, statement, &sql).await;
            }
        }));
    }
    let (agent, node) = (&works[0].agent, statement as usize % works.len());
    let request = loop {
        if let Some(open) = admin.open_requests(node, agent).await?.first() {
            break open.clone();
        }
        ensure!(rivals.iter().any(|rival| !rival.is_finished()), "nobody opened a request for statement {statement}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // All of them wait for it now, or come while it is being spent.
    tokio::time::sleep(Duration::from_millis(50)).await;
    admin.decide(node, &request, true).await.context("alice approves for bob's agent")?;
    while rivals.iter().any(|rival| !rival.is_finished()) {
        for open in admin.open_requests(node, agent).await? {
            // Its rival may have given up meanwhile.
            let _ = admin.decide(node, &open, false).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
