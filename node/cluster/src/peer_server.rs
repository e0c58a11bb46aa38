//! Serving peers: looks at what a stream is for, and hands it on.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use domain::id::{Index, NodeId};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use prost::Message;

use crate::limits::STREAMS_MAX;
use crate::node::Node;
use crate::peer_transport::{Caller, Channel, FrameRx, FrameTx, PeerError, PeerHandler};
use crate::raft::{AUDIT_GROUP, CONTROL_GROUP, convert};
use crate::wire::{self, Kind, Open, Outcome};

/// The transport's way to a node that is still being put together: streams that come too early are dropped, and the
/// peer asks again.
#[derive(Default)]
pub(crate) struct Door(OnceLock<Weak<Node>>);

impl Door {
    pub(crate) fn open(&self, node: &Arc<Node>) {
        // Set once, by the start of the node that owns the door.
        let _ = self.0.set(Arc::downgrade(node));
    }
}

impl PeerHandler for Door {
    fn serve(&self, from: Caller, channel: Channel) -> BoxFuture<'static, ()> {
        let node = self.0.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let Some(node) = node else { return };
            let stop = node.tasks.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                served = node.serve(from, channel) => {
                    if let Err(e) = served {
                        tracing::debug!(?from, error = %e, "a peer's stream ended early");
                    }
                }
            }
        })
    }
}

impl Node {
    async fn serve(self: Arc<Self>, from: Caller, mut channel: Channel) -> Result<(), PeerError> {
        let open: Open = wire::decode(channel.rx.expect().await?)?;
        let kind = open.kind();
        let from = match (from, kind) {
            (Caller::Stranger, Kind::Join) => return self.serve_join(channel).await,
            (Caller::Stranger, _) | (Caller::Node(_), Kind::Join) => {
                return Err(PeerError::Protocol(format!("{from:?} may not ask for {kind:?}")));
            }
            (Caller::Node(node), _) => node,
        };
        match kind {
            Kind::Append => self.serve_append(open.group, channel).await,
            Kind::Snapshot => self.serve_snapshot(open.group, channel).await,
            Kind::Records => {
                self.serve_records(channel).await;
                Ok(())
            }
            Kind::Vote | Kind::PreVote | Kind::TransferLeader => {
                let question = channel.rx.expect().await?;
                let answer = self.answer_raft(kind, open.group, question).await?;
                send_last(&mut channel.tx, answer).await
            }
            Kind::Propose
            | Kind::Renew
            | Kind::AwaitEnforced
            | Kind::Cosign
            | Kind::Status
            | Kind::Transfer
            | Kind::Suspect
            | Kind::Gateway => {
                let question = channel.rx.expect().await?;
                let answer = self.answer(kind, open.group, from, question).await?;
                send_last(&mut channel.tx, answer).await
            }
            Kind::Join | Kind::Unknown => Err(PeerError::Protocol(format!("unknown stream kind {}", open.kind))),
        }
    }

    async fn answer(self: &Arc<Self>, kind: Kind, group: u32, from: NodeId, question: Bytes) -> Result<Bytes, PeerError> {
        Ok(match kind {
            Kind::Propose => {
                let request: wire::ProposeRequest = wire::decode(question)?;
                encode(wire::ProposeResponse { result: Some(self.propose_here(request.proposal).await) })
            }
            Kind::Renew => encode(self.answer_renewal(from, wire::decode(question)?).await),
            Kind::AwaitEnforced => encode(self.answer_await_enforced(wire::decode(question)?).await),
            Kind::Cosign => encode(self.cosign(wire::decode(question)?).await),
            Kind::Status => encode(self.own_status()),
            Kind::Transfer => {
                let request: wire::TransferRequest = wire::decode(question)?;
                encode(Outcome { refused: self.hand_over(group, NodeId(request.to)).await.err() })
            }
            Kind::Suspect => {
                let request: wire::SuspectRequest = wire::decode(question)?;
                let this = self.clone();
                self.tasks.once(&self.runtimes.control, async move { this.suspect(NodeId(request.node), Index(request.index)).await });
                encode(Outcome::default())
            }
            Kind::Gateway => {
                let question: wire::GatewayMessage = wire::decode(question)?;
                encode(wire::GatewayMessage { bytes: self.enforcer.answer(question.bytes).await })
            }
            _ => return Err(PeerError::Protocol("not a question".into())),
        })
    }

    async fn answer_raft(&self, kind: Kind, group: u32, question: Bytes) -> Result<Bytes, PeerError> {
        match group {
            CONTROL_GROUP => convert::answer_vote(&self.control(), kind, question).await,
            AUDIT_GROUP => convert::answer_vote(&self.audit(), kind, question).await,
            _ => Err(PeerError::Protocol(format!("there is no group {group}"))),
        }
    }

    async fn serve_append(&self, group: u32, channel: Channel) -> Result<(), PeerError> {
        let Channel { tx, rx } = channel;
        let requests = append_requests(rx);
        match group {
            CONTROL_GROUP => answer_appends(tx, self.control().stream_append(requests)).await,
            AUDIT_GROUP => answer_appends(tx, self.audit().stream_append(requests)).await,
            _ => Err(PeerError::Protocol(format!("there is no group {group}"))),
        }
    }

    async fn serve_snapshot(&self, group: u32, mut channel: Channel) -> Result<(), PeerError> {
        let head: wire::SnapshotHead = wire::decode(channel.rx.expect().await?)?;
        let spool = self.home.store_dir().join(format!("incoming-{group}"));
        let have = match group {
            CONTROL_GROUP => self.readers.control.size(),
            AUDIT_GROUP => self.readers.audit.size(),
            _ => return Err(PeerError::Protocol(format!("there is no group {group}"))),
        };
        channel.tx.send(wire::encode(&wire::SnapshotHave { leaves: have })).await?;
        let data = receive_snapshot(&mut channel.rx, spool).await?;
        tracing::info!(group, leaves = data.leaves(), "a snapshot has come");
        let vote = match group {
            CONTROL_GROUP => convert::install_snapshot(&self.control, &head, data).await?,
            _ => convert::install_snapshot(&self.audit, &head, data).await?,
        };
        send_last(&mut channel.tx, wire::encode(&wire::VoteResponse { vote, granted: true, last: None })).await
    }
}

/// Spools a snapshot to disk and checks that it came whole.
async fn receive_snapshot(rx: &mut FrameRx, spool: std::path::PathBuf) -> Result<raft_store::SnapshotData, PeerError> {
    let failed = |e: std::io::Error| PeerError::Lost(format!("snapshot: {e}"));
    let mut incoming = raft_store::Incoming::new(&spool).map_err(failed)?;
    loop {
        let frame = rx.expect().await?;
        if frame.is_empty() {
            return incoming.finish().map_err(failed);
        }
        // Written to disk: not on a thread that others wait for.
        let pushed = crate::tasks::blocking(move || incoming.push(&frame).map(|()| incoming)).await;
        incoming = pushed.map_err(|e| PeerError::Lost(e.to_string()))?.map_err(failed)?;
    }
}

fn encode(message: impl Message) -> Bytes {
    wire::encode(&message)
}

async fn send_last(tx: &mut FrameTx, frame: Bytes) -> Result<(), PeerError> {
    tx.send(frame).await?;
    tx.finish();
    Ok(())
}

/// Requests as they come; the stream ends at the first that cannot be read, and the leader starts anew.
fn append_requests(rx: FrameRx) -> impl Stream<Item = openraft::raft::AppendEntriesRequest<crate::raft::TypeConfig>> + Send + 'static {
    futures_util::stream::unfold(rx, |mut rx| async move {
        let frame = rx.next().await.ok()??;
        let request = wire::decode(frame).and_then(convert::from_append_request);
        match request {
            Ok(request) => Some((request, rx)),
            Err(e) => {
                tracing::warn!(error = %e, "a replication request cannot be read");
                None
            }
        }
    })
}

async fn answer_appends(
    mut tx: FrameTx,
    answers: impl Stream<
        Item = Result<openraft::raft::StreamAppendResult<crate::raft::TypeConfig>, openraft::error::Fatal<crate::raft::TypeConfig>>,
    >,
) -> Result<(), PeerError> {
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|e| PeerError::Lost(e.to_string()))?;
        tx.send(wire::encode(&convert::append_response(answer))).await?;
    }
    tx.finish();
    Ok(())
}

const _: () = assert!(STREAMS_MAX >= 256, "a renewal must never wait for a free stream");
