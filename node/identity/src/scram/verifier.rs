//! Verifiers: what is kept of a secret so that SCRAM can check it, and stand-ins for principals that do not exist.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::pbkdf2;
use domain::id::TokenId;
use domain::principal::ScramVerifier;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::Secret;

/// PostgreSQL's default. Tokens carry 256 random bits, so the count guards nothing that guessing could reach; a
/// higher one would only slow every login.
pub const ITERATIONS_DEFAULT: u32 = 4096;
/// Bytes; one salt per principal, drawn at random when its first token is issued.
pub const SALT_LENGTH: usize = 16;
/// A proof is checked against this many verifiers, as many as a principal may have, so that a principal that does not exist, one token and
/// several tokens cost the same.
const CHECKED_MIN: usize = domain::limits::TOKENS_PER_PRINCIPAL_MAX;

/// Makes the verifier of `secret` (RFC 5802 §3). Takes `iterations` rounds of HMAC: some milliseconds of CPU.
pub fn create(secret: &Secret, salt: [u8; SALT_LENGTH], iterations: NonZeroU32) -> ScramVerifier {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, secret.expose(), salted.as_mut_slice());
    let client_key = Zeroizing::new(hmac(salted.as_slice(), b"Client Key"));
    ScramVerifier {
        salt,
        iterations: iterations.get(),
        stored_key: sha256(client_key.as_slice()),
        server_key: hmac(salted.as_slice(), b"Server Key"),
    }
}

/// [`create`] with [`ITERATIONS_DEFAULT`].
pub fn create_default(secret: &Secret, salt: [u8; SALT_LENGTH]) -> ScramVerifier {
    create(secret, salt, NonZeroU32::new(ITERATIONS_DEFAULT).expect("the default is not zero"))
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(HMAC_SHA256, key), message).as_ref());
    out
}

pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, message).as_ref());
    out
}

/// A key from which the salts of principals that do not exist are made, so that asking twice gives the same salt, as
/// it does for a real one. All nodes of a cluster should hold the same.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MockKey([u8; 32]);

impl MockKey {
    pub fn new(key: [u8; 32]) -> MockKey {
        MockKey(key)
    }

    /// A key of one's own from a secret that all nodes share, kept apart from its other uses by a label.
    pub fn derived(shared: &Secret) -> MockKey {
        MockKey(hmac(shared.expose(), b"assize scram mock v1"))
    }

    fn verifier(&self, user: &str) -> ScramVerifier {
        let mut salt = [0; SALT_LENGTH];
        salt.copy_from_slice(hmac(&self.0, &[b"salt\0", user.as_bytes()].concat()).get(..SALT_LENGTH).unwrap_or(&[0; SALT_LENGTH]));
        // No preimage of this "stored key" is known to anybody, so no proof fits it.
        let stored_key = hmac(&self.0, &[b"stored\0", user.as_bytes()].concat());
        let server_key = hmac(&self.0, &[b"server\0", user.as_bytes()].concat());
        ScramVerifier { salt, iterations: ITERATIONS_DEFAULT, stored_key, server_key }
    }
}

impl std::fmt::Debug for MockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The verifiers a proof is checked against: those of a principal's live tokens, or stand-ins.
#[derive(Debug, Clone)]
pub struct Verifiers {
    pub(super) salt: [u8; SALT_LENGTH],
    pub(super) iterations: u32,
    /// `None` marks a stand-in, which is checked like any other and never believed.
    pub(super) candidates: Vec<(Option<TokenId>, ScramVerifier)>,
}

impl Verifiers {
    /// From the live tokens of the principal called `user`, none if there is no such principal. Tokens with another
    /// salt or count than the first cannot be proven in the same exchange and are left out.
    pub fn new(user: &str, live: impl IntoIterator<Item = (TokenId, ScramVerifier)>, mock: &MockKey) -> Verifiers {
        let stand_in = mock.verifier(user);
        let live: Vec<_> = live.into_iter().collect();
        let lead = live.first().map_or(&stand_in, |(_, verifier)| verifier);
        let (salt, iterations) = (lead.salt, lead.iterations);
        let mut candidates: Vec<_> = live
            .iter()
            .filter(|(_, verifier)| verifier.salt == salt && verifier.iterations == iterations)
            .map(|(token, verifier)| (Some(*token), verifier.clone()))
            .collect();
        while candidates.len() < CHECKED_MIN {
            candidates.push((None, stand_in.clone()));
        }
        Verifiers { salt, iterations, candidates }
    }
}
