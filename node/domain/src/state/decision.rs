//! What decisions read: versions that say whether a permit is still good, rights over the gateway itself, and who
//! must keep out of a decision.

use std::collections::BTreeSet;

use crate::grant::TargetSelector;
use crate::id::{Index, Name};
use crate::lock::LockOn;
use crate::operation::{Access, Protocol, Resource, Verb};
use crate::principal::PrincipalKind;
use crate::request::{Conflicted, Request};
use crate::state::State;
use crate::time::LogTime;

impl State {
    /// The entry at which anything that an admission of `principal` to `target` reads last changed. A permit made at
    /// this version is as good as one made now, but for the passing of time ([`crate::admission::Permit::valid_until`]).
    pub fn decision_version(&self, principal: &Name, target: &Name) -> Index {
        let touched = &self.indexes.touched_principal;
        let of_target = self.indexes.touched_target.get(target).copied().unwrap_or_default();
        let of_principal = touched.get(principal).copied().unwrap_or_default();
        let of_owner = match self.principals.get(principal).map(|p| &p.kind) {
            Some(PrincipalKind::Agent { owner, .. }) => touched.get(owner).copied().unwrap_or_default(),
            Some(PrincipalKind::Person { .. }) | None => Index::default(),
        };
        self.indexes.touched_all.max(of_target).max(of_principal).max(of_owner)
    }

    /// May `principal` do `verb` to `noun`/`name` of the gateway itself, at the log time of this state?
    /// `name` may be `*` for "whichever": then only a permission on all of them will do.
    pub fn may_administer(&self, principal: &Name, verb: Verb, noun: &str, name: &str) -> bool {
        self.may_administer_at(self.now, principal, verb, noun, name)
    }

    /// As [`State::may_administer`], at a node's own idea of log time.
    pub fn may_administer_at(&self, now: LogTime, principal: &Name, verb: Verb, noun: &str, name: &str) -> bool {
        let access = Access { protocol: Protocol::Assize, verb, resource: Resource::new([noun, name]) };
        let Some(who) = self.principals.get(principal) else { return false };
        if !who.active || self.live_lock(&LockOn::Principal(principal.clone()), now).is_some() {
            return false;
        }
        let within_job = match &who.kind {
            PrincipalKind::Person { .. } => true,
            PrincipalKind::Agent { owner, job, .. } => {
                self.active_person(owner).is_some()
                    && self.live_lock(&LockOn::Principal(owner.clone()), now).is_none()
                    && job
                        .as_ref()
                        .and_then(|job| self.jobs.get(job))
                        .is_some_and(|job| job.is_live(now) && self.granted_by(&job.permissions, &job.roles, &access, now))
            }
        };
        within_job
            && self
                .grants_of(principal)
                .filter(|grant| grant.target == TargetSelector::Assize && grant.is_live(now))
                .any(|grant| self.granted_by(&grant.permissions, &grant.roles, &access, now))
    }

    /// Who must not decide on this request: as it was when it was opened, and as it is now.
    pub fn conflicted(&self, request: &Request) -> Conflicted {
        let mut all = request.conflicted.clone();
        self.add_conflicted(&request.principal, &mut all);
        if let Some(delegator) = &request.on_behalf_of {
            self.add_conflicted(delegator, &mut all);
        }
        all
    }

    /// A principal and everybody who answers for it: the owners of an agent.
    pub(crate) fn add_conflicted(&self, name: &Name, to: &mut BTreeSet<Name>) {
        to.insert(name.clone());
        match self.principals.get(name).map(|p| &p.kind) {
            Some(PrincipalKind::Agent { owner, backup_owner, .. }) => {
                to.insert(owner.clone());
                to.extend(backup_owner.clone());
            }
            Some(PrincipalKind::Person { .. }) | None => {}
        }
    }

    /// May this person decide on requests for that target? By right of administration, or as the target's owner.
    pub fn may_decide(&self, person: &Name, target: &Name) -> bool {
        let Some(who) = self.active_person(person) else { return false };
        let owns = self.targets.get(target).is_some_and(|t| t.owner.as_ref() == Some(&who.name));
        let locked = self.live_lock(&LockOn::Principal(person.clone()), self.now).is_some();
        !locked && (owns || self.may_administer(person, Verb::Decide, "request", target.as_str()))
    }

    /// Approvals that count now: by people who may decide and are not in conflict.
    pub fn counting_approvals(&self, request: &Request) -> usize {
        let conflicted = self.conflicted(request);
        request
            .approvals
            .keys()
            .filter(|by| !conflicted.contains(*by) && request.ask.admits(by) && self.may_decide(by, &request.target))
            .count()
    }

    fn granted_by(&self, inline: &crate::permission::PermissionSet, roles: &BTreeSet<Name>, access: &Access, now: LogTime) -> bool {
        inline.allows(access)
            || roles.iter().any(|role| {
                self.live_lock(&LockOn::Role(role.clone()), now).is_none()
                    && self.roles.get(role).is_some_and(|role| role.permissions.allows(access))
            })
    }
}
