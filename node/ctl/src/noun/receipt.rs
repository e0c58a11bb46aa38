//! A receipt in words: which node enforces it, and what became of each session.

use std::time::Duration;

use proto::admin as pb;
use proto::admin::session_receipt::Upstream;

use crate::client::{Client, rpc};
use crate::text::plain;

/// How long to look for more than was known when a revocation was acknowledged, and how often.
const LOOK_WITHIN: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Cancelling at a target goes on after a revocation is acknowledged: looks for a moment whether its end is known by
/// now. Whoever may not read receipts keeps what was acknowledged.
pub(crate) async fn look_again(client: &mut Client, receipt: &mut Option<pb::Receipt>) {
    let Some(receipt) = receipt.as_mut().filter(|r| is_settling(r)) else { return };
    let looking = async {
        while is_settling(receipt) {
            tokio::time::sleep(LOOK_EVERY).await;
            let request = pb::GetReceiptRequest { revocation: receipt.revocation.clone() };
            match rpc!(client.ask, locks_client::LocksClient, get_receipt, request) {
                Ok(filed) => *receipt = filed,
                // Not filed yet, or not for this caller to see.
                Err(_) => continue,
            }
        }
    };
    let _ = tokio::time::timeout(LOOK_WITHIN, looking).await;
}

fn is_settling(receipt: &pb::Receipt) -> bool {
    receipt.nodes.iter().flat_map(|node| &node.sessions).any(|s| s.upstream() == Upstream::Pending)
}

pub(crate) fn render(receipt: Option<&pb::Receipt>) -> String {
    let Some(receipt) = receipt else { return String::new() };
    let mut out = format!("{} is in force at index {}\n", receipt.revocation, receipt.index);
    for node in &receipt.nodes {
        if node.lease_ran_out {
            out.push_str(&format!("  node {}: did not answer; its lease ran out\n", node.node));
        } else {
            out.push_str(&format!("  node {}: enforced index {}, {} ended\n", node.node, node.enforced, sessions(node.sessions.len())));
        }
        for session in &node.sessions {
            let (who, target) = (plain(&session.principal), plain(&session.target));
            // What became of a silent node's session is known of one only that another node has ended.
            let in_its_place = node.lease_ran_out && matches!(session.upstream(), Upstream::Idle | Upstream::Cancelled);
            let by = if in_its_place { "ended at its target by another node; " } else { "" };
            out.push_str(&format!("    {} of {who} at {target}: {by}{}\n", session.session, upstream(session.upstream())));
        }
    }
    out
}

fn sessions(count: usize) -> String {
    if count == 1 { "1 session".into() } else { format!("{count} sessions") }
}

fn upstream(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Idle => "nothing was running",
        Upstream::Cancelled => "what it ran was cancelled",
        Upstream::Pending => "cancelling what it ran",
        Upstream::Unknown | Upstream::Unspecified => "what became of what it ran is unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_tells_who_ended_a_session() {
        let session = |number: u64, upstream: Upstream| pb::SessionReceipt {
            session: format!("session-3-7-{number}"),
            principal: "bot".into(),
            target: "orders".into(),
            upstream: upstream.into(),
        };
        let sessions = vec![session(1, Upstream::Cancelled), session(2, Upstream::Unknown)];
        let node = |number, lease_ran_out| {
            let sessions = sessions.clone();
            pb::NodeReceipt { node: number, enforced: 41, lease_ran_out, sessions, ..Default::default() }
        };
        let nodes = vec![node(2, false), node(3, true)];
        let receipt = pb::Receipt { revocation: "revocation-41".into(), index: 41, nodes, ..Default::default() };
        assert_eq!(
            render(Some(&receipt)),
            "revocation-41 is in force at index 41\n  \
             node 2: enforced index 41, 2 sessions ended\n    \
             session-3-7-1 of bot at orders: what it ran was cancelled\n    \
             session-3-7-2 of bot at orders: what became of what it ran is unknown\n  \
             node 3: did not answer; its lease ran out\n    \
             session-3-7-1 of bot at orders: ended at its target by another node; what it ran was cancelled\n    \
             session-3-7-2 of bot at orders: what became of what it ran is unknown\n"
        );
    }
}
