//! Retention rules, legal holds, and plans of what goes.

use super::*;
use crate::limits::{DAY, PRUNED_PER_PLAN_MAX};
use crate::retention::{Held, RecordClass, Runs};

fn set(class: RecordClass, days: Option<u32>, reason: &str) -> Command {
    Command::SetRetention { class, keep: days.map(|days| days * DAY), reason: reason.into() }
}

fn hold(two_people: bool) -> Command {
    Command::CreateHold { on: Held { target: Some(name("orders")), ..Held::default() }, reason: "case 7".into(), two_people }
}

fn release(hold: Index) -> Command {
    Command::ReleaseHold { hold: HoldId(hold.0), reason: "case 7 is closed".into() }
}

fn plan(w: &World, leaves: &[u64]) -> Command {
    let mut runs = Runs::default();
    leaves.iter().for_each(|leaf| runs.push(*leaf));
    let before = LogTime(w.state.now.0.saturating_sub(30 * DAY.as_millis() as u64));
    let through = runs.end().max(10);
    Command::PruneRecords { class: RecordClass::Operations, seen: w.state.retention.changed, before, through, leaves: runs }
}

fn ruled() -> World {
    let mut w = World::new();
    w.done(by("ana"), set(RecordClass::Operations, Some(30), "the new policy"));
    w
}

#[test]
fn a_rule_has_a_minimum_and_takes_a_reason_to_shorten() {
    let mut w = World::new();
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Operations, Some(29), "why not")), "keep");
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Decisions, Some(364), "why not")), "keep");
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Operations, Some(90), " ")), "reason");
    let first = w.done(by("ana"), set(RecordClass::Operations, Some(90), "the new policy"));
    w.done(by("ana"), set(RecordClass::Operations, Some(400), ""));
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Operations, Some(399), "")), "reason");
    let rule = &w.state.retention_rules[&RecordClass::Operations];
    assert_eq!((rule.keep, &rule.by, w.state.retention.changed), (Some(400 * DAY), &name("ana"), rule.version));
    assert!(rule.version > first);
    let again = w.state.applied;
    w.done(by("ana"), set(RecordClass::Operations, Some(400), ""));
    assert!(w.state.retention.changed < again, "the same rule changes nothing");
}

#[test]
fn sessions_outlive_what_was_done_in_them() {
    let mut w = ruled();
    w.done(by("ana"), set(RecordClass::Statements, Some(400), "long texts"));
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Sessions, Some(365), "shorter")), "keep");
    w.done(by("ana"), set(RecordClass::Sessions, Some(400), "as long"));
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Operations, Some(401), "")), "keep");
    invalid_field(&w.rejected(by("ana"), set(RecordClass::Operations, None, "")), "keep");
}

#[test]
fn who_may_and_who_may_not() {
    let mut w = ruled();
    forbidden(&w.rejected(by("fay"), set(RecordClass::Operations, Some(90), "")));
    forbidden(&w.rejected(by("fay"), hold(false)));
    forbidden(&w.rejected(node(1), set(RecordClass::Operations, Some(90), "")));
    forbidden(&w.rejected(Actor::Operator, hold(false)));
    let command = plan(&w, &[1]);
    forbidden(&w.rejected(by("ana"), command));
}

#[test]
fn a_hold_may_demand_another_person_to_release_it() {
    let mut w = ruled();
    w.grant(by("ana"), administration("ben", "assize:write,operate on hold/*"));
    let alone = w.done(by("ana"), hold(true));
    separated(&w.rejected(by("ana"), release(alone)));
    w.done(by("ben"), release(alone));
    let own = w.done(by("ana"), hold(false));
    w.done(by("ana"), release(own));
    assert!(w.state.holds.is_empty());
    assert_eq!(w.rejected(by("ana"), release(own)), Rejection::NotFound { what: HoldId(own.0).to_string() });
}

#[test]
fn a_plan_from_before_a_hold_is_refused() {
    let mut w = ruled();
    w.pass(DAY);
    let stale = plan(&w, &[1, 2]);
    let held = w.done(by("ana"), hold(false));
    assert!(matches!(w.rejected(node(1), stale), Rejection::Conflict { .. }));
    let fresh = plan(&w, &[1]);
    w.done(node(1), fresh);
    let stale = plan(&w, &[2]);
    w.done(by("ana"), release(held));
    assert!(matches!(w.rejected(node(1), stale), Rejection::Conflict { .. }));
    let pruning = &w.state.retention.progress[&RecordClass::Operations];
    assert_eq!((pruning.through, pruning.pruned), (0, 1), "after a release the log is looked at again from its start");
    assert_eq!(pruning.last.as_ref().map(|plan| plan.leaves.count()), Some(1), "what was decided is still to be done");
}

#[test]
fn a_plan_keeps_within_its_rule() {
    let mut w = ruled();
    let none = Command::PruneRecords {
        class: RecordClass::Checks,
        seen: w.state.retention.changed,
        before: LogTime(0),
        through: 1,
        leaves: Runs::default(),
    };
    assert!(matches!(w.rejected(node(1), none), Rejection::NotFound { .. }));
    let with = |w: &World, change: &dyn Fn(&mut LogTime, &mut u64, &mut Runs)| {
        let Command::PruneRecords { class, seen, mut before, mut through, mut leaves } = plan(w, &[1]) else { unreachable!() };
        change(&mut before, &mut through, &mut leaves);
        Command::PruneRecords { class, seen, before, through, leaves }
    };
    let young = with(&w, &|before, _, _| before.0 += DAY.as_millis() as u64);
    invalid_field(&w.rejected(node(1), young), "before");
    let beyond = with(&w, &|_, through, _| *through = 1);
    invalid_field(&w.rejected(node(1), beyond), "through");
    let many = with(&w, &|_, through, leaves| {
        *leaves = Runs::from_pairs(vec![0, PRUNED_PER_PLAN_MAX + 1]).expect("a run");
        *through = leaves.end();
    });
    invalid_field(&w.rejected(node(1), many), "leaves");
    let far = with(&w, &|_, through, _| *through = 100);
    w.done(node(1), far);
    let back = plan(&w, &[1]);
    invalid_field(&w.rejected(node(1), back), "through");
    w.done(by("ana"), set(RecordClass::Operations, None, ""));
    let forever = plan(&w, &[1]);
    invalid_field(&w.rejected(node(1), forever), "class");
}
