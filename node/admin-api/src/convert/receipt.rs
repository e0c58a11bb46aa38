use domain::member::{Cancelled, NodeReceipt, Receipt, SessionReceipt};
use proto::admin as pb;

use super::timestamp;

pub(crate) fn to_wire(receipt: &Receipt) -> pb::Receipt {
    pb::Receipt {
        revocation: receipt.revocation.to_string(),
        index: receipt.revocation.0,
        made: Some(timestamp(receipt.made)),
        nodes: receipt.nodes.iter().map(node).collect(),
    }
}

fn node(node: &NodeReceipt) -> pb::NodeReceipt {
    pb::NodeReceipt {
        node: node.node.0,
        boot: format!("{:016x}", node.boot.0),
        enforced: node.enforced.0,
        last_sequence: node.last_sequence,
        lease_ran_out: node.by_expiry,
        sessions: node.sessions.iter().map(session).collect(),
    }
}

fn session(session: &SessionReceipt) -> pb::SessionReceipt {
    use pb::session_receipt::Upstream;
    let upstream = match session.upstream {
        Cancelled::Idle => Upstream::Idle,
        Cancelled::Cancelled => Upstream::Cancelled,
        Cancelled::Pending => Upstream::Pending,
        Cancelled::Unknown => Upstream::Unknown,
    };
    pb::SessionReceipt {
        session: session.session.to_string(),
        principal: session.principal.to_string(),
        target: session.target.to_string(),
        upstream: upstream.into(),
    }
}
