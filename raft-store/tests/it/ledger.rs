//! A small machine for the tests: remembers every payload as a row, and hashes it as a leaf.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_store::machine::Row;
use raft_store::{Applied, Machine, MachineError};

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) published: u64,
}

impl Machine for Ledger {
    fn load(&mut self, rows: Vec<Row>) -> Result<(), MachineError> {
        self.rows = rows.into_iter().collect();
        Ok(())
    }

    fn apply(&mut self, index: u64, leaves: u64, payload: &Bytes) -> Result<Applied, MachineError> {
        if payload.as_ref() == b"unknown" {
            return Err(MachineError("a kind this release does not know".into()));
        }
        let key = index.to_be_bytes().to_vec();
        self.rows.insert(key.clone(), payload.to_vec());
        Ok(Applied {
            reply: Bytes::from(leaves.to_be_bytes().to_vec()),
            rows: vec![(key, Some(payload.to_vec()))],
            leaves: vec![payload.clone()],
        })
    }

    fn published(&mut self, index: u64) {
        self.published = index;
    }
}
