//! Our own versioned encoding of what the control log and the state hold.
//!
//! One byte of version, then protobuf. The stored messages are private: domain types may change shape, the bytes of
//! old ones stay readable. Decoding is strict. A version, command, variant or field that this build does not know is
//! an error, and a replica that meets one stops: skipping it would make it another state than its peers'. The
//! replicated feature level keeps new commands out of the log until every member can read them.

mod commands;
mod entities;
mod parts;
mod rows;
mod wire;

#[cfg(test)]
mod tests;

use prost::Message;

use crate::command::{Proposal, Reply};
pub use rows::encode_row;
use wire::Wire;

/// The version this build writes, and the only one there is so far.
pub const ENCODING_VERSION: u8 = 1;

/// Bytes of one encoded proposal. Checked by whoever proposes; a longer one that is in the log already is applied
/// like any other.
pub const PROPOSAL_SIZE_MAX: usize = 1024 * 1024;

/// Why bytes could not be read. All of these stop a replica: either the disk or the build is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} has encoding version {found}; this build knows version {ENCODING_VERSION}")]
    Version { what: &'static str, found: u8 },
    #[error("{what} is damaged: {message}")]
    Malformed { what: &'static str, message: String },
    /// Code 0 stands for a variant that is missing or newer than this build.
    #[error("{what} {code} is not known to this build")]
    Unknown { what: &'static str, code: u32 },
    #[error("{what} holds fields that this build does not know")]
    UnknownFields { what: &'static str },
    #[error("bad value: {0}")]
    Value(String),
}

pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    to_bytes(&proposal.store())
}

pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, DecodeError> {
    Proposal::load(from_bytes("proposal", bytes)?)
}

pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    to_bytes(&reply.store())
}

pub fn decode_reply(bytes: &[u8]) -> Result<Reply, DecodeError> {
    Reply::load(from_bytes("reply", bytes)?)
}

fn to_bytes(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(ENCODING_VERSION);
    message.encode_raw(&mut bytes);
    bytes
}

/// Reads a message and proves that nothing in it was skipped: what was read must encode to the same bytes again.
fn from_bytes<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty { what })?;
    if *version != ENCODING_VERSION {
        return Err(DecodeError::Version { what, found: *version });
    }
    let message = M::decode(body).map_err(|e| DecodeError::Malformed { what, message: e.to_string() })?;
    if message.encode_to_vec() != body {
        return Err(DecodeError::UnknownFields { what });
    }
    Ok(message)
}
