//! Streams over QUIC with mutual TLS: one connection per peer and class, opened when needed and kept.
//!
//! The control class has its own runtime and its own socket, both on one port ([`sockets`]): which side an incoming
//! connection is on is needed before the handshake, so the caller writes it into the connection id it draws for the
//! server. That is a hint for scheduling only; what the connection may do is said by its certificate.

mod sockets;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use domain::id::{BootId, NodeId};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::sockets::Side;
use super::{Caller, Channel, Class, FrameRx, FrameTx, PeerError, PeerHandler, PeerTransport};
use crate::limits;
use crate::pki::{self, ALPN_JOIN, ANY_NODE, Identity, Subject};
use crate::wire::{self, Hello, PROTOCOL_VERSION};

const CLOSE_REFUSED: VarInt = VarInt::from_u32(1);
const CLOSE_SHUTDOWN: VarInt = VarInt::from_u32(2);

/// Where nodes are; kept current from the control state.
#[derive(Clone, Default)]
pub struct AddressBook(Arc<RwLock<BTreeMap<NodeId, String>>>);

impl AddressBook {
    pub fn set(&self, node: NodeId, address: &str) {
        let known = self.0.read().get(&node).is_some_and(|a| a == address);
        if !known {
            self.0.write().insert(node, address.to_owned());
        }
    }

    pub fn of(&self, node: NodeId) -> Option<String> {
        self.0.read().get(&node).cloned()
    }
}

/// The runtimes that drive connections.
#[derive(Clone)]
pub(crate) struct Runtimes {
    pub control: Handle,
    pub main: Handle,
}

impl Runtimes {
    fn of(&self, side: Side) -> &Handle {
        match side {
            Side::Control => &self.control,
            Side::Data => &self.main,
        }
    }
}

#[derive(Default)]
struct Slot {
    attempt: tokio::sync::Mutex<Attempt>,
}

#[derive(Default)]
struct Attempt {
    connection: Option<quinn::Connection>,
    /// The start of the peer's process the connection leads to.
    boot: u64,
    /// The last failure, and how many there were in a row.
    failed: Option<(Instant, PeerError)>,
    failures: u32,
}

pub struct QuicTransport {
    /// For tasks that must outlive a cancelled caller.
    this: Weak<QuicTransport>,
    control: Endpoint,
    /// Where the kernel cannot sort packets it is the same as `control`.
    data: Endpoint,
    me: Identity,
    boot: BootId,
    client: [quinn::ClientConfig; 3],
    book: AddressBook,
    runtimes: Runtimes,
    slots: Mutex<BTreeMap<(NodeId, Class), Arc<Slot>>>,
}

pub(crate) struct QuicSettings {
    pub listen: SocketAddr,
    pub me: Identity,
    pub boot: BootId,
    pub server: rustls::ServerConfig,
    pub client: rustls::ClientConfig,
    pub book: AddressBook,
    pub runtimes: Runtimes,
}

fn io_error(e: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(e.to_string())
}

fn transport_config() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        .max_idle_timeout(Some(limits::IDLE_TIMEOUT.try_into().expect("seconds fit a varint")))
        .keep_alive_interval(Some(limits::KEEP_ALIVE))
        .max_concurrent_bidi_streams(limits::STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u32.into())
        // Peers are one LAN or region away (DESIGN §3); the default of 333 ms makes a lost handshake packet cost a second.
        .initial_rtt(Duration::from_millis(20))
        .stream_receive_window((8u32 << 20).into())
        .receive_window((24u32 << 20).into())
        .send_window(24 << 20);
    Arc::new(config)
}

fn client_config(crypto: &Arc<QuicClientConfig>, class: Class) -> quinn::ClientConfig {
    let mut config = quinn::ClientConfig::new(crypto.clone());
    config.transport_config(transport_config());
    config.initial_dst_cid_provider(Arc::new(move || Side::of(class).draw_id()));
    config
}

/// One side's endpoint; its own task runs on the side's runtime.
fn endpoint(side: Side, socket: UdpSocket, server: quinn::ServerConfig, runtimes: &Runtimes) -> std::io::Result<Endpoint> {
    let _inside = runtimes.of(side).enter();
    let mut config = quinn::EndpointConfig::default();
    config.cid_generator(move || Box::new(side));
    Endpoint::new(config, Some(server), socket, Arc::new(quinn::TokioRuntime))
}

impl QuicTransport {
    /// Binds the port and serves incoming connections with `handler` until closed.
    pub(crate) fn start(settings: QuicSettings, handler: Arc<dyn PeerHandler>) -> std::io::Result<Arc<QuicTransport>> {
        let QuicSettings { listen, me, boot, server, client, book, runtimes } = settings;
        let server = QuicServerConfig::try_from(server).map_err(io_error)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(transport_config());
        let crypto = Arc::new(QuicClientConfig::try_from(client).map_err(io_error)?);
        let client = [Class::Control, Class::Audit, Class::Bulk].map(|class| client_config(&crypto, class));
        let (socket, beside) = sockets::bind(listen)?;
        let control = endpoint(Side::Control, socket, server.clone(), &runtimes)?;
        let data = beside.map(|socket| endpoint(Side::Data, socket, server, &runtimes)).transpose()?;
        let accepting: Vec<Endpoint> = std::iter::once(&control).chain(&data).cloned().collect();
        let data = data.unwrap_or_else(|| control.clone());
        let transport = Arc::new_cyclic(|this| QuicTransport {
            this: this.clone(),
            control,
            data,
            me,
            boot,
            client,
            book,
            runtimes,
            slots: Mutex::default(),
        });
        for endpoint in accepting {
            transport.runtimes.control.spawn(transport.clone().accept(endpoint, handler.clone()));
        }
        Ok(transport)
    }

    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.control.local_addr()
    }

    fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Control => &self.control,
            Side::Data => &self.data,
        }
    }

    async fn accept(self: Arc<Self>, endpoint: Endpoint, handler: Arc<dyn PeerHandler>) {
        let strangers = Arc::new(Semaphore::new(limits::JOINS_AT_ONCE));
        while let Some(incoming) = endpoint.accept().await {
            let side = Side::of_id(&incoming.orig_dst_cid());
            let (this, handler, strangers) = (self.clone(), handler.clone(), strangers.clone());
            self.runtimes.of(side).spawn(async move {
                let remote = incoming.remote_address();
                let connecting = match incoming.accept() {
                    Ok(connecting) => connecting,
                    Err(e) => return tracing::debug!(%remote, error = %e, "a peer connection failed"),
                };
                match timeout(limits::CONNECT_DEADLINE, connecting).await {
                    Ok(Ok(connection)) => this.serve(connection, handler, strangers).await,
                    Ok(Err(e)) => tracing::warn!(%remote, error = %e, "a peer connection was refused"),
                    Err(_) => tracing::debug!(%remote, "a peer handshake took too long"),
                }
            });
        }
    }

    /// Who is at the other end, by its certificate. TLS verified the certificate, not that it is of this incarnation.
    fn caller(&self, connection: &quinn::Connection) -> Result<Caller, String> {
        let alpn = connection.handshake_data().and_then(|d| d.downcast::<HandshakeData>().ok()).and_then(|d| d.protocol);
        let certs = connection.peer_identity().and_then(|c| c.downcast::<Vec<CertificateDer<'static>>>().ok());
        match certs.as_ref().and_then(|c| c.first()) {
            Some(cert) => {
                let identity = pki::identity_of(cert).map_err(|e| e.to_string())?;
                match identity.subject {
                    Subject::Node(node) if identity.cluster == self.me.cluster && identity.incarnation == self.me.incarnation => {
                        Ok(Caller::Node(node))
                    }
                    _ => Err(format!("{identity} is no node of {}/{}", self.me.cluster, self.me.incarnation)),
                }
            }
            None if alpn.as_deref() == Some(ALPN_JOIN) => Ok(Caller::Stranger),
            None => Err("it showed no certificate".into()),
        }
    }

    async fn serve(self: Arc<Self>, connection: quinn::Connection, handler: Arc<dyn PeerHandler>, strangers: Arc<Semaphore>) {
        let remote = connection.remote_address();
        let caller = match self.caller(&connection) {
            Ok(caller) => caller,
            Err(why) => {
                tracing::warn!(%remote, why, "a peer was refused");
                return connection.close(CLOSE_REFUSED, b"not a node of this cluster");
            }
        };
        let _place = match caller {
            Caller::Node(_) => None,
            Caller::Stranger => match strangers.try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return connection.close(CLOSE_REFUSED, b"too many nodes are joining"),
            },
        };
        match timeout(limits::CONNECT_DEADLINE, self.answer_hello(&connection)).await {
            Ok(Ok(hello)) => {
                if let Caller::Node(node) = caller {
                    self.forget_other_boots(node, hello.boot);
                }
            }
            Ok(Err(e)) => {
                tracing::warn!(%remote, error = %e, "a peer was refused");
                return connection.close(CLOSE_REFUSED, b"hello");
            }
            Err(_) => return connection.close(CLOSE_REFUSED, b"no hello"),
        }
        while let Ok((tx, rx)) = connection.accept_bi().await {
            let channel = Channel { tx: FrameTx::Quic(tx), rx: FrameRx::Quic(rx, BytesMut::new()) };
            tokio::spawn(handler.serve(caller, channel));
        }
    }

    fn hello(&self, class: Class) -> Hello {
        let node = match self.me.subject {
            Subject::Node(node) => node.0,
            Subject::Person(_) => 0,
        };
        Hello { protocol: PROTOCOL_VERSION, node, boot: self.boot.0, class: class as u32 }
    }

    async fn answer_hello(&self, connection: &quinn::Connection) -> Result<Hello, PeerError> {
        let (tx, rx) = connection.accept_bi().await.map_err(|e| PeerError::Lost(e.to_string()))?;
        let (mut tx, mut rx) = (FrameTx::Quic(tx), FrameRx::Quic(rx, BytesMut::new()));
        let hello: Hello = wire::decode(rx.expect().await?)?;
        tx.send(wire::encode(&self.hello(Class::Control))).await?;
        tx.finish();
        check_version(&hello)?;
        Ok(hello)
    }

    async fn connect(&self, to: NodeId, class: Class) -> Result<(quinn::Connection, u64), PeerError> {
        let unreachable = |why: String| PeerError::Unreachable { node: to, why };
        let address = self.book.of(to).ok_or_else(|| unreachable("its address is not known".into()))?;
        let resolved = tokio::net::lookup_host(&address).await.ok().and_then(|mut all| all.next());
        let resolved = resolved.ok_or_else(|| unreachable(format!("{address} does not resolve")))?;
        let config = self.client[class as usize].clone();
        // We stand on the class's runtime here, which then drives the connection.
        let endpoint = self.endpoint(Side::of(class));
        let connecting = endpoint.connect_with(config, resolved, &pki::node_host(to)).map_err(|e| unreachable(e.to_string()))?;
        let connected = timeout(limits::CONNECT_DEADLINE, connecting).await.map_err(|_| unreachable("no answer".into()))?;
        let connection = connected.map_err(|e| unreachable(e.to_string()))?;
        match self.caller(&connection) {
            Ok(Caller::Node(node)) if node == to => {}
            Ok(_) => return Err(unreachable(format!("another node answered at {address}"))),
            Err(why) => return Err(unreachable(why)),
        }
        let greeted = timeout(limits::CONNECT_DEADLINE, greet(&connection, &self.hello(class))).await;
        let hello = greeted.map_err(|_| unreachable("no hello".into()))??;
        Ok((connection, hello.boot))
    }

    /// The connection to a peer in a class, made if there is none. It is made in a task of its own: a heartbeat gives up
    /// after 100 ms, and a handshake that was dropped each time would never end.
    async fn connection(&self, to: NodeId, class: Class) -> Result<quinn::Connection, PeerError> {
        let slot = self.slots.lock().entry((to, class)).or_default().clone();
        let open = slot.attempt.try_lock().ok().and_then(|attempt| attempt.open());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let closed = || PeerError::Lost("the node is shutting down".into());
        let this = self.this.upgrade().ok_or_else(closed)?;
        let made = self.runtimes.of(Side::of(class)).spawn(async move { this.establish(&slot, to, class).await });
        made.await.map_err(|_| closed())?
    }

    async fn establish(&self, slot: &Slot, to: NodeId, class: Class) -> Result<quinn::Connection, PeerError> {
        let asked = Instant::now();
        let mut attempt = slot.attempt.lock().await;
        if let Some(connection) = attempt.open() {
            return Ok(connection);
        }
        if let Some((at, error)) = attempt.failed.clone() {
            // Whoever waited while an attempt failed shares its outcome; attempts do not queue up behind a dead peer.
            if at > asked {
                return Err(error);
            }
            let (first, most) = limits::RECONNECT_BACKOFF;
            let pause = first.saturating_mul(1 << attempt.failures.min(8)).min(most);
            tokio::time::sleep_until(at + pause).await;
        }
        match self.connect(to, class).await {
            Ok((connection, boot)) => {
                *attempt = Attempt { connection: Some(connection.clone()), boot, failed: None, failures: 0 };
                Ok(connection)
            }
            Err(e) => {
                let failures = attempt.failures + 1;
                *attempt = Attempt { failed: Some((Instant::now(), e.clone())), failures, ..Attempt::default() };
                Err(e)
            }
        }
    }

    /// The peer has started anew: connections to the process before it are dead, although nobody closed them.
    fn forget_other_boots(&self, node: NodeId, boot: u64) {
        let slots: Vec<Arc<Slot>> = self.slots.lock().range((node, Class::Control)..=(node, Class::Bulk)).map(|(_, s)| s.clone()).collect();
        for slot in slots {
            if let Ok(mut attempt) = slot.attempt.try_lock()
                && attempt.boot != boot
                && let Some(connection) = attempt.connection.take()
            {
                connection.close(CLOSE_SHUTDOWN, b"the peer restarted");
            }
        }
    }
}

impl Attempt {
    fn open(&self) -> Option<quinn::Connection> {
        self.connection.as_ref().filter(|c| c.close_reason().is_none()).cloned()
    }
}

fn check_version(hello: &Hello) -> Result<(), PeerError> {
    if hello.protocol == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(PeerError::Protocol(format!("it speaks version {}, this node {PROTOCOL_VERSION}", hello.protocol)))
    }
}

async fn greet(connection: &quinn::Connection, hello: &Hello) -> Result<Hello, PeerError> {
    let (tx, rx) = connection.open_bi().await.map_err(|e| PeerError::Lost(e.to_string()))?;
    let (mut tx, mut rx) = (FrameTx::Quic(tx), FrameRx::Quic(rx, BytesMut::new()));
    tx.send(wire::encode(hello)).await?;
    tx.finish();
    let hello = wire::decode(rx.expect().await?)?;
    check_version(&hello)?;
    Ok(hello)
}

impl PeerTransport for QuicTransport {
    fn open(&self, to: NodeId, class: Class) -> BoxFuture<'_, Result<Channel, PeerError>> {
        Box::pin(async move {
            let connection = self.connection(to, class).await?;
            let (tx, rx) = connection.open_bi().await.map_err(|e| PeerError::Lost(e.to_string()))?;
            Ok(Channel { tx: FrameTx::Quic(tx), rx: FrameRx::Quic(rx, BytesMut::new()) })
        })
    }

    fn close(&self) {
        self.control.close(CLOSE_SHUTDOWN, b"shutdown");
        self.data.close(CLOSE_SHUTDOWN, b"shutdown");
    }
}

/// Asks a running node one question as a machine without a certificate, trusting only the pinned authority.
pub(crate) async fn ask_as_stranger(address: &str, authority: [u8; 32], frames: [bytes::Bytes; 2]) -> Result<bytes::Bytes, PeerError> {
    let lost = |e: String| PeerError::Lost(e);
    let resolved = tokio::net::lookup_host(address).await.ok().and_then(|mut all| all.next());
    let resolved = resolved.ok_or_else(|| lost(format!("{address} does not resolve")))?;
    let crypto = pki::join_client_config(authority).map_err(|e| lost(e.to_string()))?;
    let crypto = Arc::new(QuicClientConfig::try_from(crypto).map_err(|e| lost(e.to_string()))?);
    let unspecified: SocketAddr = if resolved.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    let endpoint = Endpoint::client(unspecified).map_err(|e| lost(e.to_string()))?;
    let connecting = endpoint.connect_with(client_config(&crypto, Class::Bulk), resolved, ANY_NODE).map_err(|e| lost(e.to_string()))?;
    let connection = timeout(limits::CONNECT_DEADLINE * 2, connecting).await.map_err(|_| PeerError::Timeout)?;
    let connection = connection.map_err(|e| lost(e.to_string()))?;
    greet(&connection, &Hello { protocol: PROTOCOL_VERSION, node: 0, boot: 0, class: Class::Bulk as u32 }).await?;
    let (tx, rx) = connection.open_bi().await.map_err(|e| lost(e.to_string()))?;
    let (mut tx, mut rx) = (FrameTx::Quic(tx), FrameRx::Quic(rx, BytesMut::new()));
    for frame in frames {
        tx.send(frame).await?;
    }
    tx.finish();
    let answer = timeout(limits::PROPOSE_DEADLINE * 2, rx.expect()).await.map_err(|_| PeerError::Timeout)?;
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
    answer
}
