//! A cluster for tests: every node listens on a free port behind a UDP relay, which is the address it advertises.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::join::{self, JoinAs, JoinToken};
use cluster::{Cluster, EnforceReport, Enforcer, NodeConfig, StartError, limits};
use domain::command::{Actor, Command, Expect};
use domain::id::{Index, Name, NodeId, ProposalId};
use domain::principal::PrincipalKind;
use domain::state::State;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Who is where, and who does not reach whom.
#[derive(Default)]
struct Wiring {
    /// Real address of each running node.
    nodes: BTreeMap<u64, SocketAddr>,
    cut: BTreeSet<(u64, u64)>,
}

impl Wiring {
    fn node_at(&self, address: SocketAddr) -> u64 {
        self.nodes.iter().find(|(_, a)| **a == address).map_or(0, |(n, _)| *n)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<Wiring>>);

impl Wires {
    /// Cuts a node off from all others, both ways, without telling anybody.
    pub(crate) fn isolate(&self, node: u64) {
        let mut wiring = self.0.lock();
        for other in 0..10 {
            wiring.cut.insert((node, other));
            wiring.cut.insert((other, node));
        }
    }

    pub(crate) fn heal(&self) {
        self.0.lock().cut.clear();
    }

    /// Relays datagrams to `node` until the test's runtime ends.
    async fn relay(&self, node: u64) -> SocketAddr {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
        let address = front.local_addr().expect("bound");
        let wires = self.clone();
        tokio::spawn(async move {
            let mut backs: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
            let mut buffer = vec![0; 65_536];
            while let Ok((length, from)) = front.recv_from(&mut buffer).await {
                let (to, cut) = {
                    let wiring = wires.0.lock();
                    (wiring.nodes.get(&node).copied(), wiring.cut.contains(&(wiring.node_at(from), node)))
                };
                let Some(to) = to.filter(|_| !cut) else { continue };
                let back = match backs.get(&from) {
                    Some(back) => back.clone(),
                    None => {
                        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
                        tokio::spawn(wires.clone().answers(node, from, front.clone(), back.clone()));
                        backs.insert(from, back.clone());
                        back
                    }
                };
                let _ = back.send_to(&buffer[..length], to).await;
            }
        });
        address
    }

    async fn answers(self, node: u64, to: SocketAddr, front: Arc<UdpSocket>, back: Arc<UdpSocket>) {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = back.recv(&mut buffer).await {
            let cut = {
                let wiring = self.0.lock();
                wiring.cut.contains(&(node, wiring.node_at(to)))
            };
            if !cut {
                let _ = front.send_to(&buffer[..length], to).await;
            }
        }
    }
}

/// Notes what it was asked to enforce.
#[derive(Default)]
pub(crate) struct Noting {
    pub(crate) enforced: Mutex<Vec<Index>>,
}

impl Enforcer for Noting {
    fn enforce<'a>(&'a self, _state: Arc<State>, index: Index) -> BoxFuture<'a, EnforceReport> {
        Box::pin(async move {
            self.enforced.lock().push(index);
            EnforceReport { last_sequence: 7, ..EnforceReport::default() }
        })
    }
}

pub(crate) struct Running {
    pub(crate) cluster: Cluster,
    pub(crate) noting: Arc<Noting>,
    dir: PathBuf,
    address: SocketAddr,
}

pub(crate) struct Test {
    pub(crate) wires: Wires,
    pub(crate) nodes: BTreeMap<u64, Running>,
    folder: tempfile::TempDir,
    stopped: BTreeMap<u64, (PathBuf, SocketAddr)>,
    snapshot_after: u64,
    /// As printed.
    pub(crate) recovery_key: String,
}

pub(crate) fn id(text: &str) -> ProposalId {
    text.parse().expect("a proposal id")
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A command that gives something.
pub(crate) fn put_person(person: &str) -> Command {
    Command::PutPrincipal {
        name: name(person),
        kind: PrincipalKind::Person { email: None, certificate: None },
        active: true,
        labels: BTreeMap::new(),
        expect: Expect::Absent,
    }
}

/// A command that takes something away.
pub(crate) fn lock_person(person: &str) -> Command {
    Command::CreateLock { on: domain::lock::LockOn::Principal(name(person)), reason: "test".into(), expires: None }
}

fn config(dir: &std::path::Path, node: u64, address: SocketAddr, snapshot_after: u64) -> NodeConfig {
    NodeConfig {
        data_dir: dir.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        advertise: address.to_string(),
        admin_advertise: format!("127.0.0.1:{}", 20_000 + node),
        snapshot_after,
        dead_man: false,
    }
}

/// A node that was just stopped in this process may not have closed its store yet.
async fn start_again(config: NodeConfig, noting: &Arc<Noting>) -> Cluster {
    let end = Instant::now() + SOON;
    loop {
        match Cluster::start(config.clone(), noting.clone()).await {
            Ok(cluster) => return cluster,
            Err(e) => assert!(Instant::now() < end && matches!(e, StartError::Storage(_)), "the node starts: {e}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn start(dir: &std::path::Path, node: u64, address: SocketAddr, wires: &Wires, snapshot_after: u64) -> Running {
    let noting = Arc::new(Noting::default());
    let cluster = start_again(config(dir, node, address, snapshot_after), &noting).await;
    wires.0.lock().nodes.insert(node, cluster.local_address());
    Running { cluster, noting, dir: dir.to_owned(), address }
}

impl Test {
    /// One node, founded and serving.
    pub(crate) async fn one() -> Test {
        Test::founded(limits::SNAPSHOT_AFTER).await
    }

    /// The same, with snapshots after so few entries.
    pub(crate) async fn founded(snapshot_after: u64) -> Test {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into()))
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().expect("a folder");
        let wires = Wires::default();
        let dir = folder.path().join("1");
        let founded = join::init_cluster(&dir, &name("root"), &["localhost".into()]).expect("founds");
        let address = wires.relay(1).await;
        let running = start(&dir, 1, address, &wires, snapshot_after).await;
        running.cluster.wait_serving(SOON).await.expect("node 1 serves");
        Test {
            wires,
            nodes: BTreeMap::from([(1, running)]),
            folder,
            stopped: BTreeMap::new(),
            snapshot_after,
            recovery_key: founded.recovery_key.printed().to_string(),
        }
    }

    /// Runs a node whose folder is there already.
    pub(crate) async fn adopt(dir: &std::path::Path, node: u64) -> Test {
        let wires = Wires::default();
        let address = wires.relay(node).await;
        let running = start(dir, node, address, &wires, limits::SNAPSHOT_AFTER).await;
        let folder = tempfile::tempdir().expect("a folder");
        let nodes = BTreeMap::from([(node, running)]);
        Test { wires, nodes, folder, stopped: BTreeMap::new(), snapshot_after: limits::SNAPSHOT_AFTER, recovery_key: String::new() }
    }

    /// Three voters, all serving.
    pub(crate) async fn three() -> Test {
        let mut test = Test::one().await;
        test.join(true).await;
        test.join(true).await;
        test.settle(3).await;
        test
    }

    pub(crate) fn at(&self, node: u64) -> &Cluster {
        &self.nodes[&node].cluster
    }

    pub(crate) fn any(&self) -> &Cluster {
        &self.nodes.values().next().expect("a node runs").cluster
    }

    pub(crate) async fn token(&self) -> JoinToken {
        let made = self.any().make_join_token(random_id("token"), Actor::Operator, Duration::from_secs(600)).await;
        made.expect("a join token")
    }

    pub(crate) async fn join(&mut self, voter: bool) -> u64 {
        let token = self.token().await;
        self.join_with(&token, voter).await.expect("joins")
    }

    pub(crate) async fn join_with(&mut self, token: &JoinToken, voter: bool) -> Result<u64, join::JoinError> {
        let next = self.nodes.keys().chain(self.stopped.keys()).max().expect("node 1") + 1;
        let dir = self.folder.path().join(format!("{next}-{}", rand::random::<u32>()));
        let address = self.wires.relay(next).await;
        let about = JoinAs {
            address: address.to_string(),
            admin_address: format!("127.0.0.1:{}", 20_000 + next),
            voter,
            hosts: vec!["localhost".into()],
        };
        let node = join::join_cluster(&dir, token, &about).await?;
        assert_eq!(node, NodeId(next), "ids count up");
        let running = start(&dir, next, address, &self.wires, self.snapshot_after).await;
        running.cluster.wait_serving(SOON).await.expect("the joined node serves");
        self.nodes.insert(next, running);
        Ok(next)
    }

    /// Waits until so many vote in both groups, by every node's word.
    pub(crate) async fn settle(&self, voters: usize) {
        for running in self.nodes.values() {
            eventually("all vote", || async {
                let status = running.cluster.status().await;
                status.nodes.iter().filter(|n| n.votes).count() == voters && running.cluster.audit_voters().len() == voters
            })
            .await;
        }
    }

    /// Stops a node as a crash would.
    pub(crate) async fn kill(&mut self, node: u64) {
        let running = self.nodes.remove(&node).expect("runs");
        running.cluster.stop().await;
        self.wires.0.lock().nodes.remove(&node);
        self.stopped.insert(node, (running.dir.clone(), running.address));
    }

    pub(crate) async fn restart(&mut self, node: u64) {
        let (dir, address) = self.stopped.remove(&node).expect("was stopped");
        let running = start(&dir, node, address, &self.wires, self.snapshot_after).await;
        self.nodes.insert(node, running);
    }

    /// Of a stopped node.
    pub(crate) fn folder_of(&self, node: u64) -> PathBuf {
        self.stopped[&node].0.clone()
    }

    pub(crate) async fn try_restart(&self, node: u64) -> Result<Cluster, StartError> {
        let (dir, address) = &self.stopped[&node];
        Cluster::start(config(dir, node, *address, self.snapshot_after), Arc::new(Noting::default())).await
    }

    pub(crate) async fn leader(&self) -> u64 {
        let mut found = None;
        eventually("all agree on a leader that runs", || async {
            let leaders: BTreeSet<_> = self.nodes.values().map(|n| n.cluster.leader()).collect();
            leaders.len() == 1 && leaders.iter().flatten().all(|l| self.nodes.contains_key(&l.0))
        })
        .await;
        if let Some(leader) = self.any().leader() {
            found = Some(leader.0);
        }
        found.expect("a leader")
    }

    pub(crate) async fn end(self) {
        for running in self.nodes.values() {
            running.cluster.stop().await;
        }
    }
}

pub(crate) fn random_id(what: &str) -> ProposalId {
    id(&format!("{what}-{:x}", rand::random::<u64>()))
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: std::future::Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < end, "in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
