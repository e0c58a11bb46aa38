//! Three machines and what connects them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster::ground::{Ground, MemoryDisks};
use cluster::join::{self, JoinAs};
use cluster::peer_transport::memory::MemoryNetwork;
use cluster::{Cluster, LogName, NodeConfig};
use domain::command::Actor;
use domain::id::{Index, NodeId};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::gateway::{self, Gateway};
use super::history::{Fact, Pen};
use super::load::{Clients, Directory, REGISTERS};
use super::{End, Outcome, nemesis};
use crate::simulation::rng::Rng;

pub(super) const NODES: u64 = 3;
/// Founding, joining, and coming to agree again are over by then.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) struct Machine {
    dir: PathBuf,
    disks: MemoryDisks,
    ground: Ground,
    tasks: Vec<JoinHandle<()>>,
}

impl Machine {
    pub(super) fn slow(&self, by: Duration) {
        self.disks.all().iter().for_each(|disk| disk.slow(by));
    }
}

pub(super) struct World {
    pub(super) network: MemoryNetwork,
    pub(super) machines: BTreeMap<u64, Machine>,
    pub(super) directory: Directory,
    pen: Pen,
    seed: u64,
    starts: u64,
    snapshot_after: u64,
    writes_lost: u64,
}

/// A run from founding to judgement.
pub(super) async fn play(seed: u64, folder: &Path) -> Outcome {
    let mut rng = Rng::new(seed);
    let pen = Pen::default();
    let mut world = World {
        network: MemoryNetwork::default(),
        machines: BTreeMap::new(),
        directory: Directory::default(),
        pen: pen.clone(),
        seed,
        starts: 0,
        snapshot_after: [40, 150, 5_000][rng.below(3)],
        writes_lost: 0,
    };
    world.delay_up_to(2);
    world.found(folder).await;
    let clients = Clients::new(seed, world.directory.clone(), pen.clone());
    let first = world.directory.all()[0].1.clone();
    clients.prepare(&first).await;
    let mut load =
        vec![tokio::spawn(clients.clone().revoke()), tokio::spawn(clients.clone().revoke()), tokio::spawn(clients.clone().approve())];
    for key in 0..REGISTERS {
        let tally = Arc::new(Mutex::default());
        load.extend((0..3).map(|_| tokio::spawn(clients.clone().use_register(key, Arc::clone(&tally)))));
    }
    nemesis::attack(&mut world, &mut rng).await;
    // Whoever waits for an answer gets it, or gives up.
    sleep(Duration::from_secs(1)).await;
    load.iter().for_each(JoinHandle::abort);
    let stuck = world.settle().await.err();
    let mut ends = BTreeMap::new();
    for (node, cluster) in world.directory.all() {
        ends.insert(node, end_of(&cluster).await);
    }
    for (node, end) in &ends {
        let applied = world.directory.all().into_iter().find(|(n, _)| n == node).map_or(Index(0), |(_, c)| c.state().applied);
        world.note(Fact::Settled { node: *node, applied, records: end.records.len() });
    }
    Outcome { history: pen.take(), ends, writes_lost: world.writes_lost, stuck }
}

impl World {
    pub(super) fn note(&self, fact: Fact) {
        self.pen.note(fact);
    }

    fn config(&self, node: u64) -> NodeConfig {
        NodeConfig {
            data_dir: self.machines[&node].dir.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: format!("node-{node}:7400"),
            admin_advertise: format!("node-{node}:7401"),
            snapshot_after: self.snapshot_after,
            dead_man: false,
        }
    }

    /// Frames take up to so many milliseconds from now on.
    pub(super) fn delay_up_to(&self, milliseconds: u64) {
        let mut rng = Rng::new(self.seed ^ milliseconds);
        self.network.set_delay(move |_, _| Duration::from_micros(rng.range(100, milliseconds * 1_000)));
    }

    fn machine(&mut self, folder: &Path, node: u64) {
        let disks = MemoryDisks::default();
        let ground = Ground::Simulated { network: self.network.clone(), disks: disks.clone() };
        self.machines.insert(node, Machine { dir: folder.join(node.to_string()), disks, ground, tasks: Vec::new() });
    }

    /// Founds the cluster and lets the others join: three voters that serve.
    async fn found(&mut self, folder: &Path) {
        self.machine(folder, 1);
        join::init_cluster(&self.machines[&1].dir, &"ana".parse().expect("a name"), &["localhost".into()]).expect("founds");
        self.start(1).await;
        let first = self.directory.all()[0].1.clone();
        first.wait_serving(PATIENCE).await.expect("the founder serves");
        for node in 2..=NODES {
            self.machine(folder, node);
            let id = format!("token-{node}").parse().expect("an id");
            let token = first.make_join_token(id, Actor::Operator, Duration::from_secs(600)).await.expect("a token");
            let about = JoinAs {
                address: format!("node-{node}:7400"),
                admin_address: format!("node-{node}:7401"),
                voter: true,
                hosts: vec!["localhost".into()],
            };
            let joined = join::join_in_memory(&self.machines[&node].dir, &token, &about, &self.network, NodeId(1)).await;
            assert_eq!(joined.expect("joins"), NodeId(node));
            self.start(node).await;
        }
        let end = Instant::now() + PATIENCE;
        while !self.directory.all().iter().all(|(_, c)| c.may_forward() && c.audit_voters().len() as u64 == NODES) {
            assert!(Instant::now() < end, "a healthy cluster comes to serve");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn start(&mut self, node: u64) {
        if self.directory.all().iter().any(|(n, _)| *n == node) {
            return;
        }
        self.starts += 1;
        let rng = Rng::new(self.seed.wrapping_mul(131).wrapping_add(self.starts));
        let gateway = Gateway::new(node, self.starts, self.pen.clone(), rng);
        let ground = self.machines[&node].ground.clone();
        match Cluster::start_on(self.config(node), gateway.clone(), &ground).await {
            Ok(cluster) => {
                self.note(Fact::Fault(format!("node {node} starts")));
                let machine = self.machines.get_mut(&node).expect("a machine");
                machine.tasks = vec![
                    tokio::spawn(gateway.clone().serve(cluster.clone())),
                    tokio::spawn(gateway.clone().record(cluster.clone())),
                    tokio::spawn(gateway.hear(cluster.clone())),
                ];
                self.directory.put(node, cluster);
            }
            Err(e) => self.note(Fact::Fault(format!("node {node} does not start: {e}"))),
        }
    }

    pub(super) async fn start_all(&mut self) {
        for node in 1..=NODES {
            self.start(node).await;
        }
    }

    /// From this moment on nothing of the process is seen or heard, and of its disks there is what was synced, and as
    /// much more as chance has it.
    pub(super) fn power_off(&mut self, node: u64, rng: &mut Rng) {
        let Some(cluster) = self.directory.remove(node) else { return };
        let machine = self.machines.get_mut(&node).expect("a machine");
        machine.tasks.drain(..).for_each(|task| task.abort());
        let lost = &mut self.writes_lost;
        machine.ground.power_off(NodeId(node), |unsynced| {
            let kept = if rng.in_thousand(400) { 0 } else { rng.below(unsynced + 1) };
            *lost += (unsynced - kept) as u64;
            kept
        });
        // What is left of it runs into the void.
        tokio::spawn(async move { cluster.stop().await });
    }

    /// All serve and hold the same (R18).
    async fn settle(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut agreed = 0;
        loop {
            let nodes = self.directory.all();
            let applied: Vec<Index> = nodes.iter().map(|(_, c)| c.state().applied).collect();
            let audit: Vec<u64> = nodes.iter().map(|(_, c)| c.audit().size(LogName::Audit)).collect();
            let serving = nodes.iter().filter(|(_, c)| c.may_forward()).count() as u64;
            let alike = applied.windows(2).all(|w| w[0] == w[1]);
            let recorded = nodes.iter().all(|(_, c)| *c.records().recorded().borrow() > 0 || c.records().last_sequence() == 0);
            agreed = if serving == NODES && alike && recorded { agreed + 1 } else { 0 };
            if agreed == 3 {
                // Records that are still on their way: nobody makes new ones.
                self.machines.values().for_each(|machine| machine.tasks.iter().for_each(JoinHandle::abort));
                return self.settle_records().await;
            }
            if Instant::now() > end {
                return Err(format!("{serving} of {} nodes serve; applied {applied:?}, records {audit:?}", nodes.len()));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn settle_records(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut agreed = 0;
        while agreed < 3 {
            let nodes = self.directory.all();
            let done = nodes.iter().all(|(_, c)| *c.records().recorded().borrow() == c.records().last_sequence());
            let sizes: Vec<u64> = nodes.iter().map(|(_, c)| c.audit().size(LogName::Audit)).collect();
            let applied: Vec<Index> = nodes.iter().map(|(_, c)| c.state().applied).collect();
            let alike = sizes.windows(2).all(|w| w[0] == w[1]) && applied.windows(2).all(|w| w[0] == w[1]);
            agreed = if done && alike { agreed + 1 } else { 0 };
            if Instant::now() > end {
                return Err(format!("records are not all acknowledged (logs end at {sizes:?}), or the nodes do not agree ({applied:?})"));
            }
            if agreed < 3 {
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }
}

async fn end_of(cluster: &Cluster) -> End {
    let state = cluster.state();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (key, value) in state.rows() {
        add(&key);
        add(&value);
    }
    let mut records = Vec::new();
    let audit = cluster.audit();
    while let Ok(leaves) = audit.leaves(LogName::Audit, records.len() as u64..u64::MAX).await
        && !leaves.is_empty()
    {
        records.extend(leaves.iter().map(gateway::read));
    }
    End {
        digest,
        grants: state.grants.values().map(|grant| (grant.id, grant.is_live(state.now))).collect(),
        markers: state.grants.values().filter_map(|grant| grant.name.as_ref().map(ToString::to_string)).collect(),
        records,
    }
}
