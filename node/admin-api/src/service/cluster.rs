use std::pin::Pin;
use std::time::Duration;

use domain::command::Actor;
use domain::id::NodeId;
use futures_util::{Stream, StreamExt};
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::Api;
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::timestamp;
use crate::{convert, failure};

const JOIN_TOKEN_VALID_DEFAULT: Duration = Duration::from_secs(3600);

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Api {
    async fn get_status(&self, request: Request<pb::GetStatusRequest>) -> Result<Response<pb::ClusterStatus>, Status> {
        let (call, _) = self.enter(request)?;
        call.may("*")?;
        self.status(&call).await
    }

    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Result<Response<pb::CreateJoinTokenResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let valid = collect(|f| f.span("valid", message.valid.as_ref()))?.unwrap_or(JOIN_TOKEN_VALID_DEFAULT);
        let made = self.0.members.make_join_token(call.proposal_id(&message.request_id)?, actor(&call), valid).await;
        let made = made.map_err(|e| failure::control(&e))?;
        let token = made.token.expose_str().unwrap_or_default().to_owned();
        call.answer(&call.unfiltered(), pb::CreateJoinTokenResponse { token, expires: Some(timestamp(made.expires)) })
    }

    async fn add_voter(&self, request: Request<pb::AddVoterRequest>) -> Result<Response<pb::ClusterStatus>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let node = node(message.node)?;
        let added = self.0.members.add_voter(call.proposal_id(&message.request_id)?, actor(&call), node).await;
        added.map_err(|e| failure::control(&e))?;
        self.status(&call).await
    }

    async fn remove_node(&self, request: Request<pb::RemoveNodeRequest>) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let node = node(message.node)?;
        let removed = self.0.members.remove(call.proposal_id(&message.request_id)?, actor(&call), node).await;
        removed.map_err(|e| failure::control(&e))?;
        let status = self.status(&call).await?.into_inner();
        call.answer(&call.unfiltered(), pb::RemoveNodeResponse { status: Some(status) })
    }

    async fn transfer_leader(&self, request: Request<pb::TransferLeaderRequest>) -> Result<Response<pb::ClusterStatus>, Status> {
        let (call, message) = self.enter(request)?;
        call.may("*")?;
        let to = (message.to != 0).then_some(NodeId(message.to));
        self.0.members.transfer(to).await.map_err(|e| failure::control(&e))?;
        self.status(&call).await
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<pb::BackupChunk, Status>> + Send>>;

    async fn backup(&self, request: Request<pb::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let (call, _) = self.enter(request)?;
        call.may("*")?;
        let pieces = self.0.members.backup().await.map_err(|e| failure::control(&e))?;
        let chunks = pieces.map(|piece| piece.map(|bytes| pb::BackupChunk { bytes }).map_err(|e| failure::control(&e)));
        let stream: Self::BackupStream = Box::pin(chunks);
        call.answer(&call.unfiltered(), stream)
    }
}

impl Api {
    async fn status(&self, call: &Call) -> Result<Response<pb::ClusterStatus>, Status> {
        let mut status = self.0.members.status().await.map_err(|e| failure::control(&e))?;
        let (state, now) = (call.unfiltered(), call.now());
        let open = state.break_glass.values().filter(|broken| broken.review.is_none() || broken.expires > now);
        status.break_glass = open.map(|broken| convert::break_glass::to_wire(&state, broken, now)).collect();
        call.answer(&state, status)
    }
}

fn actor(call: &Call) -> Actor {
    Actor::Principal(call.me().clone())
}

fn node(number: u64) -> Result<NodeId, Status> {
    if number == 0 { Err(failure::invalid_field("node", "is needed")) } else { Ok(NodeId(number)) }
}
