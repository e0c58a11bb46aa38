//! Between openraft's messages and ours.

use bytes::Bytes;
use openraft::Raft;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse};
use raft_store::LogId;
use raft_store::format::{self, FormatError};

use super::{SnapshotData, SnapshotOf, StateMachine, TypeConfig, VoteOf};
use crate::peer_transport::PeerError;
use crate::wire::{self, Appended, Kind, Outcome};

fn protocol(e: FormatError) -> PeerError {
    PeerError::Protocol(e.to_string())
}

fn lost(e: impl std::fmt::Display) -> PeerError {
    PeerError::Lost(e.to_string())
}

fn log_id(id: &LogId) -> Bytes {
    format::encode_log_id(id).into()
}

fn from_log_id(bytes: &Bytes) -> Result<LogId, PeerError> {
    format::decode_log_id(bytes).map_err(protocol)
}

fn from_optional(bytes: Option<&Bytes>) -> Result<Option<LogId>, PeerError> {
    bytes.map(from_log_id).transpose()
}

pub(crate) fn vote(vote: &VoteOf) -> Bytes {
    format::encode_vote(vote).into()
}

pub(crate) fn from_vote(bytes: &Bytes) -> Result<VoteOf, PeerError> {
    format::decode_vote(bytes).map_err(protocol)
}

pub(crate) fn append_request(request: &AppendEntriesRequest<TypeConfig>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: vote(&request.vote),
        prev: request.prev_log_id.as_ref().map(log_id),
        commit: request.leader_commit.as_ref().map(log_id),
        entries: request.entries.iter().map(|entry| format::encode_entry(entry).into()).collect(),
    }
}

pub(crate) fn from_append_request(request: wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, PeerError> {
    Ok(AppendEntriesRequest {
        vote: from_vote(&request.vote)?,
        prev_log_id: from_optional(request.prev.as_ref())?,
        leader_commit: from_optional(request.commit.as_ref())?,
        entries: request.entries.iter().map(|e| format::decode_entry(e)).collect::<Result<_, _>>().map_err(protocol)?,
    })
}

pub(crate) fn append_response(answer: StreamAppendResult<TypeConfig>) -> wire::AppendResponse {
    let result = match answer {
        Ok(Some(matched)) => Appended::Matched(log_id(&matched)),
        Ok(None) => Appended::Empty(true),
        Err(StreamAppendError::Conflict(at)) => Appended::Conflict(log_id(&at)),
        Err(StreamAppendError::HigherVote(higher)) => Appended::HigherVote(vote(&higher)),
    };
    wire::AppendResponse { result: Some(result) }
}

pub(crate) fn from_append_response(response: wire::AppendResponse) -> Result<StreamAppendResult<TypeConfig>, PeerError> {
    Ok(match response.result.ok_or_else(|| PeerError::Protocol("an empty answer".into()))? {
        Appended::Matched(id) => Ok(Some(from_log_id(&id)?)),
        Appended::Empty(_) => Ok(None),
        Appended::Conflict(id) => Err(StreamAppendError::Conflict(from_log_id(&id)?)),
        Appended::HigherVote(higher) => Err(StreamAppendError::HigherVote(from_vote(&higher)?)),
    })
}

pub(crate) fn vote_request(request: &VoteRequest<TypeConfig>) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: vote(&request.vote),
        last: request.last_log_id.as_ref().map(log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

fn from_vote_request(request: &wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, PeerError> {
    Ok(VoteRequest {
        vote: from_vote(&request.vote)?,
        last_log_id: from_optional(request.last.as_ref())?,
        leadership_transfer: request.leadership_transfer,
    })
}

fn vote_response(response: &VoteResponse<TypeConfig>) -> wire::VoteResponse {
    wire::VoteResponse { vote: vote(&response.vote), granted: response.vote_granted, last: response.last_log_id.as_ref().map(log_id) }
}

pub(crate) fn from_vote_response(response: &wire::VoteResponse) -> Result<VoteResponse<TypeConfig>, PeerError> {
    Ok(VoteResponse {
        vote: from_vote(&response.vote)?,
        vote_granted: response.granted,
        last_log_id: from_optional(response.last.as_ref())?,
    })
}

pub(crate) fn transfer_request(request: &TransferLeaderRequest<TypeConfig>) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest { from: vote(request.from_leader()), to: *request.to_node_id(), last: request.last_log_id().map(log_id) }
}

fn from_transfer_request(request: &wire::TransferLeaderRequest) -> Result<TransferLeaderRequest<TypeConfig>, PeerError> {
    Ok(TransferLeaderRequest::new(from_vote(&request.from)?, request.to, from_optional(request.last.as_ref())?))
}

/// Votes, pre-votes and leadership transfers, for either group.
pub(crate) async fn answer_vote<SM: StateMachine<TypeConfig>>(
    raft: &Raft<TypeConfig, SM>,
    kind: Kind,
    question: Bytes,
) -> Result<Bytes, PeerError> {
    match kind {
        Kind::Vote => {
            let request = from_vote_request(&wire::decode(question)?)?;
            Ok(wire::encode(&vote_response(&raft.vote(request).await.map_err(lost)?)))
        }
        Kind::PreVote => {
            let request = from_vote_request(&wire::decode(question)?)?;
            Ok(wire::encode(&vote_response(&raft.pre_vote(request).await.map_err(lost)?)))
        }
        Kind::TransferLeader => {
            let request = from_transfer_request(&wire::decode(question)?)?;
            let outcome = raft.handle_transfer_leader(request).await.map_err(lost)?;
            Ok(wire::encode(&Outcome { refused: outcome.err().map(|e| e.to_string()) }))
        }
        _ => Err(PeerError::Protocol("not a vote".into())),
    }
}

/// Hands a received snapshot to the group; answers with its vote.
pub(crate) async fn install_snapshot<SM>(
    raft: &Raft<TypeConfig, SM>,
    head: &wire::SnapshotHead,
    data: SnapshotData,
) -> Result<Bytes, PeerError>
where
    SM: StateMachine<TypeConfig, SnapshotData = SnapshotData>,
{
    let meta = format::decode_snapshot_meta(&head.meta).map_err(protocol)?;
    let snapshot = SnapshotOf { meta, snapshot: data };
    let installed = raft.install_full_snapshot(from_vote(&head.vote)?, snapshot).await.map_err(lost)?;
    Ok(vote(&installed.vote))
}
