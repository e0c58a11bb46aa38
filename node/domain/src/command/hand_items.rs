//! Gives items of a review to another reviewer, with a reason. The one who gets them decides instead of the others.

use super::check::{active_person, invalid, not_empty, not_found};
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::{Name, ReviewId};
use crate::limits::{ITEM_DECISIONS_MAX, REVIEW_DECISIONS_MAX};
use crate::operation::Verb;
use crate::review::Handed;

pub(super) fn apply(step: &mut Step<'_>, id: ReviewId, items: Vec<u32>, to: Name, reason: String) -> Result<Reply, Rejection> {
    let mut review = step.state.reviews.get(&id).cloned().ok_or_else(|| not_found(id))?;
    if review.is_closed() {
        return Err(Rejection::ReviewClosed { review: id });
    }
    if items.is_empty() || items.len() > REVIEW_DECISIONS_MAX {
        return Err(invalid("items", format!("are not between 1 and {REVIEW_DECISIONS_MAX}")));
    }
    not_empty("reason", &reason)?;
    active_person(step.state, "to", &to)?;
    for number in &items {
        let item = step.state.item(id, *number).ok_or_else(|| not_found(format!("item {number} of {id}")))?;
        if step.state.conflicted_on(item).contains(&to) {
            return Err(Rejection::SeparationOfDuties { who: to, why: format!("answers for, or granted, item {number}") });
        }
        let by_right = match step.actor {
            Actor::Principal(who) => step.state.may_administer(who, Verb::Write, "review", review.name.as_str()),
            Actor::Operator => true,
            Actor::Node(_) => false,
        };
        if let (false, Actor::Principal(who)) = (by_right, step.actor) {
            step.state.may_review(who, &review, *number, item)?;
        }
        let history = step.state.review_history.get(&(id, *number));
        if history.is_some_and(|h| h.handed.len() >= ITEM_DECISIONS_MAX) {
            return Err(invalid("items", format!("item {number} was handed on {ITEM_DECISIONS_MAX} times")));
        }
    }
    for number in items {
        let mut history = step.state.review_history.get(&(id, number)).cloned().unwrap_or_default();
        let handed = Handed {
            stage: review.stage(Some(&history)),
            to: to.clone(),
            by: step.actor_name(),
            at: step.now,
            index: step.index,
            reason: reason.clone(),
        };
        history.handed.push(handed);
        step.put_review_history((id, number), history);
    }
    review.version = step.index;
    step.put_review(review);
    Ok(step.done())
}
