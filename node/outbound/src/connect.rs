//! A connection to where it was meant to go: the address that was judged, and TLS with its name verified.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket::Stream;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::{Allowed, resolve};
use crate::limits::CONNECT_DEADLINE;

/// Whom to trust, and where may be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// PEM; empty means the system's roots.
    pub(crate) roots_pem: &'a str,
    pub(crate) allowed: &'a Allowed,
}

/// # Errors
/// In words for the operator.
pub(crate) async fn tcp(host: &str, port: u16, allowed: &Allowed) -> Result<TcpStream, String> {
    let connecting = async {
        let address: SocketAddr = resolve(host, port, allowed).await.map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect(address).await.map_err(|error| format!("{host} ({address}): {error}"))?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(tcp)
    };
    timeout(CONNECT_DEADLINE, connecting).await.unwrap_or_else(|_| Err(format!("{host}: no connection within {CONNECT_DEADLINE:?}")))
}

/// TLS on a connection, the peer verified as `name`.
///
/// # Errors
/// In words for the operator.
pub(crate) async fn tls(tcp: TcpStream, name: &str, roots_pem: &str) -> Result<Stream, String> {
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(bare).map_err(|error| format!("{name}: {error}"))?;
    let config = config(roots_pem)?;
    let handshake = TlsConnector::from(config).connect(server, tcp);
    match timeout(CONNECT_DEADLINE, handshake).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream.into()))),
        Ok(Err(error)) => Err(format!("TLS with {name}: {error}")),
        Err(_) => Err(format!("TLS with {name}: not done within {CONNECT_DEADLINE:?}")),
    }
}

fn config(roots_pem: &str) -> Result<Arc<ClientConfig>, String> {
    let roots = socket::roots(roots_pem).map_err(|error| format!("the roots: {error}"))?;
    let builder = ClientConfig::builder_with_provider(socket::provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
