//! The admin API: one tonic service per file in [`service`], behind one guard that knows every method. Beside it
//! [`authzen`]: what agents ask for themselves over HTTP.
//!
//! What this crate must **not** know: Raft, RocksDB, QUIC, sessions. All it may ask of the node stands in [`control`];
//! the server implements that over the cluster, the tests over a state in memory.
//!
//! Reading order of a call: [`guard`] finds its row in the [`policy`] table and proves who calls; the service converts
//! the message ([`convert`]); [`call`] checks the right by name and puts the command through the log; [`failure`] words
//! what went wrong.

pub mod control;
pub mod policy;

mod asked;
pub mod authzen;
mod call;
mod convert;
mod failure;
mod guard;
pub mod page;
pub mod service;

#[cfg(feature = "in-memory")]
pub mod in_memory;
pub mod limits;
mod serve;

pub use control::{Committed, Control, ControlError};
pub use convert::record::describe;
pub use serve::serve;
pub use service::{Parts, routes};
