use std::time::Duration;

use super::*;
use crate::admission::reach::{Reach, reach_of};
use crate::command::{Command, Proposal, Reply};
use crate::fixture::{World, administration, by, grant_command, name, perms, review_command, terms};
use crate::lock::LockOn;
use crate::policy::NoRules;
use crate::review::Overdue;

/// The leaves that a world's log makes, and the state after each.
fn leaves(world: &World) -> Vec<(ControlLeaf, State)> {
    let mut state = State::default();
    let mut all = Vec::new();
    for (index, proposal) in &world.log {
        let applied = apply(&mut state, *index, proposal);
        if ControlLeaf::is_due(*index, &proposal.command, &applied.changes) {
            all.push((ControlLeaf { index: *index, proposal: proposal.clone(), reply: applied.reply }, state.clone()));
        }
    }
    all
}

fn replayed(leaves: &[(ControlLeaf, State)], until: LogTime) -> Result<(State, Index), ReplayError> {
    let mut replay = Replay::new(until);
    for (leaf, _) in leaves {
        if !replay.follow(leaf)? {
            break;
        }
    }
    Ok(replay.finish())
}

/// Without versions: what ended by itself did so at an entry that leaves do not show.
fn everybody(state: &State, now: LogTime) -> Vec<Reach> {
    let mut all: Vec<Reach> = state.principals.keys().flat_map(|who| reach_of(state, who, None, now, &NoRules)).collect();
    all.iter_mut().for_each(|reach| reach.cited = Default::default());
    all
}

/// Grants made, expired, locked and revoked, a review of which nobody takes notice, and its next one in the series.
fn eventful() -> World {
    let mut world = World::new();
    let now = world.state.now;
    let Command::IssueGrant { name: of, principal, target, permissions, roles, valid_from, review_due, strict, source, .. } =
        grant_command("bot", "orders", "postgres:insert on app.public.*")
    else {
        panic!("a grant is issued")
    };
    let expires = Some(now.after(Duration::from_secs(3600)));
    let hour = Command::IssueGrant { name: of, principal, target, permissions, roles, valid_from, expires, review_due, strict, source };
    world.grant(by("ana"), hour);
    world.pass(Duration::from_secs(2 * 3600));
    let lock = world.lock(by("ana"), Command::CreateLock { on: LockOn::Target(name("orders")), reason: "stop".into(), expires: None });
    world.pass(Duration::from_secs(3600));
    world.done(by("ana"), Command::DeleteLock { lock });
    let mut terms = terms(Overdue::Suspend);
    terms.repeats = Some(Duration::from_secs(30 * 86_400));
    world.review(by("ana"), review_command(terms));
    world.pass(Duration::from_secs(31 * 86_400));
    world.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.*"));
    world.grant(by("ana"), administration("fay", "assize:read on role/*"));
    world
}

#[test]
fn every_time_is_told_as_it_was() {
    let world = eventful();
    let leaves = leaves(&world);
    for (leaf, then) in &leaves {
        let (state, last) = replayed(&leaves, leaf.proposal.stamp).expect("it can be told");
        assert!(last >= leaf.index);
        assert_eq!(everybody(&state, state.now), everybody(then, then.now), "at entry {}", leaf.index);
    }
    let now = world.state.now;
    let (state, _) = replayed(&leaves, now).expect("it can be told");
    assert_eq!(everybody(&state, now), everybody(&world.state, now));
    let live = |state: &State| state.grants.values().map(|g| (g.id, g.is_live(now))).collect::<Vec<_>>();
    assert_eq!(live(&state), live(&world.state), "what the review suspended unasked is suspended");
    assert!(live(&state).iter().any(|(_, live)| !live));
}

#[test]
fn between_two_leaves_time_passes_too() {
    let world = eventful();
    let leaves = leaves(&world);
    let made = leaves.iter().find(|(leaf, _)| matches!(leaf.reply, Reply::Lock(_))).expect("a lock").0.proposal.stamp;
    let sets = |until: LogTime| {
        let (state, _) = replayed(&leaves, until).expect("it can be told");
        reach_of(&state, &name("bot"), None, until, &NoRules).into_iter().flat_map(|r| r.grants).map(|(_, set)| set).collect::<Vec<_>>()
    };
    let both = [perms("postgres:select on app.public.*"), perms("postgres:insert on app.public.*")];
    assert_eq!(sets(LogTime(made.0 - 90 * 60 * 1000)), both, "half an hour after it was granted");
    assert_eq!(sets(LogTime(made.0 - 30 * 60 * 1000)), both[..1], "it expired, and no command came");
    assert!(sets(made).iter().all(crate::permission::PermissionSet::is_empty), "locked");
}

#[test]
fn the_review_that_time_opened_is_in_the_log() {
    let world = eventful();
    let leaves = leaves(&world);
    let ticks: Vec<Index> = leaves.iter().filter(|(l, _)| l.proposal.command == Command::Tick).map(|(l, _)| l.index).collect();
    assert_eq!(ticks.len(), 1, "one review was opened by time, and no other tick is a leaf");
    let (state, _) = replayed(&leaves, world.state.now).expect("it can be told");
    assert_eq!(state.reviews.keys().collect::<Vec<_>>(), world.state.reviews.keys().collect::<Vec<_>>());
}

#[test]
fn what_triggers_gather_and_open_is_told_again() {
    use crate::review::trigger::Event;
    use crate::usage::UsedGrant;
    let day = Duration::from_secs(86_400);
    let mut world = World::new();
    let mut all = terms(Overdue::Keep);
    all.scope.principals = Default::default();
    for (trigger, event) in [("unused", Event::Unused { span: 10 * day }), ("leavers", Event::OwnerLeft)] {
        let gather = Duration::from_secs(3600);
        let expect = crate::command::Expect::Absent;
        world.done(by("ana"), Command::PutTrigger { name: name(trigger), event, terms: all.clone(), gather, expect });
    }
    let grant = world.state.grants.values().find(|grant| grant.principal == name("bot")).expect("a grant").id;
    let used = UsedGrant { grant, operations: 1, rows: 1, accesses: Vec::new() };
    world.done(crate::fixture::node(1), Command::ReportUsage { grants: vec![used], denials: Vec::new() });
    world.pass(9 * day);
    world.done(by("ana"), crate::fixture::person_command("cora", false));
    world.pass(3 * day);
    assert_eq!(world.state.reviews.values().filter(|review| review.trigger.is_some()).count(), 2);
    let (state, _) = replayed(&leaves(&world), world.state.now).expect("it can be told");
    assert_eq!(state.triggers, world.state.triggers);
    assert_eq!(state.reviews.keys().collect::<Vec<_>>(), world.state.reviews.keys().collect::<Vec<_>>());
    let why = |state: &State| state.reviews.values().map(|review| review.trigger.clone()).collect::<Vec<_>>();
    assert_eq!(why(&state), why(&world.state));
}

#[test]
fn what_does_not_follow_is_told() {
    let all = leaves(&eventful());
    let end = LogTime(u64::MAX);
    assert_eq!(replayed(&all[3..], end).map(drop), Err(ReplayError::NoBeginning));
    let mut twice = all.clone();
    twice.insert(4, all[3].clone());
    assert_eq!(replayed(&twice, end).map(drop), Err(ReplayError::NotAfter(all[3].0.index)));
    let mut forged = all.clone();
    let Proposal { command, .. } = &mut forged[1].0.proposal;
    *command = Command::Tick;
    assert!(matches!(replayed(&forged, end), Err(ReplayError::Diverged(_))));
}
