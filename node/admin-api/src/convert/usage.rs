//! Evidence from use, and what it suggests.

use std::time::Duration;

use domain::grant::Grant;
use domain::id::Name;
use domain::state::State;
use domain::time::LogTime;
use domain::usage::{Count, Recommendation};
use proto::admin as pb;
use proto::admin::review_choice::{Choice, Modify, Revoke};

use super::{permissions, timestamp};

/// `None` where nothing is counted: for administration, and before the first report.
pub(crate) fn usage_to_wire(state: &State, grant: &Grant) -> Option<pb::GrantUsage> {
    let since = state.counted_since(grant)?;
    let usage = state.usage.get(&grant.id);
    let counts = usage.map(|usage| usage.by_permission(&grant.permissions));
    let line = |(place, permission): (usize, String)| {
        let count = counts.as_ref().and_then(|counts| counts.get(place)).copied().unwrap_or_default();
        pb::PermissionUsage { permission, count: Some(count_to_wire(&count)) }
    };
    Some(pb::GrantUsage {
        counted_since: Some(timestamp(since)),
        total: Some(count_to_wire(&usage.map(|usage| usage.total).unwrap_or_default())),
        permissions: permissions(&grant.permissions).into_iter().enumerate().map(line).collect(),
        by_roles: usage.map(|usage| count_to_wire(&usage.by_roles)),
        more: usage.filter(|usage| usage.more.operations > 0).map(|usage| count_to_wire(&usage.more)),
    })
}

fn count_to_wire(count: &Count) -> pb::UseCount {
    let at = |time: LogTime| (count.operations > 0).then(|| timestamp(time));
    pb::UseCount { first: at(count.first), last: at(count.last), operations: count.operations, rows: count.rows }
}

pub(crate) fn denials_to_wire(state: &State, principal: &Name) -> Vec<pb::Denials> {
    let of = state.denials.values().filter(|denials| denials.principal == *principal);
    of.map(|denials| pb::Denials { target: denials.target.to_string(), count: Some(count_to_wire(&denials.count)) }).collect()
}

/// As a decision that a reviewer may make.
pub(crate) fn recommendation_to_wire(state: &State, grant: &Grant, window: Duration) -> Option<pb::Recommendation> {
    let days = window.as_secs() / 86_400;
    let window_in_words = if days > 0 { format!("{days} days") } else { format!("{} s", window.as_secs()) };
    let (choice, because) = match state.recommendation(grant, window)? {
        Recommendation::Revoke => (Choice::Revoke(Revoke {}), format!("not used for {window_in_words}")),
        Recommendation::Modify { permissions: kept } => {
            let roles = grant.roles.iter().map(ToString::to_string).collect();
            let access = pb::ReviewAccess { permissions: permissions(&kept), roles };
            let choice = Choice::Modify(Modify { access: Some(access), expires: None });
            (choice, format!("wider than what was used in {window_in_words}"))
        }
    };
    Some(pb::Recommendation { choice: Some(pb::ReviewChoice { choice: Some(choice) }), because })
}
