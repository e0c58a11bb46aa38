//! A node's data folder: who it is, its keys and certificates. All files are 0600, written whole and renamed into
//! place, so a crash leaves the old or the new one.
//!
//! ```text
//! node                 format, cluster, incarnation, node; for the founder recovery key and first admin (text)
//! pki/peer-ca.{pem,key} pki/admin-ca.{pem,key} pki/node.{pem,key}
//! keys/kek             key-encryption key, the same on all nodes
//! keys/kek.recovery    the same, wrapped to the recovery key
//! keys/checkpoint      Ed25519 seed that signs this node's checkpoints
//! keys/sealing         X25519 private key
//! store/               raft-store's
//! started              this node ran: its logs must be there
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::HEXLOWER;
use domain::id::{Name, NodeId};
use planted::{Point, reach};
use zeroize::Zeroizing;

use crate::pki::{Authority, Identity, PkiError, Subject};
use crate::secrets::{KeyEncryptionKey, RecoveryKey, SecretError};

const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Malformed { path: String, message: String },
    #[error("{0} already belongs to a node")]
    Taken(String),
    #[error("{0} does not belong to a node yet: run `assize cluster init` or `assize cluster join`")]
    Empty(String),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Everything a node needs besides its logs.
pub struct Home {
    pub(crate) dir: PathBuf,
    pub cluster: String,
    pub incarnation: u64,
    pub node: NodeId,
    /// This node founded the cluster: with empty logs it starts them.
    pub(crate) founder: Option<Founding>,
    pub(crate) peers: Authority,
    pub(crate) people: Authority,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: Zeroizing<String>,
    pub(crate) kek: KeyEncryptionKey,
    pub(crate) kek_recovery: Vec<u8>,
    pub(crate) checkpoint_key: Ed25519KeyPair,
    pub(crate) sealing_public: [u8; 32],
}

/// What the first entries of the log say; written by `init` and `recover`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Founding {
    pub recovery_public: [u8; 32],
    pub first_admin: Name,
}

/// What is written by `init`, `join` and `recover`.
pub(crate) struct NewHome<'a> {
    pub cluster: &'a str,
    pub incarnation: u64,
    pub node: NodeId,
    pub founder: Option<&'a Founding>,
    pub peers: &'a Authority,
    pub people: &'a Authority,
    pub cert_pem: &'a str,
    pub key_pem: &'a str,
    pub kek: &'a KeyEncryptionKey,
    pub kek_recovery: &'a [u8],
    pub checkpoint_seed: &'a [u8; 32],
    pub sealing_private: &'a [u8; 32],
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    let path = path.display().to_string();
    move |source| HomeError::Io { path, source }
}

/// Writes a private file durably: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io(parent))?;
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(io(&temporary))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(io(&temporary))?;
    reach(Point::SecretWritten);
    fs::rename(&temporary, path).map_err(io(path))?;
    reach(Point::SecretRenamed);
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io(parent))
}

fn read_text(path: &Path) -> Result<String, HomeError> {
    fs::read_to_string(path).map_err(io(path))
}

fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let bytes = Zeroizing::new(fs::read(path).map_err(io(path))?);
    let key: [u8; 32] = bytes[..].try_into().map_err(|_| HomeError::Malformed {
        path: path.display().to_string(),
        message: format!("expected 32 bytes, got {}", bytes.len()),
    })?;
    Ok(Zeroizing::new(key))
}

/// Refuses a folder that already belongs to a node.
pub(crate) fn ensure_free(dir: &Path) -> Result<(), HomeError> {
    if dir.join("node").exists() { Err(HomeError::Taken(dir.display().to_string())) } else { Ok(()) }
}

/// Writes a new home. The file `node` comes last: without it the folder belongs to nobody.
pub(crate) fn write(dir: &Path, new: &NewHome<'_>) -> Result<(), HomeError> {
    ensure_free(dir)?;
    let at = |name: &str| dir.join(name);
    write_private(&at("pki/peer-ca.pem"), new.peers.cert_pem.as_bytes())?;
    write_private(&at("pki/peer-ca.key"), new.peers.key_pem().as_bytes())?;
    write_private(&at("pki/admin-ca.pem"), new.people.cert_pem.as_bytes())?;
    write_private(&at("pki/admin-ca.key"), new.people.key_pem().as_bytes())?;
    write_private(&at("pki/node.pem"), new.cert_pem.as_bytes())?;
    write_private(&at("pki/node.key"), new.key_pem.as_bytes())?;
    write_private(&at("keys/kek"), new.kek.bytes())?;
    write_private(&at("keys/kek.recovery"), new.kek_recovery)?;
    write_private(&at("keys/checkpoint"), new.checkpoint_seed)?;
    write_private(&at("keys/sealing"), new.sealing_private)?;
    let mut node = format!("format {FORMAT}\ncluster {}\nincarnation {}\nnode {}\n", new.cluster, new.incarnation, new.node);
    if let Some(founding) = new.founder {
        node.push_str(&format!("recovery {}\nadmin {}\n", HEXLOWER.encode(&founding.recovery_public), founding.first_admin));
    }
    write_private(&at("node"), node.as_bytes())
}

impl Home {
    pub fn open(dir: &Path) -> Result<Home, HomeError> {
        let path = dir.join("node");
        if !path.exists() {
            return Err(HomeError::Empty(dir.display().to_string()));
        }
        let facts = read_text(&path)?;
        let malformed = |message: String| HomeError::Malformed { path: path.display().to_string(), message };
        let fact = |key: &str| {
            facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).ok_or_else(|| malformed(format!("`{key}` is missing")))
        };
        let number = |key: &str| fact(key)?.parse::<u64>().map_err(|_| malformed(format!("`{key}` is not a number")));
        let format = number("format")?;
        if format != u64::from(FORMAT) {
            return Err(malformed(format!("format {format} is not known to this version, which writes {FORMAT}")));
        }
        let founder = match (fact("recovery"), fact("admin")) {
            (Ok(recovery), Ok(admin)) => Some(Founding {
                recovery_public: HEXLOWER
                    .decode(recovery.as_bytes())
                    .ok()
                    .and_then(|b| b.try_into().ok())
                    .ok_or_else(|| malformed("`recovery` is not a public key".into()))?,
                first_admin: admin.parse().map_err(|_| malformed("`admin` is not a name".into()))?,
            }),
            _ => None,
        };
        let seed = read_key(&dir.join("keys/checkpoint"))?;
        let checkpoint_key = Ed25519KeyPair::from_seed_unchecked(&seed[..])
            .map_err(|e| HomeError::Malformed { path: "keys/checkpoint".into(), message: e.to_string() })?;
        let sealing = RecoveryKey::from_private(*read_key(&dir.join("keys/sealing"))?);
        Ok(Home {
            cluster: fact("cluster")?.to_owned(),
            incarnation: number("incarnation")?,
            node: NodeId(number("node")?),
            founder,
            peers: Authority::load(&read_text(&dir.join("pki/peer-ca.pem"))?, &read_text(&dir.join("pki/peer-ca.key"))?)?,
            people: Authority::load(&read_text(&dir.join("pki/admin-ca.pem"))?, &read_text(&dir.join("pki/admin-ca.key"))?)?,
            cert_pem: read_text(&dir.join("pki/node.pem"))?,
            key_pem: Zeroizing::new(read_text(&dir.join("pki/node.key"))?),
            kek: KeyEncryptionKey::from_bytes(*read_key(&dir.join("keys/kek"))?),
            kek_recovery: fs::read(dir.join("keys/kek.recovery")).map_err(io(&dir.join("keys/kek.recovery")))?,
            checkpoint_key,
            sealing_public: sealing.public()?,
            dir: dir.to_owned(),
        })
    }

    pub(crate) fn identity(&self, subject: Subject) -> Identity {
        Identity { cluster: self.cluster.clone(), incarnation: self.incarnation, subject }
    }

    pub(crate) fn checkpoint_public(&self) -> [u8; 32] {
        self.checkpoint_key.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// This node ran before: its logs hold what it acknowledged.
    pub(crate) fn has_started(&self) -> bool {
        self.dir.join("started").exists()
    }

    pub(crate) fn note_started(&self) -> Result<(), HomeError> {
        if self.has_started() { Ok(()) } else { write_private(&self.dir.join("started"), b"") }
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }
}
