//! From a permit to a session at the target. The other room that awaits.
//!
//! ```text
//!  &Permit ─► TCP ─► TLS as the target says ─► Startup with pinned settings ─► SCRAM │ MD5 │ cleartext over TLS │ trust
//!                                                                             ─► parameters, key ─► ReadyForQuery
//! ```
//! The target is trusted with statements, not with this process: what it sends before it is ready is counted and
//! bounded, its SCRAM iteration count is capped, and a login it claims to have checked must be proven to us
//! (THREATS 86). The caller bounds the time of everything here.

mod ask;
pub mod backend;
pub mod login;
pub mod survey;
pub mod tls;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use domain::admission::Permit;
use domain::target::UpstreamTls;
use identity::Secret;
use socket::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::codec::{CancelKey, CodecError, ProtocolVersion, Startup};

/// When a silent peer is probed. A target that vanished with its machine is noticed within a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 4;

/// Where a target is and how its TLS is checked.
#[derive(Debug, Clone)]
pub struct Address {
    /// `host:port`.
    pub address: String,
    pub tls: UpstreamTls,
    /// Begin TLS at once, without an SSLRequest (PostgreSQL 17 and later).
    pub direct_tls: bool,
    /// Unacknowledged data resets the socket after this long; below the lease length (DESIGN §4).
    pub user_timeout: Duration,
}

/// What to log in as and with.
#[derive(Debug)]
pub struct Login<'a> {
    pub username: &'a str,
    pub password: &'a Secret,
    pub database: &'a str,
    pub application: &'a str,
    /// The client's own, from its start-up packet. Pinned ones win over them.
    pub settings: &'a BTreeMap<String, String>,
    /// Make the server itself refuse writes: the permit covers none.
    pub read_only: bool,
    /// 3.0 unless the target is known to take more: poolers and servers before 9.3 break off at a newer one.
    pub version: ProtocolVersion,
}

/// A session at the target, ready for statements.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    /// What the server sent after it was ready; empty but for a server that is in a hurry.
    pub buffer: BytesMut,
    /// As the server reported them.
    pub parameters: BTreeMap<String, String>,
    /// The target's own key; never shown to a client. Some poolers give none.
    pub key: Option<CancelKey>,
    pub version: ProtocolVersion,
}

/// Why there is no session at the target. Shown to operators; the agent is told [`UpstreamError::said`].
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the connection broke during login: {0}")]
    Broken(#[from] io::Error),
    #[error("the target does not speak the protocol: {0}")]
    Protocol(#[from] CodecError),
    #[error("the target broke the rules of login: {0}")]
    Rules(&'static str),
    #[error("authentication at the target: {0}")]
    Authentication(String),
    #[error("the target refused the login: {sqlstate} {message}")]
    Refused { sqlstate: String, message: String },
    #[error("the target does not keep \"{setting}\" as pinned; it says {found:?}")]
    NotPinned { setting: &'static str, found: String },
}

impl UpstreamError {
    /// What the agent may know: nothing that names an address, an account or a certificate.
    pub fn said(&self) -> String {
        match self {
            UpstreamError::Connect(_) => "it cannot be reached".into(),
            UpstreamError::Tls(_) => "its TLS could not be verified".into(),
            UpstreamError::Broken(_) => "it broke off".into(),
            UpstreamError::Protocol(_) | UpstreamError::Rules(_) | UpstreamError::NotPinned { .. } => {
                "it does not answer as it must".into()
            }
            UpstreamError::Authentication(_) => "it did not accept the stored credential".into(),
            UpstreamError::Refused { sqlstate, .. } => match sqlstate.as_str() {
                "28P01" | "28000" => "it did not accept the stored credential".into(),
                "3D000" => "it has no such database".into(),
                "53300" => "it has no connection left".into(),
                "57P03" => "it is starting up or shutting down".into(),
                _ => format!("it refused the login with SQLSTATE {}", printable(sqlstate)),
            },
        }
    }
}

/// At most five letters and digits: a rogue target does not get to write into somebody's terminal.
fn printable(sqlstate: &str) -> String {
    sqlstate.chars().filter(char::is_ascii_alphanumeric).take(5).collect()
}

/// Dials and logs in. The permit is the proof that somebody was admitted; without one, nothing is dialled.
///
/// # Errors
/// [`UpstreamError`].
pub async fn connect(_admitted: &Permit, address: &Address, login: &Login<'_>) -> Result<Connected, UpstreamError> {
    establish(address, login).await
}

pub(crate) async fn establish(address: &Address, login: &Login<'_>) -> Result<Connected, UpstreamError> {
    let tcp = dial(address).await?;
    let (stream, end_point) = tls::secure(tcp, address).await?;
    login::run(stream, end_point, login).await
}

async fn dial(address: &Address) -> Result<TcpStream, UpstreamError> {
    let tcp = TcpStream::connect(address.address.as_str()).await.map_err(UpstreamError::Connect)?;
    settings(&tcp, address.user_timeout).map_err(UpstreamError::Connect)?;
    Ok(tcp)
}

/// No delay for small statements. When this process ends or closes, the kernel resets at once and delivers nothing
/// that was still queued: a revoked statement must not arrive late (DESIGN §4).
fn settings(tcp: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Asks the target to cancel what the session with this key runs, over TLS if the session had it, and waits until
/// the target has taken note: it closes the connection then, and says nothing.
///
/// # Errors
/// [`UpstreamError`]. No error does not mean that something was cancelled.
pub async fn cancel(address: &Address, key: &CancelKey) -> Result<(), UpstreamError> {
    let tcp = dial(address).await?;
    // Unlike a statement, a cancel that is on its way should arrive.
    SockRef::from(&tcp).set_linger(None)?;
    let (mut stream, _) = tls::secure(tcp, address).await?;
    let mut packet = BytesMut::new();
    Startup::Cancel(key.clone()).write(&mut packet);
    stream.write_all(&packet).await?;
    stream.flush().await?;
    let mut nothing = [0; 64];
    // A reset, or TLS without a goodbye, is how servers end this connection; the request was sent either way.
    while matches!(stream.read(&mut nothing).await, Ok(1..)) {}
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
