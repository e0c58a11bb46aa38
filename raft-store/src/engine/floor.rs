//! The durable floor: a lower bound of what the WAL must contain.
//!
//! RocksDB cannot tell a torn tail (never durable, may go) from a damaged one (durable, must not). So after each sync
//! the write number it covered is noted in a file of its own, not synced: it survives a killed process, and after a
//! power loss it may lag behind but never run ahead. A recovered log that ends below it has lost durable writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

pub(super) struct Floor {
    file: File,
    value: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    #[error("FLOOR: {0}")]
    Io(#[from] io::Error),
    #[error("FLOOR: its checksum does not fit")]
    Damaged,
}

const LENGTH: usize = 8 + 8;

impl Floor {
    pub(super) fn open(dir: &Path) -> Result<Floor, FloorError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(dir.join("FLOOR"))?;
        let length = file.metadata()?.len();
        let value = if length == 0 {
            0
        } else {
            let mut bytes = [0; LENGTH];
            if length != LENGTH as u64 {
                return Err(FloorError::Damaged);
            }
            file.read_exact_at(&mut bytes, 0)?;
            let (number, check) = bytes.split_at(8);
            if check != checksum(number) {
                return Err(FloorError::Damaged);
            }
            u64::from_be_bytes(number.try_into().expect("eight bytes"))
        };
        Ok(Floor { file, value: AtomicU64::new(value) })
    }

    pub(super) fn value(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// One sector, written in place: it is there whole or not at all.
    pub(super) fn raise(&self, to: u64) -> io::Result<()> {
        if self.value.fetch_max(to, Ordering::AcqRel) >= to {
            return Ok(());
        }
        let number = to.to_be_bytes();
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&checksum(&number));
        self.file.write_all_at(&bytes, 0)
    }
}

fn checksum(number: &[u8]) -> [u8; 8] {
    Sha256::digest(number)[..8].try_into().expect("SHA-256 is longer")
}
