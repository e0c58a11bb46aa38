//! What a principal asks about, or asks for: judged as the road would judge it, by the state at hand.

use std::time::Duration;

use domain::admission::{self, Admission, Attempt, Judgement, Outcome};
use domain::id::{BootId, Name, SessionId};
use domain::operation::{Access, Effect, Execution, Operation};
use domain::permission::PermissionSet;
use domain::refusal::Refusal;
use domain::request::Ask;
use domain::state::State;
use domain::verdict::Verdict;

use crate::service::Parts;

/// Who, at which target, and what.
pub(crate) struct Asked {
    pub(crate) principal: Name,
    pub(crate) target: Name,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// One statement without parameters, exactly as it would be sent.
    Statement { database: String, statement: String },
    /// What is permitted, each of these.
    Accesses { accesses: Vec<Access>, permissions: PermissionSet },
}

/// How it was judged.
pub(crate) struct Judged {
    pub(crate) admission: Admission,
    pub(crate) judgement: Option<Judgement>,
    /// Why nothing that is granted or approved could allow it.
    pub(crate) impossible: Option<Refusal>,
    /// What an approval of this statement would be bound to.
    exact: Option<Ask>,
}

/// Why something cannot be asked for.
#[derive(Debug)]
pub(crate) enum NotAsked {
    /// It is granted already.
    Granted,
    /// No person could allow it.
    Refused(Refusal),
}

impl Asked {
    pub(crate) fn judge(&self, parts: &Parts, state: &State) -> Judged {
        let control = parts.control.as_ref();
        let (now, rules) = (control.now(), control.rules());
        // A session that no node has: nothing is locked by it, and nothing spent.
        let session = SessionId { node: control.node(), boot: BootId(0), number: 0 };
        let attempt = Attempt { session, principal: self.principal.clone(), on_behalf_of: None, target: self.target.clone() };
        let admission = admission::admit(state, &attempt, now, rules);
        let (accesses, impossible) = match &self.what {
            What::Statement { database, statement } => {
                let needed = parts.classify.needs(&self.database(state, database), statement);
                (needed.accesses, needed.impossible)
            }
            What::Accesses { accesses, .. } => (accesses.clone(), None),
        };
        let operation = Operation { tag: "ASK".into(), accesses: accesses.into(), effect: Effect::Lasting };
        let bound = self.bound(parts, state, &admission);
        let digest = bound.as_ref().map_or(domain::id::Digest([0; 32]), |bound| bound.digest);
        let judgement = admission.permit.as_ref().map(|permit| permit.judge(state, &operation, &digest, now, rules));
        let exact = bound.zip(judgement.as_ref()).and_then(|(bound, judgement)| bound.ask(judgement));
        Judged { admission, judgement, impossible, exact }
    }

    fn database(&self, state: &State, named: &str) -> String {
        match state.targets.get(&self.target) {
            Some(target) if named.is_empty() => target.default_database.clone(),
            Some(_) | None => named.to_owned(),
        }
    }

    fn bound(&self, parts: &Parts, state: &State, admission: &Admission) -> Option<Bound> {
        let What::Statement { database, statement } = &self.what else { return None };
        let permit = admission.permit.as_ref()?;
        let target = state.targets.get(&self.target)?;
        let credential = state.credentials.get(&target.credential)?;
        let context = parts.classify.context(&self.database(state, database), &credential.username);
        let borrowed: Vec<(&str, &str)> = context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (job_version, target_version) = (permit.job_version(), permit.target_version());
        let execution = Execution {
            principal: &self.principal,
            on_behalf_of: None,
            target: &self.target,
            cluster_incarnation: state.cluster.incarnation,
            statement: statement.as_bytes(),
            parameters: &[],
            context: &borrowed,
            job_version,
            target_version,
            policy: permit.policy(),
        };
        let digest = execution.digest();
        Some(Bound { digest, statement: statement.clone(), context, job_version, target_version })
    }
}

/// A statement in the context of an ordinary new session.
struct Bound {
    digest: domain::id::Digest,
    statement: String,
    context: Vec<(String, String)>,
    job_version: Option<domain::id::Index>,
    target_version: domain::id::Index,
}

impl Bound {
    /// `None` where there is nothing to hold.
    fn ask(self, judgement: &Judgement) -> Option<Ask> {
        let Verdict::Hold { missing } = &judgement.verdict else { return None };
        Some(Ask::Exact {
            digest: self.digest,
            statement: self.statement,
            parameters: Vec::new(),
            context: self.context,
            missing: missing.clone(),
            job_version: self.job_version,
            target_version: self.target_version,
            under: judgement.under.clone(),
        })
    }
}

impl Judged {
    /// It would go ahead now, by a grant or by an approval that waits for it.
    pub(crate) fn is_allowed(&self) -> bool {
        self.impossible.is_none()
            && matches!(self.judgement.as_ref().map(|j| &j.verdict), Some(Verdict::Allow { .. } | Verdict::AllowByApproval { .. }))
    }

    /// What stands in the way.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match (&self.admission.outcome, self.judgement.as_ref().map(|j| &j.verdict)) {
            (Outcome::Revoked(refusal), _) => Some(refusal),
            (_, Some(Verdict::Refuse(refusal) | Verdict::EndSession(refusal))) => Some(refusal),
            (Outcome::Approved | Outcome::Modified { .. }, _) => self.impossible.as_ref(),
        }
    }

    /// What is to be put before approvers: this exact statement, or a window of these permissions.
    pub(crate) fn ask(self, what: &What, length: Duration) -> Result<Ask, NotAsked> {
        if self.is_allowed() {
            return Err(NotAsked::Granted);
        }
        if let Some(refusal) = self.refusal().filter(|refusal| !is_open_to_request(refusal, what)) {
            return Err(NotAsked::Refused(refusal.clone()));
        }
        match (what, self.exact) {
            (What::Accesses { permissions, .. }, _) => Ok(Ask::Window { permissions: permissions.clone(), length }),
            (What::Statement { .. }, Some(exact)) => Ok(exact),
            (What::Statement { .. }, None) => Err(NotAsked::Refused(Refusal::NoGrant)),
        }
    }
}

/// A window can be asked for where nothing is granted yet. An exact statement needs a session, so a grant that admits.
pub(crate) fn is_open_to_request(refusal: &Refusal, what: &What) -> bool {
    match refusal {
        Refusal::NoGrant | Refusal::UnknownTarget | Refusal::GrantExpired => matches!(what, What::Accesses { .. }),
        _ => false,
    }
}
