//! Policy as the replicated state knows it: bytes with a digest, who published them, which are active. What the bytes
//! say is known to [`Rules`] only; what follows from it is decided here, and it can only take away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::grant::Grant;
use crate::id::{Digest, Index, Name, PolicyId};
use crate::job::Job;
use crate::operation::{Access, Operation};
use crate::principal::Principal;
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;

/// One published bundle. It never changes; a change is another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub id: PolicyId,
    /// The whole bundle, at most [`crate::limits::POLICY_BUNDLE_MAX`] bytes.
    pub bundle: Arc<[u8]>,
    /// SHA-256 of the bundle.
    pub digest: Digest,
    /// What its author calls it: the manifest's `revision`.
    pub revision: String,
    /// The bundle itself demands that somebody else than its publisher activates it.
    pub two_people: bool,
    pub published_by: Name,
    pub published: LogTime,
    pub version: Index,
}

/// Which version is active, for the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyFacts {
    pub active: Option<PolicyId>,
    /// What was active before, latest last: one step back each rollback.
    pub before: Vec<PolicyId>,
    /// Every bundle needs somebody else than its publisher to activate it.
    pub two_people: bool,
    /// The entry that last changed what is active.
    pub changed: Index,
}

impl State {
    /// The version every node judges by at this index.
    pub fn active_policy(&self) -> Option<&Policy> {
        let active = self.cluster.policy.as_ref()?.active?;
        Some(self.policies.get(&active).expect("what is active is never forgotten"))
    }
}

/// Who and where, for both kinds of question.
#[derive(Debug, Clone, Copy)]
pub struct Parties<'a> {
    pub state: &'a State,
    pub principal: &'a Principal,
    pub on_behalf_of: Option<&'a Name>,
    pub target: &'a Target,
    pub job: Option<&'a Job>,
}

/// The question at an admission. It holds no time and no session, so that its answer is good for every session of the
/// same parties for as long as nothing that it shows has changed.
#[derive(Debug, Clone, Copy)]
pub struct AtAdmission<'a> {
    pub parties: Parties<'a>,
    /// The live grants for this target.
    pub grants: &'a [&'a Grant],
    /// What was granted beyond the job description, and is not admitted.
    pub dropped: &'a [String],
}

/// The question for one operation.
#[derive(Debug, Clone, Copy)]
pub struct OnOperation<'a> {
    pub parties: Parties<'a>,
    /// The grants that cover it.
    pub grants: &'a [&'a Grant],
    pub operation: &'a Operation,
    pub digest: &'a Digest,
    /// What no grant covers: it waits for people in any case, unless it is refused.
    pub missing: &'a [Access],
    pub now: LogTime,
}

/// What a policy says: each part takes something away, none gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    pub refuse: Option<String>,
    /// People must approve first. At an admission: each operation of the session.
    pub hold: Option<Hold>,
    pub obligations: Vec<Obligation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub reason: String,
    /// Of those who may decide anyway, only these; all if it is empty.
    pub approvers: BTreeSet<Name>,
    /// At least so many approvals, if that is more than the target asks for.
    pub approvals: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obligation {
    /// To stand in the record.
    Note(String),
    /// A read index confirmed by a quorum before every operation. At an admission only.
    Strict,
    /// The admission is reviewed anew after this long. At an admission only.
    ReviewAgain(Duration),
}

impl Ruling {
    pub fn refused(reason: impl Into<String>) -> Ruling {
        Ruling { refuse: Some(reason.into()), ..Ruling::default() }
    }

    pub fn notes(&self) -> Vec<String> {
        let note = |obligation: &Obligation| match obligation {
            Obligation::Note(text) => Some(text.clone()),
            Obligation::Strict | Obligation::ReviewAgain(_) => None,
        };
        self.obligations.iter().filter_map(note).collect()
    }

    pub(crate) fn strict(&self) -> bool {
        self.obligations.contains(&Obligation::Strict)
    }

    pub(crate) fn review_again(&self) -> Option<Duration> {
        let after = |obligation: &Obligation| match obligation {
            Obligation::ReviewAgain(after) => Some(*after),
            Obligation::Note(_) | Obligation::Strict => None,
        };
        self.obligations.iter().filter_map(after).min()
    }
}

impl Hold {
    /// Both at once: the demands of each.
    pub fn and(self, other: Hold) -> Hold {
        let approvers = match (self.approvers.is_empty(), other.approvers.is_empty()) {
            (true, _) => other.approvers,
            (false, true) => self.approvers,
            (false, false) => {
                let both: BTreeSet<Name> = self.approvers.intersection(&other.approvers).cloned().collect();
                // Nobody satisfies both: an empty set would mean everybody.
                if both.is_empty() { BTreeSet::from([nobody()]) } else { both }
            }
        };
        let reason = if self.reason == other.reason { self.reason } else { format!("{}; {}", self.reason, other.reason) };
        Hold { reason, approvers, approvals: self.approvals.max(other.approvals) }
    }
}

/// A name that no principal can have.
fn nobody() -> Name {
    "assize.nobody".parse().expect("made of allowed characters")
}

/// What a request that was opened under a policy is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedUnder {
    pub policy: PolicyId,
    /// What the policy holds it for; `None` where only a grant is missing.
    pub hold: Option<Hold>,
}

/// Evaluates bundles. It is asked for an opinion; that this can only narrow is seen to by who asks.
///
/// Implementors answer with a refusal when they cannot tell: a bundle that does not load, a budget that is used up.
pub trait Rules: Send + Sync {
    fn at_admission(&self, policy: &Policy, question: &AtAdmission<'_>) -> Ruling;
    fn on_operation(&self, policy: &Policy, question: &OnOperation<'_>) -> Ruling;
    /// Does it say anything about single operations? If not, [`Rules::on_operation`] is never asked.
    fn judges_operations(&self, policy: &Policy) -> bool;
}

/// Knows no policy. While one is active it refuses everything, so that leaving the rules out fails closed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRules;

impl Rules for NoRules {
    fn at_admission(&self, policy: &Policy, _: &AtAdmission<'_>) -> Ruling {
        Ruling::refused(format!("{} cannot be evaluated here", policy.id))
    }

    fn on_operation(&self, policy: &Policy, _: &OnOperation<'_>) -> Ruling {
        Ruling::refused(format!("{} cannot be evaluated here", policy.id))
    }

    fn judges_operations(&self, _: &Policy) -> bool {
        true
    }
}
