//! The code itself under a seed: three nodes of `cluster` with openraft and `raft-store`, in one thread, on a network,
//! disks, clocks and chance that the seed decides ([`fate`]). A nemesis cuts links, takes the power of nodes with all
//! that was not synced, slows disks and links, and moves the leadership; clients go on meanwhile.
//!
//! One run a process: what a runtime does depends on how many the process has had.

use std::collections::BTreeMap;
use std::path::Path;

use domain::id::GrantId;
use tokio::runtime::Builder;

pub mod check;
mod fate;
mod gateway;
pub mod history;
mod load;
mod nemesis;
mod world;

use history::Event;

/// Debug builds of deep futures need room.
const STACK: usize = 64 << 20;

/// What became of a run.
pub struct Outcome {
    pub history: Vec<Event>,
    /// What each node holds in the end.
    pub ends: BTreeMap<u64, End>,
    /// Batches that power losses took from disks.
    pub writes_lost: u64,
    /// Why the nodes did not come to serve and agree again.
    pub stuck: Option<String>,
}

/// A node's state in the end.
pub struct End {
    pub digest: u64,
    /// Every grant it knows, and whether it is live.
    pub grants: BTreeMap<GrantId, bool>,
    /// Names of grants.
    pub markers: Vec<String>,
    /// The audit log: node, process and sequence of each record.
    pub records: Vec<(u64, u64, u64)>,
}

/// One run. It takes over this process's idea of time and chance on a thread of its own.
///
/// # Panics
/// When the code under test does, or the folder cannot be used.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    // In memory where there is such a folder: identities are files, written durably.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a temporary folder");
    let dir = folder.path().to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        fate::begin(seed);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let outcome = runtime.block_on(world::play(seed, &dir));
        // Tasks that still run are dropped where their time and chance are the run's.
        drop(runtime);
        outcome
    });
    thread.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
