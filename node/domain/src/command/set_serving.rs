//! Takes a node into the serving set or out of it (DESIGN §4).

use super::check::{invalid, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::NodeId;
use crate::member::{MemberRole, Serving};

pub(super) fn apply(step: &mut Step<'_>, node: NodeId, serving: bool) -> Result<Reply, Rejection> {
    let mut member = step.state.members.get(&node).cloned().ok_or_else(|| not_found(format!("node {node}")))?;
    if serving && member.role == MemberRole::Removed {
        return Err(invalid("node", "was removed and never serves again"));
    }
    member.serving = match (member.serving, serving) {
        (Serving::Yes { .. }, true) | (Serving::No { .. }, false) => return Ok(Reply::Done { version: member.version }),
        (Serving::No { .. }, true) => Serving::Yes { joined: step.index },
        (Serving::Yes { .. }, false) => Serving::No { left: step.index },
    };
    member.version = step.index;
    step.put_member(member);
    Ok(step.done())
}
