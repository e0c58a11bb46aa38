//! Proofs that stand alone: one record is in the log, one checkpoint continues another.
//!
//! An inclusion proof is written as C2SP `tlog-proof`, with the checkpoint it leads to, so that record, proof and the
//! voters' keys are all a verifier needs:
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 17
//! 7W4kNmhS…        the path from the leaf up, base64
//! Qw0rJ2k1…
//!
//! assize/demo-7f3a/1/audit/0
//! …                the signed checkpoint
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use super::checkpoint::{self, CheckSignature, Checkpoint, CheckpointError, InvalidNote, Note};
use super::history::VoterHistory;
use super::merkle::{self, Hash};
use crate::id::NodeId;

/// A path has at most one hash for each bit of the size.
const PATH_LENGTH_MAX: usize = 64;
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Place of the leaf, from 0.
    pub number: u64,
    pub path: Vec<Hash>,
    pub checkpoint: Note,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the voters at control index {0} are not known")]
    UnknownVoters(crate::id::Index),
    #[error("the path does not lead from this leaf at {number} to the root of {size} leaves")]
    NotIncluded { number: u64, size: u64 },
    #[error("the log of {new} leaves does not continue that of {old} leaves")]
    NotConsistent { old: u64, new: u64 },
    #[error("no inclusion proof: {0}")]
    Malformed(String),
}

impl From<InvalidNote> for ProofError {
    fn from(error: InvalidNote) -> Self {
        ProofError::Checkpoint(error.into())
    }
}

/// A checkpoint whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub checkpoint: Checkpoint,
    pub signers: BTreeSet<NodeId>,
}

/// Reads a checkpoint and checks that a majority of the voters it names signed it.
pub fn verify_checkpoint(note: &Note, voters: &VoterHistory, check: CheckSignature<'_>) -> Result<Verified, ProofError> {
    let checkpoint = Checkpoint::parse(&note.text)?;
    let keys = voters.voters_at(checkpoint.control_index).ok_or(ProofError::UnknownVoters(checkpoint.control_index))?;
    let signers = checkpoint::verify(note, &checkpoint.origin, keys, check)?;
    Ok(Verified { checkpoint, signers })
}

impl InclusionProof {
    /// Is `leaf` in the log that the checkpoint is of, at this place?
    pub fn verify(&self, leaf: &[u8], voters: &VoterHistory, check: CheckSignature<'_>) -> Result<Verified, ProofError> {
        self.verify_hash(&merkle::leaf_hash(leaf), voters, check)
    }

    /// Is a leaf with this hash there? Enough where the body was pruned, and nobody shows another one.
    pub fn verify_hash(&self, leaf: &Hash, voters: &VoterHistory, check: CheckSignature<'_>) -> Result<Verified, ProofError> {
        let verified = verify_checkpoint(&self.checkpoint, voters, check)?;
        let (size, root) = (verified.checkpoint.size, &verified.checkpoint.root);
        if !merkle::verify_inclusion(self.number, size, leaf, &self.path, root) {
            return Err(ProofError::NotIncluded { number: self.number, size });
        }
        Ok(verified)
    }
}

/// Does the log of `new` continue that of `old`? Both must be signed, and of one log.
pub fn verify_consistency(
    old: &Note,
    new: &Note,
    path: &[Hash],
    voters: &VoterHistory,
    check: CheckSignature<'_>,
) -> Result<(Verified, Verified), ProofError> {
    let (old, new) = (verify_checkpoint(old, voters, check)?, verify_checkpoint(new, voters, check)?);
    let (before, after) = (&old.checkpoint, &new.checkpoint);
    if before.origin != after.origin {
        return Err(CheckpointError::OtherOrigin { expected: before.origin.clone(), found: after.origin.clone() }.into());
    }
    if !merkle::verify_consistency(before.size, after.size, &before.root, &after.root, path) {
        return Err(ProofError::NotConsistent { old: before.size, new: after.size });
    }
    Ok((old, new))
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nindex {}", self.number)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for InclusionProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let malformed = |message: &str| ProofError::Malformed(message.to_owned());
        let (proof, note) = text.split_once("\n\n").ok_or_else(|| malformed("no checkpoint after the path"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(malformed("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let number = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| malformed("the second line is not index NUMBER"))?;
        let hash = |line: &str| BASE64.decode(line.as_bytes()).ok().and_then(|hash| Hash::try_from(hash).ok());
        let path: Vec<Hash> = lines
            .map(|line| hash(line).ok_or_else(|| malformed("a line of the path is not 32 bytes in base64")))
            .collect::<Result<_, _>>()?;
        if path.len() > PATH_LENGTH_MAX {
            return Err(malformed("the path is longer than any tree is high"));
        }
        Ok(InclusionProof { number, path, checkpoint: note.parse()? })
    }
}
