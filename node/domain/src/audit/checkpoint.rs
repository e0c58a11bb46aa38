//! Checkpoints: signed tree heads, as C2SP `tlog-checkpoint` and `signed-note` write them.
//!
//! ```text
//! assize/demo-7f3a/1/audit/0                      origin: cluster, incarnation, log
//! 20480                                           leaves
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    root, base64
//! control 1042                                    the control index whose voters sign
//! time 1795000000123                              log time, milliseconds since 1970
//!
//! — assize/demo-7f3a/1/node-1 Az3grlgt…           a line for each signature: base64 of key id and signature
//! — assize/demo-7f3a/1/node-2 9aZc1kQe…
//! ```
//!
//! What is signed is the text up to and with the line feed before the empty line. A checkpoint counts when a majority
//! of the voters at the control index it names have signed it. Keys of witnesses may stand below it too.
//!
//! Ed25519 itself is passed in as a function: this crate computes hashes only.

mod note;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::merkle::Hash;
use crate::id::{Index, NodeId};
use crate::time::LogTime;
pub(crate) use note::is_key_name;
pub use note::{InvalidNote, NOTE_SIZE_MAX, Note, NoteSignature, SIGNATURES_MAX, VerifierKey, key_id};

/// Which log a checkpoint is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub cluster: String,
    pub incarnation: u64,
    /// `control`, `audit/0`, …
    pub log: String,
}

/// The control log's name in origins.
pub const CONTROL_LOG: &str = "control";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: Origin,
    /// Leaves.
    pub size: u64,
    pub root: Hash,
    /// Signed by a majority of the voters at this index.
    pub control_index: Index,
    pub time: LogTime,
}

/// Checks one Ed25519 signature: public key, message, signature.
pub type CheckSignature<'a> = &'a dyn Fn(&[u8; 32], &[u8], &[u8]) -> bool;

/// The voters, each with the key its checkpoints were signed with.
pub type Voters = BTreeMap<NodeId, [u8; 32]>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Note(#[from] InvalidNote),
    #[error("line {line} of the checkpoint should be {expected}")]
    Line { line: usize, expected: &'static str },
    #[error("the checkpoint is of {found}, not of {expected}")]
    OtherOrigin { expected: Origin, found: Origin },
    #[error("signed by {signed} of {voters} voters; {needed} are needed")]
    NoMajority { signed: usize, voters: usize, needed: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "assize/{}/{}/{}", self.cluster, self.incarnation, self.log)
    }
}

impl Origin {
    fn parse(line: &str) -> Option<Origin> {
        let mut parts = line.strip_prefix("assize/")?.splitn(3, '/');
        let (cluster, incarnation, log) = (parts.next()?, parts.next()?, parts.next()?);
        if cluster.is_empty() || log.is_empty() {
            return None;
        }
        Some(Origin { cluster: cluster.to_owned(), incarnation: number(incarnation)?, log: log.to_owned() })
    }

    /// The name of a node's key in signature lines.
    pub fn signer(&self, node: NodeId) -> String {
        format!("assize/{}/{}/node-{node}", self.cluster, self.incarnation)
    }
}

/// Decimal digits without leading zeros: one number, one text.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

impl Checkpoint {
    /// What is signed.
    pub fn text(&self) -> String {
        let root = data_encoding::BASE64.encode(&self.root);
        format!("{}\n{}\n{root}\ncontrol {}\ntime {}\n", self.origin, self.size, self.control_index, self.time.0)
    }

    /// # Errors
    /// Tells the first line that is not as it should be.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.split('\n');
        let mut line = 0;
        let mut next = |expected| {
            line += 1;
            lines.next().map(|text| (text, CheckpointError::Line { line, expected })).ok_or(CheckpointError::Line { line, expected })
        };
        let (text, error) = next("the origin, assize/CLUSTER/INCARNATION/LOG")?;
        let origin = Origin::parse(text).ok_or(error)?;
        let (text, error) = next("the number of leaves")?;
        let size = number(text).ok_or(error)?;
        let (text, error) = next("the root, 32 bytes in base64")?;
        let root = data_encoding::BASE64.decode(text.as_bytes()).ok().and_then(|root| root.try_into().ok()).ok_or(error)?;
        let (text, error) = next("the control index, control NUMBER")?;
        let control_index = text.strip_prefix("control ").and_then(number).map(Index).ok_or(error)?;
        let (text, error) = next("the log time, time MILLISECONDS")?;
        let time = text.strip_prefix("time ").and_then(number).map(LogTime).ok_or(error)?;
        // After the last line feed nothing is left.
        let (text, error) = next("the end")?;
        match (text, lines.next()) {
            ("", None) => Ok(Checkpoint { origin, size, root, control_index, time }),
            _ => Err(error),
        }
    }

    /// The checkpoint with a signature of each of these nodes, as a note.
    pub fn note<'a>(&self, signatures: impl IntoIterator<Item = (NodeId, &'a [u8; 32], &'a [u8])>) -> Note {
        let signature = |(node, key, signature): (NodeId, &[u8; 32], &[u8])| {
            let name = self.origin.signer(node);
            NoteSignature { key_id: key_id(&name, key), name, signature: signature.to_vec() }
        };
        Note { text: self.text(), signatures: signatures.into_iter().map(signature).collect() }
    }
}

/// Votes that make a majority of `voters`.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The signature lines of a note that stand under the name and key id of a voter. Other lines (of witnesses, of nodes
/// that are no voters) are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Signed {
    pub by: BTreeSet<NodeId>,
    /// Their lines do not verify. No node writes such a line: it was changed.
    pub falsely_by: BTreeSet<NodeId>,
}

pub fn signed(note: &Note, origin: &Origin, voters: &Voters, check: CheckSignature<'_>) -> Signed {
    let mut signed = Signed::default();
    for (node, key) in voters {
        let name = origin.signer(*node);
        let id = key_id(&name, key);
        for line in note.signatures.iter().filter(|line| line.name == name && line.key_id == id) {
            let is_true = check(key, note.text.as_bytes(), &line.signature);
            if is_true {
                signed.by.insert(*node)
            } else {
                signed.falsely_by.insert(*node)
            };
        }
    }
    signed
}

impl Signed {
    /// Those who signed, if they are a majority of these voters.
    pub fn by_majority(self, voters: &Voters) -> Result<BTreeSet<NodeId>, CheckpointError> {
        let needed = majority(voters.len());
        if voters.is_empty() || self.by.len() < needed {
            return Err(CheckpointError::NoMajority { signed: self.by.len(), voters: voters.len(), needed });
        }
        Ok(self.by)
    }
}

/// Is the note signed by a majority of these voters? Gives those who signed.
pub fn verify(note: &Note, origin: &Origin, voters: &Voters, check: CheckSignature<'_>) -> Result<BTreeSet<NodeId>, CheckpointError> {
    signed(note, origin, voters, check).by_majority(voters)
}

#[cfg(test)]
mod tests;
