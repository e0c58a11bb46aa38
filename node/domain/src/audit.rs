//! The audit log: its Merkle tree, its records, its checkpoints. Pure, so that a verifier needs nothing else.

pub mod add_checkpoint;
pub mod checkpoint;
pub mod cosignature;
pub mod export;
pub mod history;
pub mod leaf;
pub mod merkle;
pub mod proof;
pub mod pruned;
pub mod record;
pub mod replay;
pub mod run;
pub mod verify;
