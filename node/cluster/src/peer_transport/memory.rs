//! Nodes in one process, joined by channels: as late, as lossy and as silent as a test wants them.
//!
//! It keeps QUIC's promises to this crate: frames of a stream come whole and in order, or the stream breaks. Frames
//! that meet a cut link wait, as retransmissions do; when it stays cut for [`IDLE_TIMEOUT`] the stream is lost. A node
//! that was unplugged answers nothing and notices nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use domain::id::NodeId;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Caller, Channel, Class, FrameRx, FrameTx, PeerError, PeerHandler, PeerTransport};
use crate::limits::{CONNECT_DEADLINE, IDLE_TIMEOUT};

/// Frames on their way on one channel.
const DEPTH: usize = 256;

/// A frame and when it was sent, or why none comes any more. A channel that closes was finished.
pub(super) type Carried = Result<(Instant, Bytes), PeerError>;

/// How long a frame takes from one node to another.
type Delay = Box<dyn FnMut(NodeId, NodeId) -> Duration + Send>;

struct Switchboard {
    nodes: BTreeMap<NodeId, Plug>,
    /// Directed: frames from the first do not reach the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    delay: Delay,
    /// Counts plugs, so that no two are taken for each other.
    plugs: u64,
    changed: watch::Sender<()>,
}

/// One process of a node.
struct Plug {
    number: u64,
    handler: Weak<dyn PeerHandler>,
}

impl Default for Switchboard {
    fn default() -> Self {
        Switchboard {
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            delay: Box::new(|_, _| Duration::ZERO),
            plugs: 0,
            changed: watch::channel(()).0,
        }
    }
}

/// The network all nodes of a test share.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Switchboard>>);

impl MemoryNetwork {
    /// Makes `handler` reachable as `node`.
    pub fn attach(&self, node: NodeId, handler: &Arc<dyn PeerHandler>) -> MemoryTransport {
        let mut board = self.0.lock();
        board.plugs += 1;
        let number = board.plugs;
        board.nodes.insert(node, Plug { number, handler: Arc::downgrade(handler) });
        MemoryTransport { network: self.clone(), node, plug: number }
    }

    /// Takes a node's plug: nothing it sends goes anywhere, and nothing reaches it.
    pub fn unplug(&self, node: NodeId) {
        self.change(|board| {
            board.nodes.remove(&node);
        });
    }

    /// How long each frame takes from now on; asked in the order they are sent.
    pub fn set_delay(&self, delay: impl FnMut(NodeId, NodeId) -> Duration + Send + 'static) {
        self.0.lock().delay = Box::new(delay);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.change(|board| {
            board.cut.insert((from, to));
        });
    }

    pub fn heal(&self) {
        self.change(|board| board.cut.clear());
    }

    fn change(&self, change: impl FnOnce(&mut Switchboard)) {
        let mut board = self.0.lock();
        change(&mut board);
        board.changed.send_replace(());
    }

    /// Asks a node as a machine without a certificate would.
    pub(crate) async fn ask_as_stranger(&self, to: NodeId, frames: [Bytes; 2]) -> Result<Bytes, PeerError> {
        let unreachable = || PeerError::Unreachable { node: to, why: "down".into() };
        let handler = self.0.lock().nodes.get(&to).and_then(|plug| plug.handler.upgrade()).ok_or_else(unreachable)?;
        let (mut ours, theirs) = pair();
        tokio::spawn(handler.serve(Caller::Stranger, theirs));
        for frame in frames {
            ours.tx.send(frame).await?;
        }
        ours.rx.expect().await
    }
}

/// One direction between two processes.
struct Link {
    network: MemoryNetwork,
    from: (NodeId, u64),
    to: (NodeId, u64),
}

impl Link {
    fn is_open(&self) -> bool {
        let board = self.network.0.lock();
        let plugged = |(node, number)| board.nodes.get(&node).is_some_and(|plug| plug.number == number);
        plugged(self.from) && plugged(self.to) && !board.cut.contains(&(self.from.0, self.to.0))
    }

    fn delay(&self) -> Duration {
        let board = &mut *self.network.0.lock();
        (board.delay)(self.from.0, self.to.0)
    }

    /// Waits until frames pass; false when that took too long.
    async fn opens(&self) -> bool {
        let mut changed = self.network.0.lock().changed.subscribe();
        let until = Instant::now() + IDLE_TIMEOUT;
        while !self.is_open() {
            if timeout_at(until, changed.changed()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Carries frames to the end of the stream.
    async fn carry(self, mut from: mpsc::Receiver<Carried>, to: mpsc::Sender<Carried>) {
        let mut last = Instant::now();
        while let Some(Ok((sent, frame))) = from.recv().await {
            // A later frame never overtakes an earlier one.
            last = last.max(sent + self.delay());
            sleep_until(last).await;
            if !self.is_open() && !self.opens().await {
                let lost = PeerError::Lost("nothing was heard for too long".into());
                let _ = to.send(Err(lost)).await;
                return;
            }
            if to.send(Ok((sent, frame))).await.is_err() {
                return;
            }
        }
        // The end, too, has to arrive.
        sleep_until(last + self.delay()).await;
        if !self.is_open() && !self.opens().await {
            let _ = to.send(Err(PeerError::Lost("nothing was heard for too long".into()))).await;
        }
    }
}

/// One process's way into the network.
pub struct MemoryTransport {
    network: MemoryNetwork,
    node: NodeId,
    plug: u64,
}

impl PeerTransport for MemoryTransport {
    fn open(&self, to: NodeId, _class: Class) -> BoxFuture<'_, Result<Channel, PeerError>> {
        Box::pin(async move {
            let plug = self.network.0.lock().nodes.get(&to).map(|plug| (plug.number, plug.handler.upgrade()));
            let Some((number, Some(handler))) = plug else {
                sleep(CONNECT_DEADLINE).await;
                return Err(PeerError::Unreachable { node: to, why: "down".into() });
            };
            let (here, there) = ((self.node, self.plug), (to, number));
            let link = |from, to| Link { network: self.network.clone(), from, to };
            let (tx, outgoing) = mpsc::channel(DEPTH);
            let (arriving, their_rx) = mpsc::channel(DEPTH);
            let (their_tx, answers) = mpsc::channel(DEPTH);
            let (answering, rx) = mpsc::channel(DEPTH);
            tokio::spawn(link(here, there).carry(outgoing, arriving));
            tokio::spawn(link(there, here).carry(answers, answering));
            tokio::spawn(handler.serve(Caller::Node(self.node), channel(their_tx, their_rx)));
            Ok(channel(tx, rx))
        })
    }

    fn close(&self) {
        self.network.change(|board| {
            if board.nodes.get(&self.node).is_some_and(|plug| plug.number == self.plug) {
                board.nodes.remove(&self.node);
            }
        });
    }
}

fn channel(tx: mpsc::Sender<Carried>, rx: mpsc::Receiver<Carried>) -> Channel {
    Channel { tx: FrameTx::Memory(tx), rx: FrameRx::Memory(rx) }
}

/// Two ends of a channel inside one node: the node that leads talks to itself through the same code.
pub(crate) fn pair() -> (Channel, Channel) {
    let (tx_a, rx_a) = mpsc::channel(DEPTH);
    let (tx_b, rx_b) = mpsc::channel(DEPTH);
    (channel(tx_a, rx_b), channel(tx_b, rx_a))
}
