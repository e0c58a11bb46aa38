//! Nodes in one process, joined by channels that a test can cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use domain::id::NodeId;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Caller, Channel, Class, FrameRx, FrameTx, PeerError, PeerHandler, PeerTransport};

/// Frames on their way on one channel.
const DEPTH: usize = 256;

#[derive(Default)]
struct Switchboard {
    nodes: BTreeMap<NodeId, Weak<dyn PeerHandler>>,
    /// Directed: frames from the first never reach the second.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// The network all nodes of a test share.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<Switchboard>>);

impl MemoryNetwork {
    /// Makes `handler` reachable as `node`.
    pub fn attach(&self, node: NodeId, handler: &Arc<dyn PeerHandler>) {
        self.0.lock().nodes.insert(node, Arc::downgrade(handler));
    }

    pub fn transport(&self, node: NodeId) -> MemoryTransport {
        MemoryTransport { network: self.clone(), node }
    }

    /// Cuts a node off, both ways.
    pub fn isolate(&self, node: NodeId) {
        let mut board = self.0.lock();
        let others: Vec<NodeId> = board.nodes.keys().copied().filter(|n| *n != node).collect();
        for other in others {
            board.cut.insert((node, other));
            board.cut.insert((other, node));
        }
    }

    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }
}

/// One direction between two nodes.
#[derive(Clone)]
pub struct Link {
    network: MemoryNetwork,
    from: NodeId,
    to: NodeId,
}

impl Link {
    pub(super) fn check(&self) -> Result<(), PeerError> {
        if self.network.0.lock().cut.contains(&(self.from, self.to)) {
            return Err(PeerError::Lost("cut".into()));
        }
        Ok(())
    }
}

pub struct MemoryTransport {
    network: MemoryNetwork,
    node: NodeId,
}

impl PeerTransport for MemoryTransport {
    fn open(&self, to: NodeId, _class: Class) -> BoxFuture<'_, Result<Channel, PeerError>> {
        Box::pin(async move {
            let there = Link { network: self.network.clone(), from: self.node, to };
            let back = Link { network: self.network.clone(), from: to, to: self.node };
            let unreachable = |why: &str| PeerError::Unreachable { node: to, why: why.into() };
            there.check().and_then(|()| back.check()).map_err(|_| unreachable("cut"))?;
            let handler = self.network.0.lock().nodes.get(&to).and_then(Weak::upgrade).ok_or_else(|| unreachable("down"))?;
            let (tx_there, rx_there) = mpsc::channel(DEPTH);
            let (tx_back, rx_back) = mpsc::channel(DEPTH);
            let theirs = Channel { tx: FrameTx::Memory(tx_back, back), rx: FrameRx::Memory(rx_there) };
            tokio::spawn(handler.serve(Caller::Node(self.node), theirs));
            Ok(Channel { tx: FrameTx::Memory(tx_there, there), rx: FrameRx::Memory(rx_back) })
        })
    }

    fn close(&self) {
        self.network.0.lock().nodes.remove(&self.node);
    }
}

/// Two ends of a channel inside one node: the node that leads talks to itself through the same code.
pub(crate) fn pair(node: NodeId) -> (Channel, Channel) {
    let link = || Link { network: MemoryNetwork::default(), from: node, to: node };
    let (tx_a, rx_a) = mpsc::channel(DEPTH);
    let (tx_b, rx_b) = mpsc::channel(DEPTH);
    (
        Channel { tx: FrameTx::Memory(tx_a, link()), rx: FrameRx::Memory(rx_b) },
        Channel { tx: FrameTx::Memory(tx_b, link()), rx: FrameRx::Memory(rx_a) },
    )
}
