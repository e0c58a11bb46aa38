//! A snapshot on its way to another node: rows, and the leaves that the other does not have yet.
//!
//! ```text
//!  Header{position, rows, leaves from…to, root} Rows* Leaves* Trailer{SHA-256 of all frames before}
//! ```
//! Leaves never change, so the sender reads them from the live store; only rows are copied when a snapshot is taken.
//! The receiver spools leaves to a file, and has verified the root before anything is installed.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use domain::audit::merkle::{Frontier, Hash};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::format::{self, FormatError};
use crate::leaves::LeafReader;
use crate::machine::Row;

/// About how many bytes a frame has; a single row or leaf may make it longer.
const FRAME_BYTES: usize = 256 << 10;

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(oneof = "FrameKind", tags = "1, 2, 3, 4")]
    kind: Option<FrameKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum FrameKind {
    #[prost(message, tag = "1")]
    Header(Header),
    #[prost(message, tag = "2")]
    Rows(Rows),
    #[prost(message, tag = "3")]
    Leaves(Leaves),
    #[prost(message, tag = "4")]
    Trailer(Trailer),
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    from_leaf: u64,
    #[prost(uint64, tag = "2")]
    to_leaf: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    peaks: Vec<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    rows: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Rows {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<RowMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RowMessage {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Leaves {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    leaves: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Trailer {
    #[prost(bytes = "vec", tag = "1")]
    sha256: Vec<u8>,
}

/// What openraft hands around as a snapshot.
pub struct SnapshotData {
    pub(crate) rows: Arc<Vec<Row>>,
    pub(crate) frontier: Frontier,
    pub(crate) leaves: LeafSource,
}

pub(crate) enum LeafSource {
    /// On the sending side: the live store.
    Stored(LeafReader),
    /// On the receiving side: those from `from` on.
    Spooled { from: u64, file: File },
}

impl SnapshotData {
    /// Leaves in the log this snapshot is of.
    pub fn leaves(&self) -> u64 {
        self.frontier.size()
    }

    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The frames to send to a receiver that has the first `have` leaves.
    ///
    /// # Panics
    /// On the receiving side: a received snapshot is installed, not passed on.
    pub fn frames(&self, have: u64) -> Frames {
        let LeafSource::Stored(reader) = &self.leaves else { panic!("a received snapshot is not sent on") };
        let from = have.min(self.leaves());
        Frames {
            rows: self.rows.clone(),
            next_row: 0,
            reader: reader.clone(),
            frontier: self.frontier.clone(),
            from,
            next_leaf: from,
            hash: Sha256::new(),
            stage: Stage::Header,
        }
    }
}

enum Stage {
    Header,
    Rows,
    Leaves,
    Trailer,
    Done,
}

/// The encoded frames of a snapshot, made as they are asked for. Reads the store: pull them where waiting is allowed.
pub struct Frames {
    rows: Arc<Vec<Row>>,
    next_row: usize,
    reader: LeafReader,
    frontier: Frontier,
    from: u64,
    next_leaf: u64,
    hash: Sha256,
    stage: Stage,
}

impl Frames {
    fn produce(&mut self) -> io::Result<Option<FrameKind>> {
        loop {
            match self.stage {
                Stage::Header => {
                    self.stage = Stage::Rows;
                    return Ok(Some(FrameKind::Header(Header {
                        from_leaf: self.from,
                        to_leaf: self.frontier.size(),
                        peaks: self.frontier.peaks().iter().map(|p| p.to_vec()).collect(),
                        rows: self.rows.len() as u64,
                    })));
                }
                Stage::Rows if self.next_row == self.rows.len() => self.stage = Stage::Leaves,
                Stage::Rows => {
                    let mut bytes = 0;
                    let rows: Vec<RowMessage> = self.rows[self.next_row..]
                        .iter()
                        .take_while(|(key, value)| {
                            let fits = bytes < FRAME_BYTES;
                            bytes += key.len() + value.len();
                            fits
                        })
                        .map(|(key, value)| RowMessage { key: key.clone(), value: value.clone() })
                        .collect();
                    self.next_row += rows.len();
                    return Ok(Some(FrameKind::Rows(Rows { rows })));
                }
                Stage::Leaves if self.next_leaf == self.frontier.size() => self.stage = Stage::Trailer,
                Stage::Leaves => {
                    let leaves = self.reader.leaves(self.next_leaf..self.frontier.size(), FRAME_BYTES)?;
                    self.next_leaf += leaves.len() as u64;
                    return Ok(Some(FrameKind::Leaves(Leaves { leaves })));
                }
                Stage::Trailer => {
                    self.stage = Stage::Done;
                    let sha256 = std::mem::take(&mut self.hash).finalize().to_vec();
                    return Ok(Some(FrameKind::Trailer(Trailer { sha256 })));
                }
                Stage::Done => return Ok(None),
            }
        }
    }
}

impl Iterator for Frames {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.produce() {
            Ok(Some(kind)) => {
                let bytes = format::encode_frame(&Frame { kind: Some(kind) });
                self.hash.update(&bytes);
                Some(Ok(bytes))
            }
            Ok(None) => None,
            Err(error) => {
                self.stage = Stage::Done;
                Some(Err(error))
            }
        }
    }
}

/// A snapshot being received.
pub struct Incoming {
    header: Option<(u64, Frontier, u64)>,
    rows: Vec<Row>,
    spool: BufWriter<File>,
    leaves: u64,
    hash: Sha256,
    complete: bool,
}

impl Incoming {
    /// Spools into an unnamed file in `dir`.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new(dir: &Path) -> io::Result<Incoming> {
        std::fs::create_dir_all(dir)?;
        let (path, file) = unshared(dir)?;
        std::fs::remove_file(&path)?;
        Ok(Incoming { header: None, rows: Vec::new(), spool: BufWriter::new(file), leaves: 0, hash: Sha256::new(), complete: false })
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// When it is out of order, of an unknown version, or the trailer does not fit.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let frame: Frame = format::decode_frame("snapshot frame", bytes)?;
        let before = self.hash.clone();
        self.hash.update(bytes);
        match (frame.kind, &self.header) {
            (Some(FrameKind::Header(header)), None) => {
                let peaks = header.peaks.iter().map(|p| p.as_slice().try_into().ok()).collect::<Option<Vec<Hash>>>();
                let frontier =
                    peaks.and_then(|p| Frontier::from_parts(header.to_leaf, p)).ok_or_else(|| refuse("the header does not fit"))?;
                self.header = Some((header.from_leaf, frontier, header.rows));
                Ok(())
            }
            (Some(FrameKind::Rows(rows)), Some(_)) => {
                self.rows.extend(rows.rows.into_iter().map(|r| (r.key, r.value)));
                Ok(())
            }
            (Some(FrameKind::Leaves(leaves)), Some(_)) => {
                for leaf in leaves.leaves {
                    let length = u32::try_from(leaf.len()).map_err(|_| refuse("a leaf is too long"))?;
                    self.spool.write_all(&length.to_be_bytes())?;
                    self.spool.write_all(&leaf)?;
                    self.leaves += 1;
                }
                Ok(())
            }
            (Some(FrameKind::Trailer(trailer)), Some((from, frontier, rows))) => {
                let complete = self.rows.len() as u64 == *rows && from + self.leaves == frontier.size();
                if trailer.sha256 != before.finalize().as_slice() || !complete {
                    return Err(refuse("what arrived is not what was sent"));
                }
                self.complete = true;
                Ok(())
            }
            (Some(_), None) | (Some(FrameKind::Header(_)), Some(_)) | (None, _) => Err(refuse("a frame is out of order")),
        }
    }

    /// # Errors
    /// Unless the trailer has come.
    pub fn finish(self) -> io::Result<SnapshotData> {
        match self.header {
            Some((from, frontier, _)) if self.complete => {
                let mut file = self.spool.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Ok(SnapshotData { rows: Arc::new(self.rows), frontier, leaves: LeafSource::Spooled { from, file } })
            }
            _ => Err(refuse("it ended before its trailer")),
        }
    }
}

/// A file in `dir` that no other receiver has: two groups may arrive at once, and an earlier process with this id may
/// have left one behind.
fn unshared(dir: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let path = dir.join(format!("incoming-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}

fn refuse(message: &str) -> io::Error {
    FormatError::Malformed { what: "snapshot", message: message.into() }.into()
}

/// Reads spooled leaves back, one at a time.
pub(crate) struct Spool(BufReader<File>);

impl Spool {
    pub(crate) fn new(file: File) -> Self {
        Spool(BufReader::new(file))
    }

    pub(crate) fn next(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut leaf = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut leaf)?;
        Ok(leaf.into())
    }
}
