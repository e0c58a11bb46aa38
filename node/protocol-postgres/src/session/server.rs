//! What the server says: whose answer it is, what it does to the session, and whether the client may see it now.

use ::session::limits::TOWARDS_CLIENT_MAX;
use ::session::records::Ending;
use ::session::road::{End, Road};
use bytes::Bytes;
use domain::refusal::Refusal;

use super::Session;
use super::pipeline::Expect;
use crate::codec::frame::HEADER_SIZE;
use crate::codec::{Backend, Piece, TransactionStatus};

impl Session {
    pub(super) fn take_replies(&mut self, road: &mut Road) {
        while !road.is_ending() && road.homeward.len() < TOWARDS_CLIENT_MAX {
            match self.back.next(&mut road.upstream_in) {
                Ok(Some(Piece::Frame(frame))) => self.take_reply(frame.tag, &frame.bytes, road),
                Ok(Some(Piece::Run { tag, bytes, started, open })) => self.take_run(tag, &bytes, started, open, road),
                Ok(None) => return,
                Err(error) => self.broken(error.to_string(), road),
            }
        }
    }

    /// Rows and copy data, or a long message in pieces.
    fn take_run(&mut self, tag: u8, bytes: &Bytes, started: u32, open: bool, road: &mut Road) {
        match self.pipeline.front() {
            Some(Expect::Context { .. }) if tag == b'D' && !open => {
                let body = bytes.get(HEADER_SIZE..).unwrap_or_default();
                if started != 1 || !self.context_reply(tag, body) {
                    self.broken("the target answers nonsense about its session", road);
                }
                return;
            }
            Some(Expect::Poison { .. } | Expect::PoisonQuery { .. }) if tag == b'E' && started > 0 => {
                return self.broken("the target sends too long an error", road);
            }
            Some(_) | None => {}
        }
        if let Some(running) = self.pipeline.running() {
            running.bytes += bytes.len() as u64;
            if tag == b'D' {
                running.rows += u64::from(started);
            }
        }
        let need = self.need_now();
        road.homeward.push_part(bytes, need, !open, false);
        if tag == b'E' && started > 0 {
            self.error("XX000".to_owned(), road);
        }
    }

    fn take_reply(&mut self, tag: u8, bytes: &Bytes, road: &mut Road) {
        let body = bytes.get(HEADER_SIZE..).unwrap_or_default();
        match tag {
            b'Z' => self.ready_for_query(bytes, body, road),
            b'E' => self.error_response(bytes, body, road),
            // At any time, and nobody's answer.
            b'N' | b'A' => self.show(bytes, road),
            b'S' => self.parameter_status(bytes, body, road),
            _ if matches!(self.pipeline.front(), Some(Expect::Context { .. })) => self.hidden(tag, body, road),
            b'G' => {
                self.show(bytes, road);
                self.copying_in = true;
                if !self.pipeline.copy_begins() {
                    self.broken("another message in the middle of a copy", road);
                }
            }
            b'W' => self.broken("replication is not served", road),
            b'C' | b'I' | b's' => self.completed(tag, bytes, body, road),
            b'1' | b'2' | b'3' => {
                self.show(bytes, road);
                let fits = matches!(
                    (tag, self.pipeline.pop()),
                    (b'1', Some(Expect::Parse(_))) | (b'2', Some(Expect::Bind(_))) | (b'3', Some(Expect::Close(_)))
                );
                self.in_step(fits, road);
            }
            b'T' | b'n' => {
                self.show(bytes, road);
                if matches!(self.pipeline.front(), Some(Expect::Describe)) {
                    self.pipeline.pop();
                }
            }
            b't' | b'H' | b'c' | b'V' => self.show(bytes, road),
            _ => self.broken("the target sends a message that has no place here", road),
        }
    }

    /// Passes one message on, when its record permits.
    fn show(&mut self, bytes: &Bytes, road: &mut Road) {
        if let Some(running) = self.pipeline.running() {
            running.bytes += bytes.len() as u64;
        }
        let need = self.need_now();
        road.homeward.push(bytes, need);
    }

    fn in_step(&self, fits: bool, road: &mut Road) {
        if !fits {
            tracing::error!("the target answered what was not asked; the session ends");
            road.end(End::Us(Refusal::Protocol { message: "the target is out of step".to_owned() }));
        }
    }

    fn hidden(&mut self, tag: u8, body: &[u8], road: &mut Road) {
        if !self.context_reply(tag, body) {
            return self.broken("the target answers nonsense about its session", road);
        }
        if tag == b'3'
            && let Some(Expect::Context { sync, closes }) = self.pipeline.front()
        {
            *closes = closes.saturating_sub(1);
            if *closes == 0 && !*sync {
                self.pipeline.pop();
            }
        }
    }

    /// One statement is done; in a simple query another may follow.
    fn completed(&mut self, tag: u8, bytes: &Bytes, body: &[u8], road: &mut Road) {
        self.show(bytes, road);
        self.copying_in = false;
        let counted = if tag == b'C' { rows_in_tag(body) } else { None };
        match self.pipeline.front() {
            Some(Expect::Query(running)) => add_rows(&mut running.rows, counted),
            Some(Expect::Execute(running)) => {
                add_rows(&mut running.rows, counted);
                if let Some(Expect::Execute(running)) = self.pipeline.pop() {
                    self.finish(&running, Ending::Ok, road);
                }
            }
            Some(_) | None => self.in_step(false, road),
        }
    }

    fn error_response(&mut self, bytes: &Bytes, body: &[u8], road: &mut Road) {
        let fields = match Backend::parse_parts(b'E', body) {
            Ok(Backend::ErrorResponse(fields)) => fields,
            Ok(_) | Err(_) => return self.broken("the target sends an error that is none", road),
        };
        let code = fields.sqlstate().unwrap_or("XX000").to_owned();
        if fields.is_fatal() {
            // The server ends the session; its stream ends next.
            self.fatal_shown = true;
            return self.show(bytes, road);
        }
        match self.pipeline.front() {
            Some(Expect::Poison { instead } | Expect::PoisonQuery { instead }) => {
                let instead = std::mem::take(instead);
                let need = self.need_now();
                road.homeward.push(&instead, need);
            }
            Some(Expect::Context { sync: true, .. }) => {
                tracing::warn!(code, "the target would not say what names mean");
                self.known.not_asked();
                road.end(End::Us(Refusal::Protocol { message: "the target would not describe its session".to_owned() }));
            }
            Some(_) | None => self.show(bytes, road),
        }
        self.error(code, road);
    }

    /// The statement in front failed. In the extended protocol, all up to the next Sync is skipped with it.
    fn error(&mut self, code: String, road: &mut Road) {
        self.copying_in = false;
        match self.pipeline.front() {
            Some(Expect::Query(running)) => running.failed = Some(code),
            Some(Expect::PoisonQuery { .. } | Expect::Sync(_)) => {}
            Some(_) => self.skip(code, road),
            // An error out of the blue ends nothing by itself.
            None => {}
        }
    }

    fn skip(&mut self, code: String, road: &mut Road) {
        let (skipped, sync_is_out) = self.pipeline.skip_to_sync();
        let failed = skipped.len().saturating_sub(1);
        for (index, expect) in skipped.into_iter().enumerate() {
            match expect {
                Expect::Parse(undo) | Expect::Bind(undo) | Expect::Close(undo) if index == failed => self.names.refused(undo),
                Expect::Parse(undo) | Expect::Bind(undo) | Expect::Close(undo) => self.names.undo(undo),
                Expect::Execute(running) | Expect::Query(running) if index == failed => {
                    self.finish(&running, Ending::Error(code.clone()), road)
                }
                // Forwarded, and passed over by the server: certainly without effect.
                Expect::Execute(running) | Expect::Query(running) => self.finish(&running, Ending::NotForwarded, road),
                Expect::Context { .. } => self.known.not_asked(),
                Expect::Describe | Expect::Sync(_) | Expect::CopyEnd | Expect::Poison { .. } | Expect::PoisonQuery { .. } => {}
            }
        }
        if !sync_is_out {
            self.skipping = true;
        }
    }

    fn ready_for_query(&mut self, bytes: &Bytes, body: &[u8], road: &mut Road) {
        let status = match Backend::parse_parts(b'Z', body) {
            Ok(Backend::ReadyForQuery(status)) => status,
            Ok(_) | Err(_) => return self.broken("the target is in an unknown state", road),
        };
        self.status = status;
        self.copying_in = false;
        let visible = match self.pipeline.front() {
            Some(Expect::Context { sync: true, .. }) => {
                self.pipeline.pop();
                if self.known.is_asked() {
                    return self.broken("the target did not describe its session", road);
                }
                false
            }
            Some(Expect::Query(_) | Expect::Sync(_) | Expect::PoisonQuery { .. }) => true,
            Some(_) | None => return self.in_step(false, road),
        };
        if visible {
            self.show(bytes, road);
            match self.pipeline.pop() {
                Some(Expect::Query(mut running)) => {
                    let ending = running.failed.take().map_or(Ending::Ok, Ending::Error);
                    self.finish(&running, ending, road);
                    self.transaction_may_be_over(running.sync);
                }
                Some(Expect::Sync(number)) => self.transaction_may_be_over(number),
                // The error that stands for a refused query ends an implicit transaction as well.
                Some(Expect::PoisonQuery { .. }) if self.status == TransactionStatus::Idle => self.known.transaction_over(),
                Some(_) | None => {}
            }
        }
        let written = road.outward.written();
        if self.pipeline.is_empty() {
            self.quiet_since = road.outward.end();
        } else if self.pipeline.running().is_some_and(|next| next.begins_at >= written) {
            self.quiet_since = written;
        }
    }

    fn transaction_may_be_over(&mut self, acknowledged: u64) {
        if self.status == TransactionStatus::Idle {
            self.read_only_transaction = false;
            self.known.transaction_over();
            self.names.transaction_over(acknowledged);
        }
    }

    fn parameter_status(&mut self, bytes: &Bytes, body: &[u8], road: &mut Road) {
        let Ok(Backend::ParameterStatus { name, value }) = Backend::parse_parts(b'S', body) else {
            return self.broken("the target reports a parameter that is none", road);
        };
        match self.known.reported(name, value) {
            Ok(()) => self.show(bytes, road),
            // Something the classifier did not see changed how texts are read: nothing judged so far holds.
            Err(setting) => road.end(End::Policy(Refusal::Pinned { setting: setting.to_owned() })),
        }
    }
}

fn add_rows(rows: &mut u64, counted: Option<u64>) {
    if let Some(counted) = counted {
        *rows += counted;
    }
}

/// `UPDATE 7`, `INSERT 0 7`, `COPY 7`: what changed. Rows of a `SELECT` were counted as they came.
fn rows_in_tag(body: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(body.strip_suffix(&[0])?).ok()?;
    if tag.starts_with("SELECT") || tag.starts_with("FETCH") {
        return None;
    }
    tag.rsplit_once(' ')?.1.parse().ok()
}
