//! Who can reach what: every pair of a principal and a target that a live grant joins, as admission would judge it.

use std::collections::BTreeSet;

use super::{Attempt, Cited, Outcome, admit, effective};
use crate::grant::{Grant, TargetSelector};
use crate::id::{BootId, GrantId, Index, Name, NodeId, SessionId};
use crate::lock::LockOn;
use crate::operation::Protocol;
use crate::permission::PermissionSet;
use crate::policy::Rules;
use crate::refusal::Refusal;
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;

/// One principal and one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub principal: Name,
    /// `None` for the gateway's own administration.
    pub target: Option<Name>,
    /// `Revoked`: there are live grants, and a session would be refused all the same.
    pub outcome: Outcome,
    pub cited: Cited,
    /// What each live grant gave here: cut to the job description, and empty where nothing was admitted.
    pub grants: Vec<(GrantId, PermissionSet)>,
}

/// What `principal` could reach at `now`, by target, its administration last.
pub fn reach_of(state: &State, principal: &Name, only: Option<&Name>, now: LogTime, rules: &dyn Rules) -> Vec<Reach> {
    let live: Vec<&Grant> = state.grants_of(principal).filter(|grant| grant.is_live(now)).collect();
    let mut targets: BTreeSet<&Name> = BTreeSet::new();
    for grant in &live {
        match &grant.target {
            TargetSelector::Name(name) => targets.extend(state.targets.get_key_value(name).map(|(name, _)| name)),
            TargetSelector::Labels(_) => targets.extend(state.targets.values().filter(|t| grant.target.selects(t)).map(|t| &t.name)),
            TargetSelector::Assize => {}
        }
    }
    let wanted = targets.into_iter().filter(|name| only.is_none_or(|only| only == *name));
    let mut found: Vec<Reach> =
        wanted.filter_map(|name| Some(at_target(state, principal, state.targets.get(name)?, &live, now, rules))).collect();
    let admin: Vec<&Grant> = live.into_iter().filter(|grant| grant.target == TargetSelector::Assize).collect();
    if !admin.is_empty() && only.is_none_or(|only| only.as_str() == "assize") {
        found.push(administration(state, principal, &admin, now));
    }
    found
}

fn at_target(state: &State, principal: &Name, target: &Target, live: &[&Grant], now: LogTime, rules: &dyn Rules) -> Reach {
    // A session that no node has: nothing is locked by it.
    let session = SessionId { node: NodeId(0), boot: BootId(0), number: 0 };
    let attempt = Attempt { session, principal: principal.clone(), on_behalf_of: None, target: target.name.clone() };
    let admission = admit(state, &attempt, now, rules);
    let selecting: Vec<&Grant> = live.iter().copied().filter(|grant| grant.target.selects(target)).collect();
    let admitted = admission.permit.is_some();
    let grants = given(state, principal, target.protocol, &selecting, admitted, now);
    Reach { principal: principal.clone(), target: Some(target.name.clone()), outcome: admission.outcome, cited: admission.cited, grants }
}

/// Rights on the gateway itself, as [`State::may_administer_at`] reads them.
fn administration(state: &State, principal: &Name, live: &[&Grant], now: LogTime) -> Reach {
    let cited = Cited {
        state: state.applied,
        principal: state.principals.get(principal).map_or_else(Index::default, |p| p.version),
        job: state.job_of(principal).map(|job| job.version),
        grants: live.iter().map(|grant| (grant.id, grant.version)).collect(),
        ..Cited::default()
    };
    let refusal = may_act(state, principal, now).err();
    let grants = given(state, principal, Protocol::Assize, live, refusal.is_none(), now);
    let outcome = refusal.map_or(Outcome::Approved, Outcome::Revoked);
    Reach { principal: principal.clone(), target: None, outcome, cited, grants }
}

fn may_act(state: &State, principal: &Name, now: LogTime) -> Result<(), Refusal> {
    let unlocked = |name: &Name| state.live_lock(&LockOn::Principal(name.clone()), now).map_or(Ok(()), |lock| Err(lock.refusal()));
    let who = state.principals.get(principal).ok_or(Refusal::UnknownPrincipal)?;
    if !who.active {
        return Err(Refusal::PrincipalInactive);
    }
    unlocked(principal)?;
    if let Some(owner) = who.owner() {
        state.active_person(owner).ok_or_else(|| Refusal::OwnerInactive { owner: owner.clone() })?;
        unlocked(owner)?;
        if !state.job_of(principal).ok_or(Refusal::NoJob)?.is_live(now) {
            return Err(Refusal::JobExpired);
        }
    }
    Ok(())
}

/// What each grant gives, roles resolved and cut to the job description.
fn given(
    state: &State,
    principal: &Name,
    protocol: Protocol,
    grants: &[&Grant],
    admitted: bool,
    now: LogTime,
) -> Vec<(GrantId, PermissionSet)> {
    let ids = grants.iter().map(|grant| grant.id);
    if !admitted {
        return ids.map(|id| (id, PermissionSet::default())).collect();
    }
    let table = effective::of(state, now, protocol, state.job_of(principal), grants).table;
    let of_protocol = |set: &PermissionSet| PermissionSet::new(set.iter().filter(|p| p.protocol == protocol).cloned());
    ids.zip(table.sets().map(of_protocol)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::fixture::{World, by, grant_command, name, perms};
    use crate::policy::NoRules;

    fn permissions(found: &[Reach]) -> Vec<(String, String)> {
        let target = |reach: &Reach| reach.target.as_ref().map_or("assize".to_owned(), ToString::to_string);
        let all = |reach: &Reach| reach.grants.iter().map(|(_, set)| set.to_string()).collect::<Vec<_>>().join("; ");
        found.iter().map(|reach| (target(reach), all(reach))).collect()
    }

    #[test]
    fn what_a_grant_gives_is_cut_to_the_job() {
        let mut world = World::new();
        let select = perms("postgres:select on app.public.*").to_string();
        let found = reach_of(&world.state, &name("bot"), None, world.state.now, &NoRules);
        assert_eq!(permissions(&found), [("orders".to_owned(), select.clone())]);
        assert_eq!(found[0].outcome, Outcome::Approved);
        world.grant(by("ana"), grant_command("bot", "orders", "postgres:insert,delete on app.public.*"));
        let found = reach_of(&world.state, &name("bot"), None, world.state.now, &NoRules);
        assert_eq!(permissions(&found), [("orders".to_owned(), format!("{select}; {}", perms("postgres:insert on app.public.*")))]);
        assert!(matches!(found[0].outcome, Outcome::Modified { .. }), "{found:?}");
        assert_eq!(reach_of(&world.state, &name("fay"), None, world.state.now, &NoRules), []);
        assert_eq!(reach_of(&world.state, &name("bot"), Some(&name("elsewhere")), world.state.now, &NoRules), []);
    }

    #[test]
    fn a_lock_leaves_the_grant_in_the_list_without_what_it_gave() {
        let mut world = World::new();
        world.lock(by("ana"), Command::CreateLock { on: LockOn::Target(name("orders")), reason: "stop".into(), expires: None });
        let found = reach_of(&world.state, &name("bot"), None, world.state.now, &NoRules);
        assert_eq!(permissions(&found), [("orders".to_owned(), String::new())]);
        assert!(matches!(found[0].outcome, Outcome::Revoked(Refusal::Locked { .. })), "{found:?}");
    }

    #[test]
    fn administrators_are_listed_like_everybody_else() {
        let world = World::new();
        let found = reach_of(&world.state, &name("ana"), None, world.state.now, &NoRules);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].target.as_ref(), &found[0].outcome), (None, &Outcome::Approved));
        assert!(!found[0].grants[0].1.is_empty());
    }
}
