//! Carries retention out: the audit leader reads, the control log decides, the audit log lets go, and every node gives
//! the space back.
//!
//! ```text
//! Planner (reads leaves) ─► PruneRecords in the control log ─► signed there ─► Prune in the audit log ─► reclaim
//! ```
//! A plan that was decided is carried out until the bodies are gone, by whoever leads then.

use std::time::Duration;

use cluster::{Cluster, LogName};
use domain::audit::pruned;
use domain::command::{Actor, Command, Reply};
use domain::id::Index;
use domain::retention::plan::Planner;
use domain::retention::{Plan, RecordClass};
use tokio::time::{Instant, sleep, timeout};

/// How often what became old is looked for. Days are what rules count in.
const ROUND: Duration = Duration::from_secs(600);
/// How often it is looked whether a rule or a hold changed, which begins a round at once.
const LOOK: Duration = Duration::from_millis(500);
/// Leaves read at once.
const READ: u64 = 4096;
/// How long the head of the control log that a plan is under may take to be signed.
const SIGNED_WITHIN: Duration = Duration::from_secs(30);
const APPLIED_WITHIN: Duration = Duration::from_secs(5);
/// The files of bodies that went are written anew when none has gone for so long: many plans share them.
const RECLAIM_AFTER: Duration = Duration::from_secs(10);
/// Between two plans, so that records and revocations come first.
const PAUSE: Duration = Duration::from_millis(200);

/// For ever.
pub(crate) async fn keep(cluster: Cluster) {
    let mut pruner = Pruner { cluster, proposed: 0 };
    let (mut seen, mut next) = (Index::default(), Instant::now());
    let (mut gone, mut quiet_since) = (0, Instant::now());
    loop {
        sleep(LOOK).await;
        let state = pruner.cluster.state();
        let pruned: u64 = state.retention.progress.values().map(|pruning| pruning.pruned).sum();
        if pruned != gone {
            (gone, quiet_since) = (pruned, Instant::now());
        } else if quiet_since.elapsed() >= RECLAIM_AFTER {
            reclaim(&pruner.cluster).await;
        }
        let changed = state.retention.changed;
        if (changed == seen && Instant::now() < next) || !pruner.leads() {
            continue;
        }
        match pruner.round().await {
            // What was decided meanwhile begins another round at once.
            Ok(()) => (seen, next) = (changed, Instant::now() + ROUND),
            Err(why) => {
                tracing::debug!(why, "records are pruned later");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn reclaim(cluster: &Cluster) {
    match cluster.audit().reclaim().await {
        Ok(true) => tracing::info!("gave the space of pruned records back"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the space of pruned records is not given back yet"),
    }
}

struct Pruner {
    cluster: Cluster,
    /// Counts proposals: their ids are of this boot.
    proposed: u64,
}

impl Pruner {
    fn leads(&self) -> bool {
        self.cluster.audit_leader() == Some(self.cluster.node()) && self.cluster.may_forward()
    }

    async fn round(&mut self) -> Result<(), String> {
        for class in RecordClass::ALL {
            self.finish(class).await?;
            while let Some(planner) = self.plan(class).await? {
                if !self.leads() {
                    return Err("another node leads now".into());
                }
                let goes = planner.leaves.count();
                self.decide(planner).await?;
                self.finish(class).await?;
                tracing::info!(%class, records = goes, "pruned what its rule does not keep");
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// What goes next of this class; `None` when nothing does.
    async fn plan(&self, class: RecordClass) -> Result<Option<Planner>, String> {
        let Some(mut planner) = Planner::new(&self.cluster.state(), class) else { return Ok(None) };
        let from = planner.through;
        let audit = self.cluster.audit();
        'reading: loop {
            let range = planner.through..planner.through + READ;
            let leaves = audit.leaves(LogName::Audit, range).await.map_err(|e| e.to_string())?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                if !planner.look(&leaf) {
                    break 'reading;
                }
            }
            tokio::task::yield_now().await;
        }
        // That more was looked at is worth an entry only where something goes, or where it saves much looking.
        let worth = !planner.leaves.is_empty() || planner.through - from >= READ;
        Ok(worth.then_some(planner))
    }

    async fn decide(&mut self, planner: Planner) -> Result<(), String> {
        self.proposed += 1;
        let id = format!("prune-{:016x}-{}", self.cluster.boot().0, self.proposed).parse().expect("a short text is an id");
        let Planner { class, seen, before, through, leaves, .. } = planner;
        let command = Command::PruneRecords { class, seen, before, through, leaves };
        let actor = Actor::Node(self.cluster.node());
        let done = self.cluster.propose(id, actor, command).await.map_err(|e| e.to_string())?;
        self.cluster.wait_applied(done.index, APPLIED_WITHIN).await.map_err(|e| e.to_string())?;
        match done.reply {
            Reply::Rejected(why) => Err(why.to_string()),
            _ => Ok(()),
        }
    }

    /// Carries the last plan of the class out, unless it is known that it was.
    async fn finish(&self, class: RecordClass) -> Result<(), String> {
        let state = self.cluster.state();
        let Some(plan) = state.retention.progress.get(&class).and_then(|pruning| pruning.last.as_ref()) else { return Ok(()) };
        if self.is_done(plan).await? {
            return Ok(());
        }
        self.signed().await?;
        self.cluster.audit().prune(class, plan).await
    }

    /// One entry lets all go; who has the last of them gone has them all.
    async fn is_done(&self, plan: &Plan) -> Result<bool, String> {
        let Some(last) = plan.leaves.end().checked_sub(1) else { return Ok(true) };
        let leaves = self.cluster.audit().leaves(LogName::Audit, last..last + 1).await.map_err(|e| e.to_string())?;
        Ok(leaves.first().is_some_and(|leaf| pruned::read(leaf).is_some()))
    }

    /// Whoever verifies must find the plan under a signed head of the control log: it goes nowhere before.
    async fn signed(&self) -> Result<(), String> {
        let audit = self.cluster.audit();
        let size = audit.size(LogName::Control);
        let is_signed = || audit.latest_checkpoint(LogName::Control).is_some_and(|head| head.checkpoint.size >= size);
        let waiting = async {
            while !is_signed() {
                sleep(LOOK).await;
            }
        };
        timeout(SIGNED_WITHIN, waiting).await.map_err(|_| "the control log is not signed so far".to_owned())
    }
}
