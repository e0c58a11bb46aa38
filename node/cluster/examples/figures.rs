//! Prints what three nodes of one process on loopback take for proposals, barriers and records.
//!
//! `cargo run --release -p cluster --example figures`. Three replicas share one machine and one disk here: a cluster
//! has three times the hardware, and a network between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::join::{self, JoinAs};
use cluster::{Cluster, EnforceReport, Enforcer, NodeConfig, limits};
use domain::command::{Actor, Command, Expect};
use domain::id::{Index, Name, ProposalId};
use domain::lock::LockOn;
use domain::principal::PrincipalKind;
use domain::state::State;
use futures_util::future::BoxFuture;

type Failure = Box<dyn std::error::Error>;

struct Nothing;

impl Enforcer for Nothing {
    fn enforce<'a>(&'a self, _state: Arc<State>, _index: Index) -> BoxFuture<'a, EnforceReport> {
        Box::pin(std::future::ready(EnforceReport::default()))
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn start(dir: &Path, port: u16) -> Result<Cluster, Failure> {
    let config = NodeConfig {
        data_dir: dir.to_owned(),
        listen: ([127, 0, 0, 1], port).into(),
        advertise: format!("127.0.0.1:{port}"),
        admin_advertise: format!("127.0.0.1:{}", port ^ 1),
        snapshot_after: limits::SNAPSHOT_AFTER,
        dead_man: false,
    };
    let cluster = Cluster::start(config, Arc::new(Nothing)).await?;
    cluster.wait_serving(Duration::from_secs(20)).await?;
    Ok(cluster)
}

async fn three(folder: &Path) -> Result<Vec<Cluster>, Failure> {
    let first = folder.join("1");
    join::init_cluster(&first, &"root".parse::<Name>()?, &[])?;
    let mut nodes = vec![start(&first, free_port()?).await?];
    for n in ["2", "3"] {
        let token = nodes[0].make_join_token(n.parse()?, Actor::Operator, Duration::from_secs(600)).await?;
        let port = free_port()?;
        let about =
            JoinAs { address: format!("127.0.0.1:{port}"), admin_address: format!("127.0.0.1:{}", port ^ 1), voter: true, hosts: vec![] };
        let dir = folder.join(n);
        join::join_cluster(&dir, &token, &about).await?;
        nodes.push(start(&dir, port).await?);
    }
    while nodes.iter().any(|n| n.audit_voters().len() < 3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(nodes)
}

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |q: usize| took[(took.len() * q / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    println!("{what:<58} p50 {:>7.2} ms  p99 {:>7.2} ms  ({} samples)", at(50), at(99), took.len());
}

fn id() -> ProposalId {
    format!("f-{:x}", rand::random::<u64>()).parse().expect("a proposal id")
}

fn person() -> Command {
    Command::PutPrincipal {
        name: format!("p{}", rand::random::<u64>()).parse().expect("a name"),
        kind: PrincipalKind::Person { email: None, certificate: None },
        active: true,
        labels: BTreeMap::new(),
        expect: Expect::Absent,
    }
}

async fn proposals(node: &Cluster, count: usize) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        node.propose(id(), Actor::Operator, person()).await?;
        took.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(took)
}

async fn barriers(node: &Cluster, count: usize) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::new();
    for _ in 0..count {
        let lock = Command::CreateLock { on: LockOn::Principal("root".parse()?), reason: "figures".into(), expires: None };
        let started = Instant::now();
        let (_, receipt) = node.narrow(id(), Actor::Operator, lock).await?;
        took.push(started.elapsed());
        assert!(receipt.is_some_and(|r| r.nodes.iter().all(|n| !n.by_expiry)));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(took)
}

async fn single_records(node: &Cluster, count: usize) -> Result<Vec<Duration>, Failure> {
    let (records, mut recorded) = (node.records(), node.records().recorded());
    let mut took = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        let sequence = records.submit(&mut |_| vec![7; 400]);
        recorded.wait_for(|r| *r >= sequence).await?;
        took.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(took)
}

/// Keeps `window` records of 400 bytes on their way for `span`; returns how many were committed.
async fn flood(node: Cluster, window: u64, span: Duration) -> Result<u64, String> {
    let (records, mut recorded) = (node.records(), node.records().recorded());
    let (before, started) = (*recorded.borrow(), Instant::now());
    let mut submitted = records.last_sequence();
    while started.elapsed() < span {
        let done = *recorded.borrow_and_update();
        while submitted < done + window {
            submitted = records.submit(&mut |_| vec![7; 400]);
        }
        recorded.changed().await.map_err(|e| e.to_string())?;
    }
    let committed = *recorded.borrow();
    Ok(committed - before)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let nodes = three(folder.path()).await?;
    let leader = nodes.iter().find(|n| n.leader() == Some(n.node())).ok_or("no leader")?;
    let follower = nodes.iter().find(|n| n.leader() != Some(n.node())).ok_or("no follower")?;
    let audit_leader = nodes.iter().find(|n| n.audit_leader() == Some(n.node())).ok_or("no leader")?;
    let audit_follower = nodes.iter().find(|n| n.audit_leader() != Some(n.node())).ok_or("no follower")?;

    print("propose at the leader", proposals(leader, 300).await?);
    print("propose at a follower, applied there", proposals(follower, 300).await?);
    print("narrow at a follower, enforced by all three", barriers(follower, 200).await?);
    print("one record, at the audit leader", single_records(audit_leader, 300).await?);
    print("one record, at a follower", single_records(audit_follower, 300).await?);

    let span = Duration::from_secs(5);
    let floods: Vec<_> = nodes.iter().map(|n| tokio::spawn(flood(n.clone(), 2000, span))).collect();
    let mut during = Vec::new();
    let started = Instant::now();
    while started.elapsed() < span {
        during.extend(proposals(follower, 10).await?);
    }
    let mut committed = 0;
    for flood in floods {
        committed += flood.await??;
    }
    println!("records of 400 bytes committed by three nodes at once        {:.0} a second", committed as f64 / span.as_secs_f64());
    print("propose at a follower meanwhile", during);
    for node in &nodes {
        node.stop().await;
    }
    Ok(())
}
