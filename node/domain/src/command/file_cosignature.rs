//! Keeps a checkpoint that an outside witness co-signed. The signature is the node's to check before, and every
//! verifier's after: here it is a text.

use super::check::{invalid, not_found};
use super::step::Step;
use super::{Rejection, Reply};
use crate::audit::checkpoint::{Checkpoint, Note};
use crate::id::Name;
use crate::limits::{COSIGNED_KEPT_MAX, COSIGNED_NOTE_MAX};
use crate::witness::{Cosigned, CosignedHead};

pub(super) fn apply(step: &mut Step<'_>, witness: Name, note: String) -> Result<Reply, Rejection> {
    if !step.state.witnesses.contains_key(&witness) {
        return Err(not_found(format!("witness {witness}")));
    }
    if note.len() > COSIGNED_NOTE_MAX {
        return Err(invalid("note", format!("is longer than {COSIGNED_NOTE_MAX} bytes")));
    }
    let read = note.parse::<Note>().map_err(|error| invalid("note", error.to_string()))?;
    let head = Checkpoint::parse(&read.text).map_err(|error| invalid("note", error.to_string()))?;
    let key = (witness.clone(), head.origin.log.clone());
    let mut cosigned = step.state.cosigned.get(&key).cloned().unwrap_or(Cosigned { witness, log: head.origin.log, heads: Vec::new() });
    if cosigned.heads.last().is_some_and(|last| last.size >= head.size) {
        return Err(invalid("note", "a head of this size or a larger one is filed already"));
    }
    cosigned.heads.push(CosignedHead { size: head.size, note, filed: step.now });
    let beyond = cosigned.heads.len().saturating_sub(COSIGNED_KEPT_MAX);
    cosigned.heads.drain(..beyond);
    step.put_cosigned(cosigned);
    Ok(step.done())
}
