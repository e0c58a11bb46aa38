//! The messages of RFC 5802 §7, parsed strictly: attributes in their order, nothing skipped.

use data_encoding::BASE64;

use super::ScramError;

/// Longest message taken; the proof and a long nonce need a few hundred bytes.
pub const MESSAGE_LENGTH_MAX: usize = 4096;
/// Longest client nonce taken.
pub const NONCE_LENGTH_MAX: usize = 256;

/// What the client says about channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gs2Flag<'a> {
    /// `n`: does not support it.
    Unsupported,
    /// `y`: supports it, but believes the server does not.
    NotOffered,
    /// `p=NAME`: uses it.
    Bound(&'a str),
}

#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    pub flag: Gs2Flag<'a>,
    /// The GS2 header with both commas; the client repeats it, in base64, in its final message.
    pub gs2_header: &'a str,
    /// All after the header; part of the signed message.
    pub bare: &'a str,
    pub nonce: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    pub channel_binding: Vec<u8>,
    pub nonce: &'a str,
    pub proof: [u8; 32],
    /// All before `,p=`; part of the signed message.
    pub without_proof: &'a str,
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_LENGTH_MAX {
        return Err(ScramError::Malformed("too long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}

fn attribute<'a>(part: Option<&'a str>, prefix: &str, problem: &'static str) -> Result<&'a str, ScramError> {
    part.and_then(|part| part.strip_prefix(prefix)).ok_or(ScramError::Malformed(problem))
}

impl<'a> ClientFirst<'a> {
    /// `gs2-cbind-flag "," [authzid] "," "n=" saslname "," "r=" nonce`
    ///
    /// # Errors
    /// [`ScramError::Malformed`]; an authorization identity or an extension is refused, since none is supported.
    pub fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, ScramError> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let flag = match parts.next().unwrap_or_default() {
            "n" => Gs2Flag::Unsupported,
            "y" => Gs2Flag::NotOffered,
            other => Gs2Flag::Bound(attribute(Some(other), "p=", "channel binding flag")?),
        };
        if !parts.next().ok_or(ScramError::Malformed("no GS2 header"))?.is_empty() {
            return Err(ScramError::Malformed("an authorization identity is not supported"));
        }
        let bare = parts.next().ok_or(ScramError::Malformed("no GS2 header"))?;
        let gs2_header = text.get(..text.len() - bare.len()).unwrap_or_default();
        let mut attributes = bare.split(',');
        attribute(attributes.next(), "n=", "user name")?;
        let nonce = attribute(attributes.next(), "r=", "nonce")?;
        if attributes.next().is_some() {
            return Err(ScramError::Malformed("extensions are not supported"));
        }
        if nonce.is_empty() || nonce.len() > NONCE_LENGTH_MAX || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ScramError::Malformed("nonce"));
        }
        Ok(ClientFirst { flag, gs2_header, bare, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    /// `"c=" base64 "," "r=" nonce "," "p=" base64`
    ///
    /// # Errors
    /// [`ScramError::Malformed`].
    pub fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), "c=", "channel binding")?;
        let nonce = attribute(attributes.next(), "r=", "nonce")?;
        if attributes.next().is_some() {
            return Err(ScramError::Malformed("extensions are not supported"));
        }
        let decode = |value: &str| BASE64.decode(value.as_bytes()).map_err(|_| ScramError::Malformed("base64"));
        let proof = decode(proof)?.try_into().map_err(|_| ScramError::Malformed("proof length"))?;
        Ok(ClientFinal { channel_binding: decode(binding)?, nonce, proof, without_proof })
    }
}
