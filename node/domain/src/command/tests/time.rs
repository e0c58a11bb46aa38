//! Log time, and what is remembered for how long.

use super::*;
use crate::limits::{LOG_TIME_JUMP_MAX, PROPOSAL_KEPT, PROPOSALS_KEPT_MAX};
use crate::state::rows::RowKey;

#[test]
fn log_time_never_goes_back_and_jumps_only_so_far() {
    let mut w = World::new();
    let before = w.state.now;
    w.stamp = LogTime(before.0 - 5_000);
    w.apply("back", node(1), Command::Tick);
    assert_eq!(w.state.now, before);
    w.stamp = before.after(Duration::from_secs(365 * 24 * 3600));
    w.apply("far", node(1), Command::Tick);
    assert_eq!(w.state.now, before.after(LOG_TIME_JUMP_MAX));
    w.apply("operator", Actor::Operator, Command::Tick);
    assert_eq!(w.state.now, w.stamp);
}

#[test]
fn a_repeated_proposal_is_answered_and_changes_nothing() {
    let mut w = World::new();
    let first = w.apply("same", by("ana"), person_command("gus", true));
    let moving = [RowKey::Clock.to_bytes(), RowKey::Cluster.to_bytes()];
    let rows = w.state.rows().filter(|(key, _)| !moving.contains(key)).collect::<Vec<_>>();
    w.done(by("ana"), person_command("hal", true));
    let second = w.apply("same", by("ana"), person_command("ida", true));
    assert_eq!(second.reply, first.reply);
    assert_eq!(second.changes.touched, BTreeSet::from([RowKey::Clock]));
    assert!(!w.state.principals.contains_key(&name("ida")));
    assert!(rows.iter().all(|row| w.state.rows().any(|now| now == *row)));
    let refused = w.apply("refused", by("fay"), target_command("x"));
    assert_eq!(w.apply("refused", by("ana"), target_command("x")).reply, refused.reply, "a refusal is an answer like any other");
}

#[test]
fn replies_are_remembered_for_a_while_and_so_many() {
    let mut w = World::new();
    w.apply("old", by("ana"), person_command("gus", true));
    let id: ProposalId = "old".parse().expect("a proposal id");
    w.pass(PROPOSAL_KEPT - Duration::from_secs(1));
    assert!(w.state.proposals.contains_key(&id));
    w.pass(Duration::from_secs(1));
    assert!(w.state.proposals.is_empty(), "ticks are not remembered");
    for n in 0..PROPOSALS_KEPT_MAX + 10 {
        let id = format!("n{n}").parse().expect("a proposal id");
        let proposal = Proposal { id, actor: by("fay"), stamp: w.stamp, command: Command::DeleteLock { lock: LockId(1) } };
        let index = w.next_index();
        apply(&mut w.state, index, &proposal);
    }
    assert_eq!(w.state.proposals.len(), PROPOSALS_KEPT_MAX);
}

#[test]
fn narrowing_is_told_for_what_was_done_only() {
    let mut w = World::new();
    let before = w.state.cluster.narrowed;
    let grant = w.state.grants_of(&name("bot")).next().expect("a grant").id;
    let revoke = || Command::RevokeGrant { grant, reason: String::new() };
    assert!(!w.apply("a", by("fay"), revoke()).changes.narrowing, "refused");
    assert_eq!(w.state.cluster.narrowed, before);
    assert!(w.apply("b", by("ana"), revoke()).changes.narrowing);
    assert_eq!(w.state.cluster.narrowed, w.state.applied);
    assert!(!w.apply("c", by("ana"), grant_command("bot", "orders", "postgres:select on a.b.c")).changes.narrowing);
    assert!(!w.apply("d", node(1), Command::Tick).changes.narrowing);
}

#[test]
#[should_panic(expected = "was applied already")]
fn an_entry_is_not_applied_twice() {
    let mut w = World::new();
    let (index, proposal) = w.log.last().cloned().expect("a log");
    apply(&mut w.state, index, &proposal);
}

#[test]
fn an_ended_grant_is_forgotten_unless_it_has_a_name() {
    let mut w = World::new();
    let end = Some(w.stamp.after(Duration::from_secs(60)));
    let plain = w.grant(by("ana"), with_times(grant_command("bot", "orders", "postgres:select on a.b.c"), None, end, None));
    let named = w.grant(
        by("ana"),
        declared(with_times(grant_command("bot", "orders", "postgres:select on a.b.c"), None, end, None), "for-a-minute"),
    );
    w.stamp = w.stamp.after(crate::limits::GRANT_KEPT).after(Duration::from_secs(120));
    w.apply("long-after", Actor::Operator, Command::Tick);
    assert!(!w.state.grants.contains_key(&plain));
    assert!(w.state.grants.contains_key(&named));
    assert_eq!(w.state.ended_grants_of(&name("bot")).map(|g| g.id).collect::<Vec<_>>(), [named]);
}
