//! The listener: TLS in front of tonic. A handshake has a deadline and never blocks the accept loop.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::control::Control;
use crate::guard::GuardLayer;
use crate::limits;

/// Serves the API until `stop`, then lets running calls end within [`limits::DRAIN_DEADLINE`].
///
/// `tls` must verify client certificates against the cluster's authority for people, and allow none.
///
/// # Errors
/// The transport's, which end the server; a single connection's never do.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    control: Arc<dyn Control>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = accepted(listener, tls, stop.clone());
    let server = Server::builder()
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(limits::HEADERS_MAX)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)))
        .max_connection_age(limits::CONNECTION_AGE_MAX)
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
fn accepted(listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) -> ReceiverStream<io::Result<Held>> {
    let (ready, incoming) = mpsc::channel(1);
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
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
                match tokio::time::timeout(limits::HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let _ = stream.get_ref().0.set_nodelay(true);
                        let _ = ready.send(Ok(Held { stream, _slot: slot })).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "admin TLS handshake"),
                    Err(_) => tracing::debug!("admin TLS handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}

/// The same listener for HTTP without gRPC. A connection has its time, so that one which only listens gives way.
pub(crate) struct Incoming {
    accepted: ReceiverStream<io::Result<Held>>,
    address: std::net::SocketAddr,
}

impl Incoming {
    pub(crate) fn new(
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        stop: CancellationToken,
        address: std::net::SocketAddr,
    ) -> Incoming {
        Incoming { accepted: accepted(listener, tls, stop), address }
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Aging;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Aging, std::net::SocketAddr) {
        loop {
            match self.accepted.next().await {
                Some(Ok(held)) => {
                    let peer = held.stream.get_ref().0.peer_addr().unwrap_or(self.address);
                    let end = Box::pin(tokio::time::sleep(limits::AUTHZEN_CONNECTION_AGE_MAX));
                    return (Aging { held, end }, peer);
                }
                Some(Err(error)) => tracing::debug!(%error, "an AuthZEN connection was not taken"),
                // Stopped: the server is told by the same token.
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        Ok(self.address)
    }
}

/// A connection that is over at its age.
pub(crate) struct Aging {
    held: Held,
    end: Pin<Box<tokio::time::Sleep>>,
}

impl AsyncRead for Aging {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.held).poll_read(cx, into)
    }
}

impl AsyncWrite for Aging {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.held).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held).poll_shutdown(cx)
    }
}

/// A connection and the place it takes.
struct Held {
    stream: TlsStream<TcpStream>,
    _slot: OwnedSemaphorePermit,
}

impl Connected for Held {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
