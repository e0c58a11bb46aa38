//! Makes a node a voter, a learner, or removes it for good.

use super::check::{invalid, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::NodeId;
use crate::member::{MemberRole, Serving};

pub(super) fn apply(step: &mut Step<'_>, node: NodeId, role: MemberRole) -> Result<Reply, Rejection> {
    let mut member = step.state.members.get(&node).cloned().ok_or_else(|| not_found(format!("node {node}")))?;
    if member.role == role {
        return Ok(Reply::Done { version: member.version });
    }
    if member.role == MemberRole::Removed {
        return Err(invalid("node", "was removed; its id is never given again"));
    }
    if member.role == MemberRole::Voter && step.state.voters().count() == 1 {
        return Err(invalid("role", "the last voter cannot be removed or demoted"));
    }
    member.role = role;
    if role == MemberRole::Removed {
        member.serving = Serving::No { left: step.index };
    }
    member.version = step.index;
    step.put_member(member);
    Ok(step.done())
}
