//! A node joins, or tells what has changed about itself.

use std::collections::BTreeMap;

use super::check::{invalid, not_empty};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::{Digest, NodeId};
use crate::limits::MEMBERS_MAX;
use crate::member::{Member, MemberRole, Serving};

pub(super) struct Registration {
    pub(super) node: NodeId,
    pub(super) address: String,
    pub(super) admin_address: String,
    pub(super) checkpoint_key: [u8; 32],
    pub(super) sealing_key: [u8; 32],
    pub(super) role: MemberRole,
    pub(super) feature_level_max: u32,
}

pub(super) fn apply(step: &mut Step<'_>, asked: Registration, join_token: Option<Digest>) -> Result<Reply, Rejection> {
    not_empty("address", &asked.address)?;
    not_empty("admin_address", &asked.admin_address)?;
    if asked.role == MemberRole::Removed {
        return Err(invalid("role", "a node does not join as removed"));
    }
    let level = step.state.cluster.feature_level;
    if asked.feature_level_max < level {
        let knows = asked.feature_level_max;
        let why = format!("the node's release knows feature levels up to {knows}, and the cluster uses {level}: it takes a newer release");
        return Err(invalid("feature_level_max", why));
    }
    let known = step.state.members.get(&asked.node).cloned();
    match &known {
        Some(member) if member.role == MemberRole::Removed => {
            return Err(Rejection::Exists { what: format!("node {} was removed; its id", asked.node) });
        }
        None if step.state.members.len() >= MEMBERS_MAX => {
            return Err(invalid("node", format!("a cluster has at most {MEMBERS_MAX} nodes, removed ones included")));
        }
        Some(_) | None => {}
    }
    let reports_itself = known.is_some() && *step.actor == Actor::Node(asked.node);
    let trusted = *step.actor == Actor::Operator || step.state.members.is_empty() || reports_itself;
    match join_token {
        Some(lookup) => spend_join_token(step, lookup, asked.node, known.is_some())?,
        None if trusted => {}
        None => return Err(Rejection::Forbidden { message: "a node joins with a join token".to_owned() }),
    }
    // A node that only tells its news keeps its place: it neither promotes itself nor leaves the serving set.
    let (role, serving, mut checkpoint_keys) = match known {
        Some(old) => (if reports_itself { old.role } else { asked.role }, old.serving, old.checkpoint_keys),
        None => (asked.role, Serving::No { left: step.index }, BTreeMap::new()),
    };
    if checkpoint_keys.last_key_value().is_none_or(|(_, key)| *key != asked.checkpoint_key) {
        checkpoint_keys.insert(step.index, asked.checkpoint_key);
    }
    step.put_member(Member {
        id: asked.node,
        address: asked.address,
        admin_address: asked.admin_address,
        checkpoint_keys,
        sealing_key: asked.sealing_key,
        role,
        serving,
        feature_level_max: asked.feature_level_max,
        version: step.index,
    });
    Ok(step.done())
}

/// Single use; the node that spent it may repeat itself. Whoever comes with a fresh token is another machine, and does
/// not get the id of one that is there: two that join at once may have been offered the same.
fn spend_join_token(step: &mut Step<'_>, lookup: Digest, node: NodeId, taken: bool) -> Result<(), Rejection> {
    let forbidden = |message: &str| Rejection::Forbidden { message: message.to_owned() };
    let mut token = step.state.join_tokens.get(&lookup).cloned().ok_or_else(|| forbidden("the join token is not known, or has expired"))?;
    match token.spent_by {
        Some(other) if other != node => return Err(forbidden("the join token was used by another node")),
        Some(_) => return Ok(()),
        None if taken => return Err(Rejection::Exists { what: format!("node {node}") }),
        None => {}
    }
    if token.expires <= step.now {
        return Err(forbidden("the join token is not known, or has expired"));
    }
    token.spent_by = Some(node);
    step.put_join_token(token);
    Ok(())
}
