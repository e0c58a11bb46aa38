//! Signed notes (C2SP `signed-note`): a text, an empty line, and a line for each signature.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

/// Bytes of a whole note: far more than a text and all signatures need.
pub const NOTE_SIZE_MAX: usize = 64 * 1024;
/// Signature lines: every member and some witnesses.
pub const SIGNATURES_MAX: usize = 300;

/// Ed25519, in key ids and verifier keys.
const ED25519: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Ends with a line feed.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key: no spaces, no plus sign.
    pub name: String,
    pub key_id: [u8; 4],
    pub signature: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no signed note: {0}")]
pub struct InvalidNote(pub String);

fn invalid(message: impl Into<String>) -> InvalidNote {
    InvalidNote(message.into())
}

/// The first four bytes of SHA-256 over name, line feed, algorithm and key: tells keys of one name apart.
pub fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            writeln!(f, "— {} {}", line.name, BASE64.encode(&[&line.key_id[..], &line.signature].concat()))?;
        }
        Ok(())
    }
}

impl FromStr for Note {
    type Err = InvalidNote;

    fn from_str(note: &str) -> Result<Note, InvalidNote> {
        if note.len() > NOTE_SIZE_MAX {
            return Err(invalid(format!("longer than {NOTE_SIZE_MAX} bytes")));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(invalid("holds control characters"));
        }
        let split = note.rfind("\n\n").ok_or_else(|| invalid("no empty line between text and signatures"))?;
        let (text, lines) = (&note[..split + 1], &note[split + 2..]);
        let lines = match lines.strip_suffix('\n') {
            Some(lines) => lines,
            None if lines.is_empty() => return Err(invalid("no signature")),
            None => return Err(invalid("the last line feed is missing")),
        };
        let signatures = lines.split('\n').map(signature).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(invalid(format!("more than {SIGNATURES_MAX} signatures")));
        }
        Ok(Note { text: text.to_owned(), signatures })
    }
}

pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

fn signature(line: &str) -> Result<NoteSignature, InvalidNote> {
    let parse = || {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        (is_key_name(name) && !signature.is_empty()).then(|| NoteSignature {
            name: name.to_owned(),
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    };
    parse().ok_or_else(|| invalid(format!("{:?} is no signature line", line.chars().take(200).collect::<String>())))
}

/// A public key with its name, as people pass it on: `NAME+KEYID+BASE64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    pub name: String,
    pub key: [u8; 32],
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(key_id(&self.name, &self.key));
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(&[&[ED25519][..], &self.key].concat()))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidNote;

    fn from_str(text: &str) -> Result<VerifierKey, InvalidNote> {
        let parse = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
            let (algorithm, key) = bytes.split_first()?;
            let key: [u8; 32] = key.try_into().ok()?;
            let id_matches = id.len() == 8 && u32::from_str_radix(id, 16).ok()? == u32::from_be_bytes(key_id(name, &key));
            (is_key_name(name) && *algorithm == ED25519 && id_matches).then(|| VerifierKey { name: name.to_owned(), key })
        };
        parse().ok_or_else(|| invalid(format!("{:?} is no verifier key, NAME+KEYID+BASE64", text.chars().take(200).collect::<String>())))
    }
}
