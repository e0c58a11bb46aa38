//! The road: listener → stage → admission → upstream → relay (judge → record → forward), the same for every protocol.
//!
//! What this crate must **not** know: Raft, RocksDB, gRPC, and the bytes of any one protocol.
//!
//! Reading order: [`authority`] is all a gateway may ask of the cluster, [`protocol`] all a protocol supplies;
//! [`listener`] accepts and [`stage`] walks one connection from stranger to relay; [`gate`] and [`registry`] are how a
//! revocation stops it; [`road`] is what a protocol's machine sees, [`relay`] the loop that moves the bytes.

pub mod authority;
pub mod limits;
pub mod metrics;
pub mod protocol;
pub mod tasks;
mod usage;

pub mod gate;
pub mod registry;

pub mod hold;
pub mod outbox;
pub mod records;
pub mod road;

pub mod listener;
pub mod relay;
pub mod stage;

#[cfg(feature = "local")]
pub mod local;
