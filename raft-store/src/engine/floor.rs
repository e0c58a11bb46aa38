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

use planted::{Point, reach};
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
    #[error("FLOOR: missing beside existing data; what had been made durable cannot be told")]
    Missing,
    #[error("CURRENT: missing, though {0} writes had been made durable here")]
    DatabaseMissing(u64),
}

const LENGTH: usize = 8 + 8;

impl Floor {
    /// Before the database is opened: in a folder without one the floor is made, beside one it must be there.
    pub(super) fn open(dir: &Path) -> Result<Floor, FloorError> {
        let path = dir.join("FLOOR");
        if !dir.join("CURRENT").exists() {
            // A new database here would forget a vote and whatever was acknowledged.
            match File::open(&path).map_err(FloorError::Io).and_then(|file| decode(&file)) {
                Ok(value) if value > 0 => return Err(FloorError::DatabaseMissing(value)),
                _ => {}
            }
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.write_all_at(&encode(0), 0)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()?;
            reach(Point::FloorMade);
            return Ok(Floor { file, value: AtomicU64::new(0) });
        }
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FloorError::Missing),
            opened => opened?,
        };
        let value = AtomicU64::new(decode(&file)?);
        Ok(Floor { file, value })
    }

    /// For a copy that holds everything up to `value`.
    pub(super) fn note(dir: &Path, value: u64) -> io::Result<()> {
        std::fs::write(dir.join("FLOOR"), encode(value))
    }

    pub(super) fn value(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// One sector, written in place: it is there whole or not at all.
    pub(super) fn raise(&self, to: u64) -> io::Result<()> {
        if self.value.fetch_max(to, Ordering::AcqRel) >= to {
            return Ok(());
        }
        self.file.write_all_at(&encode(to), 0)
    }
}

fn decode(file: &File) -> Result<u64, FloorError> {
    if file.metadata()?.len() != LENGTH as u64 {
        return Err(FloorError::Damaged);
    }
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, 0)?;
    let (number, check) = bytes.split_at(8);
    if check != checksum(number) {
        return Err(FloorError::Damaged);
    }
    Ok(u64::from_be_bytes(number.try_into().expect("eight bytes")))
}

fn encode(value: u64) -> [u8; LENGTH] {
    let number = value.to_be_bytes();
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&checksum(&number));
    bytes
}

fn checksum(number: &[u8]) -> [u8; 8] {
    Sha256::digest(number)[..8].try_into().expect("SHA-256 is longer")
}
