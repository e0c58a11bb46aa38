//! Break-glass: at once, for hours, with a reason; and a debt until somebody else has looked at it.

use super::*;
use crate::break_glass::BreakGlass;
use crate::grant::{GrantSource, GrantStatus};
use crate::id::BreakGlassId;
use crate::limits::{BREAK_GLASS_LENGTH_MAX, BREAK_GLASS_REVIEW_MAX, BREAK_GLASS_UNREVIEWED_MAX};
use crate::policy::NoRules;
use crate::verdict::Verdict;

const HOUR: Duration = Duration::from_secs(3600);

fn smash(principal: &str) -> Command {
    Command::BreakGlass {
        principal: name(principal),
        target: name("orders"),
        permissions: perms("postgres:delete on app.public.orders"),
        length: HOUR,
        review_within: 24 * HOUR,
        reason: "orders are stuck".to_owned(),
        ticket: "INC-7".to_owned(),
    }
}

fn judge(id: BreakGlassId, justified: bool) -> Command {
    Command::ReviewBreakGlass { id, justified, note: "read the log of that night".to_owned() }
}

/// fay may break glass at `orders`, and nothing else.
fn world() -> World {
    let mut w = World::new();
    w.grant(by("ana"), administration("fay", "assize:operate on break-glass/orders"));
    w
}

fn broken(w: &World, grant: GrantId) -> &BreakGlass {
    w.state.break_glass.values().find(|broken| broken.grant == grant).expect("it was broken")
}

fn may_delete(w: &World) -> bool {
    let Some(permit) = w.admit("bot", "orders").permit else { return false };
    let wanted = operation("postgres:delete on app.public.orders");
    matches!(permit.judge(&w.state, &wanted, &digest(1), w.state.now, &NoRules).verdict, Verdict::Allow { .. })
}

#[test]
fn it_opens_access_at_once_beyond_the_job_and_closes_it_by_time() {
    let mut w = world();
    assert!(!may_delete(&w));
    let grant = w.grant(by("fay"), smash("bot"));
    assert!(may_delete(&w), "the job of bot knows no delete");
    let of = broken(&w, grant);
    assert_eq!(w.state.grants[&grant].source, GrantSource::BreakGlass(of.id));
    assert_eq!((of.by.as_str(), of.review_due), ("fay", of.opened.after(24 * HOUR)));
    w.pass(HOUR);
    assert!(!may_delete(&w), "an hour is an hour");
}

#[test]
fn it_can_be_revoked_like_any_grant() {
    let mut w = world();
    let grant = w.grant(by("fay"), smash("bot"));
    w.done(by("ana"), Command::RevokeGrant { grant, reason: "enough".to_owned() });
    assert!(!may_delete(&w));
}

#[test]
fn it_takes_the_named_right_a_person_and_a_reason() {
    let mut w = world();
    for nobody in ["ben", "cora", "bot"] {
        forbidden(&w.rejected(by(nobody), smash("bot")));
    }
    for cluster in [node(1), Actor::Operator] {
        forbidden(&w.rejected(cluster, smash("bot")));
    }
    forbidden(&w.rejected(by("fay"), smash("cora")));
    w.grant(by("fay"), smash("fay"));
    let with = |change: &dyn Fn(&mut Command)| {
        let mut command = smash("bot");
        change(&mut command);
        command
    };
    type Change = fn(&mut Command);
    let bad: [(&str, Change); 6] = [
        ("reason", |c| {
            if let Command::BreakGlass { reason, .. } = c {
                *reason = "  ".into()
            }
        }),
        ("ticket", |c| {
            if let Command::BreakGlass { ticket, .. } = c {
                ticket.clear()
            }
        }),
        ("length", |c| {
            if let Command::BreakGlass { length, .. } = c {
                *length = BREAK_GLASS_LENGTH_MAX + HOUR
            }
        }),
        ("length", |c| {
            if let Command::BreakGlass { length, .. } = c {
                *length = Duration::ZERO
            }
        }),
        ("review_within", |c| {
            if let Command::BreakGlass { review_within, .. } = c {
                *review_within = BREAK_GLASS_REVIEW_MAX + HOUR
            }
        }),
        ("permissions", |c| {
            if let Command::BreakGlass { permissions, .. } = c {
                *permissions = PermissionSet::default()
            }
        }),
    ];
    for (field, change) in bad {
        invalid_field(&w.rejected(by("fay"), with(&change)), field);
    }
    w.done(by("ana"), person_command("fay", false));
    forbidden(&w.rejected(by("fay"), smash("bot")));
}

#[test]
fn who_broke_it_and_who_answers_for_whom_it_was_broken_do_not_review_it() {
    let mut w = world();
    let grant = w.grant(by("fay"), smash("bot"));
    let id = broken(&w, grant).id;
    for person in ["fay", "cora", "dan"] {
        w.grant(by("ana"), administration(person, "assize:decide on request/*"));
        separated(&w.rejected(by(person), judge(id, true)));
    }
    // Handing the agent on frees nobody.
    w.done(by("ana"), agent_command("bot", "dan", Some("reports"), true));
    separated(&w.rejected(by("cora"), judge(id, true)));
    invalid_field(&w.rejected(by("ben"), Command::ReviewBreakGlass { id, justified: true, note: " ".into() }), "note");
    w.done(by("ben"), judge(id, true));
    assert!(may_delete(&w), "justified: it runs its time");
    invalid_field(&w.rejected(by("eve"), judge(id, false)), "break_glass");
    assert!(w.state.break_glass[&id].review.as_ref().is_some_and(|r| r.justified && r.by == name("ben")));
}

#[test]
fn what_was_not_justified_loses_its_grant() {
    let mut w = world();
    let grant = w.grant(by("fay"), smash("bot"));
    let id = broken(&w, grant).id;
    assert!(judge(id, false).is_narrowing() && !judge(id, true).is_narrowing() && !smash("bot").is_narrowing());
    w.done(by("eve"), judge(id, false));
    assert!(!may_delete(&w));
    assert!(matches!(&w.state.grants[&grant].status, GrantStatus::Revoked { by, .. } if *by == name("eve")));
}

#[test]
fn a_review_that_is_overdue_blocks_its_breaker_and_nobody_else() {
    let mut w = world();
    let grant = w.grant(by("fay"), smash("bot"));
    let id = broken(&w, grant).id;
    w.grant(by("fay"), smash("bot"));
    w.pass(24 * HOUR);
    let why = w.rejected(by("fay"), smash("bot"));
    assert!(why.to_string().contains(&id.to_string()), "{why}");
    w.grant(by("ana"), smash("bot"));
    w.done(by("ben"), judge(id, true));
    let second = w.state.break_glass.values().find(|b| b.by == name("fay") && b.review.is_none()).expect("the second").id;
    forbidden(&w.rejected(by("fay"), smash("bot")));
    w.done(by("ben"), judge(second, false));
    w.grant(by("fay"), smash("bot"));
}

#[test]
fn one_person_breaks_glass_a_few_times_until_somebody_looks() {
    let mut w = world();
    for _ in 0..BREAK_GLASS_UNREVIEWED_MAX {
        w.grant(by("fay"), smash("bot"));
    }
    forbidden(&w.rejected(by("fay"), smash("bot")));
    let first = *w.state.break_glass.keys().next().expect("the first");
    w.done(by("ben"), judge(first, true));
    w.grant(by("fay"), smash("bot"));
}
