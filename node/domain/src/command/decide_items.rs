//! Reviewers decide on items of a review. Nobody on themselves, on their agents, or on what they granted (R6); all
//! decisions of one command count, or none does.

use std::collections::BTreeSet;

use super::check::{invalid, long, not_found, permissions, roles_exist};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::grant::{Grant, GrantSource};
use crate::id::{Index, Name, ReviewId};
use crate::limits::{ITEM_DECISIONS_MAX, REVIEW_DECISIONS_MAX};
use crate::permission::PermissionSet;
use crate::review::{Access, Choice, Item, ItemDecision, Outcome, Overdue, Review, ReviewStatus, Standing, Subject};
use crate::state::State;
use crate::time::LogTime;

/// What a reviewer says about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decide {
    pub item: u32,
    /// The version of the grant, or the id of the token, that the reviewer looked at.
    pub seen: Index,
    pub choice: Choice,
    pub rationale: String,
}

pub(super) fn apply(step: &mut Step<'_>, id: ReviewId, decisions: Vec<Decide>) -> Result<Reply, Rejection> {
    let mut review = step.state.reviews.get(&id).cloned().ok_or_else(|| not_found(id))?;
    if review.is_closed() {
        return Err(Rejection::ReviewClosed { review: id });
    }
    if decisions.is_empty() || decisions.len() > REVIEW_DECISIONS_MAX {
        return Err(invalid("decisions", format!("are not between 1 and {REVIEW_DECISIONS_MAX}")));
    }
    let by = person(step)?;
    let mut seen = BTreeSet::new();
    for decide in &decisions {
        if !seen.insert(decide.item) {
            return Err(invalid("decisions", format!("name item {} twice", decide.item)));
        }
        check(step.state, &review, &by, decide)?;
    }
    for decide in decisions {
        carry_out(step, &mut review, &by, decide);
    }
    review.version = step.index;
    step.put_review(review);
    Ok(step.done())
}

fn person(step: &Step<'_>) -> Result<Name, Rejection> {
    match step.actor {
        Actor::Principal(who) if step.state.active_person(who).is_some() => Ok(who.clone()),
        Actor::Principal(_) | Actor::Node(_) | Actor::Operator => {
            Err(Rejection::Forbidden { message: "only an active person reviews access".to_owned() })
        }
    }
}

fn check(state: &State, review: &Review, by: &Name, decide: &Decide) -> Result<(), Rejection> {
    let number = decide.item;
    let at_item = |message: String| invalid("decisions", format!("item {number}: {message}"));
    let item = state.item(review.id, number).ok_or_else(|| not_found(format!("item {number} of {}", review.id)))?;
    long("rationale", &decide.rationale)?;
    state.may_review(by, review, number, item)?;
    let history = state.review_history.get(&(review.id, number));
    if history.is_some_and(|h| h.decisions.len() >= ITEM_DECISIONS_MAX) {
        return Err(at_item(format!("has {ITEM_DECISIONS_MAX} decisions; open another review")));
    }
    match (review.standing(history), &decide.choice) {
        (Standing::Decided(Outcome::Revoked), _) => return Err(at_item("is revoked; only a new grant gives it back".to_owned())),
        (Standing::Decided(_), Choice::Approve) => return Err(at_item("was decided on already".to_owned())),
        (Standing::Decided(_) | Standing::Waits { .. } | Standing::Defaulted(_) | Standing::Ended, _) => {}
    }
    let told = !decide.rationale.trim().is_empty();
    let asked = match &decide.choice {
        Choice::Approve => review.terms.rationale_from.is_some_and(|from| item.risk >= from),
        Choice::Modify { .. } | Choice::Revoke | Choice::Abstain => true,
    };
    if asked && !told {
        return Err(at_item(format!("{} at risk {} needs a rationale", decide.choice.in_words(), item.risk.in_words())));
    }
    match &item.subject {
        Subject::Grant(of) => {
            let grant = state.grants.get(&of.id).filter(|grant| !grant.has_ended(state.now));
            let grant = grant.ok_or_else(|| at_item(format!("{} has ended", of.id)))?;
            if grant.version != decide.seen {
                return Err(Rejection::Conflict { what: grant.id.to_string(), expected: decide.seen, current: grant.version });
            }
            match &decide.choice {
                Choice::Modify { access, expires } => attenuates(state, grant, access, *expires),
                Choice::Approve | Choice::Revoke | Choice::Abstain => Ok(()),
            }
        }
        Subject::Token { id, .. } => {
            let there = state.principals.get(&item.principal).is_some_and(|p| p.tokens.contains_key(id));
            if !there {
                return Err(at_item(format!("{id} has ended")));
            }
            if decide.seen.0 != id.0 {
                return Err(Rejection::Conflict { what: id.to_string(), expected: decide.seen, current: Index(id.0) });
            }
            match &decide.choice {
                Choice::Modify { .. } => Err(at_item("is a token, which has no permissions of its own: approve or revoke it".to_owned())),
                Choice::Approve | Choice::Revoke | Choice::Abstain => Ok(()),
            }
        }
    }
}

/// Less than before, and something.
fn attenuates(state: &State, grant: &Grant, to: &Access, expires: Option<LogTime>) -> Result<(), Rejection> {
    permissions(&to.permissions, None)?;
    roles_exist(state, &to.roles)?;
    if to.permissions.is_empty() && to.roles.is_empty() {
        return Err(invalid("access", "keeps nothing: revoke it"));
    }
    let before = Access { permissions: grant.permissions.clone(), roles: grant.roles.clone() };
    let same_roles = to.roles.is_subset(&before.roles);
    if !same_roles || !resolved(state, &before).covers(&resolved(state, &Access { roles: BTreeSet::new(), ..to.clone() })) {
        return Err(invalid("access", format!("reaches beyond what {} gives: a review only narrows", grant.id)));
    }
    let sooner = match (grant.expires, expires) {
        (_, None) => false,
        (Some(old), Some(new)) if new > old => return Err(invalid("expires", "is later than before: a review only narrows")),
        (old, Some(new)) => {
            if new <= state.now {
                return Err(invalid("expires", "lies in the past: revoke it"));
            }
            old != Some(new)
        }
    };
    if *to == before && !sooner {
        return Err(invalid("access", "is what it was: approve it"));
    }
    Ok(())
}

fn resolved(state: &State, access: &Access) -> PermissionSet {
    let by_role = access.roles.iter().filter_map(|role| state.roles.get(role)).flat_map(|role| role.permissions.iter());
    PermissionSet::new(access.permissions.iter().chain(by_role).cloned())
}

/// What takes access away counts at once, whatever the stage; what keeps it, when the last stage has spoken.
fn carry_out(step: &mut Step<'_>, review: &mut Review, by: &Name, decide: Decide) {
    let key = (review.id, decide.item);
    let Some(item) = step.state.item(review.id, decide.item).cloned() else { unreachable!("was checked") };
    let mut history = step.state.review_history.get(&key).cloned().unwrap_or_default();
    let open_before = review.standing(Some(&history)).is_undecided();
    let before = match (&item.subject, &decide.choice) {
        (Subject::Grant(of), Choice::Modify { .. }) => {
            step.state.grants.get(&of.id).map(|grant| Access { permissions: grant.permissions.clone(), roles: grant.roles.clone() })
        }
        (Subject::Grant(_) | Subject::Token { .. }, _) => None,
    };
    let stage = review.stage(Some(&history));
    let (choice, rationale) = (decide.choice.clone(), decide.rationale.clone());
    history.decisions.push(ItemDecision {
        by: by.clone(),
        at: step.now,
        index: step.index,
        stage,
        seen: decide.seen,
        choice: decide.choice,
        before,
        rationale: decide.rationale,
    });
    let undecided = review.standing(Some(&history)).is_undecided();
    if open_before && !undecided {
        review.undecided -= 1;
    }
    step.put_review_history(key, history);
    match choice {
        Choice::Abstain => {}
        Choice::Revoke => revoke(step, review, &item, by.clone(), rationale),
        Choice::Modify { access, expires } => modify(step, review, &item, access, expires, !undecided),
        Choice::Approve if undecided => {}
        Choice::Approve => certify(step, review, &item),
    }
}

/// The person who said so, the review and the reason stay with the tombstone.
fn revoke(step: &mut Step<'_>, review: &Review, item: &Item, by: Name, reason: String) {
    match &item.subject {
        Subject::Grant(of) => {
            let Some(grant) = step.state.grants.get(&of.id).filter(|grant| !grant.has_ended(step.now)).cloned() else { return };
            step.revoke_grant(grant, by, format!("{}: {reason}", review.id));
        }
        Subject::Token { id, .. } => {
            let Some(principal) = step.state.principals.get(&item.principal).cloned() else { return };
            step.revoke_token(principal, *id);
        }
    }
}

fn modify(step: &mut Step<'_>, review: &Review, item: &Item, access: Access, expires: Option<LogTime>, last: bool) {
    let Subject::Grant(of) = &item.subject else { return };
    let Some(mut grant) = step.state.grants.get(&of.id).cloned() else { return };
    grant.permissions = access.permissions;
    grant.roles = access.roles;
    grant.expires = expires.or(grant.expires);
    grant.source = GrantSource::Review(review.id);
    grant.version = step.index;
    grant.narrowed = step.index;
    if last {
        grant.review_due = Some(step.now.after(review.terms.certifies));
        grant.under_review = Some(review.id);
    }
    step.put_grant(grant);
}

/// Good until the next review. Also what was suspended at the due date counts again.
fn certify(step: &mut Step<'_>, review: &Review, item: &Item) {
    put_due(step, review, item, step.now.after(review.terms.certifies), |_| true);
}

/// Where nothing ends it sooner.
fn set_due(step: &mut Step<'_>, review: &Review, item: &Item) {
    let due = review.due();
    put_due(step, review, item, due, |own| own.is_none_or(|own| own > due));
}

fn put_due(step: &mut Step<'_>, review: &Review, item: &Item, due: LogTime, replaces: impl Fn(Option<LogTime>) -> bool) {
    match &item.subject {
        Subject::Grant(of) => {
            let found = step.state.grants.get(&of.id).filter(|grant| !grant.has_ended(step.now) && replaces(grant.review_due));
            let Some(mut grant) = found.cloned() else { return };
            grant.review_due = Some(due);
            grant.under_review = Some(review.id);
            grant.version = step.index;
            step.put_grant(grant);
        }
        Subject::Token { id, .. } => {
            let Some(mut principal) = step.state.principals.get(&item.principal).cloned() else { return };
            let Some(token) = principal.tokens.get_mut(id).filter(|token| replaces(token.review_due)) else { return };
            token.review_due = Some(due);
            principal.version = step.index;
            step.put_principal(principal);
        }
    }
}

/// What an open review still has to do to its items, a bounded number an entry: while it is open they get its due date,
/// so that every node closes them when their time comes; past it, what is to be revoked is.
pub(super) fn work(step: &mut Step<'_>, id: ReviewId, items_max: u32) -> u32 {
    let Some(mut review) = step.state.reviews.get(&id).cloned() else { unreachable!("the index names {id}, which does not exist") };
    let until = review.items.min(review.worked.saturating_add(items_max));
    for number in review.worked..until {
        let waits = review.standing(step.state.review_history.get(&(id, number))).is_undecided();
        if let Some(item) = step.state.item(id, number).cloned()
            && waits
        {
            match review.status {
                ReviewStatus::Open => set_due(step, &review, &item),
                ReviewStatus::Due if !step.state.is_there(&item) => ended(step, &mut review, number),
                ReviewStatus::Due => default(step, &review, &item),
                ReviewStatus::Closed { .. } => {}
            }
        }
    }
    let done = until - review.worked;
    review.worked = until;
    step.put_review(review);
    done
}

/// On record before what it was about is forgotten.
pub(super) fn ended(step: &mut Step<'_>, review: &mut Review, number: u32) {
    let key = (review.id, number);
    let mut history = step.state.review_history.get(&key).cloned().unwrap_or_default();
    history.ended = Some(step.index);
    step.put_review_history(key, history);
    review.undecided -= 1;
}

fn default(step: &mut Step<'_>, review: &Review, item: &Item) {
    step.took_away |= review.terms.overdue != Overdue::Keep;
    match review.terms.overdue {
        Overdue::Keep => {}
        // Again: another review may have moved the date meanwhile.
        Overdue::Suspend => set_due(step, review, item),
        Overdue::Revoke => {
            let by = "assize.review".parse().expect("made of allowed characters");
            revoke(step, review, item, by, "nobody decided on it by the due date".to_owned());
        }
    }
}
