//! Indexes over the state: what would otherwise be a scan. Each is a function of the entities, the log time and
//! nothing else, so that a state that was loaded behaves like one that was applied.

use imbl::{OrdMap, OrdSet};

use crate::grant::{Grant, GrantStatus, TargetSelector};
use crate::id::{Digest, GrantId, Index, LockId, Name, ProposalId, RequestId, ReviewId, TokenId};
use crate::job::Job;
use crate::limits::{GRANT_KEPT, REQUEST_KEPT, REVIEW_KEPT};
use crate::lock::{Lock, LockOn};
use crate::member::JoinToken;
use crate::permission::PermissionSet;
use crate::principal::{Principal, PrincipalKind};
use crate::request::{Ask, Request, RequestStatus};
use crate::review::{Review, ReviewStatus};
use crate::state::State;
use crate::target::Target;
use crate::time::LogTime;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Indexes {
    pub(crate) token_owner: OrdMap<Digest, (Name, TokenId)>,
    pub(crate) certificate_owner: OrdMap<Digest, Name>,
    /// Grants that may count now or later: neither revoked nor expired.
    pub(crate) grants_of: OrdSet<(Name, GrantId)>,
    /// The others: what a refusal explains itself with.
    pub(crate) ended_grants_of: OrdSet<(Name, GrantId)>,
    /// The latest grant of each name, ended or not.
    pub(crate) grant_named: OrdMap<Name, GrantId>,
    pub(crate) open_requests_of: OrdSet<(Name, RequestId)>,
    pub(crate) open_requests_for: OrdSet<(Name, RequestId)>,
    /// Open or approved exact requests by the digest they are bound to.
    pub(crate) by_digest: OrdMap<Digest, RequestId>,
    /// What is used by what: a used thing cannot be deleted.
    pub(crate) uses: OrdSet<(Used, User)>,
    pub(crate) locks_on: OrdSet<(LockOn, LockId)>,
    pub(crate) due: OrdSet<(LogTime, Due)>,
    /// Reviews whose items still have to be told the due date, or what came of it.
    pub(crate) reviews_work: OrdSet<ReviewId>,
    /// When the next review under the same terms opens.
    pub(crate) reviews_repeat: OrdSet<(LogTime, ReviewId)>,
    pub(crate) proposals_by_age: OrdSet<(LogTime, ProposalId)>,
    /// What grants allow, and how many of them: equal sets are held once.
    pub(crate) permission_sets: OrdMap<PermissionSet, u32>,
    /// Objects told apart in all usage.
    pub(crate) seen: usize,

    /// For every principal and target: the entry at which anything that admission reads about it last changed.
    pub(crate) touched_principal: OrdMap<Name, Index>,
    pub(crate) touched_target: OrdMap<Name, Index>,
    /// … and for what may touch anybody: roles, jobs, credentials, locks on sessions, and a load.
    pub(crate) touched_all: Index,
    /// The maximum of all of the above: if a permit is newer, nothing it read has changed.
    pub(crate) touched_any: Index,
}

/// What can be used by something else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Used {
    Principal(Name),
    Target(Name),
    Credential(Name),
    Role(Name),
    Job(Name),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    Agent(Name),
    Job(Name),
    Target(Name),
    Grant(GrantId),
    Request(RequestId),
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            User::Agent(name) => write!(f, "agent {name}"),
            User::Job(name) => write!(f, "job {name}"),
            User::Target(name) => write!(f, "target {name}"),
            User::Grant(id) => id.fmt(f),
            User::Request(id) => id.fmt(f),
        }
    }
}

/// What happens by itself when its time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Request(RequestId),
    Grant(GrantId),
    Lock(LockId),
    JoinToken(Digest),
    Review(ReviewId),
}

fn set<K: Ord + Clone>(index: &mut OrdSet<K>, key: K, there: bool) {
    if there {
        index.insert(key);
    } else {
        index.remove(&key);
    }
}

impl Indexes {
    /// Puts (`there`) or takes out everything the indexes say about one entity. Called with the old value and `false`
    /// before a change, with the new value and `true` after it.
    pub(crate) fn principal(&mut self, principal: &Principal, there: bool) {
        for token in principal.tokens.values() {
            if there {
                self.token_owner.insert(token.lookup, (principal.name.clone(), token.id));
            } else {
                self.token_owner.remove(&token.lookup);
            }
        }
        match &principal.kind {
            PrincipalKind::Agent { owner, backup_owner, job } => {
                let user = User::Agent(principal.name.clone());
                for person in std::iter::once(owner).chain(backup_owner) {
                    set(&mut self.uses, (Used::Principal(person.clone()), user.clone()), there);
                }
                if let Some(job) = job {
                    set(&mut self.uses, (Used::Job(job.clone()), user), there);
                }
            }
            PrincipalKind::Person { certificate: Some(certificate), .. } => {
                if there {
                    self.certificate_owner.insert(*certificate, principal.name.clone());
                } else {
                    self.certificate_owner.remove(certificate);
                }
            }
            PrincipalKind::Person { certificate: None, .. } => {}
        }
    }

    pub(crate) fn target(&mut self, target: &Target, there: bool) {
        let user = User::Target(target.name.clone());
        set(&mut self.uses, (Used::Credential(target.credential.clone()), user.clone()), there);
        if let Some(owner) = &target.owner {
            set(&mut self.uses, (Used::Principal(owner.clone()), user), there);
        }
    }

    pub(crate) fn job(&mut self, job: &Job, there: bool) {
        let user = User::Job(job.name.clone());
        for person in std::iter::once(&job.owner).chain(&job.backup_owner) {
            set(&mut self.uses, (Used::Principal(person.clone()), user.clone()), there);
        }
        for role in &job.roles {
            set(&mut self.uses, (Used::Role(role.clone()), user.clone()), there);
        }
    }

    fn count_permissions(&mut self, permissions: &PermissionSet, there: bool) {
        match (self.permission_sets.get_mut(permissions), there) {
            (Some(count), true) => *count += 1,
            (None, true) => {
                self.permission_sets.insert(permissions.clone(), 1);
            }
            (Some(count), false) if *count > 1 => *count -= 1,
            (_, false) => {
                self.permission_sets.remove(permissions);
            }
        }
    }

    /// `now` tells whether the grant has ended: it must be the log time the grant was last indexed at.
    pub(crate) fn grant(&mut self, grant: &Grant, now: LogTime, there: bool) {
        let ended = grant.has_ended(now);
        let key = (grant.principal.clone(), grant.id);
        if ended {
            set(&mut self.ended_grants_of, key, there);
        } else {
            set(&mut self.grants_of, key, there);
            let user = User::Grant(grant.id);
            set(&mut self.uses, (Used::Principal(grant.principal.clone()), user.clone()), there);
            match &grant.target {
                TargetSelector::Name(name) => set(&mut self.uses, (Used::Target(name.clone()), user.clone()), there),
                TargetSelector::Labels(_) | TargetSelector::Assize => {}
            }
            for role in &grant.roles {
                set(&mut self.uses, (Used::Role(role.clone()), user.clone()), there);
            }
        }
        self.count_permissions(&grant.permissions, there);
        if let Some(name) = &grant.name {
            match (self.grant_named.get(name).copied(), there) {
                (Some(latest), true) if latest > grant.id => {}
                (_, true) => {
                    self.grant_named.insert(name.clone(), grant.id);
                }
                (Some(latest), false) if latest == grant.id => {
                    self.grant_named.remove(name);
                }
                (_, false) => {}
            }
        }
        if let Some(at) = grant_due(grant, now) {
            set(&mut self.due, (at, Due::Grant(grant.id)), there);
        }
    }

    pub(crate) fn request(&mut self, request: &Request, there: bool) {
        let open = request.status.is_open();
        if open {
            set(&mut self.open_requests_of, (request.principal.clone(), request.id), there);
            set(&mut self.open_requests_for, (request.target.clone(), request.id), there);
            let user = User::Request(request.id);
            set(&mut self.uses, (Used::Principal(request.principal.clone()), user.clone()), there);
            set(&mut self.uses, (Used::Target(request.target.clone()), user), there);
        }
        let usable = open || request.is_spendable();
        if usable && let Ask::Exact { digest, .. } = &request.ask {
            if there {
                self.by_digest.insert(*digest, request.id);
            } else {
                self.by_digest.remove(digest);
            }
        }
        let at = if usable { request.expires } else { request.expires.after(REQUEST_KEPT) };
        set(&mut self.due, (at, Due::Request(request.id)), there);
    }

    pub(crate) fn review(&mut self, review: &Review, there: bool) {
        let due = match &review.status {
            ReviewStatus::Open => Some(review.due()),
            ReviewStatus::Due => None,
            ReviewStatus::Closed { at, .. } if review.repeats_at.is_none() => Some(at.after(REVIEW_KEPT)),
            // The series hangs on it.
            ReviewStatus::Closed { .. } => None,
        };
        if let Some(at) = due {
            set(&mut self.due, (at, Due::Review(review.id)), there);
        }
        if review.has_work() {
            set(&mut self.reviews_work, review.id, there);
        }
        if let Some(at) = review.repeats_at {
            set(&mut self.reviews_repeat, (at, review.id), there);
        }
    }

    pub(crate) fn lock(&mut self, lock: &Lock, there: bool) {
        set(&mut self.locks_on, (lock.on.clone(), lock.id), there);
        if let Some(at) = lock.expires {
            set(&mut self.due, (at, Due::Lock(lock.id)), there);
        }
    }

    pub(crate) fn join_token(&mut self, token: &JoinToken, there: bool) {
        set(&mut self.due, (token.expires, Due::JoinToken(token.lookup)), there);
    }

    pub(crate) fn proposal(&mut self, id: &ProposalId, at: LogTime, there: bool) {
        set(&mut self.proposals_by_age, (at, id.clone()), there);
    }

    pub(crate) fn touch_principal(&mut self, name: &Name, at: Index) {
        self.touched_principal.insert(name.clone(), at);
        self.touched_any = at;
    }

    pub(crate) fn touch_target(&mut self, name: &Name, at: Index) {
        self.touched_target.insert(name.clone(), at);
        self.touched_any = at;
    }

    pub(crate) fn touch_all(&mut self, at: Index) {
        self.touched_all = at;
        self.touched_any = at;
    }
}

/// When the indexes must look at a grant again: when it expires, and when it may be forgotten.
fn grant_due(grant: &Grant, now: LogTime) -> Option<LogTime> {
    match (&grant.status, grant.expires) {
        _ if grant.name.is_some() && grant.has_ended(now) => None,
        (GrantStatus::Revoked { at, .. }, _) => Some(at.after(GRANT_KEPT)),
        (GrantStatus::Active | GrantStatus::Suspended { .. }, Some(end)) if end <= now => Some(end.after(GRANT_KEPT)),
        (GrantStatus::Active | GrantStatus::Suspended { .. }, end) => end,
    }
}

impl Grant {
    /// Nothing but a new command can make it count again.
    pub(crate) fn has_ended(&self, now: LogTime) -> bool {
        match self.status {
            GrantStatus::Revoked { .. } => true,
            GrantStatus::Active | GrantStatus::Suspended { .. } => self.expires.is_some_and(|end| end <= now),
        }
    }
}

impl Request {
    /// An exact request that was approved and not yet spent. A window has become a grant and is spent no more.
    pub fn is_spendable(&self) -> bool {
        matches!((&self.status, &self.ask), (RequestStatus::Approved { .. }, Ask::Exact { .. }))
    }
}

impl State {
    /// Makes the indexes anew from the entities: after a load from disk or a snapshot. Everything counts as touched,
    /// so that every live permit is looked at again; deletions between two snapshots leave no other trace.
    pub fn rebuild_indexes(&mut self) {
        let mut indexes = Indexes::default();
        self.principals.values().for_each(|p| indexes.principal(p, true));
        self.targets.values().for_each(|t| indexes.target(t, true));
        self.jobs.values().for_each(|j| indexes.job(j, true));
        for (id, grant) in std::mem::take(&mut self.grants) {
            let grant = self.sharing(grant, &indexes);
            indexes.grant(&grant, self.now, true);
            self.grants.insert(id, grant);
        }
        self.requests.values().for_each(|r| indexes.request(r, true));
        self.locks.values().for_each(|l| indexes.lock(l, true));
        self.reviews.values().for_each(|r| indexes.review(r, true));
        self.join_tokens.values().for_each(|t| indexes.join_token(t, true));
        self.proposals.iter().for_each(|(id, r)| indexes.proposal(id, r.at, true));
        indexes.seen = self.usage.values().map(|usage| usage.seen.len()).sum();
        indexes.touch_all(self.applied);
        self.indexes = indexes;
    }
}

impl State {
    /// The same grant, with what others hold as well held once: a cluster has many grants of few kinds.
    pub(crate) fn sharing(&self, mut grant: Grant, indexes: &Indexes) -> Grant {
        let principal = |name: &mut Name| {
            if let Some((held, _)) = self.principals.get_key_value(name) {
                name.clone_from(held);
            }
        };
        principal(&mut grant.principal);
        principal(&mut grant.granted_by);
        if let TargetSelector::Name(name) = &mut grant.target
            && let Some((held, _)) = self.targets.get_key_value(name)
        {
            name.clone_from(held);
        }
        if let Some((held, _)) = indexes.permission_sets.get_key_value(&grant.permissions) {
            grant.permissions.clone_from(held);
        }
        grant
    }

    /// A grant's time has come: it moves to the ended ones, or (`true`) it may be forgotten. `before` is any moment
    /// up to which it had not ended.
    pub(crate) fn pass_grant(&mut self, id: GrantId, at: LogTime, now: LogTime) -> bool {
        let Some(grant) = self.grants.get(&id) else { unreachable!("the index names {id}, which does not exist") };
        let just_before = LogTime(at.0.saturating_sub(1));
        if grant.has_ended(just_before) {
            return true;
        }
        self.indexes.grant(grant, just_before, false);
        self.indexes.grant(grant, now, true);
        false
    }

    pub(crate) fn agents_owned_by(&self, owner: &Name) -> Vec<Principal> {
        let used = Used::Principal(owner.clone());
        let first = (used.clone(), User::Agent("0".parse().expect("a valid name")));
        let users = self.indexes.uses.range(first..).take_while(|(found, _)| *found == used);
        let agents = users.filter_map(|(_, user)| match user {
            User::Agent(name) => self.principals.get(name),
            User::Job(_) | User::Target(_) | User::Grant(_) | User::Request(_) => None,
        });
        agents.filter(|agent| agent.owner() == Some(owner)).cloned().collect()
    }

    /// One thing that uses `used`, in words.
    pub(crate) fn user_of(&self, used: &Used) -> Option<String> {
        let first = (used.clone(), User::Agent("0".parse().expect("a valid name")));
        let (found, by) = self.indexes.uses.range(first..).next()?;
        (found == used).then(|| by.to_string())
    }
}
