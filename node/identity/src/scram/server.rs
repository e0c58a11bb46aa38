//! The two steps of the exchange as two types: a challenged exchange is the only thing that can be finished, once.

use data_encoding::BASE64;
use domain::id::TokenId;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::message::{ClientFinal, ClientFirst, Gs2Flag};
use super::verifier::{Verifiers, hmac, sha256};
use super::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError};

/// Bytes of our half of the nonce before base64; as PostgreSQL has it.
pub const NONCE_BYTES: usize = 18;

const END_POINT: &str = "tls-server-end-point";

/// Which channel binding this connection can offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate for which none is defined.
    None,
    /// The hash of our certificate ([`crate::channel_binding`]).
    EndPoint(Vec<u8>),
}

impl Binding {
    /// The mechanisms to offer, the best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self {
            Binding::None => &[SCRAM_SHA_256],
            Binding::EndPoint(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        }
    }
}

/// Waits for client-first.
#[derive(Debug)]
pub struct Exchange {
    verifiers: Verifiers,
    binding: Binding,
    nonce: [u8; NONCE_BYTES],
}

/// Has sent server-first; waits for client-final.
#[derive(Debug)]
pub struct Challenged {
    verifiers: Verifiers,
    nonce: String,
    client_first_bare: String,
    server_first: String,
    /// What `c=` must decode to: GS2 header and binding data.
    channel_binding: Vec<u8>,
}

/// The client holds the secret of this token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    pub token: TokenId,
    /// server-final, which proves to the client that we know its verifier.
    pub server_final: String,
}

impl Exchange {
    /// `nonce` must be fresh and random for every exchange: it is what makes a recorded proof worthless.
    pub fn new(verifiers: Verifiers, binding: Binding, nonce: [u8; NONCE_BYTES]) -> Exchange {
        Exchange { verifiers, binding, nonce }
    }

    /// Takes client-first, gives server-first.
    ///
    /// # Errors
    /// A mechanism that was not offered, a channel binding that does not fit (including `y` where binding was
    /// offered: somebody in the middle took the offer out), a malformed message.
    pub fn start(self, mechanism: &str, message: &[u8]) -> Result<(Challenged, String), ScramError> {
        if !self.binding.mechanisms().contains(&mechanism) {
            return Err(ScramError::Mechanism);
        }
        let first = ClientFirst::parse(message)?;
        let data: &[u8] = match (&self.binding, first.flag, mechanism == SCRAM_SHA_256_PLUS) {
            (Binding::EndPoint(hash), Gs2Flag::Bound(END_POINT), true) => hash,
            (_, Gs2Flag::Unsupported, false) | (Binding::None, Gs2Flag::NotOffered, false) => &[],
            (Binding::None | Binding::EndPoint(_), _, _) => return Err(ScramError::ChannelBinding),
        };
        let channel_binding = [first.gs2_header.as_bytes(), data].concat();
        let nonce = format!("{}{}", first.nonce, BASE64.encode(&self.nonce));
        let salt = BASE64.encode(&self.verifiers.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.verifiers.iterations);
        let challenged = Challenged {
            verifiers: self.verifiers,
            nonce,
            client_first_bare: first.bare.to_owned(),
            server_first: server_first.clone(),
            channel_binding,
        };
        Ok((challenged, server_first))
    }
}

impl Challenged {
    /// An exchange as it stands after server-first, for the vectors of the RFC.
    #[cfg(test)]
    pub(super) fn restored(
        verifiers: Verifiers,
        nonce: &str,
        client_first_bare: &str,
        server_first: &str,
        channel_binding: &[u8],
    ) -> Challenged {
        Challenged {
            verifiers,
            nonce: nonce.to_owned(),
            client_first_bare: client_first_bare.to_owned(),
            server_first: server_first.to_owned(),
            channel_binding: channel_binding.to_vec(),
        }
    }

    /// Takes client-final; on success says whose secret it was and gives server-final.
    ///
    /// Every candidate is checked, and the result is gathered without branches, so time tells neither how many
    /// tokens there are nor which one fits, nor whether the principal exists.
    ///
    /// # Errors
    /// [`ScramError::Proof`] if no live token fits; nonce, binding or form errors.
    pub fn finish(self, message: &[u8]) -> Result<Proven, ScramError> {
        let last = ClientFinal::parse(message)?;
        if !bool::from(last.nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(ScramError::Nonce);
        }
        if !bool::from(last.channel_binding.ct_eq(&self.channel_binding)) {
            return Err(ScramError::ChannelBinding);
        }
        let signed = format!("{},{},{}", self.client_first_bare, self.server_first, last.without_proof);
        let mut fits = Choice::from(0);
        let mut found = 0_u64;
        let mut server_key = [0; 32];
        for (token, verifier) in &self.verifiers.candidates {
            let signature = hmac(&verifier.stored_key, signed.as_bytes());
            let client_key: [u8; 32] = std::array::from_fn(|i| last.proof[i] ^ signature[i]);
            let real = Choice::from(u8::from(token.is_some()));
            let this = sha256(&client_key).ct_eq(&verifier.stored_key) & real;
            found.conditional_assign(&token.map_or(0, |token| token.0), this);
            server_key.iter_mut().zip(&verifier.server_key).for_each(|(to, from)| to.conditional_assign(from, this));
            fits |= this;
        }
        let server_final = format!("v={}", BASE64.encode(&hmac(&server_key, signed.as_bytes())));
        if bool::from(fits) { Ok(Proven { token: TokenId(found), server_final }) } else { Err(ScramError::Proof) }
    }
}
