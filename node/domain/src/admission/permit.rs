//! The permit: proof that an admission said yes. Only admission can make one; dialling a target takes `&Permit`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::effective::Effective;
use super::table::Table;
use super::{Admission, Attempt, Outcome, admit};
use crate::grant::{Grant, GrantStatus};
use crate::id::{Digest, GrantId, Index, LockId, Name, PolicyId, RequestId, RevocationId, SessionId};
use crate::job::Job;
use crate::limits::ENDED_LOOKED_AT_MAX;
use crate::operation::{Access, Operation, Verb};
use crate::permission::{PermissionSet, Segment};
use crate::policy::{AskedUnder, Hold, OnOperation, Parties, Rules, Ruling};
use crate::principal::{Principal, PrincipalKind};
use crate::refusal::Refusal;
use crate::request::{Ask, Request};
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;
use crate::verdict::Verdict;

#[derive(Debug, Clone)]
pub struct Permit {
    attempt: Attempt,
    /// Shared by the permits of all sessions of the same parties: thousands of one agent are one table.
    reviewed: Arc<Reviewed>,
}

#[derive(Debug)]
struct Reviewed {
    admitted_at: Index,
    decision_version: Index,
    valid_until: Option<LogTime>,
    table: Table,
    strict: bool,
    writes: bool,
    job_version: Option<Index>,
    target_version: Index,
    rests_on: RestsOn,
    policy: Option<UnderPolicy>,
}

/// The policy it was reviewed under, and what that leaves to do for each operation.
#[derive(Debug, Clone)]
struct UnderPolicy {
    id: PolicyId,
    judges_operations: bool,
    /// Each operation of the session waits for people.
    hold: Option<Hold>,
}

/// A verdict, with what the policy has to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// What a request would be bound to, where a policy is active.
    pub under: Option<AskedUnder>,
    /// What the policy wants on record.
    pub notes: Vec<String>,
    /// The same accesses are judged the same for as long as the permit is current and not over.
    pub keeps: bool,
}

/// By name, all whose narrowing ends the session.
#[derive(Debug, Clone)]
struct RestsOn {
    job: Option<Name>,
    credential: Name,
    roles: Vec<Name>,
    grants: Vec<GrantId>,
}

impl Permit {
    #[expect(clippy::too_many_arguments, reason = "everything an admission read, each once")]
    pub(super) fn new(
        state: &State,
        attempt: &Attempt,
        now: LogTime,
        principal: &Principal,
        target: &Target,
        job: Option<&Job>,
        grants: &[&Grant],
        effective: Effective,
        ruling: Option<(PolicyId, bool, Ruling)>,
    ) -> Permit {
        // Also a grant that has not begun changes what is permitted when its time comes.
        let may_count =
            |g: &&Grant| g.status == GrantStatus::Active && g.review_due.is_none_or(|due| now < due) && g.target.selects(target);
        let to_come = state.grants_of(&principal.name).filter(may_count);
        let changes = to_come.filter_map(|g| g.next_change(now));
        let again = ruling.as_ref().and_then(|(.., ruling)| ruling.review_again()).map(|after| now.after(after));
        let valid_until = changes.chain(job.and_then(|job| job.expires)).chain(effective.lock_ends).chain(again).min();
        let reviewed = Reviewed {
            admitted_at: state.applied,
            decision_version: decision_version(state, attempt),
            valid_until,
            writes: writes(&effective.table),
            table: effective.table,
            strict: grants.iter().any(|grant| grant.strict) || ruling.as_ref().is_some_and(|(.., ruling)| ruling.strict()),
            job_version: job.map(|job| job.version),
            target_version: target.version,
            rests_on: RestsOn {
                job: job.map(|job| job.name.clone()),
                credential: target.credential.clone(),
                roles: effective.roles.into_iter().collect(),
                grants: grants.iter().map(|grant| grant.id).collect(),
            },
            policy: ruling.map(|(id, judges_operations, ruling)| UnderPolicy { id, judges_operations, hold: ruling.hold }),
        };
        Permit { attempt: attempt.clone(), reviewed: Arc::new(reviewed) }
    }

    /// The same for another session of the same parties.
    pub(super) fn for_session(&self, session: SessionId) -> Permit {
        Permit { attempt: Attempt { session, ..self.attempt.clone() }, reviewed: self.reviewed.clone() }
    }

    pub fn session(&self) -> SessionId {
        self.attempt.session
    }

    pub fn principal(&self) -> &Name {
        &self.attempt.principal
    }

    pub fn on_behalf_of(&self) -> Option<&Name> {
        self.attempt.on_behalf_of.as_ref()
    }

    pub fn target(&self) -> &Name {
        &self.attempt.target
    }

    /// All that is permitted, by all grants together. Worked out on demand; verdicts do not need it.
    pub fn permissions(&self) -> PermissionSet {
        PermissionSet::new(self.reviewed.table.sets().flat_map(PermissionSet::iter).cloned())
    }

    /// The grants it was made from.
    pub fn grants(&self) -> &[GrantId] {
        &self.reviewed.rests_on.grants
    }

    /// The entry at which what was read last changed: two permits of one session with the same decision version, made
    /// before [`Permit::valid_until`], say the same.
    pub fn decision_version(&self) -> Index {
        self.reviewed.decision_version
    }

    /// The applied index of the state it was made from.
    pub fn admitted_at(&self) -> Index {
        self.reviewed.admitted_at
    }

    pub fn job_version(&self) -> Option<Index> {
        self.reviewed.job_version
    }

    pub fn target_version(&self) -> Index {
        self.reviewed.target_version
    }

    /// The policy it was reviewed under.
    pub fn policy(&self) -> Option<PolicyId> {
        self.reviewed.policy.as_ref().map(|policy| policy.id)
    }

    /// When time alone changes what is permitted: something expires, begins, or its review is overdue.
    pub fn valid_until(&self) -> Option<LogTime> {
        self.reviewed.valid_until
    }

    /// Time has changed what is permitted; admission must look again.
    pub fn is_over(&self, now: LogTime) -> bool {
        self.reviewed.valid_until.is_some_and(|end| end <= now)
    }

    /// Ask the leader for a read index before every operation.
    pub fn strict(&self) -> bool {
        self.reviewed.strict
    }

    /// Something that changes data may be permitted. If not, the session can run read-only at the target.
    /// Calls of `pg_catalog` functions count as reading: the server itself refuses those that write, there.
    pub fn writes_allowed(&self) -> bool {
        self.reviewed.writes
    }

    /// Nothing that the admission read has changed in `state`. Time is told by [`Permit::is_over`]. A comparison in most
    /// cases, four map look-ups otherwise.
    pub fn is_current(&self, state: &State) -> bool {
        state.indexes().touched_any <= self.reviewed.admitted_at || decision_version(state, &self.attempt) == self.reviewed.decision_version
    }

    /// The grant that covers this access, as a whole or its first column.
    pub fn covers(&self, access: &Access) -> Option<GrantId> {
        let mut grants = Vec::new();
        self.reviewed.table.cover(access, &mut grants).then(|| grants.first().copied()).flatten()
    }

    /// Decides on one operation. `digest` is that of its execution: it finds an approval given for exactly this.
    ///
    /// A permit that is out of date does not decide: admission is asked again first, and what it says holds. Callers
    /// renew it themselves before (see [`Permit::renew`]), so that this costs nothing. `Allow` may be kept as long as
    /// the permit is current and not over if the judgement says so; the other verdicts may not.
    pub fn judge(&self, state: &State, operation: &Operation, digest: &Digest, now: LogTime, rules: &dyn Rules) -> Judgement {
        let ends = |refusal| Judgement { verdict: Verdict::EndSession(refusal), under: None, notes: Vec::new(), keeps: false };
        if !self.is_current(state) || self.is_over(now) {
            return match self.renew(state, now, rules) {
                Err(refusal) => ends(refusal),
                Ok(Admission { permit: Some(permit), .. }) => permit.judge_now(state, operation, digest, now, rules),
                Ok(Admission { permit: None, .. }) => ends(Refusal::NoGrant),
            };
        }
        self.judge_now(state, operation, digest, now, rules)
    }

    fn judge_now(&self, state: &State, operation: &Operation, digest: &Digest, now: LogTime, rules: &dyn Rules) -> Judgement {
        let (grants, mut missing) = self.covered_by(operation);
        let ruling = self.ruling(state, operation, digest, &grants, &missing, now, rules);
        let keeps = !self.reviewed.policy.as_ref().is_some_and(|policy| policy.judges_operations);
        let notes = ruling.notes();
        if let (Some(reason), Some(policy)) = (ruling.refuse, self.policy()) {
            let verdict = Verdict::Refuse(Refusal::Policy { policy, reason });
            return Judgement { verdict, under: None, notes, keeps: false };
        }
        let under = self.policy().map(|policy| AskedUnder { policy, hold: ruling.hold.clone() });
        if missing.is_empty() && ruling.hold.is_none() {
            return Judgement { verdict: Verdict::Allow { grants }, under, notes, keeps };
        }
        if missing.is_empty() {
            // The policy holds what is granted: the approver sees all it does.
            missing = operation.accesses.to_vec();
        }
        let verdict = match self.approval_for(state, digest, ruling.hold.as_ref(), now) {
            Some(request) => Verdict::AllowByApproval { request },
            None => Verdict::Hold { missing },
        };
        Judgement { verdict, under, notes, keeps: false }
    }

    /// The grants that cover an operation, and what they leave uncovered.
    fn covered_by(&self, operation: &Operation) -> (Vec<GrantId>, Vec<Access>) {
        let mut grants = Vec::new();
        let missing = operation.accesses.iter().filter(|access| !self.reviewed.table.cover(access, &mut grants)).cloned().collect();
        (grants, missing)
    }

    /// What the policy says to one operation. What needs nothing but a permit (`BEGIN`, `ROLLBACK`) is not asked about:
    /// a transaction must be able to end.
    #[expect(clippy::too_many_arguments, reason = "everything the question shows, each once")]
    fn ruling(
        &self,
        state: &State,
        operation: &Operation,
        digest: &Digest,
        grants: &[GrantId],
        missing: &[Access],
        now: LogTime,
        rules: &dyn Rules,
    ) -> Ruling {
        let Some(under) = &self.reviewed.policy else { return Ruling::default() };
        if operation.accesses.is_empty() {
            return Ruling::default();
        }
        let Attempt { principal, on_behalf_of, target, .. } = &self.attempt;
        let mut ruling = Ruling::default();
        if under.judges_operations {
            let found = (state.policies.get(&under.id), state.principals.get(principal), state.targets.get(target));
            let (Some(policy), Some(principal), Some(target)) = found else { return Ruling::refused("it is not there any more") };
            let job = self.reviewed.rests_on.job.as_ref().and_then(|job| state.jobs.get(job));
            let parties = Parties { state, principal, on_behalf_of: on_behalf_of.as_ref(), target, job };
            let grants: Vec<&Grant> = grants.iter().filter_map(|id| state.grants.get(id)).collect();
            ruling = rules.on_operation(policy, &OnOperation { parties, grants: &grants, operation, digest, missing, now });
        }
        // A session that is held as a whole may still be set up.
        let only_settings = operation.accesses.iter().all(|access| access.verb == Verb::Session);
        if let Some(hold) = under.hold.clone().filter(|_| !only_settings) {
            ruling.hold = Some(match ruling.hold {
                Some(own) => own.and(hold),
                None => hold,
            });
        }
        ruling
    }

    /// An approval that would count if it were spent now. Spending looks at all of it again.
    fn approval_for(&self, state: &State, digest: &Digest, hold: Option<&Hold>, now: LogTime) -> Option<RequestId> {
        let request = state.request_by_digest(digest)?;
        let parties = (&request.principal, request.on_behalf_of.as_ref(), &request.target)
            == (&self.attempt.principal, self.attempt.on_behalf_of.as_ref(), &self.attempt.target);
        let counts = parties
            && request.is_spendable()
            && now < request.expires
            && self.same_versions(request)
            && hold.is_none_or(|hold| request.satisfies(hold))
            && state.counting_approvals(request) >= request.needed as usize;
        counts.then_some(request.id)
    }

    fn same_versions(&self, request: &Request) -> bool {
        match &request.ask {
            Ask::Exact { job_version, target_version, under, .. } => {
                (*job_version, *target_version, under.as_ref().map(|under| under.policy))
                    == (self.reviewed.job_version, self.reviewed.target_version, self.policy())
            }
            Ask::Window { .. } => false,
        }
    }

    /// The admission anew, for the same session.
    ///
    /// # Errors
    /// When the session must end: it is not admitted any more, or something it rests on was taken away since, be it
    /// given back already (a lock that is gone again, a grant that was issued anew).
    pub fn renew(&self, state: &State, now: LogTime, rules: &dyn Rules) -> Result<Admission, Refusal> {
        self.renew_by(state, now, |state, attempt, now| admit(state, attempt, now, rules))
    }

    /// As [`Permit::renew`], by an `admit` that may know the answer already ([`super::Recent`]).
    ///
    /// # Errors
    /// As [`Permit::renew`].
    pub fn renew_by(
        &self,
        state: &State,
        now: LogTime,
        admit: impl FnOnce(&State, &Attempt, LogTime) -> Admission,
    ) -> Result<Admission, Refusal> {
        if let Some(refusal) = self.narrowed_since(state) {
            return Err(refusal);
        }
        let admission = admit(state, &self.attempt, now);
        match admission.outcome {
            Outcome::Revoked(refusal) => Err(refusal),
            Outcome::Approved | Outcome::Modified { .. } => Ok(admission),
        }
    }

    /// Why the session may not go on under `state`, in words; `None` if it may.
    pub fn ended_by(&self, state: &State, now: LogTime, rules: &dyn Rules) -> Option<String> {
        if self.is_current(state) && !self.is_over(now) {
            return None;
        }
        self.renew(state, now, rules).err().map(|refusal| refusal.to_string())
    }

    /// What was taken away after this permit was made.
    fn narrowed_since(&self, state: &State) -> Option<Refusal> {
        self.reviewed.rests_on.narrowed_since(state, &self.attempt, self.reviewed.admitted_at)
    }
}

/// Why a session that another node admitted at `admitted_at` may not go on under `state`; `None` if it may. Its permit
/// is not here, so what it rests on is read from the state: it may have been reviewed again since, and so this rather
/// counts a grant or a role that the session never stood on than misses one. `admit` may know its answer already
/// ([`super::Recent`]).
pub fn ended_since(
    state: &State,
    attempt: &Attempt,
    admitted_at: Index,
    now: LogTime,
    admit: impl FnOnce(&State, &Attempt, LogTime) -> Admission,
) -> Option<Refusal> {
    let rests_on = RestsOn::at(state, attempt, admitted_at);
    rests_on.and_then(|rests_on| rests_on.narrowed_since(state, attempt, admitted_at)).or_else(|| {
        match admit(state, attempt, now).outcome {
            Outcome::Revoked(refusal) => Some(refusal),
            Outcome::Approved | Outcome::Modified { .. } => None,
        }
    })
}

impl RestsOn {
    /// What a session of these parties rested on when it was admitted at `index`, as far as `state` still tells; `None`
    /// where a party is gone.
    fn at(state: &State, attempt: &Attempt, index: Index) -> Option<RestsOn> {
        let principal = state.principals.get(&attempt.principal)?;
        let target = state.targets.get(&attempt.target)?;
        let job = match &principal.kind {
            PrincipalKind::Person { .. } => None,
            PrincipalKind::Agent { job, .. } => job.clone(),
        };
        let ended = state.ended_grants_of(&attempt.principal).take(ENDED_LOOKED_AT_MAX);
        let counts = |grant: &&Grant| {
            let was_gone = matches!(grant.status, GrantStatus::Revoked { revocation, .. } if revocation.0 <= index.0);
            // One that was given since takes nothing away by being given; later it may have.
            let is_only_new = grant.id.0 > index.0 && grant.status == GrantStatus::Active && grant.narrowed.0 <= grant.id.0;
            grant.target.selects(target) && !was_gone && !is_only_new
        };
        let grants: Vec<&Grant> = state.grants_of(&attempt.principal).chain(ended).filter(counts).collect();
        let of_job = job.as_ref().and_then(|job| state.jobs.get(job)).map(|job| &job.roles);
        let roles = grants.iter().map(|grant| &grant.roles).chain(of_job).flatten().cloned().collect::<BTreeSet<_>>();
        Some(RestsOn {
            job,
            credential: target.credential.clone(),
            roles: roles.into_iter().collect(),
            grants: grants.iter().map(|grant| grant.id).collect(),
        })
    }

    /// What was taken away after `admitted_at`.
    fn narrowed_since(&self, state: &State, attempt: &Attempt, admitted_at: Index) -> Option<Refusal> {
        let since = |narrowed: Option<Index>, what: &dyn Fn() -> String| match narrowed {
            Some(at) if at <= admitted_at => None,
            Some(at) => {
                // A lock narrows at its own index; one that is gone again left no words.
                let lock = state.locks.get(&LockId(at.0));
                let reason = lock.map_or_else(what, |lock| lock.refusal().to_string());
                Some(Refusal::Revoked { revocation: RevocationId(at.0), reason })
            }
            None => Some(Refusal::Revoked { revocation: RevocationId(state.cluster.narrowed.0), reason: what() }),
        };
        let Attempt { principal, target, .. } = attempt;
        let RestsOn { job, credential, roles, grants } = self;
        for id in grants {
            let grant = state.grants.get(id);
            if let Some(GrantStatus::Revoked { reason, revocation, .. }) = grant.map(|g| &g.status) {
                return Some(Refusal::Revoked { revocation: *revocation, reason: reason.clone() });
            }
            // A grant that ended by time and was forgotten takes nothing away that time has not.
            if let Some(refusal) = grant.and_then(|g| since(Some(g.narrowed), &|| format!("{id} was narrowed"))) {
                return Some(refusal);
            }
        }
        since(state.principals.get(principal).map(|p| p.narrowed), &|| format!("{principal} was locked, or a right of it taken away"))
            .or_else(|| since(state.targets.get(target).map(|t| t.narrowed), &|| format!("{target} was locked or changed")))
            .or_else(|| {
                since(state.credentials.get(credential).map(|c| c.narrowed), &|| {
                    format!("the credential of {target} was locked or changed")
                })
            })
            .or_else(|| {
                job.as_ref()
                    .and_then(|job| since(state.jobs.get(job).map(|j| j.narrowed), &|| format!("the job description {job} was narrowed")))
            })
            .or_else(|| {
                roles.iter().find_map(|role| {
                    since(state.roles.get(role).map(|r| r.narrowed), &|| format!("the role {role} was locked or narrowed"))
                })
            })
    }
}

fn decision_version(state: &State, attempt: &Attempt) -> Index {
    let version = state.decision_version(&attempt.principal, &attempt.target);
    match &attempt.on_behalf_of {
        Some(delegator) => version.max(state.indexes().touched_principal.get(delegator).copied().unwrap_or_default()),
        None => version,
    }
}

fn writes(table: &Table) -> bool {
    table.verbs().any(|verb| match verb {
        Verb::Select | Verb::Session | Verb::Read => false,
        Verb::Call => {
            table.with_verb(verb).any(|p| !matches!(p.on.segments.get(1), Some(Segment::Exact(schema)) if schema.as_ref() == "pg_catalog"))
        }
        Verb::Insert
        | Verb::Update
        | Verb::Delete
        | Verb::Truncate
        | Verb::Merge
        | Verb::Copy
        | Verb::Ddl
        | Verb::Grant
        | Verb::Admin
        | Verb::Write
        | Verb::Decide
        | Verb::Operate => true,
    })
}
