//! A client that sends whatever a test wants, and shows every answer as a letter with what matters of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use protocol_postgres::codec::{Authentication, Backend, frame};

use crate::harness::World;

pub(crate) struct Raw {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    pub(crate) fn connect(world: &World) -> Raw {
        let stream = TcpStream::connect(world.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut raw = Raw { stream, buffer: BytesMut::new() };
        raw.send(|out| frontend::startup_message([("user", "loop-1"), ("database", "shop")], out).expect("short"));
        let mut scram = ScramSha256::new(world.token().as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = raw.message();
            match Backend::parse_parts(tag, &body).expect("a message") {
                Backend::Authentication(Authentication::Sasl { .. }) => {
                    let first = scram.message().to_vec();
                    raw.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out).expect("short"));
                }
                Backend::Authentication(Authentication::SaslContinue { data }) => {
                    scram.update(data).expect("a challenge");
                    let proof = scram.message().to_vec();
                    raw.send(|out| frontend::sasl_response(&proof, out).expect("short"));
                }
                Backend::Authentication(Authentication::SaslFinal { data }) => scram.finish(data).expect("the gateway proves itself"),
                Backend::ErrorResponse(fields) => panic!("refused: {:?}", fields.message()),
                Backend::ReadyForQuery(_) => return raw,
                _ => {}
            }
        }
    }

    pub(crate) fn send(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        self.stream.write_all(&out).expect("sent");
    }

    /// Parse, Bind and Execute of the unnamed statement.
    pub(crate) fn run(out: &mut BytesMut, sql: &str) {
        frontend::parse("", sql, [], out).expect("short");
        Raw::bind("", "", out);
        frontend::execute("", 0, out).expect("short");
    }

    pub(crate) fn bind(portal: &str, statement: &str, out: &mut BytesMut) {
        let none = std::iter::empty::<()>();
        let bound = frontend::bind(portal, statement, [], none, |(), _| Ok(postgres_protocol::IsNull::Yes), [0], out);
        assert!(bound.is_ok());
    }

    fn message(&mut self) -> (u8, BytesMut) {
        loop {
            if let Some(frame) = frame::next(&mut self.buffer, 1 << 26).expect("in step") {
                return (frame.tag, BytesMut::from(frame.body()));
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("an answer in time");
            assert!(count > 0, "the gateway closed");
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Everything up to `count` ReadyForQuery messages: `1 2 C(SELECT 1) E(42501) Z(I)`. Rows are `D`.
    pub(crate) fn until_ready(&mut self, count: usize) -> String {
        let mut seen = Vec::new();
        let mut ready = 0;
        while ready < count {
            let (tag, body) = self.message();
            seen.push(match Backend::parse_parts(tag, &body).expect("a message") {
                Backend::ReadyForQuery(status) => {
                    ready += 1;
                    format!("Z({})", char::from(status.letter()))
                }
                Backend::CommandComplete { tag } => format!("C({tag})"),
                Backend::ErrorResponse(fields) => format!("E({})", fields.sqlstate().unwrap_or("?")),
                Backend::ParameterStatus { .. } | Backend::NoticeResponse(_) => continue,
                _ => char::from(tag).to_string(),
            });
        }
        seen.join(" ")
    }

    /// How many bytes arrive before the stream ends.
    pub(crate) fn read_slowly(&mut self, bytes: usize) -> usize {
        let mut taken = self.buffer.len();
        self.buffer.advance(taken);
        let mut chunk = vec![0; 64 * 1024];
        while taken < bytes {
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(count) => taken += count,
            }
        }
        taken
    }

    /// The stream has ended, with whatever words.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}
