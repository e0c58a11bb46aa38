//! From accept to identified, and the words around it. One of the two rooms that await.
//!
//! ```text
//!  accept ─► SSLRequest? direct TLS? ─► Startup ─► SCRAM or password ─► Identified
//!             │ GSSENCRequest → 'N'       │  │                             │
//!             │                           │  └─► refused, told, closed     ├─ refuse ─► FATAL, closed
//!             └─ CancelRequest ───────────┴────► Outcome::Cancel           └─ into_parts ─► Greeting (AuthenticationOk …)
//! ```
//! The caller sets one deadline over all of it (THREATS 113): nothing in here waits on anything but the client, and
//! nothing starts a clock anew. AuthenticationOk is not sent before admission and dial are done, so a client that
//! cannot be served is told why as a failed login, which every driver understands.

pub mod login;
pub mod parameters;
pub mod tls;

use std::sync::Arc;

use bytes::BytesMut;
use domain::id::Name;
use domain::refusal::Refusal;
use domain::state::State;
use domain::time::LogTime;
use identity::Identity;
use identity::scram::MockKey;
use socket::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::codec::backend::write_negotiate;
use crate::codec::fields::Response;
use crate::codec::{Authentication, Backend, CancelKey, CodecError, Frame, ProtocolVersion, Startup, TransactionStatus};
use crate::codec::{frame, startup};
use crate::refusal;
pub use parameters::Opening;
pub use tls::ListenerTls;

/// Largest answer to an authentication request, in bytes. A SCRAM message has some hundred.
const ANSWER_SIZE_MAX: u32 = 8 << 10;
/// SSLRequest and GSSENCRequest may each come once, and a client may try them in turn.
const NEGOTIATIONS_MAX: usize = 2;

/// How agents prove who they are on one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// SCRAM-SHA-256, and -PLUS over TLS. The secret never leaves the client.
    #[default]
    Scram,
    /// The token itself, over TLS only; for clients without SCRAM.
    PasswordOverTls,
}

/// The settings of one listener.
#[derive(Debug, Clone)]
pub struct Listening {
    pub tls: Option<ListenerTls>,
    /// Refuse sessions without TLS.
    pub tls_required: bool,
    pub auth: Auth,
    /// Bound to this target: the database name passes through. Otherwise it names the target.
    pub target: Option<Name>,
    /// Take `replication` start-ups; admission still decides.
    pub replication: bool,
    pub mock: MockKey,
}

/// The newest state and log time of this node, whenever it is asked.
pub type Look<'a> = &'a (dyn Fn() -> (Arc<State>, LogTime) + Send + Sync);

/// How a handshake ended.
#[derive(Debug)]
pub enum Outcome {
    Identified(Box<Identified>),
    /// A request to cancel; the stream is to be closed once it was passed on, and gets no answer.
    Cancel {
        stream: Stream,
        key: CancelKey,
    },
    /// Turned away and told so; what it claimed to be, for the record.
    TurnedAway {
        claimed: Option<Name>,
        target: Option<Name>,
        refusal: Refusal,
    },
    /// Gone, or spoke no sense before it said what it wanted.
    Gone,
}

/// A client that proved who it is, and waits for AuthenticationOk or an error.
#[derive(Debug)]
pub struct Identified {
    stream: Stream,
    buffer: BytesMut,
    pub identity: Identity,
    pub opening: Opening,
    version: ProtocolVersion,
    /// server-final, not sent yet.
    sasl_final: Option<String>,
}

/// What the client is told once all is ready.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub version: ProtocolVersion,
    sasl_final: Option<String>,
}

/// The handshake's inner ending: a stream that broke, or a refusal that the client is to be told.
#[derive(Debug)]
pub(crate) enum Broken {
    Gone,
    Refused(Refusal),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Broken {
        tracing::debug!(%error, "the client's stream broke in the handshake");
        Broken::Gone
    }
}

impl From<CodecError> for Broken {
    fn from(error: CodecError) -> Broken {
        Broken::Refused(Refusal::Protocol { message: error.to_string() })
    }
}

/// Brings a client from accept to identified. Whoever is turned away has been told when this returns.
pub async fn run(tcp: TcpStream, listening: &Listening, look: Look<'_>) -> Outcome {
    let Ok(mut leg) = tls::arrive(tcp, listening).await else { return Outcome::Gone };
    let (version, parameters) = loop {
        match (leg.packet(listening).await, &listening.tls) {
            (Ok(Startup::Session { version, parameters }), _) => break (version, parameters),
            (Ok(Startup::Cancel(key)), _) => return Outcome::Cancel { stream: leg.stream, key },
            (Ok(Startup::SslRequest), Some(tls)) => match leg.encrypt(tls).await {
                Some(encrypted) => leg = encrypted,
                None => return Outcome::Gone,
            },
            (Ok(Startup::SslRequest | Startup::GssEncRequest) | Err(Broken::Gone), _) => return Outcome::Gone,
            (Err(Broken::Refused(refusal)), _) => {
                leg.tell(&refusal::login(&refusal)).await;
                return Outcome::TurnedAway { claimed: None, target: None, refusal };
            }
        }
    };
    let opening = match Opening::check(parameters, listening) {
        Ok(opening) => opening,
        Err(refusal) => {
            leg.tell(&refusal::login(&refusal)).await;
            return Outcome::TurnedAway { claimed: None, target: None, refusal };
        }
    };
    let version = leg.version(version, &opening);
    match login::identify(&mut leg, listening, &opening, look).await {
        Ok((identity, sasl_final)) => {
            let Leg { stream, buffer, .. } = leg;
            Outcome::Identified(Box::new(Identified { stream, buffer, identity, opening, version, sasl_final }))
        }
        Err(Broken::Gone) => Outcome::Gone,
        Err(Broken::Refused(refusal)) => {
            leg.tell(&refusal::login(&refusal)).await;
            Outcome::TurnedAway { claimed: opening.user.parse().ok(), target: opening.target, refusal }
        }
    }
}

/// One client leg during the handshake.
pub(crate) struct Leg {
    pub(crate) stream: Stream,
    pub(crate) buffer: BytesMut,
    /// To be written before the next wait.
    pub(crate) out: BytesMut,
}

impl Leg {
    pub(crate) fn new(stream: Stream) -> Leg {
        Leg { stream, buffer: BytesMut::new(), out: BytesMut::new() }
    }

    async fn flush(&mut self) -> Result<(), std::io::Error> {
        if !self.out.is_empty() {
            self.stream.write_all_buf(&mut self.out).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Sends what is queued, then waits for more.
    async fn read(&mut self) -> Result<(), Broken> {
        self.flush().await?;
        self.buffer.reserve(1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Broken::Gone),
            _ => Ok(()),
        }
    }

    /// The next packet that says what the client wants. Requests for encryption that we decline are answered here; an
    /// SSLRequest that is returned is one to be met.
    async fn packet(&mut self, listening: &Listening) -> Result<Startup, Broken> {
        let violation = |message: &str| Broken::Refused(Refusal::Protocol { message: message.into() });
        for _ in 0..=NEGOTIATIONS_MAX {
            let packet = loop {
                match startup::next(&mut self.buffer)? {
                    Some(packet) => break packet,
                    None => self.read().await?,
                }
            };
            match packet {
                Startup::SslRequest | Startup::GssEncRequest if self.stream.is_tls() => {
                    return Err(violation("encryption is on already"));
                }
                // Anything in the buffer was sent in the clear before the switch; whoever could write there could
                // put words into the client's mouth (CVE-2021-23214).
                Startup::SslRequest | Startup::GssEncRequest if !self.buffer.is_empty() => {
                    tracing::warn!("bytes were pipelined after a request for encryption; closing");
                    return Err(Broken::Gone);
                }
                Startup::GssEncRequest => self.out.extend_from_slice(b"N"),
                Startup::SslRequest if listening.tls.is_none() => self.out.extend_from_slice(b"N"),
                Startup::Session { .. } if listening.tls_required && !self.stream.is_tls() => {
                    return Err(violation("this listener takes TLS only"));
                }
                other @ (Startup::SslRequest | Startup::Session { .. } | Startup::Cancel(_)) => return Ok(other),
            }
        }
        Err(violation("too many requests for encryption"))
    }

    /// Speaks 3.0 to 3.2; says so when more was asked for, and which `_pq_.` parameters it does not know.
    fn version(&mut self, asked: ProtocolVersion, opening: &Opening) -> ProtocolVersion {
        let version = asked.min(ProtocolVersion::V3_2);
        if version != asked || !opening.unrecognized.is_empty() {
            write_negotiate(&mut self.out, version.code(), &opening.unrecognized);
        }
        version
    }

    /// Waits for the answer to an authentication request; gives its body.
    pub(crate) async fn answer(&mut self) -> Result<Frame, Broken> {
        loop {
            match frame::next(&mut self.buffer, ANSWER_SIZE_MAX)? {
                Some(frame) if frame.tag == b'p' => return Ok(frame),
                Some(frame) if frame.tag == b'X' => return Err(Broken::Gone),
                Some(_) => {
                    let message = "expected an answer to the authentication request".into();
                    return Err(Broken::Refused(Refusal::Protocol { message }));
                }
                None => self.read().await?,
            }
        }
    }

    /// The last words to a client; whether it hears them is its own affair.
    async fn tell(&mut self, response: &Response) {
        response.write(&mut self.out);
        if self.flush().await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }
}

impl Identified {
    /// Tells the client why it may not go on, as a failed login, and closes.
    pub async fn refuse(self, refusal: &Refusal) {
        self.refuse_with(&refusal::login(refusal)).await;
    }

    /// As [`Self::refuse`], in words of the caller's.
    pub async fn refuse_with(self, response: &Response) {
        let mut leg = Leg { stream: self.stream, buffer: self.buffer, out: BytesMut::new() };
        leg.tell(response).await;
    }

    /// How long the secret of this client's cancel key is: 4 bytes in 3.0, 32 from 3.2 on.
    pub fn cancel_secret_length(&self) -> usize {
        if self.version >= ProtocolVersion::V3_2 { 32 } else { 4 }
    }

    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The stream, what the client sent ahead, and what it is still to be told.
    pub fn into_parts(self) -> (Stream, BytesMut, Opening, Greeting) {
        let greeting = Greeting { version: self.version, sasl_final: self.sasl_final };
        (self.stream, self.buffer, self.opening, greeting)
    }
}

impl Greeting {
    /// AuthenticationOk, the target's parameters, the gateway's own cancel key, ReadyForQuery.
    ///
    /// # Panics
    /// Never: none of these messages has a list that could be too long.
    pub fn write<'a>(&self, out: &mut BytesMut, parameters: impl IntoIterator<Item = (&'a str, &'a str)>, key: &CancelKey) {
        let mut put = |message: Backend<'_>| message.write(out).expect("no list in it");
        if let Some(data) = &self.sasl_final {
            put(Backend::Authentication(Authentication::SaslFinal { data: data.as_bytes() }));
        }
        put(Backend::Authentication(Authentication::Ok));
        for (name, value) in parameters {
            put(Backend::ParameterStatus { name, value });
        }
        put(Backend::BackendKeyData { pid: key.pid, secret: &key.secret });
        put(Backend::ReadyForQuery(TransactionStatus::Idle));
    }
}

#[cfg(test)]
mod tests;
