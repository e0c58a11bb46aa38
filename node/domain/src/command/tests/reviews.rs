//! Recertification: who may decide, what a decision does and when, what silence does.

use super::*;
use crate::admission::Outcome as Admitted;
use crate::grant::{Grant, GrantStatus};
use crate::limits::{REVIEW_KEPT, REVIEW_WORK_PER_ENTRY};
use crate::refusal::Refusal;
use crate::review::{Access, Choice, Outcome, Overdue, ReviewStatus, Reviewers, Risk, Scope, Standing, Subject, report};

const DAY: Duration = Duration::from_secs(86_400);

fn the_grant(w: &World) -> Grant {
    w.state.grants.values().find(|grant| grant.principal == name("bot")).expect("a grant").clone()
}

fn standing(w: &World, review: ReviewId, item: u32) -> Standing {
    w.state.standing(&w.state.reviews[&review], item, w.state.item(review, item).expect("an item"))
}

fn close(w: &World, review: ReviewId) -> Command {
    let digest = w.state.reviews[&review].report_digest(&w.state);
    Command::CloseReview { review, digest, statement: "I have read it".to_owned(), ends_series: false }
}

fn only(permissions: &str) -> Choice {
    Choice::Modify { access: Access { permissions: perms(permissions), roles: BTreeSet::new() }, expires: None }
}

fn admitted(w: &World) -> bool {
    w.admit("bot", "orders").permit.is_some()
}

#[test]
fn a_population_is_what_was_in_scope_at_the_index() {
    let mut w = World::new();
    let token = w.token(by("ana"), token_command("bot", 1, None));
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:delete on app.public.later"));
    assert_eq!(review.0, w.state.reviews[&review].version.0);
    let items: Vec<_> = w.state.items_of(review).map(|(number, item)| (number, item.subject_id(), item.risk)).collect();
    assert_eq!(items, [(0, the_grant(&w).id.to_string(), Risk::Low), (1, token.to_string(), Risk::Medium)]);

    let all = Scope { grants: true, tokens: true, ..Scope::default() };
    let count = |w: &mut World, scope: Scope| {
        let before = w.clone();
        let reply = w.run(by("ana"), review_command(Terms { scope, ..terms(Overdue::Keep) }));
        let found = match reply {
            Reply::Review(id) => w.state.reviews[&id].items,
            Reply::Rejected(Rejection::Invalid { field, .. }) if field == "scope" => 0,
            other => panic!("{other:?}"),
        };
        *w = before;
        found
    };
    use crate::review::Terms;
    assert_eq!(count(&mut w, all.clone()), 6, "ana's, ben's, eve's, both of bot, its token");
    assert_eq!(count(&mut w, Scope { grants: false, ..all.clone() }), 1);
    assert_eq!(count(&mut w, Scope { owners: names(&["dan"]), ..all.clone() }), 3, "as backup owner");
    assert_eq!(count(&mut w, Scope { owners: names(&["fay"]), ..all.clone() }), 0);
    assert_eq!(count(&mut w, Scope { targets: names(&["orders"]), ..all.clone() }), 3, "administration is no target");
    assert_eq!(count(&mut w, Scope { verbs: BTreeSet::from([crate::operation::Verb::Delete]), ..all.clone() }), 1);
    assert_eq!(count(&mut w, Scope { risk_from: Some(Risk::High), ..all.clone() }), 3, "deciding on others is a high risk");
    assert_eq!(count(&mut w, Scope { labels: BTreeMap::from([("team".to_owned(), "x".to_owned())]), ..all }), 0);
}

#[test]
fn nobody_reviews_themselves_their_agents_or_what_they_granted() {
    let mut w = World::new();
    let everyone = vec![Reviewers::Named(names(&["ana", "ben", "cora", "dan", "eve", "fay"]))];
    let review = w.review(by("ana"), review_command(crate::review::Terms { stages: everyone, ..terms(Overdue::Keep) }));
    for (who, why) in [("ana", "granted it"), ("cora", "owns the agent"), ("dan", "is its backup owner")] {
        separated(&w.rejected(by(who), decide_item(&w, review, 0, Choice::Approve)));
        assert_eq!(standing(&w, review, 0), Standing::Waits { stage: 0 }, "{who} {why}");
    }
    // Handing the agent over frees nobody, and binds the new owner.
    w.done(by("ana"), agent_command("bot", "fay", Some("reports"), true));
    separated(&w.rejected(by("cora"), decide_item(&w, review, 0, Choice::Approve)));
    separated(&w.rejected(by("fay"), decide_item(&w, review, 0, Choice::Approve)));
    forbidden(&w.rejected(Actor::Operator, decide_item(&w, review, 0, Choice::Approve)));
    forbidden(&w.rejected(node(1), decide_item(&w, review, 0, Choice::Approve)));
    forbidden(&w.rejected(by("bot"), decide_item(&w, review, 0, Choice::Approve)));
    w.done(by("ana"), person_command("ben", false));
    forbidden(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Approve)));
    w.done(by("eve"), decide_item(&w, review, 0, Choice::Approve));
    assert_eq!(standing(&w, review, 0), Standing::Decided(Outcome::Approved));
}

#[test]
fn who_was_not_asked_does_not_decide() {
    let mut w = World::new();
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    forbidden(&w.rejected(by("fay"), decide_item(&w, review, 0, Choice::Approve)));
    w.done(by("ben"), Command::HandItems { review, items: vec![0], to: name("fay"), reason: "knows the database".to_owned() });
    forbidden(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Approve)));
    let to_owner = Command::HandItems { review, items: vec![0], to: name("cora"), reason: "hers".to_owned() };
    separated(&w.rejected(by("ana"), to_owner));
    w.done(by("fay"), decide_item(&w, review, 0, Choice::Approve));
}

#[test]
fn a_decision_is_on_the_version_that_was_seen() {
    let mut w = World::new();
    w.grant(by("ana"), declared(grant_command("bot", "orders", "postgres:select on app.public.b"), "one"));
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    let stale = decide_item(&w, review, 1, Choice::Approve);
    w.grant(by("ana"), declared(grant_command("bot", "orders", "postgres:select on app.public.*"), "one"));
    assert!(matches!(w.rejected(by("ben"), stale), Rejection::Conflict { .. }));
    w.done(by("ben"), decide_item(&w, review, 1, Choice::Approve));
}

#[test]
fn approval_counts_until_the_next_review() {
    let mut w = World::new();
    let review = w.review(by("ana"), review_command(terms(Overdue::Suspend)));
    assert_eq!(the_grant(&w).review_due, Some(w.state.reviews[&review].due()), "every node closes it by itself");
    let applied = w.apply("approve", by("ben"), decide_item(&w, review, 0, Choice::Approve));
    assert!(!applied.changes.narrowing);
    assert_eq!(the_grant(&w).review_due, Some(w.state.now.after(90 * DAY)));
    assert_eq!(w.state.reviews[&review].undecided, 0);
    invalid_field(&w.rejected(by("eve"), decide_item(&w, review, 0, Choice::Approve)), "decisions");
    w.pass(15 * DAY);
    assert!(admitted(&w));
    w.pass(76 * DAY);
    assert!(matches!(w.admit("bot", "orders").outcome, Admitted::Revoked(Refusal::ReviewOverdue)));
}

#[test]
fn what_is_revoked_or_modified_counts_at_once_and_stays() {
    let mut w = World::new();
    let wide = || declared(grant_command("bot", "orders", "postgres:select,insert on app.public.*"), "one");
    w.grant(by("ana"), wide());
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    invalid_field(&w.rejected(by("ben"), decide_item(&w, review, 1, only("postgres:delete on app.public.*"))), "access");
    invalid_field(&w.rejected(by("ben"), decide_item(&w, review, 1, only("postgres:select,insert on app.public.*"))), "access");
    let applied = w.apply("modify", by("ben"), decide_item(&w, review, 1, only("postgres:insert on app.public.orders")));
    assert!(applied.changes.narrowing);
    let narrowed = w.state.grant_named(&name("one")).expect("a grant").clone();
    assert_eq!(narrowed.permissions, perms("postgres:insert on app.public.orders"));
    assert_eq!(narrowed.narrowed, w.state.applied);
    let decision = &w.state.review_history[&(review, 1)].decisions[0];
    assert_eq!(decision.before.as_ref().map(|b| b.permissions.clone()), Some(perms("postgres:select,insert on app.public.*")));
    assert!(matches!(w.rejected(by("ana"), wide()), Rejection::Conflict { .. }), "applying the file again does not widen it");

    assert!(w.apply("revoke", by("ben"), decide_item(&w, review, 0, Choice::Revoke)).changes.narrowing);
    assert!(matches!(the_grant(&w).status, GrantStatus::Revoked { .. }));
    invalid_field(&w.rejected(by("eve"), decide_item(&w, review, 0, Choice::Approve)), "decisions");
    // A correction is appended: what was kept may still be taken.
    w.done(by("eve"), decide_item(&w, review, 1, Choice::Revoke));
    assert_eq!(standing(&w, review, 1), Standing::Decided(Outcome::Revoked));
    assert!(!admitted(&w));
}

#[test]
fn a_token_is_an_item_of_its_own() {
    let mut w = World::new();
    let (kept, gone) = (w.token(by("ana"), token_command("bot", 1, None)), w.token(by("ana"), token_command("bot", 2, None)));
    let review = w.review(by("ana"), review_command(terms(Overdue::Suspend)));
    invalid_field(&w.rejected(by("ben"), decide_item(&w, review, 1, only("postgres:select on a.b.c"))), "decisions");
    w.done(by("ben"), decide_item(&w, review, 2, Choice::Revoke));
    assert!(!w.state.principals[&name("bot")].tokens.contains_key(&gone));
    assert_eq!(w.state.principals[&name("bot")].narrowed, w.state.applied);
    w.pass(14 * DAY);
    assert!(w.state.token(&digest(1), w.state.now).is_none(), "overdue, it opens nothing");
    w.done(by("eve"), decide_item(&w, review, 1, Choice::Approve));
    assert_eq!(w.state.token(&digest(1), w.state.now).map(|(_, token)| token.id), Some(kept));
}

#[test]
fn silence_keeps_suspends_or_revokes() {
    for overdue in [Overdue::Keep, Overdue::Suspend, Overdue::Revoke] {
        let mut w = World::new();
        let review = w.review(by("ana"), review_command(terms(overdue)));
        w.pass(14 * DAY - Duration::from_secs(1));
        assert!(admitted(&w), "{overdue:?}");
        let due = w.state.reviews[&review].due();
        let live = |w: &World| the_grant(w).is_live(due);
        assert_eq!(live(&w), overdue == Overdue::Keep, "no entry is needed for that");
        w.pass(Duration::from_secs(1));
        assert_eq!(w.state.reviews[&review].status, ReviewStatus::Due);
        assert_eq!(standing(&w, review, 0), Standing::Defaulted(overdue));
        assert_eq!(admitted(&w), overdue == Overdue::Keep);
        let revoked = matches!(the_grant(&w).status, GrantStatus::Revoked { .. });
        assert_eq!(revoked, overdue == Overdue::Revoke);
        match overdue {
            Overdue::Revoke => invalid_field(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Approve)), "decisions"),
            Overdue::Keep | Overdue::Suspend => {
                w.done(by("ben"), decide_item(&w, review, 0, Choice::Approve));
                assert!(admitted(&w), "late is better than never");
            }
        }
        w.done(by("ana"), close(&w, review));
    }
}

#[test]
fn applying_a_file_does_not_move_a_review_date() {
    let mut w = World::new();
    let same = || declared(grant_command("bot", "orders", "postgres:select on app.public.b"), "one");
    w.grant(by("ana"), same());
    let review = w.review(by("ana"), review_command(terms(Overdue::Suspend)));
    let due = Some(w.state.reviews[&review].due());
    w.grant(by("ana"), same());
    w.grant(by("ana"), declared(grant_command("bot", "orders", "postgres:select on app.public.*"), "one"));
    assert_eq!(w.state.grant_named(&name("one")).expect("a grant").review_due, due);
}

#[test]
fn two_reviews_of_one_grant_both_have_their_way() {
    let mut w = World::new();
    let long = w.review(by("ana"), review_command(terms(Overdue::Revoke)));
    let short = w.review(by("ana"), review_command(crate::review::Terms { length: DAY, ..terms(Overdue::Suspend) }));
    w.done(by("ben"), decide_item(&w, short, 0, Choice::Approve));
    w.pass(13 * DAY);
    assert!(admitted(&w), "the short one was answered");
    w.pass(2 * DAY);
    assert!(!admitted(&w), "the long one was not");
    assert_eq!(standing(&w, long, 0), Standing::Defaulted(Overdue::Revoke));
}

#[test]
fn stages_follow_each_other_with_different_people() {
    let mut w = World::new();
    let two = vec![Reviewers::Named(names(&["ben", "eve"])), Reviewers::ByRight];
    let review = w.review(by("ana"), review_command(crate::review::Terms { stages: two, ..terms(Overdue::Suspend) }));
    let due = the_grant(&w).review_due;
    w.done(by("ben"), decide_item(&w, review, 0, Choice::Approve));
    assert_eq!(standing(&w, review, 0), Standing::Waits { stage: 1 });
    assert_eq!(the_grant(&w).review_due, due, "not certified before the last stage");
    separated(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Approve)));
    w.done(by("eve"), decide_item(&w, review, 0, Choice::Approve));
    assert_eq!(standing(&w, review, 0), Standing::Decided(Outcome::Approved));
    assert_ne!(the_grant(&w).review_due, due);
}

#[test]
fn an_item_nobody_can_decide_goes_to_the_fallback() {
    let mut w = World::new();
    let terms = crate::review::Terms {
        stages: vec![Reviewers::Named(names(&["cora", "eve"]))],
        fallback: names(&["ben"]),
        escalates: Some(7 * DAY),
        ..terms(Overdue::Suspend)
    };
    let review = w.review(by("ana"), review_command(terms.clone()));
    let escalated = |w: &World| {
        let review = &w.state.reviews[&review];
        w.state.escalated_to(review, 0, w.state.item(review.id, 0).expect("is there"))
    };
    forbidden(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Abstain)));
    assert!(escalated(&w).is_empty());
    w.done(by("ana"), person_command("eve", false));
    assert_eq!(escalated(&w), [name("ben")], "nobody else can");
    w.done(by("ben"), decide_item(&w, review, 0, Choice::Abstain));
    w.done(by("ana"), person_command("eve", true));
    forbidden(&w.rejected(by("ben"), decide_item(&w, review, 0, Choice::Approve)));
    assert!(escalated(&w).is_empty());
    w.pass(7 * DAY);
    assert_eq!(escalated(&w), [name("ben")], "time has passed");
    w.done(by("ben"), decide_item(&w, review, 0, Choice::Approve));
    assert!(escalated(&w).is_empty(), "decided");
    invalid_field(&w.rejected(by("ana"), review_command(crate::review::Terms { fallback: BTreeSet::new(), ..terms })), "escalates");
}

#[test]
fn a_target_owner_reviews_what_reaches_the_target() {
    let mut w = World::new();
    w.done(by("ana"), deciding_on_target("orders", Some("fay"), 1));
    let terms = crate::review::Terms { stages: vec![Reviewers::TargetOwner], ..terms(Overdue::Keep) };
    let review = w.review(by("ana"), review_command(terms));
    forbidden(&w.rejected(by("eve"), decide_item(&w, review, 0, Choice::Approve)));
    w.done(by("fay"), decide_item(&w, review, 0, Choice::Approve));
}

#[test]
fn a_rationale_is_demanded() {
    let mut w = World::new();
    let terms = crate::review::Terms { rationale_from: Some(Risk::Low), ..terms(Overdue::Keep) };
    let review = w.review(by("ana"), review_command(terms));
    let silent = |w: &World, choice| match decide_item(w, review, 0, choice) {
        Command::DecideItems { review, mut decisions } => {
            decisions[0].rationale = "  ".to_owned();
            Command::DecideItems { review, decisions }
        }
        other => panic!("{other:?}"),
    };
    for choice in [Choice::Approve, Choice::Revoke, Choice::Abstain] {
        invalid_field(&w.rejected(by("ben"), silent(&w, choice)), "decisions");
    }
}

#[test]
fn all_of_a_bulk_decision_or_nothing() {
    let mut w = World::new();
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.b"));
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    let bulk = |w: &World, items: &[u32]| {
        let decisions = items.iter().flat_map(|item| match decide_item(w, review, *item, Choice::Revoke) {
            Command::DecideItems { decisions, .. } => decisions,
            other => panic!("{other:?}"),
        });
        Command::DecideItems { review, decisions: decisions.collect() }
    };
    let mut with_unknown = bulk(&w, &[0, 1]);
    if let Command::DecideItems { decisions, .. } = &mut with_unknown {
        decisions[1].item = 9;
    }
    assert!(matches!(w.rejected(by("ben"), with_unknown), Rejection::NotFound { .. }));
    assert_eq!(w.state.reviews[&review].undecided, 2);
    invalid_field(&w.rejected(by("ben"), bulk(&w, &[0, 0])), "decisions");
    w.done(by("ben"), bulk(&w, &[0, 1]));
    assert_eq!(w.state.reviews[&review].undecided, 0);
}

#[test]
fn closing_signs_the_report_that_was_read() {
    let mut w = World::new();
    w.grant(by("ana"), grant_command("bot", "orders", "postgres:select on app.public.b"));
    let review = w.review(by("ana"), review_command(terms(Overdue::Suspend)));
    invalid_field(&w.rejected(by("ana"), close(&w, review)), "review");
    let grant = the_grant(&w).id;
    w.done(by("ana"), Command::RevokeGrant { grant, reason: "not needed".to_owned() });
    assert_eq!(standing(&w, review, 0), Standing::Ended, "needs no decision");
    let early = close(&w, review);
    w.done(by("ben"), decide_item(&w, review, 1, Choice::Approve));
    invalid_field(&w.rejected(by("ana"), early), "digest");
    forbidden(&w.rejected(by("ben"), close(&w, review)));
    let before = report(&w.state, &w.state.reviews[&review]);
    w.done(by("ana"), close(&w, review));
    let ReviewStatus::Closed { digest, .. } = w.state.reviews[&review].status else { panic!("is closed") };
    let after = report(&w.state, &w.state.reviews[&review]);
    assert_eq!(before, after, "what was signed is what is kept");
    assert_eq!(w.state.reviews[&review].report_digest(&w.state), digest);
    assert!(matches!(w.rejected(by("eve"), decide_item(&w, review, 1, Choice::Revoke)), Rejection::ReviewClosed { .. }));
    w.pass(400 * DAY);
    assert_eq!(report(&w.state, &w.state.reviews[&review]), before, "whatever became of the grants");
    w.pass(REVIEW_KEPT - 400 * DAY);
    assert!(w.state.reviews.is_empty() && w.state.review_items.is_empty() && w.state.review_history.is_empty());
}

#[test]
fn a_series_goes_on_by_log_time() {
    let mut w = World::new();
    let series = crate::review::Terms { repeats: Some(90 * DAY), ..terms(Overdue::Keep) };
    let first = w.review(by("ana"), review_command(series));
    w.pass(90 * DAY + Duration::from_secs(1));
    assert_eq!(w.state.reviews.len(), 2);
    let second = *w.state.reviews.keys().next_back().expect("the second");
    assert!(w.state.reviews[&first].repeats_at.is_none() && w.state.reviews[&second].repeats_at.is_some());
    assert_eq!(w.state.reviews[&second].name, name("quarterly"));
    w.pass(14 * DAY);
    let ends = match close(&w, second) {
        Command::CloseReview { review, digest, statement, .. } => Command::CloseReview { review, digest, statement, ends_series: true },
        other => panic!("{other:?}"),
    };
    w.done(by("ana"), ends);
    w.pass(180 * DAY);
    assert_eq!(w.state.reviews.len(), 2);
}

#[test]
fn a_large_review_is_worked_off_over_several_entries() {
    let mut w = World::new();
    let many = REVIEW_WORK_PER_ENTRY + 10;
    for n in 0..many {
        w.grant(by("ana"), grant_command("bot", "orders", &format!("postgres:select on app.public.t{n}")));
    }
    let review = w.review(by("ana"), review_command(terms(Overdue::Revoke)));
    assert_eq!(w.state.reviews[&review].worked, REVIEW_WORK_PER_ENTRY);
    w.pass(Duration::from_millis(1));
    assert!(w.state.grants.values().filter(|g| g.principal == name("bot")).all(|g| g.review_due.is_some()));
    w.pass(14 * DAY);
    w.pass(Duration::from_millis(1));
    assert!(w.state.grants.values().filter(|g| g.principal == name("bot")).all(|g| matches!(g.status, GrantStatus::Revoked { .. })));
    assert_eq!(w.state.items_of(review).count(), many as usize + 1);
}

#[test]
fn a_report_is_csv_that_a_spreadsheet_does_not_run() {
    let mut w = World::new();
    let review = w.review(by("ana"), review_command(terms(Overdue::Keep)));
    let Command::DecideItems { review: id, mut decisions } = decide_item(&w, review, 0, Choice::Revoke) else { unreachable!() };
    decisions[0].rationale = "=HYPERLINK(\"x\"), no".to_owned();
    w.done(by("ben"), Command::DecideItems { review: id, decisions });
    let text = report(&w.state, &w.state.reviews[&review]);
    let line = text.lines().nth(1).expect("an item");
    assert!(line.ends_with("\"'=HYPERLINK(\"\"x\"\"), no\""), "{line}");
    assert!(matches!(w.state.item(review, 0).expect("an item").subject, Subject::Grant(_)));
}
