//! What is asked of a witness, and what it answers: the pure half of C2SP `tlog-witness`.
//!
//! ```text
//! old 20852014              leaves of the head that the witness co-signed last; 0 if none
//! PlRNCrwHpqhGrupue0L7gx…   consistency proof, a hash a line
//!
//! assize/demo-7f3a/1/…      the checkpoint, a signed note
//! ```

use std::fmt;

use data_encoding::BASE64;

use super::checkpoint::{CheckSignature, Note, VerifierKey, majority};
use super::merkle::{Hash, empty_root, verify_consistency};

/// Lines of a proof: the specification's bound.
pub const PROOF_LINES_MAX: usize = 63;
/// Bytes of a request: a proof of all its lines, and a note.
pub const REQUEST_SIZE_MAX: usize = super::checkpoint::NOTE_SIZE_MAX + 64 * PROOF_LINES_MAX;
/// The content type of the answer that tells the size to go on from.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    pub old: u64,
    pub proof: Vec<Hash>,
    pub note: Note,
}

/// A head as a witness sees it: any log's, whatever its extension lines say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a witness does not co-sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    #[error("{0}")]
    Malformed(String),
    #[error("the log {0} is not known here")]
    UnknownOrigin(String),
    #[error("{signed} of the {needed} signatures that are needed are by keys that are trusted here")]
    NotSigned { signed: usize, needed: usize },
    #[error("the old size is larger than the checkpoint's")]
    OldBeyondNew,
    /// Where to go on from.
    #[error("the head co-signed last has {0} leaves")]
    OtherSize(u64),
    #[error("another root of {0} leaves was co-signed before")]
    OtherRoot(u64),
    #[error("the log does not continue what was co-signed before")]
    NotConsistent,
}

impl NotCosigned {
    /// The status that the specification names.
    pub fn status(&self) -> u16 {
        match self {
            NotCosigned::Malformed(_) | NotCosigned::OldBeyondNew => 400,
            NotCosigned::NotSigned { .. } => 403,
            NotCosigned::UnknownOrigin(_) => 404,
            NotCosigned::OtherSize(_) | NotCosigned::OtherRoot(_) => 409,
            NotCosigned::NotConsistent => 422,
        }
    }

    /// The log itself misbehaves, unlike whoever asks with an old size.
    pub fn is_fork(&self) -> bool {
        matches!(self, NotCosigned::OtherRoot(_) | NotCosigned::NotConsistent)
    }
}

fn malformed(why: impl Into<String>) -> NotCosigned {
    NotCosigned::Malformed(why.into())
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

impl AddCheckpoint {
    /// # Errors
    /// [`NotCosigned::Malformed`].
    pub fn parse(body: &str) -> Result<AddCheckpoint, NotCosigned> {
        let (head, note) = body.split_once("\n\n").ok_or_else(|| malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(number).ok_or_else(|| malformed("no old size"))?;
        let hash = |line: &str| BASE64.decode(line.as_bytes()).ok().and_then(|hash| hash.try_into().ok());
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>().ok_or_else(|| malformed("a line of the proof is no hash"))?;
        if proof.len() > PROOF_LINES_MAX {
            return Err(malformed("the proof is too long"));
        }
        Ok(AddCheckpoint { old, proof, note: note.parse().map_err(|error: super::checkpoint::InvalidNote| malformed(error.0))? })
    }

    /// The head that is to be co-signed.
    ///
    /// # Errors
    /// [`NotCosigned::Malformed`].
    pub fn head(&self) -> Result<Seen, NotCosigned> {
        let mut lines = self.note.text.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty()).ok_or_else(|| malformed("no origin"))?;
        let size = lines.next().and_then(number).ok_or_else(|| malformed("no size"))?;
        let root = lines.next().and_then(|root| BASE64.decode(root.as_bytes()).ok()).and_then(|root| root.try_into().ok());
        Ok(Seen { origin: origin.to_owned(), size, root: root.ok_or_else(|| malformed("no root"))? })
    }
}

/// Whose checkpoints a witness co-signs: of Assize's nodes those of one cluster and incarnation sign, of other logs keys
/// of the log's own name. A checkpoint needs signatures of a majority of the keys that are trusted for its log.
#[derive(Debug, Clone, Default)]
pub struct Trusted(pub Vec<VerifierKey>);

impl Trusted {
    /// Keys that may sign this log.
    fn of(&self, origin: &str) -> Vec<&VerifierKey> {
        // `assize/CLUSTER/INCARNATION/node-1` signs `assize/CLUSTER/INCARNATION/LOG`.
        let cluster = |name: &str| {
            let mut parts = name.split('/');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some("assize"), Some(cluster), Some(incarnation), Some(_)) => Some((cluster.to_owned(), incarnation.to_owned())),
                _ => None,
            }
        };
        let signs = |key: &&VerifierKey| key.name == origin || cluster(&key.name).is_some_and(|of| Some(of) == cluster(origin));
        self.0.iter().filter(signs).collect()
    }

    /// # Errors
    /// [`NotCosigned::UnknownOrigin`], [`NotCosigned::NotSigned`].
    pub fn check(&self, origin: &str, note: &Note, check: CheckSignature<'_>) -> Result<(), NotCosigned> {
        let keys = self.of(origin);
        if keys.is_empty() {
            return Err(NotCosigned::UnknownOrigin(origin.chars().take(200).collect()));
        }
        let signs = |key: &&&VerifierKey| {
            let id = super::checkpoint::key_id(&key.name, &key.key);
            let mut lines = note.signatures.iter().filter(|line| line.name == key.name && line.key_id == id);
            lines.any(|line| check(&key.key, note.text.as_bytes(), &line.signature))
        };
        let (signed, needed) = (keys.iter().filter(signs).count(), majority(keys.len()));
        if signed < needed { Err(NotCosigned::NotSigned { signed, needed }) } else { Ok(()) }
    }
}

/// Does the head go on from what was co-signed last? What passes may be co-signed, once it is kept.
///
/// # Errors
/// [`NotCosigned`]; the caller has checked signatures before.
pub fn continues(last: Option<&Seen>, asked: &AddCheckpoint, head: &Seen) -> Result<(), NotCosigned> {
    if asked.old > head.size {
        return Err(NotCosigned::OldBeyondNew);
    }
    let (size, root) = last.map_or((0, empty_root()), |last| (last.size, last.root));
    if asked.old != size {
        return Err(NotCosigned::OtherSize(size));
    }
    if head.size == size {
        return match (head.root == root, asked.proof.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(NotCosigned::NotConsistent),
            (false, _) => Err(NotCosigned::OtherRoot(size)),
        };
    }
    let consistent = if size == 0 { asked.proof.is_empty() } else { verify_consistency(size, head.size, &root, &head.root, &asked.proof) };
    if consistent { Ok(()) } else { Err(NotCosigned::NotConsistent) }
}

#[cfg(test)]
mod tests;
