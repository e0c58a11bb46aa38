//! What a node stands on: sockets, a folder and threads of this machine, or a simulation of all three.

use std::path::Path;

use domain::id::NodeId;
pub use raft_store::MemoryDisks;
use raft_store::{Engine, EngineOptions, OpenError};

use crate::peer_transport::memory::MemoryNetwork;

/// Where a node's peers and logs are. Its identity lies in its data folder either way.
#[derive(Clone, Default)]
pub enum Ground {
    #[default]
    Machine,
    /// Everything on the runtime that starts the node. With a runtime of one thread, and clocks and chance from outside,
    /// a run is repeatable.
    Simulated { network: MemoryNetwork, disks: MemoryDisks },
}

impl Ground {
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, Ground::Simulated { .. })
    }

    /// Whether anything lies where a node that ran before has its logs.
    pub(crate) fn has_logs(&self, store: &Path) -> bool {
        match self {
            Ground::Machine => store.exists(),
            Ground::Simulated { disks, .. } => disks.all().iter().any(|disk| !disk.is_empty()),
        }
    }

    pub(crate) fn open(&self, store: &Path, name: &str, options: EngineOptions) -> Result<Engine, OpenError> {
        match self {
            Ground::Machine => Engine::open(&store.join(name), options),
            Ground::Simulated { disks, .. } => {
                // Its process is not this one, and must not end this one.
                let on_poison = Box::new(|message: &str| tracing::error!(message, "storage failed"));
                Ok(Engine::open_in_memory(&disks.disk(name), name, EngineOptions { on_poison, ..options }))
            }
        }
    }

    /// Pulls the plug of a simulated node: its network, and the power of its disks. Of what a disk had not synced, the
    /// first `kept` writes survive, as the disk says.
    pub fn power_off(&self, node: NodeId, mut kept: impl FnMut(usize) -> usize) {
        if let Ground::Simulated { network, disks } = self {
            network.unplug(node);
            disks.all().iter().for_each(|disk| disk.power_off(kept(disk.unsynced())));
        }
    }
}
