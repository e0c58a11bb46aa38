//! The decision core: every noun and every decision of Assize.
//!
//! What this crate must **not** know: sockets, files, clocks, randomness, tokio, tonic, RocksDB. Time, chance and
//! order enter as arguments, so the same log gives the same state on every node. Collections are ordered
//! (`BTreeMap`, `imbl::OrdMap`): iteration order is part of the replicated behaviour.

pub mod id;
pub mod limits;
pub mod time;

pub mod operation;
pub mod permission;

pub mod break_glass;
pub mod credential;
pub mod grant;
pub mod job;
pub mod lock;
pub mod member;
pub mod policy;
pub mod principal;
pub mod request;
pub mod retention;
pub mod review;
pub mod role;
pub mod sink;
pub mod target;
pub mod witness;

pub mod admission;
pub mod command;
pub mod encoding;
pub mod escape;
pub mod refusal;
pub mod state;
pub mod usage;
pub mod verdict;

pub mod audit;

#[cfg(test)]
mod fixture;
