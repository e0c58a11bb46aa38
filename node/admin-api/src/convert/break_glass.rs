use domain::break_glass::BreakGlass;
use domain::state::State;
use domain::time::LogTime;
use proto::admin as pb;

use super::{etag, permissions, timestamp};
use domain::escape::show;

/// `at` is log time: what is live and what is overdue depends on it.
pub(crate) fn to_wire(state: &State, broken: &BreakGlass, at: LogTime) -> pb::BrokenGlass {
    let grant = state.grants.get(&broken.grant);
    pb::BrokenGlass {
        id: broken.id.to_string(),
        by: broken.by.to_string(),
        principal: broken.principal.to_string(),
        target: broken.target.to_string(),
        grant: broken.grant.to_string(),
        permissions: grant.map(|grant| permissions(&grant.permissions)).unwrap_or_default(),
        reason: show(&broken.reason).text,
        ticket: show(&broken.ticket).text,
        opened: Some(timestamp(broken.opened)),
        expires: Some(timestamp(broken.expires)),
        live: grant.is_some_and(|grant| grant.is_live(at)),
        review_due: Some(timestamp(broken.review_due)),
        overdue: broken.is_overdue(at),
        review: broken.review.as_ref().map(|review| pb::BreakGlassReview {
            by: review.by.to_string(),
            at: Some(timestamp(review.at)),
            justified: review.justified,
            note: show(&review.note).text,
        }),
        etag: etag(broken.version),
    }
}
