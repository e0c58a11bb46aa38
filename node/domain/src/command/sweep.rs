//! What happens because log time passed: every entry does it first, so that nothing depends on a job that may not run.
//! Decisions do not wait for it: they compare times themselves.

use super::step::Step;
use crate::limits::REQUEST_KEPT;
use crate::request::RequestStatus;
use crate::state::Due;

pub(super) fn sweep(step: &mut Step<'_>) {
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
        }
    }
}
