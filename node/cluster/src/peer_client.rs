//! Asking peers: one question on a stream of its own, and openraft's network over it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::id::NodeId;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message;
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits::{RPC_DEADLINE, SNAPSHOT_DEADLINE};
use crate::peer_transport::quic::AddressBook;
use crate::peer_transport::{Channel, Class, FrameRx, PeerError, PeerTransport};
use crate::raft::{PeerNode, SnapshotData, SnapshotOf, TypeConfig, VoteOf, convert};
use crate::wire::{self, Kind, Open};

/// A question that got no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub error: PeerError,
    /// Nothing of it left this node: the peer certainly did not act on it.
    pub before_sending: bool,
}

/// Sends one message and waits for one, on a stream of its own.
pub(crate) async fn ask<Q: Message, A: Message + Default>(
    transport: &dyn PeerTransport,
    to: NodeId,
    class: Class,
    kind: Kind,
    group: u32,
    question: &Q,
    within: Duration,
) -> Result<A, Unanswered> {
    let deadline = Instant::now() + within;
    let early = |error| Unanswered { error, before_sending: true };
    let late = |error| Unanswered { error, before_sending: false };
    let opened = timeout_at(deadline, transport.open(to, class)).await.map_err(|_| early(PeerError::Timeout))?;
    let mut channel = opened.map_err(early)?;
    let asked = async {
        channel.tx.send(wire::encode(&Open { kind: kind.into(), group })).await?;
        channel.tx.send(wire::encode(question)).await?;
        channel.tx.finish();
        wire::decode(channel.rx.expect().await?)
    };
    match timeout_at(deadline, asked).await {
        Ok(answer) => answer.map_err(late),
        Err(_) => Err(late(PeerError::Timeout)),
    }
}

/// Makes openraft's clients for one group.
#[derive(Clone)]
pub(crate) struct GroupNetwork {
    pub transport: Arc<dyn PeerTransport>,
    pub book: AddressBook,
    pub group: u32,
    /// What carries the group's entries.
    pub class: Class,
}

/// A client for one peer in one group.
pub(crate) struct PeerNetwork {
    transport: Arc<dyn PeerTransport>,
    to: NodeId,
    group: u32,
    class: Class,
}

impl RaftNetworkFactory<TypeConfig> for GroupNetwork {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerNetwork {
        self.client(target, node, self.class)
    }

    /// Heartbeats and the probes of read indexes never stand behind entries.
    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> PeerNetwork {
        self.client(target, node, Class::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> PeerNetwork {
        self.client(target, node, Class::Bulk)
    }
}

impl GroupNetwork {
    fn client(&self, target: u64, node: &PeerNode, class: Class) -> PeerNetwork {
        if self.book.of(NodeId(target)).is_none() {
            self.book.set(NodeId(target), &node.address);
        }
        PeerNetwork { transport: self.transport.clone(), to: NodeId(target), group: self.group, class }
    }
}

fn rpc_error(e: PeerError) -> RPCError<TypeConfig> {
    match e {
        PeerError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&e)),
        PeerError::Lost(_) | PeerError::Protocol(_) | PeerError::Timeout => RPCError::Network(NetworkError::new(&e)),
    }
}

fn streaming_error(e: PeerError) -> StreamingError<TypeConfig> {
    rpc_error(e).into()
}

/// Stops the writing half of a pipelined stream together with its reading half.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PeerNetwork {
    async fn ask<Q: Message, A: Message + Default>(&self, kind: Kind, question: &Q, option: &RPCOption) -> Result<A, RPCError<TypeConfig>> {
        // Votes and the like belong to the control class whatever the group.
        ask(&*self.transport, self.to, Class::Control, kind, self.group, question, option.soft_ttl().max(Duration::from_millis(100)))
            .await
            .map_err(|e| rpc_error(e.error))
    }

    async fn vote_like(
        &self,
        kind: Kind,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask::<_, wire::VoteResponse>(kind, &convert::vote_request(&rpc), &option).await?;
        convert::from_vote_response(&answer).map_err(rpc_error)
    }

    /// Opens the pipelined stream: a task writes requests as openraft makes them, the caller reads the answers.
    async fn pipeline<S>(&self, mut input: S, option: RPCOption) -> Result<Answers, RPCError<TypeConfig>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let opening = self.transport.open(self.to, self.class);
        let opened = timeout(option.hard_ttl().max(RPC_DEADLINE), opening).await.map_err(|_| rpc_error(PeerError::Timeout))?;
        let Channel { mut tx, rx } = opened.map_err(rpc_error)?;
        tx.send(wire::encode(&Open { kind: Kind::Append.into(), group: self.group })).await.map_err(rpc_error)?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let sent = waiting.clone();
        let writer = tokio::spawn(async move {
            while let Some(request) = input.next().await {
                sent.fetch_add(1, Ordering::AcqRel);
                if tx.send(wire::encode(&convert::append_request(&request))).await.is_err() {
                    return;
                }
            }
            tx.finish();
        });
        Ok(Answers { rx, waiting, _writer: AbortOnDrop(writer) })
    }
}

/// The reading half of a pipelined stream.
struct Answers {
    rx: FrameRx,
    /// Requests sent and not answered yet.
    waiting: Arc<AtomicUsize>,
    _writer: AbortOnDrop,
}

impl Answers {
    /// The next answer; an error when the peer owes one for too long.
    async fn next(&mut self) -> Result<Option<StreamAppendResult<TypeConfig>>, PeerError> {
        let frame = loop {
            let owed = self.waiting.load(Ordering::Acquire) > 0;
            match timeout(RPC_DEADLINE, self.rx.next()).await {
                Ok(frame) => break frame?,
                Err(_) if owed => return Err(PeerError::Timeout),
                Err(_) => {}
            }
        };
        let Some(frame) = frame else { return Ok(None) };
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        convert::from_append_response(wire::decode(frame)?).map(Some)
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut answers = self.pipeline(futures_util::stream::iter([rpc]), option).await?;
        match answers.next().await.map_err(rpc_error)? {
            Some(Ok(matched)) => Ok(AppendEntriesResponse::PartialSuccess(matched)),
            Some(Err(StreamAppendError::Conflict(_))) => Ok(AppendEntriesResponse::Conflict),
            Some(Err(StreamAppendError::HigherVote(vote))) => Ok(AppendEntriesResponse::HigherVote(vote)),
            None => Err(rpc_error(PeerError::Lost("no answer".into()))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let answers = self.pipeline(input, option).await?;
            let stream = futures_util::stream::unfold(Some(answers), |answers| async move {
                let mut answers = answers?;
                match answers.next().await {
                    Ok(Some(answer)) => Some((Ok(answer), Some(answers))),
                    Ok(None) => None,
                    Err(e) => Some((Err(rpc_error(e)), None)),
                }
            });
            Ok(stream.boxed())
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_like(Kind::Vote, rpc, option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.vote_like(Kind::PreVote, rpc, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer: wire::Outcome = self.ask(Kind::TransferLeader, &convert::transfer_request(&rpc), &option).await?;
        match answer.refused {
            None => Ok(Ok(())),
            Some(why) => Err(RPCError::Network(NetworkError::from_string(why))),
        }
    }
}

impl PeerNetwork {
    async fn send_snapshot(&self, vote: VoteOf, snapshot: SnapshotOf) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut channel = self.transport.open(self.to, Class::Bulk).await.map_err(streaming_error)?;
        let send = async {
            channel.tx.send(wire::encode(&Open { kind: Kind::Snapshot.into(), group: self.group })).await?;
            let head =
                wire::SnapshotHead { vote: convert::vote(&vote), meta: raft_store::format::encode_snapshot_meta(&snapshot.meta).into() };
            channel.tx.send(wire::encode(&head)).await?;
            let have: wire::SnapshotHave = wire::decode(channel.rx.expect().await?)?;
            let mut frames = snapshot.snapshot.frames(have.leaves);
            loop {
                // Frames are read from disk: not on a thread that others wait for.
                let next = crate::tasks::blocking(move || (frames.next(), frames)).await;
                let (frame, rest) = next.map_err(|e| PeerError::Lost(e.to_string()))?;
                frames = rest;
                let Some(frame) = frame else { break };
                channel.tx.send(frame.map_err(|e| PeerError::Lost(format!("snapshot: {e}")))?).await?;
            }
            channel.tx.send(Bytes::new()).await?;
            channel.tx.finish();
            let answer: wire::VoteResponse = wire::decode(channel.rx.expect().await?)?;
            convert::from_vote(&answer.vote)
        };
        let sent = timeout(SNAPSHOT_DEADLINE, send).await.unwrap_or(Err(PeerError::Timeout));
        sent.map(SnapshotResponse::new).map_err(streaming_error)
    }
}
