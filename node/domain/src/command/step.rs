//! One entry being applied. Every change of an entity goes through here, so that no row, index or version is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Actor, Rejection, Reply};
use crate::break_glass::BreakGlass;
use crate::credential::Credential;
use crate::grant::{Grant, GrantStatus};
use crate::id::{
    BreakGlassId, Digest, GrantId, HoldId, Index, LockId, Name, NodeId, PolicyId, ProposalId, RequestId, ReviewId, RevocationId, TokenId,
};
use crate::job::Job;
use crate::limits::{PROPOSAL_KEPT, PROPOSALS_KEPT_MAX, REVIEW_CHUNK};
use crate::lock::{Lock, LockOn};
use crate::member::{JoinToken, Member};
use crate::policy::{Policy, PolicyFacts};
use crate::principal::Principal;
use crate::request::Request;
use crate::retention::{LegalHold, Pruning, Rule};
use crate::review::trigger::{TargetFindings, Trigger, Volume};
use crate::review::{Chunk, History, Item, Review};
use crate::role::Role;
use crate::sink::{Progress, Sink};
use crate::state::rows::RowKey;
use crate::state::{Remembered, State, Used};
use crate::target::Target;
use crate::time::LogTime;
use crate::usage::{Denials, GrantUsage};
use crate::witness::{Cosigned, Witness};

pub(super) struct Step<'a> {
    pub(super) state: &'a mut State,
    pub(super) index: Index,
    pub(super) now: LogTime,
    pub(super) actor: &'a Actor,
    pub(super) touched: BTreeSet<RowKey>,
    /// Access was taken away by time or default, whatever the entry's own command is.
    pub(super) took_away: bool,
}

impl<'a> Step<'a> {
    pub(super) fn new(state: &'a mut State, index: Index, now: LogTime, actor: &'a Actor) -> Self {
        Step { state, index, now, actor, touched: BTreeSet::new(), took_away: false }
    }

    pub(super) fn done(&self) -> Reply {
        Reply::Done { version: self.index }
    }

    /// Who acts, as records and entities name it. What is not a principal has a name that no principal can have.
    pub(super) fn actor_name(&self) -> Name {
        match self.actor {
            Actor::Principal(name) => name.clone(),
            Actor::Node(node) => format!("assize.node-{node}").parse().expect("made of allowed characters"),
            Actor::Operator => "assize.operator".parse().expect("made of allowed characters"),
        }
    }

    pub(super) fn put_principal(&mut self, principal: Principal) {
        let name = principal.name.clone();
        if let Some(old) = self.state.principals.get(&name) {
            self.state.indexes.principal(old, false);
        }
        self.state.indexes.principal(&principal, true);
        self.state.indexes.touch_principal(&name, self.index);
        self.state.principals.insert(name.clone(), principal);
        self.touched.insert(RowKey::Principal(name));
    }

    pub(super) fn remove_principal(&mut self, name: &Name) {
        if let Some(old) = self.state.principals.remove(name) {
            self.state.indexes.principal(&old, false);
            self.state.indexes.touch_principal(name, self.index);
            self.touched.insert(RowKey::Principal(name.clone()));
            self.forget_denials(|(principal, _)| principal == name);
            self.forget_volumes(|(_, principal)| principal == name);
        }
    }

    pub(super) fn put_target(&mut self, target: Target) {
        let name = target.name.clone();
        if let Some(old) = self.state.targets.get(&name) {
            self.state.indexes.target(old, false);
        }
        self.state.indexes.target(&target, true);
        self.state.indexes.touch_target(&name, self.index);
        self.state.targets.insert(name.clone(), target);
        self.touched.insert(RowKey::Target(name));
    }

    pub(super) fn remove_target(&mut self, name: &Name) {
        if let Some(old) = self.state.targets.remove(name) {
            self.state.indexes.target(&old, false);
            self.state.indexes.touch_target(name, self.index);
            self.touched.insert(RowKey::Target(name.clone()));
            self.forget_denials(|(_, target)| target == name);
            if self.state.findings.remove(name).is_some() {
                self.touched.insert(RowKey::Findings(name.clone()));
            }
        }
    }

    pub(super) fn put_credential(&mut self, credential: Credential) {
        self.state.indexes.touch_all(self.index);
        self.touched.insert(RowKey::Credential(credential.name.clone()));
        self.state.credentials.insert(credential.name.clone(), credential);
    }

    pub(super) fn remove_credential(&mut self, name: &Name) {
        self.state.indexes.touch_all(self.index);
        self.state.credentials.remove(name);
        self.touched.insert(RowKey::Credential(name.clone()));
    }

    pub(super) fn put_role(&mut self, role: Role) {
        self.state.indexes.touch_all(self.index);
        self.touched.insert(RowKey::Role(role.name.clone()));
        self.state.roles.insert(role.name.clone(), role);
    }

    pub(super) fn remove_role(&mut self, name: &Name) {
        self.state.indexes.touch_all(self.index);
        self.state.roles.remove(name);
        self.touched.insert(RowKey::Role(name.clone()));
    }

    pub(super) fn put_job(&mut self, job: Job) {
        let name = job.name.clone();
        if let Some(old) = self.state.jobs.get(&name) {
            self.state.indexes.job(old, false);
        }
        self.state.indexes.job(&job, true);
        self.state.indexes.touch_all(self.index);
        self.state.jobs.insert(name.clone(), job);
        self.touched.insert(RowKey::Job(name));
    }

    pub(super) fn remove_job(&mut self, name: &Name) {
        if let Some(old) = self.state.jobs.remove(name) {
            self.state.indexes.job(&old, false);
            self.state.indexes.touch_all(self.index);
            self.touched.insert(RowKey::Job(name.clone()));
        }
    }

    pub(super) fn put_grant(&mut self, grant: Grant) {
        if let Some(old) = self.state.grants.get(&grant.id) {
            self.state.indexes.grant(old, self.now, false);
        }
        let grant = self.state.sharing(grant, &self.state.indexes);
        self.state.indexes.grant(&grant, self.now, true);
        self.state.indexes.touch_principal(&grant.principal, self.index);
        self.touched.insert(RowKey::Grant(grant.id));
        self.state.grants.insert(grant.id, grant);
    }

    /// It stays as a tombstone that says by whom and why.
    pub(super) fn revoke_grant(&mut self, mut grant: Grant, by: Name, reason: String) {
        grant.status = GrantStatus::Revoked { by, at: self.now, reason, revocation: RevocationId(self.index.0) };
        grant.version = self.index;
        grant.narrowed = self.index;
        self.put_grant(grant);
    }

    /// `false` if the principal has no such token. Which sessions it opened is not known here, so all of the
    /// principal's sessions end.
    pub(super) fn revoke_token(&mut self, mut principal: Principal, token: TokenId) -> bool {
        if principal.tokens.remove(&token).is_none() {
            return false;
        }
        principal.version = self.index;
        principal.narrowed = self.index;
        self.put_principal(principal);
        true
    }

    pub(super) fn remove_grant(&mut self, id: GrantId) {
        if let Some(old) = self.state.grants.remove(&id) {
            self.state.indexes.grant(&old, self.now, false);
            self.touched.insert(RowKey::Grant(id));
        }
        if let Some(usage) = self.state.usage.remove(&id) {
            self.state.indexes.seen -= usage.seen.len();
            self.touched.insert(RowKey::Usage(id));
        }
    }

    /// Use is evidence from here on.
    pub(super) fn begin_usage(&mut self) {
        if self.state.cluster.usage_since.is_none() {
            self.state.cluster.usage_since = Some(self.now);
            self.touched.insert(RowKey::Cluster);
        }
    }

    pub(super) fn put_usage(&mut self, usage: GrantUsage) {
        self.touched.insert(RowKey::Usage(usage.grant));
        self.state.indexes.seen += usage.seen.len();
        if let Some(old) = self.state.usage.insert(usage.grant, Arc::new(usage)) {
            self.state.indexes.seen -= old.seen.len();
        }
    }

    pub(super) fn put_denials(&mut self, denials: Denials) {
        let key = (denials.principal.clone(), denials.target.clone());
        self.touched.insert(RowKey::Denials(key.0.clone(), key.1.clone()));
        self.state.denials.insert(key, denials);
    }

    fn forget_denials(&mut self, of: impl Fn(&(Name, Name)) -> bool) {
        let keys: Vec<(Name, Name)> = self.state.denials.keys().filter(|key| of(key)).cloned().collect();
        for key in keys {
            self.state.denials.remove(&key);
            self.touched.insert(RowKey::Denials(key.0, key.1));
        }
    }

    /// Requests are read anew at every verdict, so they touch no permit.
    pub(super) fn put_request(&mut self, request: Request) {
        if let Some(old) = self.state.requests.get(&request.id) {
            self.state.indexes.request(old, false);
        }
        self.state.indexes.request(&request, true);
        self.touched.insert(RowKey::Request(request.id));
        self.state.requests.insert(request.id, request);
    }

    pub(super) fn remove_request(&mut self, id: RequestId) {
        if let Some(old) = self.state.requests.remove(&id) {
            self.state.indexes.request(&old, false);
            self.touched.insert(RowKey::Request(id));
        }
    }

    pub(super) fn put_review(&mut self, review: Review) {
        if let Some(old) = self.state.reviews.get(&review.id) {
            self.state.indexes.review(old, false);
        }
        self.state.indexes.review(&review, true);
        self.touched.insert(RowKey::Review(review.id));
        self.state.reviews.insert(review.id, review);
    }

    /// The population, once and for all.
    pub(super) fn put_review_items(&mut self, review: ReviewId, items: Vec<Item>) {
        let mut rest = items.into_iter();
        for number in 0.. {
            let items: Vec<Item> = rest.by_ref().take(REVIEW_CHUNK as usize).collect();
            if items.is_empty() {
                break;
            }
            self.touched.insert(RowKey::ReviewItems(review, number));
            self.state.review_items.insert((review, number), Arc::new(Chunk { review, number, items }));
        }
    }

    pub(super) fn put_review_history(&mut self, key: (ReviewId, u32), history: History) {
        self.touched.insert(RowKey::ReviewHistory(key.0, key.1));
        self.state.review_history.insert(key, history);
    }

    pub(super) fn remove_review(&mut self, id: ReviewId) {
        if let Some(old) = self.state.reviews.remove(&id) {
            self.state.indexes.review(&old, false);
            self.touched.insert(RowKey::Review(id));
        }
        let of_review = (id, 0)..=(id, u32::MAX);
        let chunks: Vec<_> = self.state.review_items.range(of_review.clone()).map(|(key, _)| *key).collect();
        for key in chunks {
            self.state.review_items.remove(&key);
            self.touched.insert(RowKey::ReviewItems(key.0, key.1));
        }
        let histories: Vec<_> = self.state.review_history.range(of_review).map(|(key, _)| *key).collect();
        for key in histories {
            self.state.review_history.remove(&key);
            self.touched.insert(RowKey::ReviewHistory(key.0, key.1));
        }
    }

    pub(super) fn put_trigger(&mut self, trigger: Trigger) {
        self.touched.insert(RowKey::Trigger(trigger.name.clone()));
        self.state.triggers.insert(trigger.name.clone(), trigger);
    }

    pub(super) fn remove_trigger(&mut self, name: &Name) {
        self.state.triggers.remove(name);
        self.touched.insert(RowKey::Trigger(name.clone()));
        self.forget_volumes(|(trigger, _)| trigger == name);
    }

    pub(super) fn put_volume(&mut self, volume: Volume) {
        let key = (volume.trigger.clone(), volume.principal.clone());
        self.touched.insert(RowKey::Volume(key.0.clone(), key.1.clone()));
        self.state.volumes.insert(key, volume);
    }

    /// Of those of these triggers and principals.
    pub(super) fn forget_volumes(&mut self, of: impl Fn(&(Name, Name)) -> bool) {
        let keys: Vec<(Name, Name)> = self.state.volumes.keys().filter(|key| of(key)).cloned().collect();
        for key in keys {
            self.state.volumes.remove(&key);
            self.touched.insert(RowKey::Volume(key.0, key.1));
        }
    }

    pub(super) fn put_findings(&mut self, findings: TargetFindings) {
        self.touched.insert(RowKey::Findings(findings.target.clone()));
        self.state.findings.insert(findings.target.clone(), findings);
    }

    pub(super) fn put_lock(&mut self, lock: Lock) {
        self.touch_locked(&lock.on);
        self.state.indexes.lock(&lock, true);
        self.touched.insert(RowKey::Lock(lock.id));
        self.state.locks.insert(lock.id, lock);
    }

    pub(super) fn remove_lock(&mut self, id: LockId) {
        if let Some(old) = self.state.locks.remove(&id) {
            self.touch_locked(&old.on);
            self.state.indexes.lock(&old, false);
            self.touched.insert(RowKey::Lock(id));
        }
    }

    fn touch_locked(&mut self, on: &LockOn) {
        let indexes = &mut self.state.indexes;
        match on {
            LockOn::Principal(name) => indexes.touch_principal(name, self.index),
            LockOn::Target(name) => indexes.touch_target(name, self.index),
            LockOn::Role(_) | LockOn::Credential(_) | LockOn::Session(_) => indexes.touch_all(self.index),
        }
    }

    pub(super) fn put_member(&mut self, member: Member) {
        self.touched.insert(RowKey::Member(member.id));
        self.state.members.insert(member.id, member);
    }

    pub(super) fn remove_member(&mut self, id: NodeId) {
        self.state.members.remove(&id);
        self.touched.insert(RowKey::Member(id));
    }

    /// A bundle at hand is read by nothing until it is activated.
    pub(super) fn put_policy(&mut self, policy: Policy) {
        self.touched.insert(RowKey::Policy(policy.id));
        self.state.policies.insert(policy.id, policy);
    }

    pub(super) fn remove_policy(&mut self, id: PolicyId) {
        self.state.policies.remove(&id);
        self.touched.insert(RowKey::Policy(id));
    }

    /// The grant it opened is put, and touches what it must, by itself.
    pub(super) fn put_break_glass(&mut self, broken: BreakGlass) {
        self.touched.insert(RowKey::BreakGlass(broken.id));
        self.state.break_glass.insert(broken.id, broken);
    }

    pub(super) fn remove_break_glass(&mut self, id: BreakGlassId) {
        self.state.break_glass.remove(&id);
        self.touched.insert(RowKey::BreakGlass(id));
    }

    pub(super) fn put_sink(&mut self, sink: Sink) {
        self.touched.insert(RowKey::Sink(sink.name.clone()));
        self.state.sinks.insert(sink.name.clone(), sink);
    }

    pub(super) fn remove_sink(&mut self, name: &Name) {
        self.state.sinks.remove(name);
        self.state.sink_progress.remove(name);
        self.touched.extend([RowKey::Sink(name.clone()), RowKey::SinkProgress(name.clone())]);
    }

    pub(super) fn put_progress(&mut self, progress: Progress) {
        self.touched.insert(RowKey::SinkProgress(progress.sink.clone()));
        self.state.sink_progress.insert(progress.sink.clone(), progress);
    }

    pub(super) fn put_witness(&mut self, witness: Witness) {
        self.touched.insert(RowKey::Witness(witness.name.clone()));
        self.state.witnesses.insert(witness.name.clone(), witness);
    }

    pub(super) fn remove_witness(&mut self, name: &Name) {
        self.state.witnesses.remove(name);
        self.touched.insert(RowKey::Witness(name.clone()));
        let logs: Vec<String> = self.state.cosigned.keys().filter(|(witness, _)| witness == name).map(|(_, log)| log.clone()).collect();
        for log in logs {
            self.state.cosigned.remove(&(name.clone(), log.clone()));
            self.touched.insert(RowKey::Cosigned(name.clone(), log));
        }
    }

    pub(super) fn put_cosigned(&mut self, cosigned: Cosigned) {
        let key = (cosigned.witness.clone(), cosigned.log.clone());
        self.touched.insert(RowKey::Cosigned(key.0.clone(), key.1.clone()));
        self.state.cosigned.insert(key, cosigned);
    }

    pub(super) fn put_retention_rule(&mut self, rule: Rule) {
        self.touched.insert(RowKey::RetentionRule(rule.class));
        self.state.retention_rules.insert(rule.class, rule);
    }

    pub(super) fn put_hold(&mut self, hold: LegalHold) {
        self.touched.insert(RowKey::Hold(hold.id));
        self.state.holds.insert(hold.id, hold);
    }

    pub(super) fn remove_hold(&mut self, id: HoldId) {
        self.state.holds.remove(&id);
        self.touched.insert(RowKey::Hold(id));
    }

    pub(super) fn put_pruning(&mut self, pruning: Pruning) {
        Arc::make_mut(&mut self.state.retention).progress.insert(pruning.class, pruning);
        self.touched.insert(RowKey::Retention);
    }

    /// What was planned before counts no more; where more may go now, the log is looked at again from its start.
    pub(super) fn retention_changed(&mut self, again: bool) {
        let facts = Arc::make_mut(&mut self.state.retention);
        facts.changed = self.index;
        if again {
            facts.progress.values_mut().for_each(|pruning| pruning.through = 0);
        }
        self.touched.insert(RowKey::Retention);
    }

    pub(super) fn put_policy_facts(&mut self, facts: PolicyFacts) {
        self.state.cluster.policy = Some(facts);
        self.touched.insert(RowKey::Cluster);
    }

    pub(super) fn put_join_token(&mut self, token: JoinToken) {
        if let Some(old) = self.state.join_tokens.get(&token.lookup) {
            self.state.indexes.join_token(old, false);
        }
        self.state.indexes.join_token(&token, true);
        self.touched.insert(RowKey::JoinToken(token.lookup));
        self.state.join_tokens.insert(token.lookup, token);
    }

    pub(super) fn remove_join_token(&mut self, lookup: &Digest) {
        if let Some(old) = self.state.join_tokens.remove(lookup) {
            self.state.indexes.join_token(&old, false);
            self.touched.insert(RowKey::JoinToken(*lookup));
        }
    }

    /// Keeps the reply for a repeated proposal, and drops those that are too old or too many.
    pub(super) fn remember(&mut self, id: &ProposalId, reply: Reply) {
        self.state.indexes.proposal(id, self.now, true);
        self.state.proposals.insert(id.clone(), Remembered { at: self.now, reply });
        self.touched.insert(RowKey::Proposal(id.clone()));
        while self.state.proposals.len() > PROPOSALS_KEPT_MAX {
            self.forget_oldest_proposal();
        }
    }

    pub(super) fn forget_old_proposals(&mut self) {
        while self.state.indexes.proposals_by_age.get_min().is_some_and(|(at, _)| at.after(PROPOSAL_KEPT) <= self.now) {
            self.forget_oldest_proposal();
        }
    }

    fn forget_oldest_proposal(&mut self) {
        if let Some((at, id)) = self.state.indexes.proposals_by_age.get_min().cloned() {
            self.state.indexes.proposal(&id, at, false);
            self.state.proposals.remove(&id);
            self.touched.insert(RowKey::Proposal(id));
        }
    }

    /// The sessions of a person's agents end with what stops the person, even if that is over before a node sees it.
    pub(super) fn narrow_agents_of(&mut self, owner: &Name) {
        for mut agent in self.state.agents_owned_by(owner) {
            agent.narrowed = self.index;
            self.put_principal(agent);
        }
    }

    /// What still uses `used`, if anything does.
    pub(super) fn refuse_while_used(&self, used: &Used, what: impl FnOnce() -> String) -> Result<(), Rejection> {
        match self.state.user_of(used) {
            Some(by) => Err(Rejection::InUse { what: what(), by }),
            None => Ok(()),
        }
    }
}
