//! RocksDB's manifest, checked before RocksDB reads it.
//!
//! The manifest lists the tables and families. Its records carry a checksum over their content but not over their
//! length, so a flipped bit in a length near the end looks like a torn tail: RocksDB then drops that record and all
//! after it, and removes the tables it no longer knows. Here a tail counts as torn only if no shorter record fits there.
//!
//! ```text
//!  blocks of 32 KiB: { checksum u32 LE │ length u16 LE │ type u8 │ content }*  padding where no header fits
//! ```

use std::io;
use std::path::Path;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 4 + 2 + 1;

#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("CURRENT: it names no manifest")]
    Current,
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("{name}: the record at byte {at} is not what was written")]
    Damaged { name: String, at: usize },
}

/// Nothing to check where there is no database yet.
///
/// # Errors
/// When the manifest cannot be read, or a record that was written whole is damaged.
pub(super) fn check(dir: &Path) -> Result<(), ManifestError> {
    let current = match std::fs::read(dir.join("CURRENT")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|e| ManifestError::Io("CURRENT".into(), e))?,
    };
    let name = current.strip_suffix(b"\n").and_then(|name| std::str::from_utf8(name).ok()).ok_or(ManifestError::Current)?;
    if !name.starts_with("MANIFEST-") || name.contains('/') {
        return Err(ManifestError::Current);
    }
    let bytes = std::fs::read(dir.join(name)).map_err(|e| ManifestError::Io(name.into(), e))?;
    whole(&bytes).map_err(|at| ManifestError::Damaged { name: name.into(), at })
}

/// Is every record but a torn last one what was written? Otherwise where the first is that is not.
fn whole(bytes: &[u8]) -> Result<(), usize> {
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        let last = (number + 1) * BLOCK >= bytes.len();
        let mut at = 0;
        while let Some(record) = block[at..].split_at_checked(HEADER) {
            let here = number * BLOCK + at;
            let (header, rest) = record;
            let (checksum, length, kind) = parts(header);
            match rest.get(..length) {
                Some(content) if checksum == masked(checked(kind, content)) => at += HEADER + length,
                Some(_) => return Err(here),
                None if last && !fits_shorter(checksum, kind, rest) => return Ok(()),
                None => return Err(here),
            }
        }
    }
    Ok(())
}

fn parts(header: &[u8]) -> (u32, usize, u8) {
    let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    (checksum, usize::from(u16::from_le_bytes([header[4], header[5]])), header[6])
}

/// Is there a record whose length was damaged, rather than one whose end was never written?
fn fits_shorter(checksum: u32, kind: u8, rest: &[u8]) -> bool {
    let mut crc = extend(START, kind);
    masked(!crc) == checksum
        || rest.iter().any(|byte| {
            crc = extend(crc, *byte);
            masked(!crc) == checksum
        })
}

const START: u32 = !0;

/// CRC-32C of the type and the content.
fn checked(kind: u8, content: &[u8]) -> u32 {
    !content.iter().fold(extend(START, kind), |crc, byte| extend(crc, *byte))
}

/// As RocksDB stores it, so that a checksum of checksums is no special value.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn extend(crc: u32, byte: u8) -> u32 {
    TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
}

/// CRC-32C (Castagnoli), reflected.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short");
        [&masked(checked(1, content)).to_le_bytes()[..], &length.to_le_bytes(), &[1], content].concat()
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(checked(b'1', b"23456789"), 0xe306_9283);
    }

    #[test]
    fn a_torn_tail_is_told_from_a_damaged_length() {
        let bytes = [record(b"one"), record(&[7; 300]), record(b"three")].concat();
        assert_eq!(whole(&bytes), Ok(()));
        for torn in 0..bytes.len() {
            assert_eq!(whole(&bytes[..torn]), Ok(()), "torn at {torn}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(whole(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn only_the_last_block_may_be_torn() {
        let full = record(&vec![3; BLOCK - HEADER - 3]);
        let mut bytes = [full, vec![0; 3], record(b"next block")].concat();
        assert_eq!(whole(&bytes), Ok(()));
        bytes[5] ^= 0x80;
        assert_eq!(whole(&bytes), Err(0));
    }
}
