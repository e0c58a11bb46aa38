//! A gateway, as little as the promises need: sessions under a grant that forward operations, and their gates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, EnforceReport, Enforcer};
use domain::id::{GrantId, Index};
use domain::state::State;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::history::{Fact, Pen};
use crate::simulation::rng::Rng;

/// Sessions of a gateway at once.
const SESSIONS_MAX: usize = 12;

pub(super) struct Gateway {
    node: u64,
    /// Which process of the run this is.
    process: u64,
    pen: Pen,
    rng: Mutex<Rng>,
    /// Whose gate is not taken, by session.
    open: Mutex<BTreeMap<u64, GrantId>>,
    /// Records of this process, for its receipts.
    last_sequence: Mutex<u64>,
}

impl Enforcer for Gateway {
    fn enforce<'a>(&'a self, state: Arc<State>, _index: Index) -> BoxFuture<'a, EnforceReport> {
        Box::pin(async move {
            // What was under way drains within 50 ms; a gate is taken in its session's own time until then.
            let drains = Duration::from_millis(self.rng.lock().range(0, 45));
            sleep(drains).await;
            self.open.lock().retain(|_, grant| state.grants.get(grant).is_some_and(|grant| grant.is_live(state.now)));
            EnforceReport { last_sequence: *self.last_sequence.lock(), ..EnforceReport::default() }
        })
    }
}

impl Gateway {
    pub(super) fn new(node: u64, process: u64, pen: Pen, rng: Rng) -> Arc<Gateway> {
        Arc::new(Gateway { node, process, pen, rng: Mutex::new(rng), open: Mutex::default(), last_sequence: Mutex::default() })
    }

    fn below(&self, high: u64) -> u64 {
        self.rng.lock().range(0, high.max(1))
    }

    /// Opens sessions and lets operations pass, as long as the process lives.
    pub(super) async fn serve(self: Arc<Self>, cluster: Cluster) {
        let mut number = 0;
        let mut served = None;
        loop {
            sleep(Duration::from_millis(2 + self.below(10))).await;
            let serving = cluster.may_forward();
            if served != Some(serving) {
                self.pen.note(Fact::Serving { node: self.node, serving });
                served = Some(serving);
            }
            // The check comes last, and nothing comes between it and what it allows.
            if !serving {
                continue;
            }
            let sessions = self.open.lock().len();
            if sessions < SESSIONS_MAX && self.below(4) == 0 {
                let (state, now) = (cluster.state(), cluster.now());
                let live: Vec<GrantId> = state.grants.values().filter(|g| g.is_live(now) && g.name.is_some()).map(|g| g.id).collect();
                if !live.is_empty() {
                    number += 1;
                    let grant = live[self.below(live.len() as u64) as usize];
                    self.open.lock().insert(number, grant);
                }
                continue;
            }
            let which = self.below(sessions as u64) as usize;
            let grant = self.open.lock().values().nth(which).copied();
            if let Some(grant) = grant {
                self.pen.note(Fact::Forwarded { node: self.node, grant });
            }
        }
    }

    /// Puts records into the audit log, as long as the process lives.
    pub(super) async fn record(self: Arc<Self>, cluster: Cluster) {
        let records = cluster.records();
        loop {
            sleep(Duration::from_millis(5 + self.below(120))).await;
            for _ in 0..=self.below(3) {
                let sequence = records.submit(&mut |sequence| record(self.node, self.process, sequence));
                *self.last_sequence.lock() = sequence;
            }
        }
    }

    /// Notes what it is told of its records.
    pub(super) async fn hear(self: Arc<Self>, cluster: Cluster) {
        let mut recorded = cluster.records().recorded();
        while recorded.changed().await.is_ok() {
            let through = *recorded.borrow_and_update();
            self.pen.note(Fact::Recorded { node: self.node, process: self.process, through });
        }
    }
}

/// The lowest byte first: a zero there is what stands for a pruned record.
fn record(node: u64, process: u64, sequence: u64) -> Vec<u8> {
    [node, process, sequence].map(u64::to_le_bytes).concat()
}

/// Node, process and sequence of a record in the log.
pub(super) fn read(leaf: &Bytes) -> (u64, u64, u64) {
    let number = |at: usize| leaf.get(at * 8..at * 8 + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    (number(0), number(1), number(2))
}
