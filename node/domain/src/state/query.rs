//! Questions the state answers without a scan.

use crate::grant::Grant;
use crate::id::{Digest, GrantId, LockId, Name, NodeId, RequestId};
use crate::job::Job;
use crate::lock::{Lock, LockOn};
use crate::member::{Member, MemberRole, Serving};
use crate::principal::{Principal, PrincipalKind, Token};
use crate::request::Request;
use crate::state::{Indexes, State};
use crate::time::LogTime;

impl State {
    /// Whose token this is (by the SHA-256 of its secret), if it has not expired.
    pub fn token(&self, lookup: &Digest, now: LogTime) -> Option<(&Principal, &Token)> {
        let (owner, id) = self.indexes.token_owner.get(lookup)?;
        let principal = self.principals.get(owner)?;
        let token = principal.tokens.get(id)?;
        token.is_live(now).then_some((principal, token))
    }

    /// The person whose client certificate has this SHA-256.
    pub fn person_by_certificate(&self, certificate: &Digest) -> Option<&Principal> {
        self.principals.get(self.indexes.certificate_owner.get(certificate)?)
    }

    /// Grants of a principal that are neither revoked nor expired at log time; look at [`Grant::is_live`] still.
    pub fn grants_of<'a>(&'a self, principal: &Name) -> impl Iterator<Item = &'a Grant> + use<'a> {
        let range = (principal.clone(), GrantId(0))..=(principal.clone(), GrantId(u64::MAX));
        self.indexes.grants_of.range(range).filter_map(|(_, id)| self.grants.get(id))
    }

    /// Grants of a principal that have ended, the latest first.
    pub fn ended_grants_of<'a>(&'a self, principal: &Name) -> impl Iterator<Item = &'a Grant> + use<'a> {
        let range = (principal.clone(), GrantId(0))..=(principal.clone(), GrantId(u64::MAX));
        self.indexes.ended_grants_of.range(range).rev().filter_map(|(_, id)| self.grants.get(id))
    }

    /// The latest grant of that name, ended or not.
    pub fn grant_named(&self, name: &Name) -> Option<&Grant> {
        self.grants.get(self.indexes.grant_named.get(name)?)
    }

    /// Requests of a principal that wait for a decision, oldest first.
    pub fn open_requests_of<'a>(&'a self, principal: &Name) -> impl Iterator<Item = &'a Request> + use<'a> {
        let range = (principal.clone(), RequestId(0))..=(principal.clone(), RequestId(u64::MAX));
        self.indexes.open_requests_of.range(range).filter_map(|(_, id)| self.requests.get(id))
    }

    /// Requests for a target that wait for a decision, oldest first.
    pub fn open_requests_for<'a>(&'a self, target: &Name) -> impl Iterator<Item = &'a Request> + use<'a> {
        let range = (target.clone(), RequestId(0))..=(target.clone(), RequestId(u64::MAX));
        self.indexes.open_requests_for.range(range).filter_map(|(_, id)| self.requests.get(id))
    }

    /// The open or approved request bound to this digest.
    pub fn request_by_digest(&self, digest: &Digest) -> Option<&Request> {
        self.requests.get(self.indexes.by_digest.get(digest)?)
    }

    /// Every lock on `on`, expired ones included until log time reaches them.
    pub fn locks_on<'a>(&'a self, on: &LockOn) -> impl Iterator<Item = &'a Lock> + use<'a> {
        let range = (on.clone(), LockId(0))..=(on.clone(), LockId(u64::MAX));
        self.indexes.locks_on.range(range).filter_map(|(_, id)| self.locks.get(id))
    }

    pub fn live_lock(&self, on: &LockOn, now: LogTime) -> Option<&Lock> {
        if self.locks.is_empty() {
            return None;
        }
        self.locks_on(on).find(|lock| lock.is_live(now))
    }

    /// Nodes that may hold a lease (DESIGN §4).
    pub fn serving(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|m| match m.serving {
            Serving::Yes { .. } => true,
            Serving::No { .. } => false,
        })
    }

    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.values().filter(|m| m.role == MemberRole::Voter).map(|m| m.id)
    }

    /// The job description of an agent.
    pub fn job_of(&self, principal: &Name) -> Option<&Job> {
        self.jobs.get(self.principals.get(principal)?.job()?)
    }

    /// There, active, and a person.
    pub fn active_person(&self, name: &Name) -> Option<&Principal> {
        self.principals.get(name).filter(|p| p.active && p.is_person())
    }

    pub(crate) fn indexes(&self) -> &Indexes {
        &self.indexes
    }
}

impl Principal {
    pub fn is_person(&self) -> bool {
        match self.kind {
            PrincipalKind::Person { .. } => true,
            PrincipalKind::Agent { .. } => false,
        }
    }
}

impl Principal {
    /// Who answers for an agent.
    pub fn owner(&self) -> Option<&Name> {
        match &self.kind {
            PrincipalKind::Agent { owner, .. } => Some(owner),
            PrincipalKind::Person { .. } => None,
        }
    }

    /// Owner and backup owner of an agent.
    pub fn owners(&self) -> impl Iterator<Item = &Name> {
        let (owner, backup) = match &self.kind {
            PrincipalKind::Agent { owner, backup_owner, .. } => (Some(owner), backup_owner.as_ref()),
            PrincipalKind::Person { .. } => (None, None),
        };
        owner.into_iter().chain(backup)
    }

    pub fn job(&self) -> Option<&Name> {
        match &self.kind {
            PrincipalKind::Agent { job, .. } => job.as_ref(),
            PrincipalKind::Person { .. } => None,
        }
    }
}

impl Token {
    pub fn is_live(&self, now: LogTime) -> bool {
        self.expires.is_none_or(|end| now < end) && self.review_due.is_none_or(|due| now < due)
    }
}
