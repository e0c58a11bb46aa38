//! What stands in the place of a record whose body was pruned: its hash, and what decided that it go. The tree keeps
//! every hash, so that proofs over it do not change; offline, a body may be missing only where the signed control log
//! says so ([`super::verify`]).
//!
//! ```text
//! 0x00 ‖ record { header without session and run, pruned { hash, plan, class } }
//! ```
//! No record and no command begins with a zero byte: in protobuf that would be the field 0, which there is not.

use prost::Message as _;

use super::merkle::{Hash, leaf_hash};
use super::record;
use super::record::stored::{Kind, Pruned, Record};
use crate::id::Index;
use crate::retention::RecordClass;
use crate::time::LogTime;

/// First byte of what stands for a pruned body.
pub const MARK: u8 = 0;

/// What a plan lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The control entry that decided it.
    pub plan: Index,
    pub class: RecordClass,
    pub before: LogTime,
}

/// The record in a stored leaf that stands for a pruned one.
pub fn read(leaf: &[u8]) -> Option<(Record, Pruned)> {
    let record = Record::decode(leaf.strip_prefix(&[MARK])?).ok()?;
    match record.kind.clone() {
        Some(Kind::Pruned(pruned)) if pruned.hash.len() == 32 => Some((record, pruned)),
        Some(_) | None => None,
    }
}

/// The hash that the tree has of a stored leaf, body or not.
pub fn stored_hash(leaf: &[u8]) -> Hash {
    match read(leaf) {
        Some((_, pruned)) => pruned.hash.try_into().expect("its length was looked at"),
        None => leaf_hash(leaf),
    }
}

/// What is stored instead of this body, or `None` where it stays: it is of another class, too young, or gone already.
/// Every replica asks this of its own bytes, so that a wrong plan takes nothing that its rule does not cover.
pub fn prune(body: &[u8], terms: &Terms) -> Option<Vec<u8>> {
    let record = record::decode(body).ok()?;
    if RecordClass::of(&record) != Some(terms.class) || LogTime(record.time) > terms.before {
        return None;
    }
    let pruned = Pruned {
        hash: leaf_hash(body).to_vec(),
        plan: terms.plan.0,
        class: terms.class.as_str().to_owned(),
        kind: record.kind_name().to_owned(),
        bytes: body.len() as u64,
    };
    let stub = Record { session: None, run: String::new(), kind: Some(Kind::Pruned(pruned)), ..record };
    let mut bytes = vec![MARK];
    stub.encode(&mut bytes).expect("a Vec grows as needed");
    Some(bytes)
}
