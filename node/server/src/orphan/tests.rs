//! What is to go, and what a receipt says of it. That it goes is tested with real parts in `chaos`.

use domain::id::{BootId, LockId};

use super::*;

fn known(number: u64, admitted_at: u64, target: &str, has_backend: bool) -> Known {
    let attempt = Attempt {
        session: SessionId { node: NodeId(3), boot: BootId(7), number },
        principal: name("bot"),
        on_behalf_of: None,
        target: name(target),
    };
    let backend = has_backend.then_some(Backend { process: 70, started_us: number });
    Known { attempt, admitted_at: Index(admitted_at), backend }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn numbers<'a>(known: impl IntoIterator<Item = &'a Known>) -> Vec<u64> {
    known.into_iter().map(|known| known.attempt.session.number).collect()
}

fn refused(due: &Due) -> Vec<u64> {
    numbers(due.refused.iter().map(|(known, _)| known))
}

fn revoked(at: u64) -> Refusal {
    Refusal::Revoked { revocation: RevocationId(at), reason: "incident".into() }
}

#[test]
fn what_is_refused_goes_at_once_and_the_rest_only_after_the_longest_lease() {
    let all = || vec![known(1, 10, "orders", true), known(2, 10, "orders", true), known(3, 10, "wages", true)];
    let out = Out::new(Index(40));
    assert!(!out.is_ripe());
    let refuse = |known: &Known| (known.attempt.session.number == 2).then(|| revoked(39));

    let at_once = due(all(), &out, false, refuse);
    assert_eq!(at_once.len(), 1);
    let orders = &at_once[&name("orders")];
    assert_eq!((refused(orders), orders.refused[0].1, numbers(&orders.busy)), (vec![2], Some(RevocationId(39)), vec![]));

    let later = due(all(), &out, true, refuse);
    assert_eq!((refused(&later[&name("orders")]), numbers(&later[&name("orders")].busy)), (vec![2], vec![1]));
    assert_eq!(numbers(&later[&name("wages")].busy), [3]);
}

#[test]
fn sessions_admitted_since_it_left_are_left_alone() {
    let out = Out::new(Index(40));
    let all = due(vec![known(1, 40, "orders", true), known(2, 41, "orders", true)], &out, true, |_| Some(revoked(39)));
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn nothing_is_done_twice() {
    let mut out = Out::new(Index(40));
    out.over.insert(known(1, 10, "orders", true).attempt.session);
    out.at_rest.insert(known(2, 10, "orders", true).attempt.session);
    let all = || vec![known(1, 10, "orders", true), known(2, 10, "orders", true)];
    assert!(due(all(), &out, true, |_| None).is_empty());
    let again = due(all(), &out, true, |_| Some(revoked(39)));
    assert_eq!(refused(&again[&name("orders")]), [2], "who was at rest may be revoked later");
}

#[test]
fn who_cannot_be_told_is_reported_when_revoked_and_left_alone_otherwise() {
    let out = Out::new(Index(40));
    let untold = || vec![known(1, 10, "orders", false)];
    assert!(due(untold(), &out, true, |_| None).is_empty());
    assert_eq!(refused(&due(untold(), &out, true, |_| Some(revoked(39)))[&name("orders")]), [1]);
}

#[test]
fn a_target_that_cannot_be_visited_is_given_up_in_the_end() {
    let mut out = Out::new(Index(40));
    let orders = name("orders");
    for times in 1..VISITS_MAX {
        assert!(!out.gives_up(&orders), "after {} visits", times - 1);
        out.failed.insert(orders.clone(), (times, Instant::now()));
    }
    assert!(out.gives_up(&orders) && out.is_visited_later(&orders));
    assert!(!out.gives_up(&name("wages")) && !out.is_visited_later(&name("wages")));
}

#[test]
fn a_member_with_nothing_to_end_is_looked_at_again_when_something_is_taken_away() {
    let mut out = Out::new(Index(40));
    assert!(!out.is_quiet(Index(39)));
    out.quiet = Some(Quiet { narrowed: Index(39), was_ripe: false, at: Instant::now() });
    assert!(out.is_quiet(Index(39)) && !out.is_quiet(Index(41)));
    out.quiet = Some(Quiet { narrowed: Index(39), was_ripe: true, at: Instant::now() });
    assert!(!out.is_quiet(Index(39)), "those at work were not looked at when it was not ripe");
}

#[test]
fn only_what_has_a_number_has_a_receipt() {
    assert_eq!(revocation(&revoked(39)), Some(RevocationId(39)));
    assert_eq!(revocation(&Refusal::Locked { lock: LockId(38), reason: "incident".into() }), Some(RevocationId(38)));
    assert_eq!(revocation(&Refusal::GrantExpired), None);
}

#[test]
fn a_receipt_is_completed_once_and_only_for_a_silent_node() {
    let silent =
        NodeReceipt { node: NodeId(3), boot: BootId(0), enforced: Index(0), last_sequence: 0, sessions: Vec::new(), by_expiry: true };
    let Attempt { session, principal, target, .. } = known(1, 10, "orders", true).attempt;
    let ended = [SessionReceipt { session, principal, target, upstream: Cancelled::Cancelled }];
    let more = completed(&silent, &ended, 10).expect("there is more");
    assert_eq!((more.sessions.as_slice(), more.by_expiry), (&ended[..], true));
    assert_eq!(completed(&more, &ended, 10), None, "said already");
    assert_eq!(completed(&silent, &ended, 0), None, "no room");
    assert_eq!(completed(&NodeReceipt { by_expiry: false, ..silent }, &ended, 10), None, "it reported itself");
}

#[test]
fn what_a_node_tells_is_heard_as_it_was_told_and_of_its_own_sessions_only() {
    let told_of = |known: &Known| told(vec![(known.attempt.clone(), known.admitted_at, known.backend)]).remove(0);
    for known in [known(1, 10, "orders", true), known(2, 11, "wages", false)] {
        let on_behalf_of = Known { attempt: Attempt { on_behalf_of: Some(name("cora")), ..known.attempt.clone() }, ..known.clone() };
        for known in [known, on_behalf_of] {
            assert_eq!(heard(NodeId(3), &told_of(&known)), Some(known.clone()));
            assert_eq!(heard(NodeId(2), &told_of(&known)), None);
        }
    }
}
