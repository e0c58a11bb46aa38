//! TLS towards the target, checked as the target's record says.

use std::sync::{Arc, OnceLock};

use domain::target::UpstreamTls;
use identity::channel_binding::tls_server_end_point;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use socket::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Address, UpstreamError};
use crate::codec::Startup;
use crate::handshake::tls::ALPN;

/// Does what `address.tls` asks for. Gives the stream, and the server's binding data if TLS has any.
pub(super) async fn secure(mut tcp: TcpStream, address: &Address) -> Result<(Stream, Option<Vec<u8>>), UpstreamError> {
    let named = match &address.tls {
        UpstreamTls::Off => return Ok((Stream::Plain(tcp), None)),
        UpstreamTls::RequireUnverified => None,
        UpstreamTls::VerifyFull { server_name, .. } => server_name.as_deref(),
    };
    let config = config(&address.tls)?;
    let host = named.unwrap_or_else(|| host(&address.address));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| UpstreamError::Tls(error.to_string()))?;
    if !address.direct_tls {
        request(&mut tcp).await?;
    }
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|e| UpstreamError::Tls(e.to_string()))?;
    let session = stream.get_ref().1;
    if address.direct_tls && session.alpn_protocol() != Some(ALPN) {
        return Err(UpstreamError::Tls("direct TLS without the protocol name \"postgresql\"".into()));
    }
    let end_point = session.peer_certificates().and_then(<[_]>::first).and_then(|leaf| tls_server_end_point(leaf));
    Ok((Stream::Tls(Box::new(stream.into())), end_point))
}

/// SSLRequest, and exactly one byte in answer: more would be bytes that somebody put before the encryption
/// (CVE-2021-23222). An error text is not read: nobody has vouched for who wrote it.
async fn request(tcp: &mut TcpStream) -> Result<(), UpstreamError> {
    let mut packet = bytes::BytesMut::new();
    Startup::SslRequest.write(&mut packet);
    tcp.write_all(&packet).await?;
    let mut answer = [0; 2];
    match (tcp.read(&mut answer).await?, answer[0]) {
        (0, _) => Err(UpstreamError::Tls("the target closed the connection when asked for TLS".into())),
        (1, b'S') => Ok(()),
        (1, b'N') => Err(UpstreamError::Tls("the target does not speak TLS".into())),
        (1, _) => Err(UpstreamError::Tls("the target does not know the request for TLS".into())),
        _ => Err(UpstreamError::Tls("the target sent bytes before TLS was on".into())),
    }
}

/// The host of `host:port`; an IPv6 address loses its brackets.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn config(tls: &UpstreamTls) -> Result<Arc<ClientConfig>, UpstreamError> {
    /// Kept so that sessions resume.
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match tls {
        UpstreamTls::VerifyFull { roots_pem, .. } if roots_pem.is_empty() => match SYSTEM.get() {
            Some(config) => Ok(config.clone()),
            None => {
                let config = verifying(roots_pem)?;
                Ok(SYSTEM.get_or_init(|| config).clone())
            }
        },
        UpstreamTls::VerifyFull { roots_pem, .. } => verifying(roots_pem),
        UpstreamTls::RequireUnverified | UpstreamTls::Off => build(Arc::new(Unverified(socket::provider()))),
    }
}

fn verifying(roots_pem: &str) -> Result<Arc<ClientConfig>, UpstreamError> {
    let roots = socket::roots(roots_pem).map_err(|error| UpstreamError::Tls(format!("the target's roots: {error}")))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, socket::provider()).build();
    build(verifier.map_err(|error| UpstreamError::Tls(error.to_string()))?)
}

fn build(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, UpstreamError> {
    let builder = ClientConfig::builder_with_provider(socket::provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| UpstreamError::Tls(error.to_string()))?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// For [`UpstreamTls::RequireUnverified`], which an operator must ask for by name: any certificate will do. That the
/// peer holds its key is still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_host_of_an_address() {
        assert_eq!(host("db.example:5432"), "db.example");
        assert_eq!(host("127.0.0.1:5432"), "127.0.0.1");
        assert_eq!(host("[::1]:5432"), "::1");
    }
}
