//! A node tells what was done under which grants since it last told. Counts only: no permit reads them.

use super::step::Step;
use super::{Rejection, Reply};
use crate::limits::{DENIALS_MAX, USAGE_ACCESSES_MAX, USAGE_LINES_MAX, USAGE_SEEN_MAX};
use crate::usage::{Count, Denials, Denied, GrantUsage, UsedGrant};

pub(super) fn apply(step: &mut Step<'_>, grants: Vec<UsedGrant>, denials: Vec<Denied>) -> Result<Reply, Rejection> {
    let lines = grants.len() + denials.len();
    let accesses: usize = grants.iter().map(|used| used.accesses.len()).sum();
    for (count, limit, scope) in [(lines, USAGE_LINES_MAX, "lines of a report"), (accesses, USAGE_ACCESSES_MAX, "accesses in a report")] {
        if count > limit {
            return Err(Rejection::TooMany { limit: u32::try_from(limit).unwrap_or(u32::MAX), scope: scope.into() });
        }
    }
    step.begin_usage();
    for used in grants {
        // It may have been forgotten since.
        let Some(grant) = step.state.grants.get(&used.grant).cloned() else { continue };
        let mut usage = step.state.usage.get(&grant.id).map_or_else(|| GrantUsage::new(grant.id), |usage| GrantUsage::clone(usage));
        let room = USAGE_SEEN_MAX.saturating_sub(step.state.indexes().seen);
        usage.add(&grant, &used, step.now, room);
        step.put_usage(usage);
    }
    for Denied { principal, target, operations } in denials {
        let key = (principal, target);
        let is_new = !step.state.denials.contains_key(&key);
        let known = step.state.principals.contains_key(&key.0) && step.state.targets.contains_key(&key.1);
        if !known || (is_new && step.state.denials.len() >= DENIALS_MAX) {
            continue;
        }
        let before = step.state.denials.get(&key).cloned();
        let (principal, target) = key;
        let mut denials = before.unwrap_or(Denials { principal, target, count: Count::default() });
        denials.count.add(step.now, operations, 0);
        step.put_denials(denials);
    }
    Ok(step.done())
}
