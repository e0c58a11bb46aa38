//! The secret the gateway uses towards a target. Sealed; the domain never sees it open.

use crate::id::{Index, Name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub name: Name,
    /// The login name at the target.
    pub username: String,
    pub sealed: Sealed,
    pub version: Index,
    pub narrowed: Index,
}

/// DESIGN §9: an AES-256-GCM envelope. Associated data is (cluster id, kind, record name), so a sealed value
/// moved to another record does not open.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key-encryption key wraps the data key.
    pub key_id: u32,
    pub wrapped_key: Vec<u8>,
    pub nonce: [u8; 12],
    pub ciphertext: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed(key {}, [redacted])", self.key_id)
    }
}
