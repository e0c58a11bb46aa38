//! New commands become possible once every member knows them.

use super::step::Step;
use super::{Rejection, Reply};
use crate::member::MemberRole;
use crate::state::rows::RowKey;

pub(super) fn apply(step: &mut Step<'_>, level: u32) -> Result<Reply, Rejection> {
    if level <= step.state.cluster.feature_level {
        return Ok(step.done());
    }
    let members = step.state.members.values().filter(|m| m.role != MemberRole::Removed);
    let known_by_all = members.map(|m| m.feature_level_max).min().unwrap_or(level);
    if level > known_by_all {
        return Err(Rejection::FeatureLevel { level: known_by_all, needed: level });
    }
    step.state.cluster.feature_level = level;
    step.touched.insert(RowKey::Cluster);
    Ok(step.done())
}
