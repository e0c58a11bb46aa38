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
            out.push_str(&format!("    {} of {who} at {target}: {}\n", session.session, upstream(session.upstream())));
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
