//! One call in a service: the right to do it, and putting its command through the log.

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use domain::command::{Actor, Command, Rejection, Reply, authorize};
use domain::id::{Index, Name, ProposalId};
use domain::state::State;
use domain::time::LogTime;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use crate::control::{Control, ControlError};
use crate::guard::Caller;
use crate::policy::Needs;
use crate::{convert, failure};

/// A call whose caller is proved. The state is only reached through a check of the right.
pub(crate) struct Call {
    control: Arc<dyn Control>,
    caller: Caller,
}

/// A command that was applied, with the state that has it.
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    /// Where it stands in the log.
    pub(crate) index: Index,
    pub(crate) state: Arc<State>,
    /// There if the command may have taken something away.
    pub(crate) receipt: Option<pb::Receipt>,
}

impl Call {
    /// Takes a request apart. Without a caller (the guard was not in front) nothing goes on.
    pub(crate) fn enter<T>(control: &Arc<dyn Control>, request: Request<T>) -> Result<(Call, T), Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = extensions.get::<Caller>().cloned().ok_or_else(failure::unauthenticated)?;
        Ok((Call { control: control.clone(), caller }, message))
    }

    pub(crate) fn me(&self) -> &Name {
        &self.caller.principal
    }

    /// The method, as it stands in the policy table.
    pub(crate) fn path(&self) -> &'static str {
        self.caller.row.path
    }

    pub(crate) fn now(&self) -> LogTime {
        self.control.now()
    }

    pub(crate) fn control(&self) -> &dyn Control {
        self.control.as_ref()
    }

    /// The state, if the caller has this method's right on `name` (`*`: on all).
    pub(crate) fn may(&self, name: &str) -> Result<Arc<State>, Status> {
        let state = self.control.state();
        if self.has_right(&state, name) { Ok(state) } else { Err(self.refused(name)) }
    }

    /// As [`Call::may`], where a principal may also do it for itself.
    pub(crate) fn may_or_self(&self, name: &str, principal: &str) -> Result<Arc<State>, Status> {
        let own = matches!(self.caller.row.needs, Needs::OwnOrRight(..)) && self.me().as_str() == principal;
        if own { Ok(self.control.state()) } else { self.may(name) }
    }

    /// Of a list, what the caller may see. Refused when that is nothing and there is no right to all of it either, so
    /// that a caller without any right does not mistake a refusal for an empty list.
    pub(crate) fn visible<T>(&self, items: Vec<T>, name: impl Fn(&T) -> String) -> Result<Vec<T>, Status> {
        let state = self.control.state();
        let all = self.has_right(&state, "*");
        let seen: Vec<T> = items.into_iter().filter(|item| all || self.has_right(&state, &name(item))).collect();
        if seen.is_empty() && !all { Err(self.refused("*")) } else { Ok(seen) }
    }

    /// To be filtered with [`Call::visible`] or narrowed to the caller's own before anything of it is shown.
    pub(crate) fn unfiltered(&self) -> Arc<State> {
        self.control.state()
    }

    pub(crate) fn has_right(&self, state: &State, name: &str) -> bool {
        match self.caller.row.needs {
            Needs::Public | Needs::Identity => true,
            Needs::Right(verb, noun) | Needs::OwnOrRight(verb, noun) => state.may_administer_at(self.now(), self.me(), verb, noun, name),
            Needs::DecideOnTarget => name.parse().is_ok_and(|target| state.may_decide(self.me(), &target)),
        }
    }

    fn refused(&self, name: &str) -> Status {
        match self.caller.row.needs {
            Needs::Public | Needs::Identity => failure::unauthenticated(),
            Needs::Right(verb, noun) | Needs::OwnOrRight(verb, noun) => {
                failure::forbidden(&format!("assize:{} on {noun}/{name}", verb.as_str()))
            }
            Needs::DecideOnTarget => failure::forbidden(&format!("assize:decide on request/{name}, or to own the target")),
        }
    }

    /// Puts a command through the log, and waits until it is enforced if it may take something away. Refused here
    /// already when the caller may not; the log asks again when it applies. `noun` is the field errors' prefix.
    pub(crate) async fn submit(&self, request_id: &str, noun: &str, command: Command) -> Result<Applied, Status> {
        let id = self.proposal_id(request_id)?;
        submit(self.control(), id, self.me(), command).await.map_err(|why| match why {
            NotApplied::Rejected(rejection) => failure::rejected(noun, &rejection),
            NotApplied::Failed(error) => failure::control(&error),
        })
    }

    /// The proposal's id: the caller's request id bound to caller and method, so that nobody can claim, or be answered
    /// from, another's.
    pub(crate) fn proposal_id(&self, field: &str) -> Result<ProposalId, Status> {
        let given = match (field, self.caller.request_id.as_deref()) {
            ("", None | Some("")) => return Ok(fresh_id()),
            ("", Some(id)) | (id, None | Some("")) => id,
            (id, Some(header)) if id == header => id,
            (_, Some(_)) => return Err(failure::invalid_field("request_id", "differs from the metadata x-request-id")),
        };
        request_id(self.me(), self.caller.row.path, given).map_err(|why| failure::invalid_field("request_id", why))
    }

    /// An answer that carries the index it was made at.
    pub(crate) fn answer<T>(&self, state: &State, message: T) -> Result<Response<T>, Status> {
        let mut response = Response::new(message);
        response.metadata_mut().insert("x-assize-index", state.applied.0.into());
        Ok(response)
    }
}

/// Why a command is not applied, or not known to be.
pub(crate) enum NotApplied {
    Rejected(Rejection),
    Failed(ControlError),
}

/// Puts a command through the log in the caller's own name: see [`Call::submit`].
pub(crate) async fn submit(control: &dyn Control, id: ProposalId, me: &Name, command: Command) -> Result<Applied, NotApplied> {
    let actor = Actor::Principal(me.clone());
    authorize(&control.state(), &actor, &command).map_err(NotApplied::Rejected)?;
    let (done, receipt) = if command.is_narrowing() {
        let (done, receipt) = control.narrow(id, actor, command).await.map_err(NotApplied::Failed)?;
        (done, Some(receipt))
    } else {
        (control.propose(id, actor, command).await.map_err(NotApplied::Failed)?, None)
    };
    if let Reply::Rejected(rejection) = done.reply {
        return Err(NotApplied::Rejected(rejection));
    }
    let state = control.wait_for(done.index).await.map_err(NotApplied::Failed)?;
    Ok(Applied { reply: done.reply, index: done.index, state, receipt: receipt.as_ref().map(convert::receipt::to_wire) })
}

/// The id of a proposal whose caller gave none.
pub(crate) fn fresh_id() -> ProposalId {
    encode_id(&identity::random::bytes::<20>())
}

/// What a caller gave, bound to it and to what it does.
///
/// # Errors
/// In words, when it is no id.
pub(crate) fn request_id(me: &Name, path: &str, given: &str) -> Result<ProposalId, String> {
    given.parse::<ProposalId>().map_err(|e| e.to_string())?;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in [me.as_str(), path, given] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    Ok(encode_id(hash.finish().as_ref()))
}

fn encode_id(bytes: &[u8]) -> ProposalId {
    let text = format!("api-{}", BASE32_NOPAD.encode(bytes));
    text.parse().expect("base32 of at most 32 bytes is a proposal id")
}
