use domain::audit::checkpoint::{Origin, VerifierKey};
use domain::command::{Command, Expect};
use domain::id::Name;
use domain::member::MemberRole;
use domain::state::State;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::convert::fields::collect;
use crate::convert::witness::{put, to_wire};

#[tonic::async_trait]
impl pb::witnesses_server::Witnesses for Api {
    async fn create_witness(&self, request: Request<pb::CreateWitnessRequest>) -> Result<Response<pb::Witness>, Status> {
        let (call, message) = self.enter(request)?;
        let witness = message.witness.unwrap_or_default();
        call.may(&witness.name)?;
        let name = collect(|f| f.parse::<Name>("witness.name", &witness.name))?;
        let command = collect(|f| put(f, witness, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "witness", command).await?;
        let made = done.state.witnesses.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made, &done.state))
    }

    async fn get_witness(&self, request: Request<pb::GetWitnessRequest>) -> Result<Response<pb::Witness>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.witnesses.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found, &state))
    }

    async fn list_witnesses(&self, request: Request<pb::ListWitnessesRequest>) -> Result<Response<pb::ListWitnessesResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let seen = call.visible(state.witnesses.values().collect(), |witness| witness.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |witness| witness.name.to_string())?;
        let witnesses = page.into_iter().map(|witness| to_wire(witness, &state)).collect();
        call.answer(&state, pb::ListWitnessesResponse { witnesses, next_page_token, log_keys: log_keys(&state) })
    }

    async fn update_witness(&self, request: Request<pb::UpdateWitnessRequest>) -> Result<Response<pb::Witness>, Status> {
        let (call, message) = self.enter(request)?;
        let witness = message.witness.unwrap_or_default();
        call.may(&witness.name)?;
        let name = collect(|f| f.parse::<Name>("witness.name", &witness.name))?;
        let command = collect(|f| {
            let expect = f.etag("witness.etag", &witness.etag);
            put(f, witness, expect)
        })?;
        let done = call.submit(&message.request_id, "witness", command).await?;
        let made = done.state.witnesses.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made, &done.state))
    }

    async fn delete_witness(&self, request: Request<pb::DeleteWitnessRequest>) -> Result<Response<pb::DeleteWitnessResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteWitness { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteWitnessResponse {})
    }
}

/// The voters' keys, as a witness is told them.
fn log_keys(state: &State) -> Vec<String> {
    let origin = Origin { cluster: state.cluster.id.clone(), incarnation: state.cluster.incarnation, log: String::new() };
    let voters = state.members.values().filter(|member| member.role == MemberRole::Voter);
    let keyed = voters.filter_map(|member| member.checkpoint_keys.last_key_value().map(|(_, key)| (member.id, *key)));
    keyed.map(|(node, key)| VerifierKey { name: origin.signer(node), key }.to_string()).collect()
}
