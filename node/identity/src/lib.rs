//! Proof → principal: what a client shows (a token, a SCRAM exchange) and whom that proves.
//!
//! What this crate must **not** know: sockets, clocks, the bytes of any wire protocol, Raft, storage. State machines
//! here take bytes and values and give bytes and values. All cryptography that decides who somebody is lives here;
//! the rooms of a protocol carry messages to and fro.

pub mod channel_binding;
pub mod random;
pub mod scram;
pub mod secret;
pub mod token;

pub mod resolve;

pub use resolve::{Identity, Proof, Rejection};
pub use secret::Secret;
