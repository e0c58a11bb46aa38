//! Start-up and authentication at the target, up to its first ReadyForQuery.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use socket::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Connected, Login, UpstreamError};
use crate::codec::backend::Mechanisms;
use crate::codec::{Authentication, Backend, CancelKey, ErrorFields, Frame, ProtocolVersion, Startup};
use crate::codec::{frame, write};

/// Largest message taken before the session is ready, in bytes.
const MESSAGE_SIZE_MAX: u32 = 64 << 10;
/// Messages taken before the session is ready: PostgreSQL sends about 20, a chatty login trigger some more.
const MESSAGES_MAX: usize = 256;
/// Parameters kept; a server reports about 15.
const PARAMETERS_MAX: usize = 64;

/// What every session is started with, whatever the client asked for: what the gateway parses must be what the
/// server reads.
pub const PINNED: &[(&str, &str)] =
    &[("client_encoding", "UTF8"), ("standard_conforming_strings", "on"), ("backslash_quote", "safe_encoding")];
/// Those that a server reports, so that one which ignored them is noticed.
const REPORTED: &[(&str, &str)] = &[("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

/// How far authentication is. A server that skips a step is not let through: only one that asked for nothing at all
/// (trust) may say Ok at once.
enum Stage {
    Begun,
    /// Cleartext or MD5 was answered.
    Answered,
    Scram(Box<ScramSha256>),
    /// The server's proof was checked or it needed none.
    Proven,
    Ok,
}

pub(super) async fn run(stream: Stream, end_point: Option<Vec<u8>>, login: &Login<'_>) -> Result<Connected, UpstreamError> {
    let connected = Connected { stream, buffer: BytesMut::new(), parameters: BTreeMap::new(), key: None, version: login.version };
    let mut visit = Visit { connected, login, end_point, stage: Stage::Begun };
    let mut out = BytesMut::new();
    startup(login).write(&mut out);
    visit.send(&mut out).await?;
    for _ in 0..MESSAGES_MAX {
        let frame = visit.read().await?;
        if visit.take(&frame).await? {
            return visit.finish();
        }
    }
    Err(UpstreamError::Rules("too many messages before it was ready"))
}

fn startup(login: &Login<'_>) -> Startup {
    let mut settings: BTreeMap<&str, &str> = login.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    settings.extend(PINNED.iter().copied());
    if login.read_only {
        settings.insert("default_transaction_read_only", "on");
    }
    let fixed = [("user", login.username), ("database", login.database), ("application_name", login.application)];
    let all = fixed.into_iter().chain(settings);
    let parameters = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Startup::Session { version: login.version, parameters }
}

struct Visit<'a> {
    connected: Connected,
    login: &'a Login<'a>,
    end_point: Option<Vec<u8>>,
    stage: Stage,
}

impl Visit<'_> {
    async fn send(&mut self, out: &mut BytesMut) -> Result<(), UpstreamError> {
        self.connected.stream.write_all_buf(out).await?;
        Ok(self.connected.stream.flush().await?)
    }

    async fn read(&mut self) -> Result<Frame, UpstreamError> {
        loop {
            if let Some(frame) = frame::next(&mut self.connected.buffer, MESSAGE_SIZE_MAX)? {
                return Ok(frame);
            }
            self.connected.buffer.reserve(1024);
            if self.connected.stream.read_buf(&mut self.connected.buffer).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Takes one message; `true` when the session is ready.
    async fn take(&mut self, frame: &Frame) -> Result<bool, UpstreamError> {
        let authenticated = matches!(self.stage, Stage::Ok);
        match (Backend::parse(frame)?, authenticated) {
            (Backend::Authentication(request), false) => self.authenticate(request).await?,
            (Backend::ErrorResponse(fields), _) => return Err(refused(&fields)),
            (Backend::NoticeResponse(_), _) => {}
            (Backend::NegotiateProtocolVersion { newest, .. }, false) => self.negotiated(newest)?,
            (Backend::ParameterStatus { name, value }, true) => {
                if self.connected.parameters.len() >= PARAMETERS_MAX {
                    return Err(UpstreamError::Rules("too many parameters"));
                }
                self.connected.parameters.insert(name.to_owned(), value.to_owned());
            }
            (Backend::BackendKeyData { pid, secret }, true) => {
                self.connected.key = Some(CancelKey { pid, secret: frame.bytes.slice_ref(secret) });
            }
            (Backend::ReadyForQuery(_), true) => return Ok(true),
            _ => return Err(UpstreamError::Rules("a message out of turn")),
        }
        Ok(false)
    }

    fn negotiated(&mut self, newest: u32) -> Result<(), UpstreamError> {
        let newest = ProtocolVersion::from_code(newest);
        if newest.major != 3 || newest > self.connected.version {
            return Err(UpstreamError::Rules("a protocol version that was not asked for"));
        }
        self.connected.version = newest;
        Ok(())
    }

    async fn authenticate(&mut self, request: Authentication<'_>) -> Result<(), UpstreamError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Begun);
        self.stage = match (stage, request) {
            (Stage::Begun | Stage::Answered | Stage::Proven, Authentication::Ok) => Stage::Ok,
            (Stage::Begun, Authentication::CleartextPassword) => {
                if !self.connected.stream.is_tls() {
                    return Err(UpstreamError::Authentication("it asks for the password in the clear without TLS".into()));
                }
                let password = self.login.password;
                self.answer(&[password.expose(), &[0]]).await?;
                Stage::Answered
            }
            (Stage::Begun, Authentication::Md5Password { salt }) => {
                let hash = md5_hash(self.login.username.as_bytes(), self.login.password.expose(), salt);
                self.answer(&[hash.as_bytes(), &[0]]).await?;
                Stage::Answered
            }
            (Stage::Begun, Authentication::Sasl { mechanisms }) => self.begin_scram(mechanisms).await?,
            (Stage::Scram(scram), Authentication::SaslContinue { data }) => self.prove(scram, data.to_vec()).await?,
            (Stage::Scram(mut scram), Authentication::SaslFinal { data }) => {
                scram.finish(data).map_err(|error| UpstreamError::Authentication(error.to_string()))?;
                Stage::Proven
            }
            (Stage::Scram(_), Authentication::Ok) => {
                return Err(UpstreamError::Authentication("it did not prove that it knows the credential".into()));
            }
            (_, Authentication::Other { code, .. }) => {
                return Err(UpstreamError::Authentication(format!("it asks for method {code}, which is not supported")));
            }
            _ => return Err(UpstreamError::Rules("an authentication request out of turn")),
        };
        Ok(())
    }

    /// Channel binding whenever both sides can: then nobody sits between, whatever certificates they have.
    async fn begin_scram(&mut self, mechanisms: Mechanisms<'_>) -> Result<Stage, UpstreamError> {
        let offered = |name| mechanisms.iter().any(|mechanism| mechanism == name);
        let (mechanism, binding) = match self.end_point.take() {
            Some(hash) if offered(SCRAM_SHA_256_PLUS) => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
            Some(_) if offered(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if offered(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => return Err(UpstreamError::Authentication("it offers no SASL mechanism that is supported".into())),
        };
        let scram = ScramSha256::new(self.login.password.expose(), binding);
        let length = u32::try_from(scram.message().len()).unwrap_or(0).to_be_bytes();
        self.answer(&[mechanism.as_bytes(), &[0], &length, scram.message()]).await?;
        Ok(Stage::Scram(Box::new(scram)))
    }

    /// The server chooses how often the password is hashed, up to a hundred thousand times (`postgres-protocol` caps
    /// it there): off the runtime's threads, so that no other session waits for it.
    async fn prove(&mut self, mut scram: Box<ScramSha256>, data: Vec<u8>) -> Result<Stage, UpstreamError> {
        let hashed = tokio::task::spawn_blocking(move || scram.update(&data).map(|()| scram)).await;
        let scram = hashed
            .map_err(|error| UpstreamError::Authentication(error.to_string()))?
            .map_err(|error| UpstreamError::Authentication(error.to_string()))?;
        self.answer(&[scram.message()]).await?;
        Ok(Stage::Scram(scram))
    }

    async fn answer(&mut self, parts: &[&[u8]]) -> Result<(), UpstreamError> {
        let mut out = BytesMut::new();
        write::message(&mut out, b'p', |out| parts.iter().for_each(|part| out.put_slice(part)));
        self.send(&mut out).await
    }

    fn finish(self) -> Result<Connected, UpstreamError> {
        for (setting, wanted) in REPORTED {
            match self.connected.parameters.get(*setting) {
                Some(found) if found != wanted => {
                    return Err(UpstreamError::NotPinned { setting, found: found.chars().take(64).collect() });
                }
                Some(_) | None => {}
            }
        }
        Ok(self.connected)
    }
}

pub(super) fn refused(fields: &ErrorFields<'_>) -> UpstreamError {
    let text = |field: Option<&str>| field.unwrap_or("?").chars().take(500).collect();
    UpstreamError::Refused { sqlstate: text(fields.sqlstate()), message: text(fields.message()) }
}
