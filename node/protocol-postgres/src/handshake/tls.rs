//! TLS towards the client: after an SSLRequest, or from the first byte as PostgreSQL 17 has it.

use std::io;
use std::sync::Arc;

use identity::channel_binding::tls_server_end_point;
use identity::scram::Binding;
use socket::{BadCertificate, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Leg, Listening};

/// The protocol name that direct TLS must agree on, so that a connection meant for another service is not taken for
/// ours (ALPACA attacks).
pub const ALPN: &[u8] = b"postgresql";
/// The first byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Our certificate on this listener.
#[derive(Clone)]
pub struct ListenerTls {
    acceptor: TlsAcceptor,
    end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListenerTls")
    }
}

impl ListenerTls {
    /// From a certificate chain (leaf first) and its key, both PEM.
    ///
    /// # Errors
    /// Text that is no PEM, no certificate in it, or a key that does not fit.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<ListenerTls, BadCertificate> {
        let (config, leaf) = socket::server_config(chain, key, ALPN)?;
        Ok(ListenerTls { acceptor: TlsAcceptor::from(Arc::new(config)), end_point: tls_server_end_point(&leaf) })
    }
}

impl Listening {
    /// The channel binding that a client on `stream` can use.
    pub(super) fn binding(&self, stream: &Stream) -> Binding {
        match (&self.tls, stream.is_tls()) {
            (Some(ListenerTls { end_point: Some(hash), .. }), true) => Binding::EndPoint(hash.clone()),
            _ => Binding::None,
        }
    }
}

/// Looks at the first byte without taking it, and begins TLS at once if it is one of a TLS handshake.
pub(super) async fn arrive(tcp: TcpStream, listening: &Listening) -> io::Result<Leg> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match (&listening.tls, first[0]) {
        (Some(tls), TLS_HANDSHAKE) => {
            let stream = tls.acceptor.accept(tcp).await?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                tracing::debug!("direct TLS without the protocol name \"postgresql\"; closing");
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(Leg::new(Stream::Tls(Box::new(stream.into()))))
        }
        (None, TLS_HANDSHAKE) => Err(io::ErrorKind::InvalidData.into()),
        _ => Ok(Leg::new(Stream::Plain(tcp))),
    }
}

impl Leg {
    /// Says `S` and begins TLS. `None`: it failed, and with it the connection.
    pub(super) async fn encrypt(self, tls: &ListenerTls) -> Option<Leg> {
        let Stream::Plain(mut tcp) = self.stream else { return None };
        tcp.write_all(b"S").await.ok()?;
        match tls.acceptor.accept(tcp).await {
            Ok(stream) => Some(Leg::new(Stream::Tls(Box::new(stream.into())))),
            Err(error) => {
                tracing::debug!(%error, "TLS with the client failed");
                None
            }
        }
    }
}
