//! A receipt in words: which node enforces it, and what became of each session.

use proto::admin as pb;
use proto::admin::session_receipt::Upstream;

use crate::text::plain;

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
