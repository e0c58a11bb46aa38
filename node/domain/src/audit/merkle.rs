//! The Merkle tree of RFC 6962 §2.1: hashing, the growing right edge, inclusion and consistency proofs.
//!
//! Nothing is stored here. Whoever keeps the log keeps the hashes of complete subtrees, named `(level, index)`: level 0
//! are leaf hashes, and `(l, i)` covers leaves `i·2^l .. (i+1)·2^l`. Proofs are built by asking for those.

use sha2::{Digest as _, Sha256};

pub type Hash = [u8; 32];

/// SHA-256 of `0x00 ‖ leaf`.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// SHA-256 of `0x01 ‖ left ‖ right`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a log without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a tree: the roots of its complete subtrees, largest first. At most 64 hashes however long the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a log of `size` leaves with these peaks.
    ///
    /// `None` unless there is one peak for each bit set in `size`.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Frontier { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends one leaf hash and tells `complete(level, index, hash)` of every subtree that this completes, the leaf first.
    pub fn append(&mut self, leaf: Hash, mut complete: impl FnMut(u8, u64, &Hash)) {
        let mut index = self.size;
        let mut level = 0;
        let mut hash = leaf;
        complete(level, index, &hash);
        while index % 2 == 1 {
            let left = self.peaks.pop().expect("a set bit of the size has a peak");
            hash = node_hash(&left, &hash);
            index /= 2;
            level += 1;
            complete(level, index, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The largest power of two smaller than `n`, for `n` ≥ 2.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// Root of the leaves `from .. from + n`, where `from` is a multiple of the largest power of two not above `n`.
fn subtree<E>(from: u64, n: u64, node: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if n.is_power_of_two() {
        let level = n.trailing_zeros() as u8;
        return node(level, from >> level);
    }
    let k = split(n);
    let left = subtree(from, k, node)?;
    let right = subtree(from + k, n - k, node)?;
    Ok(node_hash(&left, &right))
}

/// Root of the first `size` leaves.
///
/// # Errors
/// Those of `node`.
pub fn root_at<E>(size: u64, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size == 0 { Ok(empty_root()) } else { subtree(0, size, &mut node) }
}

/// Path of leaf `index` in the tree of the first `size` leaves, from the leaf up (RFC 6962 §2.1.1).
///
/// # Errors
/// Those of `node`.
///
/// # Panics
/// Unless `index < size`.
pub fn inclusion_proof<E>(index: u64, size: u64, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    assert!(index < size, "leaf {index} is not in a tree of {size}");
    let mut path = Vec::new();
    let (mut from, mut n) = (0, size);
    while n > 1 {
        let k = split(n);
        if index - from < k {
            path.push(subtree(from + k, n - k, &mut node)?);
            n = k;
        } else {
            path.push(subtree(from, k, &mut node)?);
            from += k;
            n -= k;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of `old` leaves is a prefix of that of `new` (RFC 6962 §2.1.2). Empty if `old` is 0 or `new`.
///
/// # Errors
/// Those of `node`.
///
/// # Panics
/// Unless `old <= new`.
pub fn consistency_proof<E>(old: u64, new: u64, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    assert!(old <= new, "a tree of {old} is no prefix of one of {new}");
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Ok(path);
    }
    let (mut from, mut n, mut m, mut whole) = (0, new, old, true);
    while m != n {
        let k = split(n);
        if m <= k {
            path.push(subtree(from + k, n - k, &mut node)?);
            n = k;
        } else {
            path.push(subtree(from, k, &mut node)?);
            from += k;
            n -= k;
            m -= k;
            whole = false;
        }
    }
    if !whole {
        path.push(subtree(from, n, &mut node)?);
    }
    path.reverse();
    Ok(path)
}

/// Does `path` lead from `leaf` at `index` to `root` of a tree of `size` (RFC 9162 §2.1.3.2)?
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let mut hash = *leaf;
    let reached = climb(index, size - 1, path, |sibling, left| {
        hash = if left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
    });
    reached && hash == *root
}

/// The walk both verifications share: from `node` in a tree whose rightmost node is `last`, tells `join` each sibling of
/// `path` and whether it stands to the left. `false` unless the path ends at the root.
fn climb<'a>(mut node: u64, mut last: u64, path: impl IntoIterator<Item = &'a Hash>, mut join: impl FnMut(&Hash, bool)) -> bool {
    for sibling in path {
        if last == 0 {
            return false;
        }
        let left = node % 2 == 1 || node == last;
        join(sibling, left);
        if left {
            while node.is_multiple_of(2) && node != 0 {
                node /= 2;
                last /= 2;
            }
        }
        node /= 2;
        last /= 2;
    }
    last == 0
}

/// Does `path` show that `old_root` over `old` leaves is a prefix of `new_root` over `new` (RFC 9162 §2.1.4.2)?
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, path: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    let mut path = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node % 2 == 1 {
        node /= 2;
        last /= 2;
    }
    let (mut from_old, mut from_new) = (*first, *first);
    let reached = climb(node, last, path, |sibling, left| {
        if left {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
        } else {
            from_new = node_hash(&from_new, sibling);
        }
    });
    reached && from_old == *old_root && from_new == *new_root
}

#[cfg(test)]
mod tests;
