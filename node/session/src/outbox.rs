//! Bytes on their way out, some of which wait for a record.
//!
//! ```text
//!   written │ releasable        │ waits for record 41 │ waits for record 42 …
//! ──────────┴───────────────────┴─────────────────────┴─────────────────────
//!           ^ first unwritten   ^ a mark: end, need, last message boundary
//! ```
//! A byte may leave when the records its mark needs, and those of all marks before it, are committed.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use planted::{Bug, planted};

/// The need of bytes that wait for a person, not for a record: no sequence reaches it.
pub const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub struct Outbox {
    bytes: BytesMut,
    /// Stream offset of the first byte in `bytes`.
    start: u64,
    marks: VecDeque<Mark>,
    /// What was written so far ends with a whole message.
    at_boundary: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox { bytes: BytesMut::new(), start: 0, marks: VecDeque::new(), at_boundary: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// Stream offset one past the last byte this mark covers.
    end: u64,
    /// Record sequence that must be committed first; 0 for none.
    need: u64,
    /// Stream offset of the last message boundary inside, 0 if none.
    boundary: u64,
    /// Whether later bytes may still raise this mark's need (see [`Outbox::tie`]).
    open: bool,
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Stream offset one past the last byte queued.
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Stream offset of the first byte not written yet.
    pub fn written(&self) -> u64 {
        self.start
    }

    /// Queues whole messages that need record `need`.
    pub fn push(&mut self, bytes: &[u8], need: u64) {
        self.push_part(bytes, need, true, false);
    }

    /// Queues messages that only prepare the next: they leave when that one does, see [`Outbox::tie`].
    pub fn push_open(&mut self, bytes: &[u8]) {
        self.push_part(bytes, 0, true, true);
    }

    /// Queues bytes that end inside a message unless `whole`.
    pub fn push_part(&mut self, bytes: &[u8], need: u64, whole: bool, open: bool) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.end();
        match self.marks.back_mut() {
            Some(last) if last.need == need && last.open == open => {
                last.end = end;
                if whole {
                    last.boundary = end;
                }
            }
            Some(_) | None => self.marks.push_back(Mark { end, need, boundary: if whole { end } else { 0 }, open }),
        }
    }

    /// What was pushed open and is still here now needs `need` as well, and is open no longer.
    pub fn tie(&mut self, need: u64) {
        for mark in self.marks.iter_mut().rev() {
            if !mark.open {
                break;
            }
            mark.need = mark.need.max(need);
            mark.open = false;
        }
    }

    /// Bytes that wait for a decision ([`NEVER`]) now wait for record `need`.
    pub fn settle(&mut self, need: u64) {
        for mark in &mut self.marks {
            if mark.need == NEVER {
                mark.need = need;
            }
        }
    }

    /// The bytes that may leave now that records through `through` are committed.
    pub fn releasable(&self, through: u64) -> &[u8] {
        let through = if planted(Bug::RecordNotAwaited) { u64::MAX } else { through };
        let mut end = self.start;
        for mark in &self.marks {
            if mark.need > through {
                break;
            }
            end = mark.end;
        }
        &self.bytes[..(end - self.start) as usize]
    }

    /// Does anything here wait for a record?
    pub fn waits(&self, through: u64) -> bool {
        self.marks.iter().any(|m| m.need > through && m.need != NEVER)
    }

    /// `count` bytes were written.
    pub fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.start += count as u64;
        if count > 0 {
            self.at_boundary = self.marks.iter().take_while(|m| m.boundary <= self.start).any(|m| m.boundary == self.start);
        }
        while self.marks.front().is_some_and(|m| m.end <= self.start) {
            self.marks.pop_front();
        }
        if self.bytes.is_empty() {
            self.shrink();
        }
    }

    /// What was written so far ends with a whole message, as far as is known: `false` is the safe answer.
    pub fn is_at_boundary(&self) -> bool {
        self.at_boundary
    }

    /// Drops everything not written yet.
    pub fn discard(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.shrink();
    }

    /// Keeps what may leave now up to its last message boundary, drops the rest. `false` if the peer is left inside
    /// a message, so that nothing may follow.
    pub fn cut(&mut self, through: u64) -> bool {
        let mut keep = self.start;
        let mut whole = self.at_boundary;
        for mark in self.marks.iter().take_while(|m| m.need <= through) {
            if mark.boundary > keep {
                keep = mark.boundary;
                whole = true;
            }
        }
        self.bytes.truncate((keep - self.start) as usize);
        self.marks.clear();
        if !self.bytes.is_empty() {
            self.marks.push_back(Mark { end: keep, need: 0, boundary: keep, open: false });
        }
        whole
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() > crate::limits::KEPT_WHEN_IDLE {
            self.bytes = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_when_their_records_are_committed() {
        let mut out = Outbox::default();
        out.push(b"aa", 0);
        out.push(b"bb", 7);
        out.push(b"cc", 0);
        assert_eq!(out.releasable(6), b"aa");
        assert_eq!(out.releasable(7), b"aabbcc");
        out.advance(2);
        assert_eq!(out.releasable(6), b"");
        assert!(out.waits(6));
        assert!(!out.waits(7));
        out.advance(4);
        assert!(out.is_empty());
        assert_eq!(out.written(), 6);
    }

    #[test]
    fn preparing_bytes_leave_with_what_they_prepare() {
        let mut out = Outbox::default();
        out.push(b"x", 0);
        out.push_open(b"parse bind ");
        out.tie(9);
        out.push(b"execute", 9);
        assert_eq!(out.releasable(8), b"x");
        assert_eq!(out.releasable(9), b"xparse bind execute");
    }

    #[test]
    fn what_waits_for_a_person_leaves_when_settled() {
        let mut out = Outbox::default();
        out.push_open(b"bind");
        out.tie(NEVER);
        assert_eq!(out.releasable(u64::MAX - 1), b"");
        assert!(!out.waits(1), "a person is no record");
        out.settle(3);
        assert_eq!(out.releasable(3), b"bind");
    }

    #[test]
    fn cutting_keeps_whole_released_messages_only() {
        let mut out = Outbox::default();
        out.push(b"one", 0);
        out.push_part(b"tw", 0, false, false);
        out.push(b"secret", 5);
        assert!(out.cut(4));
        assert_eq!(out.releasable(4), b"one");

        let mut torn = Outbox::default();
        torn.push_part(b"half", 0, false, false);
        torn.advance(4);
        torn.push(b"secret", 5);
        assert!(!torn.cut(4), "the client has half a message: nothing may follow");
        assert!(torn.is_empty());
    }
}
