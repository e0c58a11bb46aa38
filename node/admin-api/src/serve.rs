//! The listener: TLS in front of tonic. A handshake has a deadline and never blocks the accept loop.

use std::io;
use std::sync::Arc;

use futures_util::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::control::Control;
use crate::guard::GuardLayer;
use crate::limits;

/// Serves the API until `stop`, then lets running calls end within [`limits::DRAIN_DEADLINE`].
///
/// `tls` must verify client certificates against the cluster's authority for people, and allow none.
///
/// # Errors
/// The transport's, which end the server; a single connection's never do.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, control: Arc<dyn Control>, routes: Routes, stop: CancellationToken) -> Result<(), tonic::transport::Error> {
    let incoming = accept(listener, tls, stop.clone());
    let server = Server::builder()
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(limits::HEADERS_MAX)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)))
        .layer(GuardLayer(control))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        ended = server => ended,
        () = drained(stop) => Ok(()),
    }
}

async fn drained(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(limits::DRAIN_DEADLINE).await;
}

/// Accepts connections and shakes hands with each on its own task; what fails or takes too long is dropped.
fn accept(listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (ready, incoming) = mpsc::channel(1);
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "accepting an admin connection");
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                // The slot bounds handshakes; tonic bounds what runs on a connection.
                let _slot = slot;
                match tokio::time::timeout(limits::HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let _ = stream.get_ref().0.set_nodelay(true);
                        let _ = ready.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "admin TLS handshake"),
                    Err(_) => tracing::debug!("admin TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}
