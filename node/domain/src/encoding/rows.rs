//! The rows of the state as bytes. Keys sort as [`RowKey`] does: a kind byte, then the id big-endian or the name.

use std::sync::Arc;

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::entities::Clock;
use super::wire::Wire;
use super::{DecodeError, from_bytes, to_bytes};
use crate::id::{Digest, Name, ProposalId, ReviewId};
use crate::retention::RetentionFacts;
use crate::state::State;
use crate::state::rows::RowKey;

const CLOCK: u8 = 1;
const CLUSTER: u8 = 2;
const MEMBER: u8 = 3;
const JOIN_TOKEN: u8 = 4;
const PRINCIPAL: u8 = 5;
const TARGET: u8 = 6;
const CREDENTIAL: u8 = 7;
const ROLE: u8 = 8;
const JOB: u8 = 9;
const GRANT: u8 = 10;
const REQUEST: u8 = 11;
const LOCK: u8 = 12;
const RECEIPT: u8 = 13;
const PROPOSAL: u8 = 14;
const REVIEW: u8 = 15;
const REVIEW_ITEMS: u8 = 16;
const REVIEW_HISTORY: u8 = 17;
const TRIGGER: u8 = 18;
const FINDINGS: u8 = 19;
const POLICY: u8 = 20;
const USAGE: u8 = 21;
const DENIALS: u8 = 22;
const VOLUME: u8 = 23;
const SINK: u8 = 25;
const SINK_PROGRESS: u8 = 26;
const WITNESS: u8 = 27;
const COSIGNED: u8 = 28;
const BREAK_GLASS: u8 = 29;
const RETENTION_RULE: u8 = 32;
const HOLD: u8 = 33;
const RETENTION: u8 = 34;

impl RowKey {
    /// The key on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            RowKey::Clock => vec![CLOCK],
            RowKey::Cluster => vec![CLUSTER],
            RowKey::Member(node) => key(MEMBER, &node.0.to_be_bytes()),
            RowKey::JoinToken(lookup) => key(JOIN_TOKEN, &lookup.0),
            RowKey::Principal(name) => key(PRINCIPAL, name.as_str().as_bytes()),
            RowKey::Target(name) => key(TARGET, name.as_str().as_bytes()),
            RowKey::Credential(name) => key(CREDENTIAL, name.as_str().as_bytes()),
            RowKey::Role(name) => key(ROLE, name.as_str().as_bytes()),
            RowKey::Job(name) => key(JOB, name.as_str().as_bytes()),
            RowKey::Grant(id) => key(GRANT, &id.0.to_be_bytes()),
            RowKey::Request(id) => key(REQUEST, &id.0.to_be_bytes()),
            RowKey::Lock(id) => key(LOCK, &id.0.to_be_bytes()),
            RowKey::Receipt(id) => key(RECEIPT, &id.0.to_be_bytes()),
            RowKey::Proposal(id) => key(PROPOSAL, id.as_str().as_bytes()),
            RowKey::Review(id) => key(REVIEW, &id.0.to_be_bytes()),
            RowKey::ReviewItems(id, chunk) => key(REVIEW_ITEMS, &part_of_review(*id, *chunk)),
            RowKey::ReviewHistory(id, item) => key(REVIEW_HISTORY, &part_of_review(*id, *item)),
            RowKey::Trigger(name) => key(TRIGGER, name.as_str().as_bytes()),
            RowKey::Findings(target) => key(FINDINGS, target.as_str().as_bytes()),
            RowKey::Policy(id) => key(POLICY, &id.0.to_be_bytes()),
            RowKey::Usage(id) => key(USAGE, &id.0.to_be_bytes()),
            RowKey::Denials(principal, target) => key(DENIALS, &pair(principal, target.as_str())),
            RowKey::Volume(trigger, principal) => key(VOLUME, &pair(trigger, principal.as_str())),
            RowKey::Sink(name) => key(SINK, name.as_str().as_bytes()),
            RowKey::SinkProgress(name) => key(SINK_PROGRESS, name.as_str().as_bytes()),
            RowKey::Witness(name) => key(WITNESS, name.as_str().as_bytes()),
            RowKey::Cosigned(witness, log) => key(COSIGNED, &pair(witness, log)),
            RowKey::BreakGlass(id) => key(BREAK_GLASS, &id.0.to_be_bytes()),
            RowKey::RetentionRule(class) => key(RETENTION_RULE, &class.store().to_be_bytes()),
            RowKey::Hold(id) => key(HOLD, &id.0.to_be_bytes()),
            RowKey::Retention => vec![RETENTION],
        }
    }
}

/// A name holds no NUL, so that keys sort as the pairs do.
fn pair(name: &Name, of: &str) -> Vec<u8> {
    [name.as_str().as_bytes(), b"\0", of.as_bytes()].concat()
}

fn part_of_review(review: ReviewId, number: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&review.0.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn key(kind: u8, id: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + id.len());
    bytes.push(kind);
    bytes.extend_from_slice(id);
    bytes
}

/// A row of `state` as it is to be written: its key, and its value or `None` where the row is to be deleted.
pub fn encode_row(state: &State, row: &RowKey) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = match row {
        RowKey::Clock => Some(to_bytes(&Clock { applied: state.applied, now: state.now }.store())),
        RowKey::Cluster => Some(to_bytes(&state.cluster.store())),
        RowKey::Member(node) => value(state.members.get(node)),
        RowKey::JoinToken(lookup) => value(state.join_tokens.get(lookup)),
        RowKey::Principal(name) => value(state.principals.get(name)),
        RowKey::Target(name) => value(state.targets.get(name)),
        RowKey::Credential(name) => value(state.credentials.get(name)),
        RowKey::Role(name) => value(state.roles.get(name)),
        RowKey::Job(name) => value(state.jobs.get(name)),
        RowKey::Grant(id) => value(state.grants.get(id)),
        RowKey::Request(id) => value(state.requests.get(id)),
        RowKey::Lock(id) => value(state.locks.get(id)),
        RowKey::Receipt(id) => value(state.receipts.get(id)),
        RowKey::Proposal(id) => value(state.proposals.get(id)),
        RowKey::Review(id) => value(state.reviews.get(id)),
        RowKey::ReviewItems(id, chunk) => value(state.review_items.get(&(*id, *chunk)).map(AsRef::as_ref)),
        RowKey::ReviewHistory(id, item) => value(state.review_history.get(&(*id, *item))),
        RowKey::Trigger(name) => value(state.triggers.get(name)),
        RowKey::Findings(target) => value(state.findings.get(target)),
        RowKey::Policy(id) => value(state.policies.get(id)),
        RowKey::Usage(id) => value(state.usage.get(id).map(AsRef::as_ref)),
        RowKey::Denials(principal, target) => value(state.denials.get(&(principal.clone(), target.clone()))),
        RowKey::Volume(trigger, principal) => value(state.volumes.get(&(trigger.clone(), principal.clone()))),
        RowKey::Sink(name) => value(state.sinks.get(name)),
        RowKey::SinkProgress(name) => value(state.sink_progress.get(name)),
        RowKey::Witness(name) => value(state.witnesses.get(name)),
        RowKey::Cosigned(witness, log) => value(state.cosigned.get(&(witness.clone(), log.clone()))),
        RowKey::BreakGlass(id) => value(state.break_glass.get(id)),
        RowKey::RetentionRule(class) => value(state.retention_rules.get(class)),
        RowKey::Hold(id) => value(state.holds.get(id)),
        RowKey::Retention => value(Some(&*state.retention).filter(|facts| **facts != RetentionFacts::default())),
    };
    (row.to_bytes(), value)
}

fn value<T>(entity: Option<&T>) -> Option<Vec<u8>>
where
    T: Wire,
    T::Stored: Message,
{
    entity.map(|entity| to_bytes(&entity.store()))
}

impl State {
    /// All rows, in key order: what a snapshot holds.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        self.row_keys().filter_map(|row| match encode_row(self, &row) {
            (key, Some(value)) => Some((key, value)),
            (_, None) => None,
        })
    }

    /// The state that these rows hold, with its indexes. Rows may come in any order. No rows: the empty state.
    ///
    /// Fails on anything this build does not know: a replica that skipped it would become another state.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(rows: impl IntoIterator<Item = (K, V)>) -> Result<State, DecodeError> {
        let mut state = State::default();
        for (key, value) in rows {
            state.load_row(key.as_ref(), value.as_ref())?;
        }
        state.rebuild_indexes();
        Ok(state)
    }

    fn load_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        let (kind, id) = key.split_first().ok_or(DecodeError::Empty { what: "row key" })?;
        match *kind {
            CLOCK => {
                let clock: Clock = entity(value)?;
                self.applied = clock.applied;
                self.now = clock.now;
                same(&RowKey::Clock, key)
            }
            CLUSTER => {
                self.cluster = entity(value)?;
                same(&RowKey::Cluster, key)
            }
            MEMBER => {
                let member: crate::member::Member = entity(value)?;
                same(&RowKey::Member(member.id), key)?;
                self.members.insert(member.id, member);
                Ok(())
            }
            JOIN_TOKEN => {
                let token: crate::member::JoinToken = entity(value)?;
                same(&RowKey::JoinToken(token.lookup), key)?;
                self.join_tokens.insert(token.lookup, token);
                Ok(())
            }
            PRINCIPAL => {
                let principal: crate::principal::Principal = entity(value)?;
                same(&RowKey::Principal(principal.name.clone()), key)?;
                self.principals.insert(principal.name.clone(), principal);
                Ok(())
            }
            TARGET => {
                let target: crate::target::Target = entity(value)?;
                same(&RowKey::Target(target.name.clone()), key)?;
                self.targets.insert(target.name.clone(), target);
                Ok(())
            }
            CREDENTIAL => {
                let credential: crate::credential::Credential = entity(value)?;
                same(&RowKey::Credential(credential.name.clone()), key)?;
                self.credentials.insert(credential.name.clone(), credential);
                Ok(())
            }
            ROLE => {
                let role: crate::role::Role = entity(value)?;
                same(&RowKey::Role(role.name.clone()), key)?;
                self.roles.insert(role.name.clone(), role);
                Ok(())
            }
            JOB => {
                let job: crate::job::Job = entity(value)?;
                same(&RowKey::Job(job.name.clone()), key)?;
                self.jobs.insert(job.name.clone(), job);
                Ok(())
            }
            GRANT => {
                let grant: crate::grant::Grant = entity(value)?;
                same(&RowKey::Grant(grant.id), key)?;
                self.grants.insert(grant.id, grant);
                Ok(())
            }
            REQUEST => {
                let request: crate::request::Request = entity(value)?;
                same(&RowKey::Request(request.id), key)?;
                self.requests.insert(request.id, request);
                Ok(())
            }
            LOCK => {
                let lock: crate::lock::Lock = entity(value)?;
                same(&RowKey::Lock(lock.id), key)?;
                self.locks.insert(lock.id, lock);
                Ok(())
            }
            RECEIPT => {
                let receipt: crate::member::Receipt = entity(value)?;
                same(&RowKey::Receipt(receipt.revocation), key)?;
                self.receipts.insert(receipt.revocation, receipt);
                Ok(())
            }
            PROPOSAL => {
                // It does not carry its own id.
                let text = str::from_utf8(id).map_err(|_| DecodeError::Value("proposal id: not UTF-8".into()))?;
                self.proposals.insert(ProposalId::load(text.to_owned())?, entity(value)?);
                Ok(())
            }
            REVIEW => {
                let review: crate::review::Review = entity(value)?;
                same(&RowKey::Review(review.id), key)?;
                self.reviews.insert(review.id, review);
                Ok(())
            }
            REVIEW_ITEMS => {
                let chunk: crate::review::Chunk = entity(value)?;
                same(&RowKey::ReviewItems(chunk.review, chunk.number), key)?;
                self.review_items.insert((chunk.review, chunk.number), Arc::new(chunk));
                Ok(())
            }
            REVIEW_HISTORY => {
                // Like a proposal's, its id stands in the key alone.
                let (review, item) = review_part(id)?;
                self.review_history.insert((review, item), entity(value)?);
                Ok(())
            }
            TRIGGER => {
                let trigger: crate::review::trigger::Trigger = entity(value)?;
                same(&RowKey::Trigger(trigger.name.clone()), key)?;
                self.triggers.insert(trigger.name.clone(), trigger);
                Ok(())
            }
            FINDINGS => {
                let findings: crate::review::trigger::TargetFindings = entity(value)?;
                same(&RowKey::Findings(findings.target.clone()), key)?;
                self.findings.insert(findings.target.clone(), findings);
                Ok(())
            }
            POLICY => {
                let policy: crate::policy::Policy = entity(value)?;
                same(&RowKey::Policy(policy.id), key)?;
                self.policies.insert(policy.id, policy);
                Ok(())
            }
            USAGE => {
                let usage: crate::usage::GrantUsage = entity(value)?;
                same(&RowKey::Usage(usage.grant), key)?;
                self.usage.insert(usage.grant, Arc::new(usage));
                Ok(())
            }
            DENIALS => {
                let denials: crate::usage::Denials = entity(value)?;
                let names = (denials.principal.clone(), denials.target.clone());
                same(&RowKey::Denials(names.0.clone(), names.1.clone()), key)?;
                self.denials.insert(names, denials);
                Ok(())
            }
            VOLUME => {
                let volume: crate::review::trigger::Volume = entity(value)?;
                let names = (volume.trigger.clone(), volume.principal.clone());
                same(&RowKey::Volume(names.0.clone(), names.1.clone()), key)?;
                self.volumes.insert(names, volume);
                Ok(())
            }
            SINK => {
                let sink: crate::sink::Sink = entity(value)?;
                same(&RowKey::Sink(sink.name.clone()), key)?;
                self.sinks.insert(sink.name.clone(), sink);
                Ok(())
            }
            SINK_PROGRESS => {
                let progress: crate::sink::Progress = entity(value)?;
                same(&RowKey::SinkProgress(progress.sink.clone()), key)?;
                self.sink_progress.insert(progress.sink.clone(), progress);
                Ok(())
            }
            WITNESS => {
                let witness: crate::witness::Witness = entity(value)?;
                same(&RowKey::Witness(witness.name.clone()), key)?;
                self.witnesses.insert(witness.name.clone(), witness);
                Ok(())
            }
            COSIGNED => {
                let cosigned: crate::witness::Cosigned = entity(value)?;
                let held = (cosigned.witness.clone(), cosigned.log.clone());
                same(&RowKey::Cosigned(held.0.clone(), held.1.clone()), key)?;
                self.cosigned.insert(held, cosigned);
                Ok(())
            }
            BREAK_GLASS => {
                let broken: crate::break_glass::BreakGlass = entity(value)?;
                same(&RowKey::BreakGlass(broken.id), key)?;
                self.break_glass.insert(broken.id, broken);
                Ok(())
            }
            RETENTION_RULE => {
                let rule: crate::retention::Rule = entity(value)?;
                same(&RowKey::RetentionRule(rule.class), key)?;
                self.retention_rules.insert(rule.class, rule);
                Ok(())
            }
            HOLD => {
                let hold: crate::retention::LegalHold = entity(value)?;
                same(&RowKey::Hold(hold.id), key)?;
                self.holds.insert(hold.id, hold);
                Ok(())
            }
            RETENTION => {
                self.retention = Arc::new(entity(value)?);
                same(&RowKey::Retention, key)
            }
            kind => Err(DecodeError::Unknown { what: "row kind", code: kind.into() }),
        }
    }

    /// SHA-256 over all rows in key order, lengths included. Two replicas with the same digest hold the same state.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for (key, value) in self.rows() {
            hash.update((key.len() as u64).to_be_bytes());
            hash.update(&key);
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(&value);
        }
        Digest(hash.finalize().into())
    }
}

fn entity<T>(value: &[u8]) -> Result<T, DecodeError>
where
    T: Wire,
    T::Stored: Message + Default,
{
    T::load(from_bytes("row", value)?)
}

fn review_part(id: &[u8]) -> Result<(ReviewId, u32), DecodeError> {
    let bad = || DecodeError::Value("a part of a review: 12 bytes of id expected".into());
    let (review, number) = id.split_first_chunk::<8>().ok_or_else(bad)?;
    let number: [u8; 4] = number.try_into().map_err(|_| bad())?;
    Ok((ReviewId(u64::from_be_bytes(*review)), u32::from_be_bytes(number)))
}

/// A row stands under the key of what it holds.
fn same(held: &RowKey, key: &[u8]) -> Result<(), DecodeError> {
    if held.to_bytes() == key { Ok(()) } else { Err(DecodeError::Value(format!("the row of {held:?} stands under another key"))) }
}
