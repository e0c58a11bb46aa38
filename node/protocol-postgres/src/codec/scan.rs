//! Finds messages in a stream. Small ones come out whole; rows and copy data come out as runs of bytes, many messages
//! at once or one large message in pieces, so that relaying them costs no allocation per row and no large buffer.
//!
//! ```text
//!                      header + body there                 large message of a kind that may be cut
//!   ┌───────────► At a boundary ───────────► Frame      At a boundary ───► Run{open} ──► Inside(remaining)
//!   └──────────────────┘                                      ▲                              │
//!                                                             └── Run{open: false} ◄─────────┘
//! ```

use bytes::{Bytes, BytesMut};

use super::CodecError;
use super::frame::{FRAME_SIZE_MAX, Frame, Header, header};

/// A message of a kind that may be cut is passed on in pieces when it is larger than this, in bytes. Well below what
/// a session buffers towards its client.
pub const PIECES_ABOVE: usize = 64 << 10;
/// Largest message from a server that must be whole to be understood, in bytes. A row description of the 1664
/// columns that PostgreSQL allows stays below 150 KiB.
pub const BACKEND_WHOLE_MAX: u32 = 1 << 20;

/// What a scanner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// One whole message.
    Frame(Frame),
    /// Bytes of one or more messages with this tag.
    Run {
        tag: u8,
        bytes: Bytes,
        /// How many messages of this kind begin in `bytes`; zero for the later pieces of a large one.
        started: u32,
        /// The last message goes on in the next piece: nothing else may be written to the receiver before.
        open: bool,
    },
}

impl Piece {
    pub fn tag(&self) -> u8 {
        match self {
            Piece::Frame(frame) => frame.tag,
            Piece::Run { tag, .. } => *tag,
        }
    }

    /// The bytes as they were read: what is forwarded.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Piece::Frame(frame) => frame.bytes,
            Piece::Run { bytes, .. } => bytes,
        }
    }
}

/// Which messages of a direction may come as runs, and how large the others may be.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Tags that come as runs always.
    runs: &'static [u8],
    /// Tags that come as a run only when they are large.
    cut_when_large: &'static [u8],
    whole_max: u32,
    run_max: u32,
}

#[derive(Debug)]
struct Scanner {
    rules: Rules,
    /// Bytes still to come of the message that was begun in a piece, and its tag.
    inside: Option<(u8, usize)>,
}

impl Scanner {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, CodecError> {
        if let Some((tag, remaining)) = self.inside {
            return Ok(self.more(tag, remaining, buffer));
        }
        let Some(&tag) = buffer.first() else {
            return Ok(None);
        };
        let run = self.rules.runs.contains(&tag);
        let cut = run || self.rules.cut_when_large.contains(&tag);
        let limit = if cut { self.rules.run_max } else { self.rules.whole_max };
        match header(buffer, limit)? {
            None => Ok(None),
            Some(Header { total, .. }) if cut && total > PIECES_ABOVE => Ok(Some(self.begin(tag, total, buffer))),
            Some(Header { total, .. }) if buffer.len() < total => Ok(None),
            Some(first) if run => self.run(first, buffer, limit).map(Some),
            Some(Header { total, .. }) => Ok(Some(Piece::Frame(Frame { tag, bytes: buffer.split_to(total).freeze() }))),
        }
    }

    /// The first piece of a large message.
    fn begin(&mut self, tag: u8, total: usize, buffer: &mut BytesMut) -> Piece {
        let taken = buffer.len().min(total);
        self.inside = (taken < total).then_some((tag, total - taken));
        Piece::Run { tag, bytes: buffer.split_to(taken).freeze(), started: 1, open: taken < total }
    }

    fn more(&mut self, tag: u8, remaining: usize, buffer: &mut BytesMut) -> Option<Piece> {
        if buffer.is_empty() {
            return None;
        }
        let taken = buffer.len().min(remaining);
        self.inside = (taken < remaining).then_some((tag, remaining - taken));
        Some(Piece::Run { tag, bytes: buffer.split_to(taken).freeze(), started: 0, open: taken < remaining })
    }

    /// All consecutive whole messages with the same tag, in one slice.
    fn run(&self, first: Header, buffer: &mut BytesMut, limit: u32) -> Result<Piece, CodecError> {
        let (mut end, mut started) = (first.total, 1);
        while let Some(rest) = buffer.get(end..).filter(|rest| rest.first() == Some(&first.tag)) {
            match header(rest, limit) {
                Ok(Some(next)) if next.total <= PIECES_ABOVE && rest.len() >= next.total => {
                    end += next.total;
                    started += 1;
                }
                // A bad length is found again, and reported, once the good messages before it are gone.
                Ok(_) | Err(_) => break,
            }
        }
        Ok(Piece::Run { tag: first.tag, bytes: buffer.split_to(end).freeze(), started, open: false })
    }
}

/// Messages from a server.
#[derive(Debug)]
pub struct BackendScanner(Scanner);

impl Default for BackendScanner {
    fn default() -> BackendScanner {
        let rules = Rules {
            runs: b"Dd",
            // Error, notice, notification, function result: long ones are rare, and need not be understood to be passed on.
            cut_when_large: b"ENAV",
            whole_max: BACKEND_WHOLE_MAX,
            // PostgreSQL's own limit is 1 GiB; a rogue server gains nothing below 2 GiB, since nothing is buffered.
            run_max: 1 << 31,
        };
        BackendScanner(Scanner { rules, inside: None })
    }
}

impl BackendScanner {
    /// The next piece, or `None` until more bytes are there.
    ///
    /// # Errors
    /// [`CodecError`] for a hostile length. The session ends; there is no way back into step.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, CodecError> {
        self.0.next(buffer)
    }

    /// A large message is only half through: nothing may be written in between.
    pub fn is_inside_message(&self) -> bool {
        self.0.inside.is_some()
    }
}

/// Messages from a client after authentication.
#[derive(Debug)]
pub struct FrontendScanner(Scanner);

impl Default for FrontendScanner {
    fn default() -> FrontendScanner {
        FrontendScanner::new(FRAME_SIZE_MAX)
    }
}

impl FrontendScanner {
    /// `whole_max`: the largest message, header included, that is taken whole; [`FRAME_SIZE_MAX`] at most.
    pub fn new(whole_max: u32) -> FrontendScanner {
        let whole_max = whole_max.min(FRAME_SIZE_MAX);
        let rules = Rules { runs: b"d", cut_when_large: b"", whole_max, run_max: 1 << 30 };
        FrontendScanner(Scanner { rules, inside: None })
    }

    /// The next piece, or `None` until more bytes are there. Whatever carries a statement or a parameter comes whole.
    ///
    /// # Errors
    /// [`CodecError`] for a hostile length.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, CodecError> {
        self.0.next(buffer)
    }

    pub fn is_inside_message(&self) -> bool {
        self.0.inside.is_some()
    }
}
