//! The witness's key, in a file of its own: one line, `NAME` and the seed in base64.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use domain::audit::checkpoint::NoteSignature;
use domain::audit::cosignature::WitnessKey;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{0} is no key of a witness")]
    Malformed(String),
    #[error("a name of a witness has no spaces, no plus signs and at most 200 characters")]
    Name,
    #[error("no random numbers: {0}")]
    Random(String),
}

/// Signs. Its `Debug` shows the public half only.
pub struct Key {
    pair: Ed25519KeyPair,
    public: WitnessKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.public)
    }
}

const SEED: usize = 32;
const FORMAT: &str = "assize-witness-key-1";

fn at(path: &Path) -> impl Fn(std::io::Error) -> KeyError + '_ {
    |source| KeyError::File { path: path.display().to_string(), source }
}

impl Key {
    /// Draws a key and writes it to `path`, which must not exist.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn create(path: &Path, name: &str) -> Result<Key, KeyError> {
        if name.is_empty() || name.len() > 200 || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(KeyError::Name);
        }
        let mut seed = [0; SEED];
        aws_lc_rs::rand::fill(&mut seed).map_err(|error| KeyError::Random(error.to_string()))?;
        let key = Key::of(name, &seed).ok_or_else(|| KeyError::Malformed(name.to_owned()))?;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
        writeln!(file, "{FORMAT} {name} {}", BASE64.encode(&seed)).and_then(|()| file.sync_all()).map_err(at(path))?;
        Ok(key)
    }

    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Key, KeyError> {
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        let mut parts = text.trim().split(' ');
        let key = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(FORMAT), Some(name), Some(seed), None) => BASE64.decode(seed.as_bytes()).ok().and_then(|seed| Key::of(name, &seed)),
            _ => None,
        };
        key.ok_or_else(|| KeyError::Malformed(path.display().to_string()))
    }

    fn of(name: &str, seed: &[u8]) -> Option<Key> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let key = pair.public_key().as_ref().try_into().ok()?;
        Some(Key { pair, public: WitnessKey { name: name.to_owned(), key } })
    }

    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// The line that co-signs `text` at `time`, in seconds since 1970.
    pub fn cosign(&self, text: &str, time: u64) -> NoteSignature {
        self.public.line(time, self.pair.sign(WitnessKey::message(text, time).as_bytes()).as_ref())
    }
}
