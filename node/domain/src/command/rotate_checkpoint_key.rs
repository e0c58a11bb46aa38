//! A node signs its checkpoints with another key from here on; the history stays, for verifiers.

use super::check::not_found;
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::NodeId;

pub(super) fn apply(step: &mut Step<'_>, node: NodeId, key: [u8; 32]) -> Result<Reply, Rejection> {
    match step.actor {
        Actor::Node(actor) if *actor != node => return Err(Rejection::Forbidden { message: "a node changes only its own key".to_owned() }),
        Actor::Node(_) | Actor::Operator | Actor::Principal(_) => {}
    }
    let mut member = step.state.members.get(&node).cloned().ok_or_else(|| not_found(format!("node {node}")))?;
    if member.checkpoint_keys.last_key_value().is_some_and(|(_, current)| *current == key) {
        return Ok(Reply::Done { version: member.version });
    }
    member.checkpoint_keys.insert(step.index, key);
    member.version = step.index;
    step.put_member(member);
    Ok(step.done())
}
