//! A leaf of the control log: a command, by whom, and what it answered. Log time passing (`Tick`) makes no leaf, but
//! for the tick that opens a review of a series or a trigger, which takes its id from it, and the one at which a trigger
//! looked for what only time tells. Nor do notes of what was
//! delivered and co-signed: who follows the log would be sent a leaf for each leaf sent. A message passed over makes one.

use bytes::Bytes;
use prost::Message;

use crate::command::{Changes, Command, Proposal, Reply};
use crate::encoding::{DecodeError, decode_proposal, decode_reply};
use crate::id::{Index, ReviewId};
use crate::state::rows::RowKey;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLeaf {
    /// Index of the entry in the control log.
    pub index: Index,
    pub proposal: Proposal,
    pub reply: Reply,
}

const LEAF_VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct StoredLeaf {
    #[prost(uint32, tag = 1)]
    version: u32,
    #[prost(uint64, tag = 2)]
    index: u64,
    #[prost(bytes = "bytes", tag = 3)]
    proposal: Bytes,
    #[prost(bytes = "bytes", tag = 4)]
    reply: Bytes,
}

impl ControlLeaf {
    /// Whether an entry belongs in the log of administration.
    pub fn is_due(index: Index, command: &Command, changes: &Changes) -> bool {
        match command {
            Command::Tick => {
                let looked = changes.touched.iter().any(|row| matches!(row, RowKey::Trigger(_)));
                looked || changes.touched.contains(&RowKey::Review(ReviewId(index.0)))
            }
            Command::AdvanceSink(advance) => advance.abandoned > 0,
            Command::FileCosignature { .. } => false,
            _ => true,
        }
    }

    /// From the bytes that the log holds: encoding them anew would make the leaf another one after an upgrade.
    pub fn encode(index: Index, proposal: &Bytes, reply: &Bytes) -> Bytes {
        let leaf = StoredLeaf { version: LEAF_VERSION, index: index.0, proposal: proposal.clone(), reply: reply.clone() };
        leaf.encode_to_vec().into()
    }

    /// # Errors
    /// When the bytes are not a leaf that this build knows.
    pub fn decode(bytes: &[u8]) -> Result<ControlLeaf, DecodeError> {
        let leaf = StoredLeaf::decode(bytes).map_err(|e| DecodeError::Malformed { what: "control leaf", message: e.to_string() })?;
        if leaf.version != LEAF_VERSION {
            return Err(DecodeError::Unknown { what: "control leaf version", code: leaf.version });
        }
        Ok(ControlLeaf { index: Index(leaf.index), proposal: decode_proposal(&leaf.proposal)?, reply: decode_reply(&leaf.reply)? })
    }
}
