//! What the client says: each message is told apart, given its place in the pipeline, and judged where it executes.

use std::sync::Arc;

use ::session::limits::{MESSAGE_MAX, PIPELINE_MAX, TOWARDS_UPSTREAM_MAX};
use ::session::road::Road;
use bytes::{Buf, Bytes};
use domain::operation::{Access, Effect, Operation, Protocol, Resource, Verb};
use domain::refusal::Refusal;

use super::Session;
use super::context::message;
use super::decide::{Flow, Statement};
use super::names::{Portal, Prepared, Source};
use super::pipeline::Expect;
use crate::codec::fields::Response;
use crate::codec::frame::{HEADER_SIZE, header};
use crate::codec::frontend::Subject;
use crate::codec::{CodecError, Frame, Frontend, Piece};
use crate::operation::{Classified, Step};

impl Session {
    pub(super) fn take_messages(&mut self, road: &mut Road) {
        while self.may_take(road) {
            let frame = match self.pending.take() {
                Some(frame) => frame,
                None => match self.next_frame(road) {
                    Some(frame) => frame,
                    None => return,
                },
            };
            match self.take_message(&frame, road) {
                Flow::Done => {}
                Flow::Wait => {
                    self.pending = Some(frame);
                    return;
                }
            }
        }
    }

    fn may_take(&self, road: &Road) -> bool {
        let something = self.pending.is_some() || !road.client_in.is_empty();
        something
            && !self.parting
            && !road.has_errand()
            && !road.is_ending()
            && self.pipeline.len() < PIPELINE_MAX
            && road.outward.len() < TOWARDS_UPSTREAM_MAX / 2
    }

    /// The next message that has to be looked at; copy data is passed on here.
    fn next_frame(&mut self, road: &mut Road) -> Option<Frame> {
        loop {
            if !self.front.is_inside_message() && self.swallow(road)? {
                continue;
            }
            match self.front.next(&mut road.client_in) {
                Ok(Some(Piece::Frame(frame))) => return Some(frame),
                // Copy data without a copy is ignored by the server, as the protocol says; with one it was judged.
                Ok(Some(Piece::Run { bytes, open, .. })) => {
                    if !self.skipping || self.copying_in {
                        road.outward.tie(0);
                        road.outward.push_part(&bytes, 0, !open, false);
                    }
                    if road.outward.len() >= TOWARDS_UPSTREAM_MAX / 2 {
                        return None;
                    }
                }
                Ok(None) => return None,
                Err(error) => {
                    self.broken(error.to_string(), road);
                    return None;
                }
            }
        }
    }

    /// Drops a message too long to be judged as it comes, and refuses it when it is through. `None`: more must come;
    /// `Some(true)`: something was dropped, look again.
    fn swallow(&mut self, road: &mut Road) -> Option<bool> {
        if let Some((tag, left)) = self.swallowing {
            let now = left.min(road.client_in.len());
            road.client_in.advance(now);
            if now < left {
                self.swallowing = Some((tag, left - now));
                return None;
            }
            self.swallowing = None;
            self.refuse_by_tag(tag, &crate::refusal::error(&Refusal::StatementTooLong { limit: MESSAGE_MAX }), road);
            return Some(true);
        }
        match header(&road.client_in, 1 << 30) {
            Ok(Some(found)) if found.tag != b'd' && found.total > MESSAGE_MAX => {
                self.swallowing = Some((found.tag, found.total));
                Some(true)
            }
            Ok(Some(_)) => Some(false),
            Ok(None) => None,
            Err(error) => {
                self.broken(error.to_string(), road);
                None
            }
        }
    }

    /// Answers a message that is not judged, because it cannot be read, as the server would answer one that fails.
    fn refuse_by_tag(&mut self, tag: u8, response: &Response, road: &mut Road) {
        if self.skipping {
            return;
        }
        match tag {
            b'Q' | b'F' => self.refuse_query(response, road),
            b'P' | b'B' | b'D' | b'E' | b'C' => self.refuse_extended(response, road),
            _ => self.broken(response.message.clone(), road),
        }
    }

    fn take_message(&mut self, frame: &Frame, road: &mut Road) -> Flow {
        let parsed = match Frontend::parse(frame) {
            Ok(parsed) => parsed,
            Err(CodecError::NotUtf8 { .. }) if !self.copying_in => {
                self.refuse_by_tag(frame.tag, &crate::refusal::not_utf8(), road);
                return Flow::Done;
            }
            Err(error) => {
                self.broken(error.to_string(), road);
                return Flow::Done;
            }
        };
        if self.copying_in && !self.pipeline.copy_ended() {
            return self.take_while_copying(&parsed, frame, road);
        }
        match parsed {
            Frontend::Sync => self.sync(road),
            Frontend::Terminate => self.part(road),
            _ if self.skipping => {}
            Frontend::Query { text } => return self.query(text, frame, road),
            Frontend::Parse { statement, text, .. } => self.parse(statement, text, frame, road),
            Frontend::Bind { portal, statement, .. } => self.bind(portal, statement, frame, road),
            Frontend::Describe { .. } => {
                self.group_open = true;
                road.outward.push_open(&frame.bytes);
                self.pipeline.push(Expect::Describe);
            }
            Frontend::Execute { portal, .. } => return self.execute(portal, frame, road),
            Frontend::Close { subject, name } => self.close(subject, name, frame, road),
            Frontend::Flush => {
                road.outward.tie(0);
                road.outward.push(&frame.bytes, 0);
            }
            Frontend::FunctionCall { .. } => return self.function_call(frame, road),
            Frontend::CopyDone | Frontend::CopyFail { .. } => self.end_copy(frame, road),
            Frontend::CopyData { .. } => road.outward.push(&frame.bytes, 0),
            Frontend::Password { .. } => self.broken("nobody asked for a password", road),
        }
        Flow::Done
    }

    /// While the server reads a copy it swallows Sync and Flush, and anything else breaks the copy; no client does
    /// that on purpose, so the session ends instead of guessing what the server makes of it.
    fn take_while_copying(&mut self, parsed: &Frontend<'_>, frame: &Frame, road: &mut Road) -> Flow {
        match parsed {
            Frontend::CopyDone | Frontend::CopyFail { .. } => self.end_copy(frame, road),
            Frontend::CopyData { .. } | Frontend::Sync | Frontend::Flush => road.outward.push(&frame.bytes, 0),
            Frontend::Terminate => self.part(road),
            Frontend::Query { .. }
            | Frontend::Parse { .. }
            | Frontend::Bind { .. }
            | Frontend::Describe { .. }
            | Frontend::Execute { .. }
            | Frontend::Close { .. }
            | Frontend::FunctionCall { .. }
            | Frontend::Password { .. } => self.broken("another message in the middle of a copy", road),
        }
        Flow::Done
    }

    fn end_copy(&mut self, frame: &Frame, road: &mut Road) {
        road.outward.tie(0);
        road.outward.push(&frame.bytes, 0);
        self.pipeline.push(Expect::CopyEnd);
    }

    fn sync(&mut self, road: &mut Road) {
        road.outward.settle(0);
        road.outward.tie(0);
        road.outward.push(&message(Frontend::Sync), 0);
        self.syncs_sent += 1;
        self.skipping = false;
        self.group_open = false;
        self.run_since_sync = false;
        self.pipeline.push(Expect::Sync(self.syncs_sent));
    }

    /// The client is done: so are we, once what it sent before is.
    pub(super) fn part(&mut self, road: &mut Road) {
        road.outward.tie(0);
        road.outward.push(&message(Frontend::Terminate), 0);
        self.parting = true;
    }

    fn query(&mut self, text: &str, frame: &Frame, road: &mut Road) -> Flow {
        if !self.meaning_is_settled(road) {
            return Flow::Wait;
        }
        let classified = self.classify(text);
        let operation = self.resolve(&classified);
        self.run(Statement { operation, classified: Some(classified), text: text.as_bytes(), parameters: &[], simple: true }, frame, road)
    }

    fn parse(&mut self, name: &str, text: &str, frame: &Frame, road: &mut Road) {
        if Self::is_reserved(name) {
            return self.broken(RESERVED, road);
        }
        let text_at = HEADER_SIZE + name.len() + 1;
        let prepared = Prepared { text: own(&frame.bytes, text_at, text.len()), by_sql: false };
        let undo = self.names.prepare(Bytes::copy_from_slice(name.as_bytes()), Arc::new(prepared));
        self.group_open = true;
        road.outward.push_open(&frame.bytes);
        self.pipeline.push(Expect::Parse(undo));
    }

    fn bind(&mut self, portal: &str, statement: &str, frame: &Frame, road: &mut Road) {
        if Self::is_reserved(portal) || Self::is_reserved(statement) {
            return self.broken(RESERVED, road);
        }
        let source = self.names.statement(statement.as_bytes()).map_or(Source::Unknown, |prepared| Source::Statement(prepared.clone()));
        let parameters_at = HEADER_SIZE + portal.len() + 1 + statement.len() + 1;
        let parameters = own(&frame.bytes, parameters_at, frame.bytes.len() - parameters_at);
        let bound = Portal { source, parameters, epoch: self.syncs_sent, outlives: false };
        let undo = self.names.bind(Bytes::copy_from_slice(portal.as_bytes()), Arc::new(bound));
        self.group_open = true;
        road.outward.push_open(&frame.bytes);
        self.pipeline.push(Expect::Bind(undo));
    }

    fn close(&mut self, subject: Subject, name: &str, frame: &Frame, road: &mut Road) {
        let name = Bytes::copy_from_slice(name.as_bytes());
        let undo = match subject {
            Subject::Statement => self.names.close_statement(name),
            Subject::Portal => self.names.close_portal(name),
        };
        self.group_open = true;
        road.outward.push_open(&frame.bytes);
        self.pipeline.push(Expect::Close(undo));
    }

    /// Decided here, not at Parse: by what the name stands for now, with the values it was bound to (THREATS 25).
    fn execute(&mut self, name: &str, frame: &Frame, road: &mut Road) -> Flow {
        if Self::is_reserved(name) {
            self.broken(RESERVED, road);
            return Flow::Done;
        }
        if !self.meaning_is_settled(road) {
            return Flow::Wait;
        }
        let portal = self.names.portal(name.as_bytes()).cloned();
        let (operation, classified, text) = match portal.as_ref().map(|p| &p.source) {
            Some(Source::Statement(prepared)) => self.behind(prepared),
            Some(Source::Cursor(operation)) => (operation.clone(), None, Bytes::copy_from_slice(name.as_bytes())),
            Some(Source::Unknown) | None => (widest("EXECUTE"), None, Bytes::copy_from_slice(name.as_bytes())),
        };
        let parameters = portal.as_ref().map_or(Bytes::new(), |p| p.parameters.clone());
        let statement = Statement { operation, classified, text: &text, parameters: &parameters, simple: false };
        self.run(statement, frame, road)
    }

    /// What a prepared statement would do if it ran now.
    fn behind(&self, prepared: &Prepared) -> (Operation, Option<Arc<Classified>>, Bytes) {
        let Ok(text) = std::str::from_utf8(&prepared.text) else { return (widest("EXECUTE"), None, prepared.text.clone()) };
        let classified = self.classify(text);
        if !prepared.by_sql {
            let operation = self.resolve(&classified);
            return (operation, Some(classified), prepared.text.clone());
        }
        match &*classified.steps {
            [Step::Prepare(inner)] => (inner.operation.clone(), None, prepared.text.clone()),
            _ => (widest("EXECUTE"), None, prepared.text.clone()),
        }
    }

    pub(super) fn classify(&self, text: &str) -> Arc<Classified> {
        if self.known.is_fresh() {
            self.classifier.classify(text, &self.known.context)
        } else {
            self.classifier.classify(text, &self.known.unknown_context())
        }
    }

    /// Resolves `EXECUTE` and `FETCH` by name.
    fn resolve(&self, classified: &Classified) -> Operation {
        if !classified.steps.iter().any(|step| matches!(step, Step::Execute(_) | Step::Fetch(_))) {
            return classified.operation.clone();
        }
        classified.resolved(|step| match step {
            Step::Execute(name) => self.names.statement(name.as_bytes()).map(|prepared| self.behind(prepared).0),
            Step::Fetch(name) => match &self.names.portal(name.as_bytes())?.source {
                Source::Statement(prepared) => Some(self.behind(prepared).0),
                Source::Cursor(operation) => Some(operation.clone()),
                Source::Unknown => None,
            },
            _ => None,
        })
    }

    /// The fastpath names a function by number, which only the server can read: any function (THREATS 26).
    fn function_call(&mut self, frame: &Frame, road: &mut Road) -> Flow {
        if !self.meaning_is_settled(road) {
            return Flow::Wait;
        }
        let resource = Resource::new([self.known.context.database.as_ref(), "*", "*"]);
        let accesses = [Access { protocol: Protocol::Postgres, verb: Verb::Call, resource }];
        let operation = Operation { tag: "FUNCTION CALL".into(), accesses: accesses.into(), effect: Effect::Lasting };
        let statement = Statement { operation, classified: None, text: b"FunctionCall", parameters: frame.body(), simple: true };
        self.run(statement, frame, road)
    }
}

/// Said to a client that uses the gateway's own names.
const RESERVED: &str = "names that begin with \"assize:\" are the gateway's own";

/// What cannot be told needs everything.
fn widest(tag: &str) -> Operation {
    let accesses = Verb::of(Protocol::Postgres).iter().map(|verb| Access {
        protocol: Protocol::Postgres,
        verb: *verb,
        resource: Resource::new(["*", "*", "*"]),
    });
    Operation { tag: tag.into(), accesses: accesses.collect(), effect: Effect::Lasting }
}

/// A part of a message that is kept beyond it: copied, so that it does not keep the whole read buffer alive.
fn own(bytes: &Bytes, at: usize, length: usize) -> Bytes {
    Bytes::copy_from_slice(bytes.get(at..at + length).unwrap_or_default())
}

/// Bound parameters as an approver reads them: text as it is, binary in hexadecimal. `parameters` is the body of a
/// Bind without its two names.
pub(super) fn shown(parameters: &[u8]) -> Vec<String> {
    let body = [&[0, 0], parameters].concat();
    let Ok(Frontend::Bind { formats, values, .. }) = Frontend::parse_parts(b'B', &body) else { return Vec::new() };
    let show = |(index, value): (usize, Option<&[u8]>)| match value {
        None => "NULL".to_owned(),
        Some(value) if formats.of(index) == 0 => String::from_utf8_lossy(value).into_owned(),
        Some(value) => value.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    };
    values.iter().enumerate().map(show).collect()
}
