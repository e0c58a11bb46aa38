//! Where Raft's logs and the replicated states lie: the only crate that knows RocksDB.
//!
//! What this crate must **not** know: sockets, what a command means, who may do what. It stores opaque payloads, hands
//! them to a [`Machine`] in order, keeps the machine's rows, and hashes its leaves into a Merkle log.
//!
//! ```text
//!  control/     raft log and vote │ rows, leaves, hashes, applied      one engine, one WAL, one sync thread
//!  audit-log/   raft log and vote of the audit groups                  one engine
//!  audit-data/  rows, leaves, hashes, applied of the audit groups      one engine
//! ```
//!
//! - [`engine`]: one RocksDB with one sync thread; group commit; a failed sync poisons it. Or a disk in memory.
//! - [`log_store`]: openraft's log storage on an engine.
//! - [`state_machine`]: rows and leaves of one group, applied atomically with the applied index.
//! - [`leaves`]: reading the Merkle log: leaves, roots, proofs.
//! - [`snapshot`]: rows and leaves on their way to another node.
//! - [`audit`]: the machine of an audit group: batches of records, deduplicated by producer.
//! - [`format`]: our own encodings, on disk and on the wire.

pub mod audit;
mod columns;
pub mod engine;
pub mod format;
pub mod leaves;
pub mod log_store;
pub mod machine;
pub mod snapshot;
pub mod state_machine;
mod types;

pub use engine::{Engine, EngineOptions, MemoryDisk, MemoryDisks, OpenError};
pub use leaves::LeafReader;
pub use log_store::LogStore;
pub use machine::{Applied, Machine, MachineError};
pub use snapshot::{Incoming, SnapshotData};
pub use state_machine::StateMachine;
pub use types::{Entry, LeaderId, LogId, Membership, Payload, PeerNode, Reply, SnapshotMeta, StoredMembership, TypeConfig, Vote};
