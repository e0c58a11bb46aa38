//! The audit log: its Merkle tree, its records, its checkpoints. Pure, so that a verifier needs nothing else.

pub mod checkpoint;
pub mod export;
pub mod history;
pub mod leaf;
pub mod merkle;
pub mod proof;
pub mod record;
pub mod replay;
pub mod verify;
