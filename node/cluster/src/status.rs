//! How the cluster is, as seen from this node.

use std::time::Duration;

use domain::id::{BootId, Index, NodeId};
use domain::member::{MemberRole, Serving};
use futures_util::future::join_all;

use crate::node::Node;
use crate::peer_client::ask;
use crate::peer_transport::Class;
use crate::raft;
use crate::wire::{self, Kind};

/// A node that does not answer within this is shown as silent.
const ANSWER_WITHIN: Duration = Duration::from_millis(800);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The control group's term, as this node knows it.
    pub term: u64,
    pub control_leader: Option<NodeId>,
    pub audit_leader: Option<NodeId>,
    pub nodes: Vec<NodeStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub node: NodeId,
    pub address: String,
    pub admin_address: String,
    pub role: MemberRole,
    /// What Raft says: votes in the control group.
    pub votes: bool,
    pub serving: Serving,
    /// Absent when the node did not answer.
    pub live: Option<LiveStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStatus {
    pub boot: BootId,
    pub applied: Index,
    pub enforced: Index,
    pub audit_applied: Index,
    /// How long its lease still runs.
    pub lease_left: Option<Duration>,
    pub control_leader: Option<NodeId>,
    pub version: String,
}

impl Node {
    pub(crate) fn own_status(&self) -> wire::StatusResponse {
        wire::StatusResponse {
            boot: self.boot.0,
            applied: self.publisher.applied().borrow().0,
            enforced: self.publisher.enforced().borrow().0,
            lease_left_ms: self.lease.left().map(|l| l.as_millis() as u64),
            control_leader: self.control_leader().map(|n| n.0),
            audit_leader: self.audit_leader().map(|n| n.0),
            audit_applied: raft::applied(&self.audit),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    pub(crate) async fn status(&self) -> Status {
        let state = self.publisher.state();
        let voters = self.control_voters();
        let members = state.members.values().map(|member| async {
            NodeStatus {
                node: member.id,
                address: member.address.clone(),
                admin_address: member.admin_address.clone(),
                role: member.role,
                votes: voters.contains(&member.id),
                serving: member.serving,
                live: self.live_status(member.id, member.role).await,
            }
        });
        Status {
            term: raft::term(&self.control),
            control_leader: self.control_leader(),
            audit_leader: self.audit_leader(),
            nodes: join_all(members).await,
        }
    }

    async fn live_status(&self, node: NodeId, role: MemberRole) -> Option<LiveStatus> {
        let answer = if node == self.home.node {
            self.own_status()
        } else if role == MemberRole::Removed {
            return None;
        } else {
            ask(&*self.transport(), node, Class::Control, Kind::Status, 0, &wire::StatusRequest {}, ANSWER_WITHIN).await.ok()?
        };
        Some(LiveStatus {
            boot: BootId(answer.boot),
            applied: Index(answer.applied),
            enforced: Index(answer.enforced),
            audit_applied: Index(answer.audit_applied),
            lease_left: answer.lease_left_ms.map(Duration::from_millis),
            control_leader: answer.control_leader.map(NodeId),
            version: answer.version,
        })
    }
}
