//! What the nodes reported about a revocation, kept beside it. Later reports complete earlier ones, node by node.

use super::check::invalid;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{Index, RevocationId};
use crate::limits::{MEMBERS_MAX, RECEIPT_SESSIONS_MAX, RECEIPTS_KEPT_MAX};
use crate::member::{NodeReceipt, Receipt};
use crate::state::rows::RowKey;

pub(super) fn apply(step: &mut Step<'_>, revocation: RevocationId, nodes: Vec<NodeReceipt>) -> Result<Reply, Rejection> {
    if Index(revocation.0) >= step.index {
        return Err(invalid("revocation", "lies in the future"));
    }
    let mut receipt =
        step.state.receipts.get(&revocation).cloned().unwrap_or_else(|| Receipt { revocation, nodes: Vec::new(), made: step.now });
    for node in nodes {
        match receipt.nodes.iter_mut().find(|known| known.node == node.node) {
            Some(known) => *known = node,
            None => receipt.nodes.push(node),
        }
    }
    receipt.nodes.sort_by_key(|n| n.node);
    let sessions: usize = receipt.nodes.iter().map(|n| n.sessions.len()).sum();
    if receipt.nodes.len() > MEMBERS_MAX || sessions > RECEIPT_SESSIONS_MAX {
        return Err(invalid("nodes", format!("at most {MEMBERS_MAX} nodes with {RECEIPT_SESSIONS_MAX} sessions")));
    }
    step.state.receipts.insert(revocation, receipt);
    step.touched.insert(RowKey::Receipt(revocation));
    while step.state.receipts.len() > RECEIPTS_KEPT_MAX {
        let Some((oldest, _)) = step.state.receipts.get_min().cloned() else { break };
        step.state.receipts.remove(&oldest);
        step.touched.insert(RowKey::Receipt(oldest));
    }
    Ok(step.done())
}
