//! What happens because log time passed: every entry does it first, so that nothing depends on a job that may not run.
//! Decisions do not wait for it: they compare times themselves.

use super::step::Step;
use super::{decide_items, notice, open_review};
use crate::id::ReviewId;
use crate::limits::{REQUEST_KEPT, REVIEW_WORK_PER_ENTRY};
use crate::request::RequestStatus;
use crate::review::ReviewStatus;
use crate::state::Due;

pub(super) fn sweep(step: &mut Step<'_>, tick: bool) {
    step.forget_old_proposals();
    while let Some((at, due)) = step.state.indexes().due.get_min().cloned() {
        if at > step.now {
            break;
        }
        match due {
            Due::Request(id) => {
                let Some(request) = step.state.requests.get(&id) else { unreachable!("the index names {id}, which does not exist") };
                if request.expires.after(REQUEST_KEPT) <= step.now {
                    step.remove_request(id);
                } else {
                    let mut request = request.clone();
                    request.status = RequestStatus::Expired;
                    request.version = step.index;
                    step.put_request(request);
                }
            }
            Due::Grant(id) => {
                if step.state.pass_grant(id, at, step.now) {
                    step.remove_grant(id);
                }
            }
            Due::Lock(id) => step.remove_lock(id),
            Due::JoinToken(lookup) => step.remove_join_token(&lookup),
            Due::Review(id) => pass_review(step, id),
        }
    }
    // A review takes its id from the entry that opens it, which must have no other to give.
    if tick && let Some((at, id)) = step.state.indexes().reviews_repeat.get_min().copied().filter(|(at, _)| *at <= step.now) {
        open_review::repeat(step, at, id);
    }
    if tick {
        notice::look(step);
        notice::open(step);
    }
}

/// What open reviews have to do to their items: after the command, so that a small review is complete at once. `true`
/// when some is left for the next entry.
pub(super) fn work(step: &mut Step<'_>) -> bool {
    let mut left = REVIEW_WORK_PER_ENTRY;
    while left > 0
        && let Some(id) = step.state.indexes().reviews_work.get_min().copied()
    {
        left -= decide_items::work(step, id, left).max(1);
    }
    !step.state.indexes().reviews_work.is_empty()
}

/// It is due; or, long closed, forgotten.
fn pass_review(step: &mut Step<'_>, id: ReviewId) {
    let Some(mut review) = step.state.reviews.get(&id).cloned() else { unreachable!("the index names {id}, which does not exist") };
    if review.is_closed() {
        step.remove_review(id);
    } else {
        review.status = ReviewStatus::Due;
        review.worked = 0;
        review.version = step.index;
        step.put_review(review);
    }
}
