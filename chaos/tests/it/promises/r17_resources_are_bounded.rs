//! R1b and R17 where something runs out: control goes on while audit cannot, and a node that runs out hurts nobody else.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos::attack::{Attack, BOUND, with};
use chaos::cluster::{PATIENCE, Setup};
use chaos::fault::{fill, limit_files, onto_small_disk};
use chaos::load::{login, send};
use chaos::recorder::mark;
use chaos::wait;

/// Megabytes of each disk for an audit engine. What an engine reserves in advance (about 70) is full last.
const DISK: usize = 160;
/// Characters of a statement that fills records, and how many clients send them.
const WIDE: usize = 14_000;
const FILLERS: usize = 8;

/// The disks of all audit engines are full: nothing can be recorded, so nothing is done; a revocation is acknowledged as ever.
#[test]
#[ignore = "full set"]
fn t065_full_disks_under_the_audit_engines() {
    with(module_path!(), "t065_full_disks_under_the_audit_engines", Setup::default(), |attack| {
        let folders = ["store/audit-log", "store/audit-data"];
        for node in 0..3 {
            attack.cluster.kill(node);
            for folder in folders {
                onto_small_disk(&attack.cluster.nodes[node].data.join(folder), DISK)?;
            }
        }
        for node in 0..3 {
            attack.cluster.restart(node)?;
        }
        attack.cluster.settled()?;
        begin(attack, 7)?;
        attack.fault("no byte is free on the audit engines' disks")?;
        let mut ballast = Vec::new();
        for node in 0..3 {
            for folder in folders {
                ballast.push(fill(&attack.cluster.nodes[node].data.join(folder))?);
            }
        }
        fill_with_records(attack)?;
        for turn in 0..4 {
            attack.revoke(turn % 3)?;
            std::thread::sleep(Duration::from_millis(500));
        }
        let up = (0..3).filter(|node| attack.cluster.nodes[*node].is_up()).count();
        println!("{up} nodes live with full disks");
        for file in ballast {
            std::fs::remove_file(file)?;
        }
        for node in 0..3 {
            // An engine that could not write does not trust itself any more.
            attack.cluster.kill(node);
            attack.cluster.restart(node)?;
        }
        attack.cluster.settled()?;
        attack.verdict(BOUND).map(drop)
    });
}

/// Long statements until their records are no longer taken, and nothing is done any more.
fn fill_with_records(attack: &mut Attack) -> Result<()> {
    let full = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU32::new(attack.load.statements(1_000_000)));
    for filler in 0..FILLERS {
        let (full, next, history, work) = (Arc::clone(&full), Arc::clone(&next), Arc::clone(&attack.history), attack.work(7, filler % 3));
        attack.runtime.spawn(async move {
            let Ok(client) = login(&work.url).await else { return };
            while !full.load(Ordering::Relaxed) {
                let statement = next.fetch_add(1, Ordering::Relaxed);
                let sql = format!("insert into orders values ({statement}, '{}{:x>WIDE$}')", mark(statement), "");
                send(&history, &client, &work, statement, &sql).await;
            }
        });
    }
    let (mut last, mut since) = (0, Instant::now());
    wait::until("nothing to be done any more", Duration::from_secs(150), || {
        let done = attack.history.successes();
        if done != last {
            (last, since) = (done, Instant::now());
        }
        Ok((since.elapsed() > Duration::from_secs(3)).then_some(()))
    })?;
    full.store(true, Ordering::Relaxed);
    Ok(())
}

#[test]
fn t065_no_file_descriptor_left() {
    with(module_path!(), "t065_no_file_descriptor_left", Setup::default(), |attack| {
        begin(attack, 4)?;
        let (_, victim) = attack.leader_and_follower()?;
        let pid = attack.cluster.nodes[victim].pid().context("the node runs")?;
        attack.fault("a node has no file descriptor left")?;
        limit_files(pid, Some(3))?;
        let node = &attack.cluster.nodes[victim];
        let strangers: Vec<_> = (0..40).filter_map(|_| TcpStream::connect((node.place.host.as_str(), node.postgres)).ok()).collect();
        ensure!(strangers.len() >= 4, "they took what was left: {}", strangers.len());
        for turn in 0..3 {
            attack.revoke((victim + 1 + turn % 2) % 3)?;
            attack.successes(20)?;
        }
        ensure!(attack.cluster.nodes[victim].is_up(), "it lives");
        drop(strangers);
        limit_files(pid, None)?;
        attack.verdict(BOUND).map(drop)
    });
}

/// Clients that all want what is not granted, at all nodes at once, and wait for people.
const FLOOD: usize = 500;
/// How often each tries to log in: two cores check tens of secrets a second, and a client gives up after some seconds.
const LOGINS: usize = 8;

#[test]
#[ignore = "full set"]
fn five_hundred_clients_that_wait_for_approval() {
    with(module_path!(), "five_hundred_clients_that_wait_for_approval", Setup { hold: 60, ..Setup::default() }, |attack| {
        begin(attack, 8)?;
        attack.fault("a flood of statements that are held")?;
        let mut flood = Vec::new();
        for number in 0..FLOOD {
            let (work, statement, history) = (attack.work(8, number % 3), attack.load.statement(), Arc::clone(&attack.history));
            flood.push(attack.runtime.spawn(async move {
                let mut client = None;
                for _ in 0..LOGINS {
                    client = login(&work.url).await.ok();
                    if client.is_some() {
                        break;
                    }
                }
                let Some(client) = client else { return false };
                let sql = format!("select salary, '{}' from payroll where name = 'no {}'", mark(statement), statement % 30);
                send(&history, &client, &work, statement, &sql).await;
                true
            }));
        }
        for turn in 0..6 {
            attack.revoke(turn % 3)?;
            attack.successes(20)?;
        }
        let waiting = wait::until("requests of the flood", PATIENCE, || {
            let open = attack.cluster.json(&["request", "list", "--principal", "w8"])?;
            Ok(open["requests"].as_array().map(Vec::len).filter(|open| *open >= 16))
        })?;
        println!("{waiting} requests wait");
        attack.runtime.block_on(async {
            let mut came = 0;
            for client in flood {
                came += usize::from(client.await.unwrap_or(false));
            }
            println!("{came} of {FLOOD} clients of the flood came in");
        });
        attack.verdict(BOUND).map(drop)
    });
}

/// Sessions that write as fast as they are answered, at each node.
const WRITERS: usize = 10;
/// Over which rates are compared.
const SPAN: Duration = Duration::from_secs(4);

/// Records come at ten times their usual rate: control has engines, connections and threads of its own.
#[test]
#[ignore = "full set"]
fn t065_records_at_ten_times_their_rate() {
    with(module_path!(), "t065_records_at_ten_times_their_rate", Setup::default(), |attack| {
        attack.load.pace = Duration::from_millis(1_500);
        begin(attack, 5)?;
        let usual = rate(attack);
        attack.fault("a flood of statements that write")?;
        attack.load.pace = Duration::ZERO;
        for writer in 0..3 * WRITERS {
            let work = attack.work(5, writer % 3);
            attack.load.start(attack.runtime.handle(), work);
        }
        wait::until("ten times the usual rate", PATIENCE, || Ok((rate(attack) >= 10 * usual).then_some(())))?;
        for turn in 0..5 {
            attack.revoke(turn % 3)?;
            attack.successes(20)?;
        }
        println!("{usual} statements in {SPAN:?} as a rule, {} in the flood", rate(attack));
        attack.verdict(BOUND).map(drop)
    });
}

/// Statements done in [`SPAN`].
fn rate(attack: &Attack) -> usize {
    let before = attack.history.successes();
    std::thread::sleep(SPAN);
    attack.history.successes() - before
}

fn begin(attack: &mut Attack, agents: usize) -> Result<()> {
    attack.agents(agents + 1)?;
    attack.begin(0..agents + 1)
}
