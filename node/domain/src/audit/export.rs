//! The export file: everything an offline verifier needs, as a stream of items.
//!
//! ```text
//! "assize-audit-export-1\n"  then items, each with its length: header, leaves and checkpoints in any mixture, end
//! ```
//! The leaves of one log stand in their order. An export without its end is cut short, and says so. Reading takes bytes
//! as they come: an export may be larger than memory.

use bytes::Bytes;
use prost::Message;

use super::record::STATEMENT_PART_MAX;
use crate::encoding::DecodeError;

/// First bytes of the file.
pub const EXPORT_MAGIC: &[u8] = b"assize-audit-export-1\n";
/// Bytes of one item. A leaf is a record or a command: neither is longer.
pub const ITEM_SIZE_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(ITEM_SIZE_MAX > STATEMENT_PART_MAX + 64 * 1024 && ITEM_SIZE_MAX > 2 * crate::encoding::PROPOSAL_SIZE_MAX);

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Item {
    #[prost(message, tag = 1)]
    Header(ExportHeader),
    #[prost(message, tag = 2)]
    Leaf(ExportLeaf),
    #[prost(message, tag = 3)]
    Checkpoint(ExportCheckpoint),
    #[prost(message, tag = 4)]
    End(ExportEnd),
}

#[derive(Clone, PartialEq, Message)]
pub struct ExportHeader {
    #[prost(string, tag = 1)]
    pub cluster: String,
    #[prost(uint64, tag = 2)]
    pub incarnation: u64,
    /// What the exporter says the genesis is, as a [`super::checkpoint::VerifierKey`]. A verifier pins its own.
    #[prost(string, tag = 3)]
    pub genesis: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExportLeaf {
    /// `control`, `audit/0`, …
    #[prost(string, tag = 1)]
    pub log: String,
    #[prost(uint64, tag = 2)]
    pub number: u64,
    #[prost(bytes = "bytes", tag = 3)]
    pub leaf: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExportCheckpoint {
    /// The signed note; its origin says of which log.
    #[prost(string, tag = 1)]
    pub note: String,
}

/// How much the export holds.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ExportEnd {
    #[prost(uint64, tag = 1)]
    pub leaves: u64,
    #[prost(uint64, tag = 2)]
    pub checkpoints: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredItem {
    #[prost(oneof = "Item", tags(1, 2, 3, 4))]
    item: Option<Item>,
}

/// The bytes of one item, to be written after [`EXPORT_MAGIC`] and the items before it.
pub fn encode_item(item: Item) -> Vec<u8> {
    StoredItem { item: Some(item) }.encode_length_delimited_to_vec()
}

/// Reads an export as its bytes come.
#[derive(Debug, Default)]
pub struct ExportReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    read: usize,
    begun: bool,
}

fn malformed(message: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { what: "audit export", message: message.into() }
}

impl ExportReader {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, or `None` when it needs more bytes.
    pub fn next_item(&mut self) -> Result<Option<Item>, DecodeError> {
        if !self.begun {
            if self.buffer.len() < EXPORT_MAGIC.len() {
                return Ok(None);
            }
            if !self.buffer.starts_with(EXPORT_MAGIC) {
                return Err(malformed("it does not begin as an audit export of format 1"));
            }
            self.read = EXPORT_MAGIC.len();
            self.begun = true;
        }
        let rest = &self.buffer[self.read..];
        let mut after = rest;
        let length = match prost::encoding::decode_varint(&mut after) {
            Ok(length) => length,
            // A length has at most ten bytes.
            Err(_) if rest.len() < 10 => return Ok(None),
            Err(error) => return Err(malformed(error.to_string())),
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= ITEM_SIZE_MAX)
            .ok_or_else(|| malformed(format!("an item of {length} bytes; at most {ITEM_SIZE_MAX}")))?;
        let Some(body) = after.get(..length) else { return Ok(None) };
        let item = StoredItem::decode(body).map_err(|e| malformed(e.to_string()))?;
        self.read += rest.len() - after.len() + length;
        item.item.map(Some).ok_or(DecodeError::Unknown { what: "item of an audit export", code: 0 })
    }

    /// After the last bytes: was everything read?
    pub fn is_done(&self) -> bool {
        self.begun && self.read == self.buffer.len()
    }
}
