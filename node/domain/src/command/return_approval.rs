//! Gives back an approval that was spent but provably never forwarded. Only the operation that spent it can: its id
//! has the boot in it, so no other run of the node, and no other node, gives back what may have had its effect.

use super::check::not_found;
use super::spend_approval::own_session;
use super::step::Step;
use super::{Rejection, Reply};
use crate::id::{OperationId, RequestId};
use crate::request::RequestStatus;

pub(super) fn apply(step: &mut Step<'_>, id: RequestId, by: OperationId) -> Result<Reply, Rejection> {
    let mut request = step.state.requests.get(&id).cloned().ok_or_else(|| not_found(id))?;
    own_session(step.actor, by)?;
    match &request.status {
        RequestStatus::Spent { by: earlier } if *earlier == by => {}
        RequestStatus::Spent { .. } => return Err(Rejection::AlreadySpent { request: id }),
        RequestStatus::Pending
        | RequestStatus::Approved { .. }
        | RequestStatus::Reopened
        | RequestStatus::Denied(_)
        | RequestStatus::Withdrawn { .. }
        | RequestStatus::Expired => {
            return Err(Rejection::NotOpen { request: id, status: request.status.in_words().to_owned() });
        }
    }
    // The same operation may have been asked for and held again meanwhile: then that request stands for the digest.
    let replaced = matches!(&request.ask, crate::request::Ask::Exact { digest, .. } if step.state.request_by_digest(digest).is_some());
    request.status = match request.expires <= step.now || replaced {
        true => RequestStatus::Expired,
        false => RequestStatus::Approved { grant: None },
    };
    request.version = step.index;
    step.put_request(request);
    Ok(step.done())
}
