//! Column families and keys. Numbers are big-endian, so that keys sort as numbers do.

pub(crate) const LOG: &str = "raft_log";
pub(crate) const LOG_META: &str = "raft_meta";
pub(crate) const ROWS: &str = "rows";
pub(crate) const LEAVES: &str = "leaves";
pub(crate) const HASHES: &str = "hashes";
pub(crate) const STATE_META: &str = "state_meta";

pub(crate) const ALL: [&str; 6] = [LOG, LOG_META, ROWS, LEAVES, HASHES, STATE_META];

/// What is kept once per group beside its log.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum MetaTag {
    Vote = 1,
    Committed = 2,
    Purged = 3,
    Applied = 4,
}

/// A Raft group within an engine.
pub(crate) type Group = u32;

pub(crate) fn numbered(group: Group, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&group.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn number_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..12)?.try_into().ok()?))
}

pub(crate) fn meta(group: Group, tag: MetaTag) -> [u8; 5] {
    let mut key = [0; 5];
    key[..4].copy_from_slice(&group.to_be_bytes());
    key[4] = tag as u8;
    key
}

pub(crate) fn hash(group: Group, level: u8, index: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&group.to_be_bytes());
    key[4] = level;
    key[5..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn row(group: Group, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(4 + key.len());
    full.extend_from_slice(&group.to_be_bytes());
    full.extend_from_slice(key);
    full
}

/// First key of a group and first key after it.
pub(crate) fn bounds(group: Group) -> ([u8; 4], [u8; 4]) {
    (group.to_be_bytes(), group.saturating_add(1).to_be_bytes())
}
