//! The inside of a running node: what its rooms share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domain::id::{BootId, NodeId, ProposalId};
use parking_lot::Mutex;

use crate::checkpoint::Checkpoints;
use crate::clock::Boottime;
use crate::home::Home;
use crate::lease::Lease;
use crate::peer_transport::PeerTransport;
use crate::peer_transport::quic::{AddressBook, Runtimes};
use crate::publish::{Enforcer, Publisher};
use crate::raft::{AuditRaft, ControlRaft, Readers};
use crate::records::Records;
use crate::renewal::Leading;
use crate::tasks::Tasks;

pub(crate) struct Node {
    pub home: Home,
    pub boot: BootId,
    pub started: Boottime,
    pub runtimes: Runtimes,
    pub tasks: Tasks,
    pub book: AddressBook,
    pub publisher: Arc<Publisher>,
    pub lease: Lease,
    pub enforcer: Arc<dyn Enforcer>,
    /// Set when the node drains: it asks for no lease any more.
    pub leaving: AtomicBool,
    pub leading: Mutex<Leading>,
    pub records: Arc<Records>,
    pub checkpoints: Checkpoints,
    pub transport: Arc<dyn PeerTransport>,
    pub control: ControlRaft,
    pub audit: AuditRaft,
    pub readers: Readers,
    /// Counts the proposals this boot makes of its own accord.
    pub proposals: AtomicU64,
}

impl Node {
    pub(crate) fn transport(&self) -> Arc<dyn PeerTransport> {
        self.transport.clone()
    }

    pub(crate) fn control(&self) -> ControlRaft {
        self.control.clone()
    }

    pub(crate) fn audit(&self) -> AuditRaft {
        self.audit.clone()
    }

    pub(crate) fn control_leader(&self) -> Option<NodeId> {
        crate::raft::leader(&self.control)
    }

    pub(crate) fn audit_leader(&self) -> Option<NodeId> {
        crate::raft::leader(&self.audit)
    }

    pub(crate) fn control_voters(&self) -> Vec<NodeId> {
        crate::raft::voters(&self.control)
    }

    /// A fresh id for a proposal of this node's own.
    pub(crate) fn own_proposal_id(&self, what: &str) -> ProposalId {
        let count = self.proposals.fetch_add(1, Ordering::Relaxed);
        let id = format!("{what}-{}-{:x}-{count:x}", self.home.node, self.boot.0);
        id.parse().expect("short printable ASCII")
    }
}
