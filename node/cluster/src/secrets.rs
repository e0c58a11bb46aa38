//! Secrets at rest (DESIGN §9): the key-encryption key that all nodes hold, the envelope around credentials, and the
//! recovery key that a person keeps.

use aws_lc_rs::{aead, agreement, hkdf, rand as lc_rand};
use data_encoding::BASE32_NOPAD;
use domain::credential::Sealed;
use zeroize::{Zeroize, Zeroizing};

/// The only key-encryption key so far; rotation gives the next number.
const KEY_ID: u32 = 1;
const RECOVERY_INFO: &[u8] = b"assize recovery key wrap v1";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the sealed value does not open: wrong key, or it was moved or changed")]
    Closed,
    #[error("it is sealed with key {0}, which this node does not hold")]
    UnknownKey(u32),
    #[error("not a recovery key: expected 52 characters of A-Z and 2-7, in groups")]
    RecoveryKey,
    #[error("the random source failed")]
    Random,
}

/// 32 bytes that wrap data keys. Zeroed on drop, never printed.
#[derive(Clone)]
pub struct KeyEncryptionKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyEncryptionKey([redacted])")
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0u8; N];
    lc_rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(bytes)
}

pub(crate) fn seal_with(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SecretError> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).map_err(|_| SecretError::Closed)?;
    let mut out = plain.to_vec();
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), &mut out)
        .map_err(|_| SecretError::Closed)?;
    Ok(out)
}

pub(crate) fn open_with(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).map_err(|_| SecretError::Closed)?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = aead::LessSafeKey::new(key)
        .open_in_place(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), &mut buffer)
        .map_err(|_| SecretError::Closed)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

/// Associated data: a sealed value that was moved to another record, kind or cluster does not open.
fn associated(cluster: &str, kind: &str, name: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(cluster.len() + kind.len() + name.len() + 12);
    for part in [cluster, kind, name] {
        aad.extend_from_slice(&(part.len() as u32).to_be_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    aad
}

impl KeyEncryptionKey {
    pub fn generate() -> Result<Self, SecretError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key of its own for `purpose`, from which this one cannot be told.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.0[..]);
        let tag = aws_lc_rs::hmac::sign(&key, purpose.as_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// Seals under a fresh data key, which is wrapped with this key.
    pub fn seal(&self, cluster: &str, kind: &str, name: &str, plain: &[u8]) -> Result<Sealed, SecretError> {
        let aad = associated(cluster, kind, name);
        let data_key = Zeroizing::new(random::<32>()?);
        let nonce = random::<12>()?;
        let ciphertext = seal_with(&data_key, nonce, &aad, plain)?;
        let wrap_nonce = random::<12>()?;
        let mut wrapped_key = wrap_nonce.to_vec();
        wrapped_key.extend(seal_with(&self.0, wrap_nonce, &aad, &data_key[..])?);
        Ok(Sealed { key_id: KEY_ID, wrapped_key, nonce, ciphertext })
    }

    pub fn open(&self, cluster: &str, kind: &str, name: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        if sealed.key_id != KEY_ID {
            return Err(SecretError::UnknownKey(sealed.key_id));
        }
        let aad = associated(cluster, kind, name);
        let (nonce, wrapped) = sealed.wrapped_key.split_first_chunk::<12>().ok_or(SecretError::Closed)?;
        let data_key = open_with(&self.0, *nonce, &aad, wrapped)?;
        let data_key: &[u8; 32] = data_key[..].try_into().map_err(|_| SecretError::Closed)?;
        open_with(data_key, sealed.nonce, &aad, &sealed.ciphertext)
    }
}

/// The X25519 key a person keeps on paper. Opens what was wrapped to its public half, offline.
pub struct RecoveryKey(Zeroizing<[u8; 32]>);

impl RecoveryKey {
    pub fn generate() -> Result<Self, SecretError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The same kind of key, when it is a node's own.
    pub(crate) fn from_private(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn private_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As printed once by `assize cluster init`: 52 characters in groups of four.
    pub fn printed(&self) -> Zeroizing<String> {
        let plain = Zeroizing::new(BASE32_NOPAD.encode(&self.0[..]));
        let mut grouped = String::with_capacity(64);
        for (i, c) in plain.chars().enumerate() {
            if i > 0 && i % 4 == 0 {
                grouped.push('-');
            }
            grouped.push(c);
        }
        Zeroizing::new(grouped)
    }

    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        compact.make_ascii_uppercase();
        let decoded = BASE32_NOPAD.decode(compact.as_bytes());
        compact.zeroize();
        let bytes: [u8; 32] = decoded.ok().and_then(|b| b.try_into().ok()).ok_or(SecretError::RecoveryKey)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    fn private(&self) -> Result<agreement::PrivateKey, SecretError> {
        agreement::PrivateKey::from_private_key(&agreement::X25519, &self.0[..]).map_err(|_| SecretError::RecoveryKey)
    }

    pub fn public(&self) -> Result<[u8; 32], SecretError> {
        let public = self.private()?.compute_public_key().map_err(|_| SecretError::RecoveryKey)?;
        public.as_ref().try_into().map_err(|_| SecretError::RecoveryKey)
    }

    /// Opens what [`wrap_to`] made: `ephemeral public (32) | AES-256-GCM ciphertext`.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (ephemeral, sealed) = wrapped.split_first_chunk::<32>().ok_or(SecretError::Closed)?;
        let key = agreed_key(&self.private()?, ephemeral, ephemeral, &self.public()?)?;
        open_with(&key, [0; 12], RECOVERY_INFO, sealed)
    }
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA256 over the shared secret, bound to both public keys. Every agreement uses a fresh ephemeral key, so a
/// key seals once and its nonce may be zero.
fn agreed_key(
    private: &agreement::PrivateKey,
    peer: &[u8; 32],
    ephemeral: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let salt: Vec<u8> = ephemeral.iter().chain(recipient).copied().collect();
    let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer.to_vec());
    agreement::agree(private, peer, SecretError::Closed, |secret| {
        let mut key = Zeroizing::new([0u8; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, &salt)
            .extract(secret)
            .expand(&[RECOVERY_INFO], KeyLength)
            .and_then(|okm| okm.fill(&mut key[..]))
            .map_err(|_| SecretError::Closed)?;
        Ok(key)
    })
}

/// Seals to an X25519 public key: only its private half opens it.
pub fn wrap_to(recipient: &[u8; 32], plain: &[u8]) -> Result<Vec<u8>, SecretError> {
    let ephemeral = RecoveryKey::generate()?;
    let public = ephemeral.public()?;
    let key = agreed_key(&ephemeral.private()?, recipient, &public, recipient)?;
    let mut out = public.to_vec();
    out.extend(seal_with(&key, [0; 12], RECOVERY_INFO, plain)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_credential_opens_only_under_its_own_name_and_cluster() {
        let key = KeyEncryptionKey::generate().expect("random");
        let sealed = key.seal("c1", "credential", "orders", b"hunter2").expect("seals");
        assert_eq!(&key.open("c1", "credential", "orders", &sealed).expect("opens")[..], b"hunter2");
        for (cluster, kind, name) in [("c2", "credential", "orders"), ("c1", "token", "orders"), ("c1", "credential", "other")] {
            assert!(matches!(key.open(cluster, kind, name, &sealed), Err(SecretError::Closed)));
        }
        let mut changed = sealed.clone();
        changed.ciphertext[0] ^= 1;
        assert!(matches!(key.open("c1", "credential", "orders", &changed), Err(SecretError::Closed)));
        let other = KeyEncryptionKey::generate().expect("random");
        assert!(matches!(other.open("c1", "credential", "orders", &sealed), Err(SecretError::Closed)));
    }

    #[test]
    fn the_printed_recovery_key_opens_what_was_wrapped_to_its_public_half() {
        let key = RecoveryKey::generate().expect("random");
        let wrapped = wrap_to(&key.public().expect("public"), b"the key-encryption key").expect("wraps");
        let printed = key.printed();
        assert_eq!(printed.len(), 52 + 12);
        let again = RecoveryKey::parse(&printed.to_lowercase()).expect("parses what was printed");
        assert_eq!(&again.unwrap(&wrapped).expect("opens")[..], b"the key-encryption key");
        let other = RecoveryKey::generate().expect("random");
        assert!(other.unwrap(&wrapped).is_err());
        assert!(RecoveryKey::parse("ABCD").is_err());
    }
}
