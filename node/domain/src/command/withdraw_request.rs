//! Takes a request back, or an approval that was not used. A window that was approved is a grant: revoke that.

use super::check::not_found;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::RequestId;
use crate::request::RequestStatus;

pub(super) fn apply(step: &mut Step<'_>, id: RequestId) -> Result<Reply, Rejection> {
    let mut request = step.state.requests.get(&id).cloned().ok_or_else(|| not_found(id))?;
    if !request.status.is_open() && !request.is_spendable() {
        return Err(Rejection::NotOpen { request: id, status: request.status.in_words().to_owned() });
    }
    request.status = RequestStatus::Withdrawn { by: step.actor_name() };
    request.version = step.index;
    step.put_request(request);
    Ok(step.done())
}
