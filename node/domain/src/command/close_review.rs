//! Management signs a review off, over the digest of its report, and so closes it.

use super::check::{invalid, not_empty, not_found};
use super::decide_items::ended;
use super::step::Step;
use super::{Actor, Rejection, Reply};
use crate::id::{Digest, ReviewId};
use crate::review::{Review, ReviewStatus, Standing};
use crate::state::State;

pub(super) fn apply(step: &mut Step<'_>, id: ReviewId, digest: Digest, statement: String, ends_series: bool) -> Result<Reply, Rejection> {
    let mut review = step.state.reviews.get(&id).cloned().ok_or_else(|| not_found(id))?;
    not_empty("statement", &statement)?;
    let by = match step.actor {
        Actor::Principal(who) if step.state.active_person(who).is_some() => who.clone(),
        Actor::Principal(_) | Actor::Node(_) | Actor::Operator => {
            return Err(Rejection::Forbidden { message: "only an active person signs a review off".to_owned() });
        }
    };
    let (waiting, gone) = undecided(step.state, &review);
    match review.status {
        ReviewStatus::Closed { .. } => return Err(Rejection::ReviewClosed { review: id }),
        ReviewStatus::Open if waiting > 0 => {
            return Err(invalid("review", format!("has {waiting} items to decide on, and is not due yet")));
        }
        ReviewStatus::Due if review.has_work() => {
            return Err(invalid("review", "is past its due date, and its defaults are being carried out; try again in a moment"));
        }
        ReviewStatus::Open | ReviewStatus::Due => {}
    }
    let current = review.report_digest(step.state);
    if current != digest {
        return Err(invalid("digest", format!("is not that of the report as it is now, {current}; read it again")));
    }
    if ends_series {
        review.repeats_at = None;
    }
    for number in gone {
        ended(step, &mut review, number);
    }
    review.status = ReviewStatus::Closed { by, at: step.now, index: step.index, digest, statement };
    review.version = step.index;
    step.put_review(review);
    Ok(step.done())
}

/// How many items wait for somebody, and which have ended by other means.
fn undecided(state: &State, review: &Review) -> (usize, Vec<u32>) {
    if review.undecided == 0 {
        return (0, Vec::new());
    }
    let (mut waiting, mut gone) = (0, Vec::new());
    for (number, item) in state.items_of(review.id) {
        let noted = state.review_history.get(&(review.id, number)).is_some_and(|history| history.ended.is_some());
        match state.standing(review, number, item) {
            Standing::Waits { .. } => waiting += 1,
            Standing::Ended if !noted => gone.push(number),
            Standing::Ended | Standing::Decided(_) | Standing::Defaulted(_) => {}
        }
    }
    (waiting, gone)
}
