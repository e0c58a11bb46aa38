//! Backups, and starting over from one or from a survivor (DESIGN §9).
//!
//! ```text
//! "assize-backup-1\n"  length ‖ file key wrapped to the recovery key   (length ‖ sealed item)*
//! items: head {cluster, incarnation, key-encryption key, positions} · control frames · audit frames · end
//! ```
//! Each item is sealed with AES-256-GCM under the file key; its place in the file is the nonce, so an item that is
//! missing, moved or changed does not open, and a file without its end is refused.

mod install;
mod place;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::audit::checkpoint::{Origin, VerifierKey};
use domain::id::{Name, NodeId};
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver;
use planted::{Point, reach};
use prost::Message;
use raft_store::format;
use raft_store::{Incoming, SnapshotData, TypeConfig};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::home::{self, Founding, Home, HomeError, NewHome};
use crate::node::Node;
use crate::pki::{Authority, Identity, Issued, PkiError, Subject};
use crate::raft::{SnapshotOf, StateMachine};
use crate::secrets::{self, KeyEncryptionKey, RecoveryKey, SecretError};
pub use place::Place;

const MAGIC: &[u8] = b"assize-backup-1\n";
/// Bytes of one sealed item: a frame of a snapshot, which one long leaf may fill.
const ITEM_SIZE_MAX: u32 = 64 << 20;
/// How long a group may take to make the snapshot that is backed up.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("storage: {0}")]
    Storage(#[from] raft_store::OpenError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
    #[prost(bytes = "vec", tag = "3")]
    kek: Vec<u8>,
    /// `raft-store`'s encoding of the control snapshot's metadata.
    #[prost(bytes = "vec", tag = "4")]
    control: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "5")]
    audit: Option<Vec<u8>>,
    /// The highest node id ever given: the next incarnation counts on from it.
    #[prost(uint64, tag = "6")]
    last_node: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Item {
    #[prost(oneof = "ItemKind", tags = "1, 2, 3, 4")]
    kind: Option<ItemKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ItemKind {
    #[prost(message, tag = "1")]
    Head(Head),
    #[prost(bytes = "bytes", tag = "2")]
    Control(Bytes),
    #[prost(bytes = "bytes", tag = "3")]
    Audit(Bytes),
    #[prost(bool, tag = "4")]
    End(bool),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    pub control_leaves: u64,
    pub audit_leaves: Option<u64>,
    pub bytes: u64,
}

/// What a recovered cluster starts as.
pub struct RecoverAs<'a> {
    /// The new data folder; must not belong to a node.
    pub dir: &'a Path,
    pub first_admin: &'a Name,
    /// DNS names and addresses for its admin API.
    pub hosts: &'a [String],
}

/// What `assize cluster recover` leaves behind. Starting the node founds the new incarnation: approvals are void,
/// grants suspended until confirmed, all earlier nodes removed, and the log goes on with that on record.
pub struct Recovered {
    pub cluster: String,
    pub incarnation: u64,
    pub node: NodeId,
    pub admin: Issued,
    pub admin_trust_pem: String,
    /// What auditors pin from now on: the key of the incarnation's first checkpoints, as a C2SP verifier key.
    pub genesis: String,
}

struct Sealer<W> {
    out: W,
    key: Zeroizing<[u8; 32]>,
    items: u64,
    bytes: u64,
}

fn nonce(item: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&item.to_be_bytes());
    nonce
}

impl<W: Write> Sealer<W> {
    fn start(mut out: W, recovery_public: &[u8; 32]) -> Result<Self, RecoveryError> {
        let key = Zeroizing::new(secrets::random::<32>()?);
        let wrapped = secrets::wrap_to(recovery_public, &key[..])?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&(wrapped.len() as u32).to_be_bytes());
        head.extend_from_slice(&wrapped);
        out.write_all(&head).map_err(|source| RecoveryError::Io { path: "backup".into(), source })?;
        Ok(Sealer { out, key, items: 0, bytes: head.len() as u64 })
    }

    fn put(&mut self, kind: ItemKind) -> Result<(), RecoveryError> {
        let plain = Zeroizing::new(Item { kind: Some(kind) }.encode_to_vec());
        let sealed = secrets::seal_with(&self.key, nonce(self.items), MAGIC, &plain)?;
        self.items += 1;
        self.bytes += 4 + sealed.len() as u64;
        let length = (sealed.len() as u32).to_be_bytes();
        let written = self.out.write_all(&length).and_then(|()| self.out.write_all(&sealed));
        written.map_err(|source| RecoveryError::Io { path: "backup".into(), source })
    }
}

struct Opener<R> {
    input: R,
    key: Zeroizing<[u8; 32]>,
    items: u64,
}

fn damaged(what: &str) -> RecoveryError {
    RecoveryError::Damaged(format!("the backup {what}"))
}

impl<R: Read> Opener<R> {
    fn start(mut input: R, recovery: &RecoveryKey) -> Result<Self, RecoveryError> {
        let mut magic = vec![0; MAGIC.len()];
        let mut length = [0; 4];
        input.read_exact(&mut magic).and_then(|()| input.read_exact(&mut length)).map_err(|_| damaged("is cut short"))?;
        let length = u32::from_be_bytes(length);
        if magic != MAGIC || length > 4096 {
            return Err(damaged("is none, or of a version this build does not know"));
        }
        let mut wrapped = vec![0; length as usize];
        input.read_exact(&mut wrapped).map_err(|_| damaged("is cut short"))?;
        let key = recovery.unwrap(&wrapped)?;
        let key: [u8; 32] = key[..].try_into().map_err(|_| damaged("has a malformed key"))?;
        Ok(Opener { input, key: Zeroizing::new(key), items: 0 })
    }

    fn next(&mut self) -> Result<ItemKind, RecoveryError> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(|_| damaged("ends before its end"))?;
        let length = u32::from_be_bytes(length);
        if length > ITEM_SIZE_MAX {
            return Err(damaged("holds an item that is too long"));
        }
        let mut sealed = vec![0; length as usize];
        self.input.read_exact(&mut sealed).map_err(|_| damaged("ends before its end"))?;
        let plain = secrets::open_with(&self.key, nonce(self.items), MAGIC, &sealed).map_err(|_| damaged("was changed"))?;
        self.items += 1;
        let item = Item::decode(&plain[..]).map_err(|_| damaged("holds an unknown item"))?;
        item.kind.ok_or_else(|| damaged("holds an unknown item"))
    }
}

/// A fresh snapshot of a group.
async fn snapshot<SM>(raft: &Raft<TypeConfig, SM>) -> Result<SnapshotOf, RecoveryError>
where
    SM: StateMachine<TypeConfig, SnapshotData = SnapshotData>,
{
    let unavailable = |e: &dyn std::fmt::Display| RecoveryError::Unavailable(e.to_string());
    let wanted = raft.metrics().borrow_watched().last_applied.map(|id| id.index);
    raft.trigger().snapshot().await.map_err(|e| unavailable(&e))?;
    let end = Instant::now() + SNAPSHOT_WITHIN;
    while raft.metrics().borrow_watched().snapshot.map(|id| id.index) < wanted {
        if Instant::now() > end {
            return Err(RecoveryError::Unavailable("the snapshot takes too long".into()));
        }
        sleep(Duration::from_millis(10)).await;
    }
    let taken = raft.get_snapshot().await.map_err(|e| unavailable(&e))?;
    taken.ok_or_else(|| RecoveryError::Unavailable("there is no snapshot".into()))
}

impl Node {
    /// Writes an encrypted backup that only the recovery key opens. The file appears whole or not at all.
    pub(crate) async fn backup(self: &Arc<Self>, path: &Path, with_audit: bool) -> Result<BackedUp, RecoveryError> {
        let control = snapshot(&self.control).await?;
        let audit = if with_audit { Some(snapshot(&self.audit).await?) } else { None };
        let state = self.publisher.state();
        let head = Head {
            cluster: self.home.cluster.clone(),
            incarnation: self.home.incarnation,
            kek: self.home.kek.bytes().to_vec(),
            control: format::encode_snapshot_meta(&control.meta),
            audit: audit.as_ref().map(|a| format::encode_snapshot_meta(&a.meta)),
            last_node: state.members.keys().map(|n| n.0).max().unwrap_or(0),
        };
        let (path, recovery_public) = (path.to_owned(), state.cluster.recovery_key);
        let written = crate::tasks::blocking(move || write_backup(&path, &recovery_public, head, control, audit)).await;
        written.map_err(|e| RecoveryError::Unavailable(e.to_string()))?
    }
}

fn write_backup(
    path: &Path,
    recovery_public: &[u8; 32],
    head: Head,
    control: SnapshotOf,
    audit: Option<SnapshotOf>,
) -> Result<BackedUp, RecoveryError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoveryError::Io { path, source }
    };
    let temporary = path.with_extension("partial");
    let file = {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&temporary).map_err(io_error(&temporary))?
    };
    let mut sealer = Sealer::start(BufWriter::new(file), recovery_public)?;
    sealer.put(ItemKind::Head(head))?;
    for frame in control.snapshot.frames(0) {
        sealer.put(ItemKind::Control(frame.map_err(io_error(path))?))?;
    }
    for frame in audit.iter().flat_map(|a| a.snapshot.frames(0)) {
        sealer.put(ItemKind::Audit(frame.map_err(io_error(path))?))?;
    }
    sealer.put(ItemKind::End(true))?;
    let bytes = sealer.bytes;
    let file = sealer.out.into_inner().map_err(|e| RecoveryError::Io { path: temporary.clone(), source: e.into_error() })?;
    file.sync_all().map_err(io_error(&temporary))?;
    reach(Point::BackupSynced);
    std::fs::rename(&temporary, path).map_err(io_error(path))?;
    reach(Point::BackupRenamed);
    Ok(BackedUp { control_leaves: control.snapshot.leaves(), audit_leaves: audit.map(|a| a.snapshot.leaves()), bytes })
}

/// Makes the data folder of a new incarnation from a backup.
pub async fn from_backup(path: &Path, recovery: &RecoveryKey, new: &RecoverAs<'_>) -> Result<Recovered, RecoveryError> {
    home::ensure_free(new.dir)?;
    let file = File::open(path).map_err(|source| RecoveryError::Io { path: path.to_owned(), source })?;
    let mut opener = Opener::start(BufReader::new(file), recovery)?;
    let ItemKind::Head(head) = opener.next()? else { return Err(damaged("has no head")) };
    let spool = |name: &str| {
        let dir = new.dir.join(name);
        Incoming::new(&dir).map_err(|source| RecoveryError::Io { path: dir, source })
    };
    let (mut control, mut audit) = (spool("incoming-control")?, spool("incoming-audit")?);
    let refused = |e: io::Error| RecoveryError::Damaged(e.to_string());
    loop {
        match opener.next()? {
            ItemKind::Control(frame) => control.push(&frame).map_err(refused)?,
            ItemKind::Audit(frame) => audit.push(&frame).map_err(refused)?,
            ItemKind::Head(_) => return Err(damaged("has two heads")),
            ItemKind::End(_) => break,
        }
    }
    let meta = |bytes: &[u8]| format::decode_snapshot_meta(bytes).map_err(|e| RecoveryError::Damaged(e.to_string()));
    let control = SnapshotOf { meta: meta(&head.control)?, snapshot: control.finish().map_err(refused)? };
    let audit = match &head.audit {
        Some(position) => Some(SnapshotOf { meta: meta(position)?, snapshot: audit.finish().map_err(refused)? }),
        None => None,
    };
    let kek: [u8; 32] = head.kek[..].try_into().map_err(|_| damaged("has a malformed key"))?;
    let node = NodeId(head.last_node + 1);
    install::groups(&new.dir.join("store"), node, control, audit).await?;
    for spool in ["incoming-control", "incoming-audit"].map(|name| new.dir.join(name)) {
        std::fs::remove_dir(&spool).map_err(|source| RecoveryError::Io { path: spool, source })?;
    }
    write_home(new, &head.cluster, head.incarnation + 1, node, &KeyEncryptionKey::from_bytes(kek), recovery)
}

/// Makes the data folder of a new incarnation from one node that survived. What lies in its logs but was not applied
/// yet is applied: it may have been acknowledged.
pub async fn from_survivor(survivor: &Path, recovery: &RecoveryKey, new: &RecoverAs<'_>) -> Result<Recovered, RecoveryError> {
    home::ensure_free(new.dir)?;
    let old = Home::open(survivor)?;
    let kek = recovery.unwrap(&old.kek_recovery)?;
    let kek: [u8; 32] = kek[..].try_into().map_err(|_| damaged("has a malformed key"))?;
    let scratch = new.dir.join("survivor");
    let (control, audit, last_node) = install::read_survivor(&old.store_dir(), old.node, &scratch).await?;
    let node = NodeId(last_node + 1);
    install::groups(&new.dir.join("store"), node, control, Some(audit)).await?;
    std::fs::remove_dir_all(&scratch).map_err(|source| RecoveryError::Io { path: scratch, source })?;
    write_home(new, &old.cluster, old.incarnation + 1, node, &KeyEncryptionKey::from_bytes(kek), recovery)
}

/// The folder of the node that starts the new incarnation: new authorities, so that no earlier certificate counts; the
/// key-encryption key stays, so that sealed credentials open.
fn write_home(
    new: &RecoverAs<'_>,
    cluster: &str,
    incarnation: u64,
    node: NodeId,
    kek: &KeyEncryptionKey,
    recovery: &RecoveryKey,
) -> Result<Recovered, RecoveryError> {
    let peers = Authority::generate(cluster, incarnation, "nodes")?;
    let people = Authority::generate(cluster, incarnation, "people")?;
    let identity = |subject| Identity { cluster: cluster.to_owned(), incarnation, subject };
    let issued = peers.issue_node(&identity(Subject::Node(node)), new.hosts)?;
    let admin = people.issue_person(&identity(Subject::Person(new.first_admin.clone())))?;
    let recovery_public = recovery.public()?;
    home::write(
        new.dir,
        &NewHome {
            cluster,
            incarnation,
            node,
            founder: Some(&Founding { recovery_public, first_admin: new.first_admin.clone() }),
            peers: &peers,
            people: &people,
            cert_pem: &issued.cert_pem,
            key_pem: &issued.key_pem,
            kek,
            kek_recovery: &secrets::wrap_to(&recovery_public, kek.bytes())?,
            checkpoint_seed: &secrets::random()?,
            sealing_private: RecoveryKey::generate()?.private_bytes(),
        },
    )?;
    let origin = Origin { cluster: cluster.to_owned(), incarnation, log: String::new() };
    let genesis = VerifierKey { name: origin.signer(node), key: Home::open(new.dir)?.checkpoint_public() }.to_string();
    Ok(Recovered { cluster: cluster.to_owned(), incarnation, node, admin, admin_trust_pem: peers.cert_pem, genesis })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_opens_only_whole_and_in_order() {
        let recovery = RecoveryKey::generate().expect("random");
        let mut sealer = Sealer::start(Vec::new(), &recovery.public().expect("public")).expect("starts");
        for part in [&b"one"[..], b"two"] {
            sealer.put(ItemKind::Control(Bytes::copy_from_slice(part))).expect("seals");
        }
        sealer.put(ItemKind::End(true)).expect("seals");
        let (file, length) = (sealer.out, sealer.bytes as usize);
        assert_eq!(file.len(), length);

        let mut opener = Opener::start(&file[..], &recovery).expect("opens");
        for part in [&b"one"[..], b"two"] {
            assert_eq!(opener.next().expect("an item"), ItemKind::Control(Bytes::copy_from_slice(part)));
        }
        assert_eq!(opener.next().expect("the end"), ItemKind::End(true));

        let mut changed = file.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        let mut opener = Opener::start(&changed[..], &recovery).expect("the key opens");
        assert!(opener.next().is_ok() && opener.next().is_ok());
        assert!(matches!(opener.next(), Err(RecoveryError::Damaged(_))));
        let mut short = Opener::start(&file[..length - 1], &recovery).expect("the key opens");
        assert!(short.next().is_ok() && short.next().is_ok() && short.next().is_err());
        assert!(Opener::start(&file[..], &RecoveryKey::generate().expect("random")).is_err());
    }
}
